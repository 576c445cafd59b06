"""`check`: are notebooks/, figures/ and README what the code makes of figures/data?

Every notebook is executed anew on the published data. Texts, tables, claims.json and what is drawn in the
figures must be the committed ones; numbers may differ by the rounding of another machine. Of cells with the
tag `live`, which train on the machine at hand, only the words must be the same.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from unlearnkit.errors import UnlearnkitError
from unlearnkit.publishing import notebooks, publish

RELATIVE, ABSOLUTE = 0.02, 0.002  # of numbers in texts and tables, which are rounded for people
DRAWN = 1.5  # points, of a place in a figure
NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
LIVE, UNIT = "live", re.compile(r"# (min|h)\b")  # a time that took longer is told in another unit
WRITTEN = re.compile(r"<!--(.*?)-->", re.S)  # the texts of a figure, whose glyphs are drawn as curves
NOT_DRAWN = re.compile(
    r'(id|xlink:href|clip-path)="[^"]*"|<metadata>.*?</metadata>|<!--.*?-->|url\(#.*?\)', re.S
)


class CheckError(UnlearnkitError):
    """What is stale or differs, a line each."""


def check() -> str:
    """Execute and compare; CheckError lists all faults."""
    made = publish.execute_all()
    problems = list(_figure_differences(publish.FIGURES, made / "figures"))
    for name in notebooks.select():
        executed = json.loads((made / "notebooks" / f"{name}.ipynb").read_text())
        there, here = (list(_texts(n)) for n in (notebooks.source(name), publish.stabilise(executed)))
        if len(there) != len(here):
            problems.append(f"notebooks/{name}.ipynb: {len(here)} outputs instead of {len(there)}")
        pairs = zip(there, here, strict=False)
        problems += [f"notebooks/{name}.ipynb: {why}" for a, b in pairs if (why := difference(a, b))]
    text = publish.README.read_text()
    if why := difference(text, publish.readme(text)):
        problems.append(f"README.md: {why}")
    if problems:
        told = "\n  ".join(["the committed results are not those of the code: run `make publish`", *problems])
        raise CheckError(told)
    return "notebooks/, figures/ and README.md are what the code makes of figures/data"


def _figure_differences(committed: Path, made: Path) -> Iterator[str]:
    there, here = publish.figures_in(committed), publish.figures_in(made)
    for name in sorted(there ^ here):
        yield f"figures/{name} is only {'committed' if name in there else 'made'}"
    for name in sorted(n for n in there & here if not n.endswith(".png")):  # an SVG has the same content
        a, b = ((folder / name).read_text() for folder in (committed, made))
        if why := _drawn_difference(a, b) if name.endswith(".svg") else difference(a, b):
            yield f"figures/{name}: {why}"


def _drawn_difference(a: str, b: str) -> str:
    """Where the texts of two SVG files differ, or the places of what they draw."""
    written = ("\n".join(WRITTEN.findall(text)) for text in (a, b))
    drawn = (NOT_DRAWN.sub("", text) for text in (a, b))
    return difference(*written) or difference(*drawn, relative=0.0, absolute=DRAWN)


def _texts(notebook: dict) -> Iterator[str]:
    """The texts that code cells put out, those of the cell that tells the machine left out."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" or "stamp(" in "".join(cell["source"]):
            continue
        for output in cell["outputs"]:
            data = output.get("data", {})
            kinds = (data.get(kind) for kind in ("text/markdown", "text/html", "text/plain"))
            text = next(filter(None, kinds), output.get("text", ""))
            if text and "image/png" not in data:
                is_live = LIVE in cell["metadata"].get("tags", [])
                yield UNIT.sub("# s", NUMBER.sub("#", "".join(text))) if is_live else "".join(text)


def difference(a: str, b: str, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> str:
    """Where two texts differ by more than rounding; "" where they do not."""
    words, others = NUMBER.split(a), NUMBER.split(b)
    if words != others:
        left, right = _first_pair(*(text.split("\n") for text in _first_pair(words, others)))
        return f"{_short(left)!r} is now {_short(right)!r}"
    for left, right in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True):
        x, y = (float(value.replace("−", "-")) for value in (left, right))
        if not math.isclose(x, y, rel_tol=relative, abs_tol=absolute):
            return f"{left} is now {right}"
    return ""


def _first_pair(a: list[str], b: list[str]) -> tuple[str, str]:
    """The first texts of two lists that are not the same."""
    return next(pair for pair in zip_longest(a, b, fillvalue="") if pair[0] != pair[1])


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else text[:57] + "..."
