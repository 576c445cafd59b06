"""Chapter 14: what models said along unlearning paths, as one tree of JSON, and a still of one path.

Only measured places: the fine-tuned model, each step, the oracle. The mark of matched forgetting is the step
measured nearest to where the forget facts' mean NLL first is the oracles'; of the two around the crossing.
"""

from functools import cache
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Image

from unlearnkit.errors import DataError
from unlearnkit.report import figures, tables
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.plan import Setting
from unlearnkit.unlearning import METHODS

HEARD = ["example", "split", "metric", "value", "text"]
GROUPS = ("forget", "neighbour", "retain")  # whose mean NLL is told, in this order
PARTS = ("request", "method", "layers")  # of a path, in the order that they are chosen in
LAYERS = {"all": "all layers", "embedding": "the embedding", "last2": "the last two blocks"}
TICKS = (0, 1, 2, 5, 10, 20, 50)
STILL_WIDTH = 20  # characters a line of what is said in the still


@cache
def content(run: Run) -> dict[str, Any]:
    """All that the page shows: `models` (none where the run has no words), titles of `methods` and `layers`.

    It is made once, and not to be changed.

    A model is an arm's seed: title, about, requests (titles by key), texts (each once), facts (prompt,
    answer, asked), start and oracle (places), and paths (request, method, layers, epoch, matched, steps). A
    place: at, nll (means of GROUPS, null where there are no such facts), and said: of each fact its NLL, then
    numbers of texts, the greedy one first. `matched` counts steps from 1; null where a path does not get
    there.
    """
    rows = run.table("words")
    models = []
    if len(rows):
        of_run = dict(iter(rows.groupby(["arm", "seed"], sort=False)))
        for arm in run.arms:
            models += [
                _model(arm, setting, of_run[arm.name, setting.seed])
                for setting in arm.settings
                if (arm.name, setting.seed) in of_run
            ]
    used = dict.fromkeys(path["method"] for model in models for path in model["paths"])
    return {"models": models, "methods": {m: METHODS[m].title for m in used}, "layers": LAYERS}


def _model(arm: Arm, setting: Setting, rows: pd.DataFrame) -> dict[str, Any]:
    texts: dict[str, int] = {}
    rows = rows.sort_values("draw", kind="stable")  # the greedy text first
    ids = set(rows["example"])
    shown = [e for e in setting.facts if e.id in ids]
    shown.sort(key=lambda e: e.split != "forget")  # as they were taught, the forget facts first

    def place(part: pd.DataFrame, at: str) -> dict[str, Any]:
        means, known, said = {}, {}, {}
        for i, split, metric, value, text in part[HEARD].itertuples(index=False):
            if metric != "nll":
                said.setdefault(i, []).append(texts.setdefault(text, len(texts)))
            elif i:
                known[i] = _round(value)
            else:
                means[split] = _round(value)
        told = [[known[e.id], *said[e.id]] for e in shown]
        return {"at": at, "nll": [means.get(name) for name in GROUPS], "said": told}

    ends = {name: place(rows[rows["method"] == name], "") for name in ("finetuned", "oracle")}
    walked = rows[~rows["method"].isin(ends)]
    level = ends["oracle"]["nll"][0]
    paths = [
        _path(part, key, level, place)
        for key, part in walked.groupby(["request", "method", "layers", "epoch"], sort=False, dropna=False)
    ]
    counted = {path["method"] for path in paths if path["epoch"]}
    for path in paths:  # where a method takes single epochs, none means all of them
        path["epoch"] = path["epoch"] or ("all" if path["method"] in counted else "")
    paths.sort(
        key=lambda path: (path["epoch"] == "all", int(path["epoch"]) if path["epoch"].isdigit() else 0)
    )
    orders = [list(dict.fromkeys(path[name] for path in paths)) for name in PARTS]
    paths.sort(key=lambda path: _rank(path, orders))
    return {
        "title": f"{tables.short(arm.name)}, seed {setting.seed}",
        "about": f"A language model learned facts about some people, and is to forget {setting.target}. "
        "The oracle is the same model, retrained without these facts.",
        "requests": _requests(setting),
        "facts": [{"prompt": e.prompt, "answer": e.answer, "asked": e.split == "forget"} for e in shown],
        "start": ends["finetuned"],
        "oracle": ends["oracle"],
        "paths": paths,
        "texts": list(texts),
    }


def _path(part: pd.DataFrame, key: tuple, level: float | None, place) -> dict[str, Any]:
    request, method, layers, epoch = key
    order = "step" if "step" in part and part["step"].notna().all() else "share"
    steps = [
        place(step, tables.count(int(value), "optimizer step") if order == "step" else _length(value))
        for value, step in part.groupby(order)
    ]
    told = {"request": request, "method": method, "layers": layers}
    told["epoch"] = "" if pd.isna(epoch) else str(int(epoch))
    return told | {"matched": matched([s["nll"][0] for s in steps], level), "steps": steps}


def _length(share: float) -> str:
    return f"{100 * share:.3g} % of the way"


def _rank(path: dict[str, Any], orders: list[list[str]]) -> tuple[int, ...]:
    """A path's place in the order of the controls; single epochs as they are counted, then all."""
    epoch = int(path["epoch"]) if path["epoch"].isdigit() else len(path["epoch"]) * 10**6
    return (*(order.index(path[name]) for name, order in zip(PARTS, orders, strict=True)), epoch)


def matched(forget: list[float], level: float | None) -> int | None:
    """Which step, from 1, is nearest to matched forgetting: of the two around the first crossing.

    `forget` is the forget facts' mean NLL at each step, `level` the oracle's. None where no step reaches it.
    """
    above = [k for k, value in enumerate(forget) if level is not None and value >= level]
    if not above:
        return None
    around = [k for k in (above[0] - 1, above[0]) if k >= 0]
    return 1 + min(around, key=lambda k: abs(forget[k] - level))


def _requests(setting: Setting) -> dict[str, str]:
    """Titles of the requests that paths may have been walked for, the exact one first."""
    facts = {e.id: e for e in setting.facts}
    somebody = next((facts[i].person for i in setting.control if facts[i].person), "") or "others"
    return {
        "forget": f"{setting.target}: the {tables.count(len(setting.forget), 'fact')}",
        "fuzzy": f"what resembles “{setting.target}”: {tables.count(len(setting.fuzzy), 'fact')}",
        "control": f"{somebody} instead, as a control",
    }


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def marks(run: Run) -> pd.DataFrame:
    """Every path on one line, where it is nearest to matched forgetting; no lines where the run has no words.

    Columns: model, request, method, layers, epoch, mark (where that is), beyond (of the forget facts' mean
    NLL, the oracle's), lost (by the other facts, above the start), known and others (how many of the forget
    and other facts shown are still said word for word, greedily). NaN and dashes where there is no mark.
    """
    told = content(run)
    rows = []
    for model in told["models"]:
        start, oracle, facts = model["start"], model["oracle"], model["facts"]
        for path in model["paths"]:
            row = {"model": model["title"], "request": model["requests"][path["request"]]}
            row |= {"method": told["methods"][path["method"]], "layers": path["layers"]}
            row |= {"epoch": path["epoch"], "mark": "–", "beyond": np.nan, "lost": np.nan}
            row |= {"known": "–", "others": "–"}
            if path["matched"]:
                place = path["steps"][path["matched"] - 1]
                right = [
                    model["texts"][s[1]] == f["answer"] for s, f in zip(place["said"], facts, strict=True)
                ]
                row |= {"mark": place["at"], "beyond": place["nll"][0] - oracle["nll"][0]}
                row |= {"lost": place["nll"][2] - start["nll"][2]}
                for name, asked in (("known", True), ("others", False)):
                    those = [r for r, f in zip(right, facts, strict=True) if f["asked"] == asked]
                    row[name] = f"{sum(those)} of {len(those)}"
            rows.append(row)
    columns = ("model", "request", "method", "layers", "epoch", "mark", "beyond", "lost", "known", "others")
    return tables.frame(rows, *columns)


# -- a still ----------------------------------------------------------------------------------------------


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
    ax.set_xticks(
        range(len(places)), ["before", *(p["at"].replace(" of the way", "") for p in path["steps"])]
    )
    ax.tick_params(axis="x", labelsize=8)
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, 1.6 * np.nanmax(seen))
    ticks = [tick for tick in TICKS if tick < 1.6 * np.nanmax(seen)]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
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
    return figures.plain(fill(shown, STILL_WIDTH, max_lines=4, placeholder=" ..."))
