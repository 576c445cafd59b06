"""Chapter 14: a still of the playground, one path with what the model says on the way."""

from textwrap import fill
from typing import Any

import numpy as np
from IPython.display import Image

from unlearnkit.errors import DataError
from unlearnkit.report import figures
from unlearnkit.report.ch14_playground import OF_WAY, content
from unlearnkit.report.run import Run
from unlearnkit.unlearning import METHODS

TICKS = (0, 1, 2, 5, 10, 20, 50)  # nats
WIDTH = 20  # characters a line of what is said


def still(run: Run, method: str, layers: str = "all", count: int = 4) -> Image | None:
    """The first model on one path: mean NLL at each step, and `count` greedy answers on the way.

    The person is asked for exactly. None where the run has no words; DataError where it walked no such path.
    """
    models = content(run)["models"]
    if not models:
        return None
    model = models[0]
    exact = [path for path in model["paths"] if path["request"] == "forget"]
    found = [path for path in exact if (path["method"], path["layers"]) == (method, layers)]
    if not found:
        known = ", ".join(dict.fromkeys(f"{path['method']} on {path['layers']}" for path in exact))
        raise DataError(f"no words were kept of {method} on {layers}; there are: {known}")
    path, count = found[-1], min(count, len(model["facts"]))
    drawn, (above, below) = figures.figure(2.6 + 0.65 * count, 2, 1, height_ratios=(2.6, 0.65 * count))
    _draw_nll(above, model, path)
    _draw_words(below, model, path, count)
    return figures.save(drawn, run, "playground")


def _draw_nll(ax, model: dict[str, Any], path: dict[str, Any]) -> None:
    places = [model["start"], *path["steps"]]
    looks = {"to forget": ("o", figures.COLOURS["first_epoch"]), "near-neighbours": ("s", "#0072B2")}
    looks["all others"] = ("^", figures.MUTED)
    seen = [model["oracle"]["nll"][0]]
    for k, (name, (marker, colour)) in enumerate(looks.items()):
        values = [np.nan if p["nll"][k] is None else p["nll"][k] for p in places]
        if not np.isnan(values).all():
            ax.plot(values, marker, color=colour, label=name)
            seen += values
    ax.axhline(seen[0], color=figures.COLOURS["oracle"], ls="--", lw=1, label="oracle")
    if path["matched"]:
        ax.axvline(path["matched"], color=figures.COLOURS["oracle"], lw=8, alpha=0.2, zorder=0)
        place, within = (path["matched"], 1), ("data", "axes fraction")
        told = "nearest to\nmatched forgetting"
        figures.note(ax, told, place, within, (6, -2), va="top", fontsize=8, color=figures.COLOURS["oracle"])
    ax.set_xticks(range(len(places)), ["before", *(p["at"].removesuffix(OF_WAY) for p in path["steps"])])
    ax.tick_params(axis="x", labelsize=8)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, 1.6 * np.nanmax(seen))
    ticks = [tick for tick in TICKS if tick < 1.6 * np.nanmax(seen)]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_xlabel(f"length of the step, as a share{OF_WAY} that fine-tuning went")
    ax.set(ylabel="mean NLL, nats (log.)", title=f"{model['title']}: {METHODS[path['method']].title}")
    ax.legend(frameon=False, fontsize=8)


def _draw_words(ax, model: dict[str, Any], path: dict[str, Any], count: int) -> None:
    steps, mark = path["steps"], path["matched"]
    columns = {"prompt": None, "before": model["start"]}
    columns |= {"at the mark": steps[mark - 1]} if mark else {}
    columns |= {"last step": steps[-1], "oracle": model["oracle"]}
    ax.set_axis_off()
    grid = np.linspace(0, 1, len(columns), endpoint=False)
    lines = np.linspace(0.9, 0, count, endpoint=False)
    for x, (title, place) in zip(grid, columns.items(), strict=True):
        ax.text(x, 1, title, transform=ax.transAxes, weight="bold", va="top", fontsize=9)
        for y, fact, k in zip(lines, model["facts"], range(count), strict=False):
            words = fact["prompt"] if place is None else model["texts"][place["said"][k][1]]
            ax.text(x, y, _drawable(words), transform=ax.transAxes, va="top", fontsize=8)


def _drawable(text: str) -> str:
    """A text as a figure can have it, in short lines: signs that the font may lack become question marks."""
    known = text.encode("latin-1", "replace").decode("latin-1")
    shown = "".join(c if c.isprintable() else " " for c in known)
    return figures.plain(fill(shown, WIDTH, max_lines=4, placeholder=" ..."))
