"""The HTML report: a site of the executed notebooks of one run, with a banner on those that failed."""

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path

from unlearnkit.errors import UnlearnkitError

CONFIGURATION = Path(__file__).parent / "site"
PLAYGROUND = "playground.html"  # a page of its own, among the figures of a run that has words
FAILED = "**Failed**: the last execution ended in an error; these outputs are earlier ones."


class ReportError(UnlearnkitError):
    """The report cannot be built."""


def index(folder: Path) -> Path:
    """The page to open."""
    return folder / "site" / "index.html"


def is_current(folder: Path) -> bool:
    """Whether the site shows the executed notebooks as they are now."""
    mark = _mark(folder)
    return index(folder).is_file() and mark.is_file() and mark.read_text() == _inputs(folder)


def build(folder: Path) -> Path:
    """Build the site below a run's folder and return its index page. Warnings are errors."""
    pages = _pages(folder)
    if not pages:
        raise ReportError(f"no executed notebooks in {folder}; run `make reproduce` first")
    sources, site = folder / "site-sources", folder / "site"
    for old in (sources, site):
        shutil.rmtree(old, ignore_errors=True)
    sources.mkdir(parents=True)
    for page in pages:
        others = [p.stem for p in pages[1:]] if page == pages[0] else []
        (sources / page.name).write_text(json.dumps(_page(page, others)))
    _sphinx(sources, site, pages[0].stem)
    shutil.copyfile(site / f"{pages[0].stem}.html", index(folder))
    if (playground := folder / "figures" / PLAYGROUND).is_file():
        shutil.copyfile(playground, site / PLAYGROUND)
    _mark(folder).write_text(_inputs(folder))
    return index(folder)


def _pages(folder: Path) -> list[Path]:
    found = sorted((folder / "notebooks").glob("[0-9]*.ipynb"))
    return [path for path in found if not path.stem.endswith(".failed")]


def _banner(page: Path) -> str:
    """What a reader must know before the numbers; "" when nothing is wrong."""
    return FAILED if page.with_suffix(".failed.ipynb").exists() else ""


def _page(page: Path, others: list[str]) -> dict:
    """An executed notebook with its banner below the title and, on the first page, the list of the others."""
    notebook = json.loads(page.read_text().replace(f"../figures/{PLAYGROUND}", PLAYGROUND))
    if text := _banner(page):
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


def _mark(folder: Path) -> Path:
    return folder / "site" / ".inputs"


def _inputs(folder: Path) -> str:
    read = [CONFIGURATION / "conf.py", CONFIGURATION / "report.css", *_pages(folder)]
    told = [path.read_text() for path in read] + [_banner(page) for page in _pages(folder)]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()
