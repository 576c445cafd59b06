"""The playground's page: one file with its script, its style and what models said, which asks for nothing.

Texts of models are data in it and never mark-up: they stand in a block of JSON that they cannot end, the
script puts them into text nodes, and the page's policy runs no other script.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from IPython.display import HTML, Markdown

from unlearnkit import files
from unlearnkit.publishing.pages import PLAYGROUND
from unlearnkit.report import Run
from unlearnkit.report.ch14_playground import content
from unlearnkit.study.config import PUBLISHED

SITE = Path(__file__).parent / "site"
HEIGHT = 900  # pixels of the frame
NONE = "This run has no words yet: `make reproduce` collects them (`seeds_words` training seeds of a model)."
NOT_PUBLISHED = f'**Nothing is published here so far.** {NONE} Then read them with `run = "default"`.'


def page(told: dict[str, Any]) -> str:
    """The page as HTML; `told` as `ch14_playground.content` makes it."""
    script = (SITE / "playground.js").read_text()
    parts = {
        "digest": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": (SITE / "playground.css").read_text(),
        "script": script,
        "data": _data(told),
    }
    first, *others = (SITE / PLAYGROUND).read_text().split("{{")
    return first + "".join(parts[name] + rest for name, rest in (part.split("}}", 1) for part in others))


def _data(told: dict[str, Any]) -> str:
    """JSON in which no text can end the block that it stands in."""
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def shown(run: Run) -> HTML | Markdown:
    """Write the page among the run's figures, and return it in a frame; one line where there are no words."""
    told, where = content(run), run.figures / PLAYGROUND
    where.unlink(missing_ok=True)
    if not told["models"]:
        return Markdown(NOT_PUBLISHED if run.name == PUBLISHED else NONE)
    text = page(told)
    files.write_text(where, text)
    return HTML(frame(text))


def frame(text: str) -> str:
    """A page in a frame that may run scripts and no more, with a link to the page on its own."""
    inner = html.escape(text, quote=False).replace("'", "&#39;")
    style = f"width: 100%; height: {HEIGHT}px; border: 1px solid #ccc"
    link = f'<p><a href="../figures/{PLAYGROUND}">The playground as a page of its own</a></p>'
    given = f'title="Playground" sandbox="allow-scripts" style="{style}"'
    return f"<iframe {given} srcdoc='{inner}'></iframe>{link}"
