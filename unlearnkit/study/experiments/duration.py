"""Cells that follow unlearning while it lasts: influence and extraction after every application."""

import pandas as pd

from unlearnkit.metrics.extraction import extraction_likelihood
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure, portrait
from unlearnkit.study.experiments.unlearn import Walk, points
from unlearnkit.study.route import Route


def durations(cell: Cell) -> pd.DataFrame:
    """What the forget facts are like after every application of stored gradients, and of fresh ones.

    Rows: likelihood of forget and retain facts; the two cheap influence scores of forget and control facts;
    extraction likelihood of forget facts and, at theta_T (method "finetuned", duration 0), of never-trained
    ones, whose level is what a stopping rule waits for. `duration` counts the applications. A path is left
    once the retain facts have lost its `stop` in nats.
    """
    config, walk = cell.config, Walk.from_cell(cell)
    begin = pd.concat([_look(walk), _extraction(walk, walk.groups["holdout"], "holdout")])
    begin = begin.assign(layers=config["layers"], share=0.0, norm=0.0, alpha=0.0)
    found = [begin.assign(method="finetuned", duration=0)]
    for spec in config["paths"]:
        route = Route(spec["steps"], spec["stop"], config["retain"])
        path = points(walk, spec, begin, route, lambda: _look(walk))
        found += [rows.assign(duration=number) for number, rows in enumerate(path, start=1)]
    return pd.concat(found)


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
