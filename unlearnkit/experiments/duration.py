"""Cells that follow unlearning while it lasts: influence and extraction after every application."""

import pandas as pd

from unlearnkit.experiments import measure, portrait
from unlearnkit.experiments.cells import Cell
from unlearnkit.experiments.unlearn import _KINDS, Walk, _mean_nll
from unlearnkit.metrics.extraction import extraction_likelihood


def durations(cell: Cell) -> pd.DataFrame:
    """What the forget facts are like after every application of stored gradients, and of fresh ones.

    Rows: likelihood of forget and retain facts; the two cheap influence scores of forget and control facts;
    extraction likelihood of forget facts and, at theta_T (method "finetuned", duration 0), of never-trained
    ones, whose level is what a stopping rule waits for. `duration` counts the applications. A path is left
    once the retain facts have lost its `stop` in nats.
    """
    config, walk = cell.config, Walk.from_cell(cell)
    begin = pd.concat([_look(walk), _extraction(walk, walk.groups["holdout"], "holdout")])
    found = [begin.assign(method="finetuned", duration=0, share=0.0, norm=0.0, alpha=0.0)]
    started = _mean_nll(begin, config["retain"])
    for spec in config["paths"]:
        steps = _KINDS[spec["kind"]](spec, walk)
        for number, (share, told) in enumerate(zip(spec["steps"], steps, strict=False), start=1):
            rows = _look(walk)
            found.append(rows.assign(method=spec["label"], duration=number, share=share, **told))
            if _mean_nll(rows, config["retain"]) - started > spec["stop"]:
                break
        steps.close()  # the model is at theta_T again
    return pd.concat(found).assign(arm=config["arm"], seed=config["seed"], layers=config["layers"])


def _look(walk: Walk) -> pd.DataFrame:
    """The model as it stands."""
    what, groups = (walk.model, walk.tokenizer), walk.groups
    return pd.concat(
        [
            measure.facts(*what, [*groups["forget"], *groups["retain"]]),
            portrait.influences(*what, [*groups["forget"], *groups["control"]], walk.book),
            _extraction(walk, groups["forget"]),
        ]
    )


def _extraction(walk: Walk, examples: list, split: str = "") -> pd.DataFrame:
    if not examples:
        return pd.DataFrame(columns=measure.COLUMNS)
    return measure.long(extraction_likelihood(walk.model, walk.tokenizer, examples), examples, split)
