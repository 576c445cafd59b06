"""The HTML report: a site of the executed notebooks of one run, with a banner on what is out of date."""

import contextlib
import io
import json
import shutil
from pathlib import Path

from . import notebooks, provenance
from .errors import UnlearnkitError
from .profiles import Profile

CONFIGURATION = Path(__file__).parent / "site"


class ReportError(UnlearnkitError):
    """The report cannot be built."""


def index(profile: Profile) -> Path:
    """The page to open."""
    return profile.folder / "site" / "index.html"


def is_current(profile: Profile) -> bool:
    """Whether the site shows the executed notebooks as they are now."""
    mark = _mark(profile)
    return index(profile).is_file() and mark.is_file() and mark.read_text() == _inputs(profile)


def build(profile: Profile) -> Path:
    """Build the site below the run's folder and return its index page. Warnings are errors."""
    pages = _pages(profile)
    if not pages:
        raise ReportError(f"no executed notebooks in {profile.folder}; run `make reproduce` first")
    sources, site = profile.folder / "site-sources", profile.folder / "site"
    for folder in (sources, site):
        shutil.rmtree(folder, ignore_errors=True)
    sources.mkdir(parents=True)
    for name in pages:
        page = _page(name, profile, others=pages[1:] if name == pages[0] else [])
        (sources / f"{name}.ipynb").write_text(json.dumps(page))
    _sphinx(sources, site, pages[0])
    shutil.copyfile(site / f"{pages[0]}.html", index(profile))
    _mark(profile).write_text(_inputs(profile))
    return index(profile)


def banner(name: str, profile: Profile) -> str:
    """What a reader must know before the numbers: why a page is stale or failed; "" when nothing is wrong."""
    path = notebooks.executed(name, profile)
    reasons = []
    if stale := provenance.is_stale(path, source=notebooks.SOURCES / path.name):
        reasons.append(f"**Stale**: {stale} since these outputs were made.")
    if notebooks.failed(name, profile).exists():
        reasons.append("**Failed**: the last execution ended in an error; these outputs are earlier ones.")
    return " ".join(reasons)


def _pages(profile: Profile) -> list[str]:
    return [name for name in notebooks.select() if notebooks.executed(name, profile).is_file()]


def _page(name: str, profile: Profile, others: list[str]) -> dict:
    """An executed notebook with its banner below the title and, on the first page, the list of the others."""
    notebook = json.loads(notebooks.executed(name, profile).read_text())
    if text := banner(name, profile):
        notebook["cells"].insert(1, _markdown(f"```{{danger}}\n{text}\n```", "banner"))
    if others:
        toctree = ["```{toctree}", ":hidden:", "", *others, "```"]
        notebook["cells"].append(_markdown("\n".join(toctree), "pages"))
    return notebook


def _markdown(text: str, identity: str) -> dict:
    return {"cell_type": "markdown", "id": identity, "metadata": {}, "source": text}


def _sphinx(sources: Path, site: Path, root: str) -> None:
    from sphinx.cmd.build import build_main  # here, since it takes a second to import

    # Read-in documents stay out of the site, so that a page that was removed leaves nothing behind.
    options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(sources / ".doctrees")]
    options += ["-c", str(CONFIGURATION), "-D", f"root_doc={root}", str(sources), str(site)]
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(messages):
        status = build_main(options)
    if status:
        raise ReportError(f"the report has faults (pages in {site}):\n{messages.getvalue().strip()}")


def _mark(profile: Profile) -> Path:
    return profile.folder / "site" / ".inputs"


def _inputs(profile: Profile) -> str:
    pages = [
        [name, provenance.file_digest(notebooks.executed(name, profile)), banner(name, profile)]
        for name in _pages(profile)
    ]
    return provenance.digest(pages, [provenance.file_digest(path) for path in _site_files()])


def _site_files() -> list[Path]:
    return [CONFIGURATION / "conf.py", CONFIGURATION / "report.css"]
