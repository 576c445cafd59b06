"""Chapter 14: what models said along unlearning paths, as one tree of JSON.

Only measured places: the fine-tuned model, each step, the oracle. The mark of matched forgetting is the step
measured nearest to where the forget facts' mean NLL first is the oracles'; of the two around the crossing.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from unlearnkit.report import tables
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.plan import Setting
from unlearnkit.unlearning import METHODS

HEARD = ["example", "split", "metric", "value", "text"]
GROUPS = ("forget", "neighbour", "retain")  # whose mean NLL is told, in this order
PARTS = ("request", "method", "layers")  # of a path, in the order that they are chosen in
LAYERS = {"all": "all layers", "embedding": "the embedding", "last2": "the last two blocks"}
OF_WAY = " of the way"
BETWEEN = "between steps"  # the mark of a path whose steps lie too wide apart around matched forgetting
FAR = 0.3  # nats beyond or short of it, from which a step's price says nothing of the price there


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
    return f"{100 * share:.3g} %{OF_WAY}"


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

    Columns: model, request, path (method, epoch, layers), mark (where that is), beyond (of the forget facts'
    mean NLL, the oracle's), lost (by the other facts, above the start), known and others (how many of the
    forget and other facts shown are still said word for word, greedily). NaN and dashes without a mark. The
    mark is BETWEEN, and nothing is told lost, where the nearest step is more than FAR off matched forgetting.
    """
    told = content(run)
    rows = [
        {"model": model["title"], "request": model["requests"][path["request"]], "path": _name(path, told)}
        | _mark(model, path)
        for model in told["models"]
        for path in model["paths"]
    ]
    return tables.frame(rows, "model", "request", "path", "mark", "beyond", "lost", "known", "others")


def _name(path: dict[str, Any], told: dict[str, Any]) -> str:
    epoch = f", epoch {path['epoch']}" if path["epoch"].isdigit() else ""
    layers = "" if path["layers"] == "all" else f", {told['layers'][path['layers']]} only"
    return told["methods"][path["method"]] + epoch + layers


def _mark(model: dict[str, Any], path: dict[str, Any]) -> dict[str, Any]:
    """What `marks` tells of a path's mark."""
    if not path["matched"]:
        return {"mark": "–", "beyond": np.nan, "lost": np.nan, "known": "–", "others": "–"}
    place, facts = path["steps"][path["matched"] - 1], model["facts"]
    right = [model["texts"][s[1]] == f["answer"] for s, f in zip(place["said"], facts, strict=True)]
    found = {"mark": place["at"].removesuffix(OF_WAY), "beyond": place["nll"][0] - model["oracle"]["nll"][0]}
    found["lost"] = place["nll"][2] - model["start"]["nll"][2]
    if abs(found["beyond"]) > FAR:
        found |= {"mark": BETWEEN, "lost": np.nan}
    for name, asked in (("known", True), ("others", False)):
        those = [r for r, f in zip(right, facts, strict=True) if f["asked"] == asked]
        found[name] = f"{sum(those)} of {len(those)}"
    return found
