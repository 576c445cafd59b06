"""Cells that listen: what a model says to some prompts along a path, at its start, and as the oracle."""

from collections.abc import Sequence

import pandas as pd

from unlearnkit import metrics, unlearning
from unlearnkit.data import Example
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure
from unlearnkit.study.experiments.train import stand
from unlearnkit.study.experiments.unlearn import Walk, points, until_it_ends
from unlearnkit.study.readings import oracle_level
from unlearnkit.study.route import Route
from unlearnkit.study.tables import read as read_table

SAID = [*measure.COLUMNS, "draw", "text"]
DRAW_SEED = 0  # the same at every step, so that samples change with the model alone


def words(cell: Cell) -> pd.DataFrame:
    """What is said after the prompts of the facts in `shown`, and how likely facts are; at every step.

    Rows: of each fact shown its `nll`, and a `rougeL_recall` for every `text` that was said (how much of the
    answer is in it), `draw` 0 being the greedy one and the others sampled; with `example` "" the mean `nll`
    of all facts to forget, of all others that are scored ("retain"), and of the near-neighbours among them.
    `request` is the group of facts that was asked to be forgotten, `epoch` the only one that was replayed.
    A cell without a path is of its ends: the fine-tuned model, and the oracle.
    """
    walk, oracles = Walk.from_cell(cell), cell.needs[1:]
    if not cell.config["paths"]:
        return pd.concat([_start(walk), _oracle(walk, oracles)])
    (spec,) = cell.config["paths"]
    target, goes_back = oracle_level(oracles), unlearning.METHODS[spec["method"]].goes_back
    readings = cell.config["readings"]
    route = Route(spec["steps"], spec["stop"], cell.config["retain"], target, readings, goes_back)
    steps = until_it_ends(points(walk, spec, walk.start(), route, lambda: _look(walk)))
    found = [_kept(rows, cell.config["shown"]) for rows in steps]
    if not found:
        return pd.DataFrame(columns=SAID)
    epochs = spec["options"].get("epochs", "all")
    epoch = spec["options"].get("epoch", float("nan") if epochs == "all" else epochs[0])
    return pd.concat(found).assign(request=spec.get("request", "forget"), epoch=epoch)


def _start(walk: Walk) -> pd.DataFrame:
    rows = _kept(_look(walk), walk.config["shown"])
    return rows.assign(method="finetuned", layers="all", share=0.0, norm=0.0)


def _oracle(walk: Walk, oracles: Sequence[Cell]) -> pd.DataFrame:
    """The words of the oracle whose weights are kept; likelihoods are means over all of the seed's."""
    stand(walk.model, oracles[0])
    scored = {e.id for e in (*walk.groups["forget"], *walk.groups["retain"])}
    rows = pd.concat([read_table(c.observations) for c in oracles])
    rows = rows[(rows["metric"] == "nll") & rows["example"].isin(scored)]
    known = rows.groupby(measure.COLUMNS[:-1], sort=False)["value"].mean().reset_index()
    rows = _kept(pd.concat([known, _said(walk)]), walk.config["shown"])
    return rows.assign(method="oracle", layers="all")


def _look(walk: Walk) -> pd.DataFrame:
    """The model as it stands."""
    return pd.concat([measure.point(walk.model, walk.tokenizer, walk.groups), _said(walk)])


def _said(walk: Walk) -> pd.DataFrame:
    """A row a text."""
    by_id = {e.id: e for e in walk.groups["facts"]}
    shown, count = [by_id[i] for i in walk.config["shown"]], walk.config["samples"]
    what = walk.model, walk.tokenizer, shown
    drawn = metrics.samples(*what, count, seed=DRAW_SEED)
    texts = [metrics.continuations(*what), *(list(part) for part in zip(*drawn, strict=True))]
    return pd.concat([_rows(shown, part, draw) for draw, part in enumerate(texts)])


def _rows(shown: list[Example], texts: list[str], draw: int) -> pd.DataFrame:
    recall = metrics.rouge(texts, [e.answer for e in shown])["rougeL_recall"]
    told = zip(shown, recall, texts, strict=True)
    rows = [(e.id, e.person, e.split, "rougeL_recall", value, draw, text) for e, value, text in told]
    return pd.DataFrame(rows, columns=SAID)


def _kept(rows: pd.DataFrame, shown: list[str]) -> pd.DataFrame:
    """One step's rows: the shown facts', and means of likelihoods."""
    nll = rows[rows["metric"] == "nll"]
    asked = nll["split"] == "forget"
    groups = {"forget": nll[asked], "retain": nll[~asked], "neighbour": nll[nll["split"] == "neighbour"]}
    means = measure.group_means(groups).assign(example="")
    where = rows.drop(columns=SAID, errors="ignore").iloc[0]
    kept = rows["example"].isin(shown) & rows["metric"].isin(["nll", "rougeL_recall"])
    found = pd.concat([means, rows.loc[kept, SAID]]).assign(**where)
    return found.assign(text=found["text"].fillna(""))
