"""`make tune`: try each method's settings in worlds that no table shows, and keep what came of it.

Every trial is a cell, so that a second call goes on where the first was stopped. What is kept, a file a
family of models, is the plan's from then on: `trials.chosen`. The rule is `claims.methods`'s.
"""

import json
from collections.abc import Iterable, Mapping

import pandas as pd

from unlearnkit import files
from unlearnkit.claims.methods import PRINCIPAL, TUNING_SEEDS
from unlearnkit.errors import ConfigError
from unlearnkit.study import compare, config, plan, scheduler, trials
from unlearnkit.study.cells import Cell, Step
from unlearnkit.study.compared import Path, World
from unlearnkit.study.readings import oracle_level
from unlearnkit.study.tables import read as read_table


def tune(model: str) -> str:
    """Tune every method that is compared on a model; returns the path of the file that says what came of it.

    ConfigError for a model that the study does not compare methods on.
    """
    from unlearnkit import models  # here, since listing commands needs no torch

    family = plan.family(model)
    if family not in config.TUNED:
        raise ConfigError(f"methods are tuned on {', '.join(config.TUNED)}, not on {model!r}")
    name, names, seeds = config.TUNED[family], _names(family), TUNING_SEEDS[: config.TUNING_WORLDS[family]]
    models.fetch(name)
    print(f"Tuning {len(names)} methods on {name} in {len(seeds)} worlds")
    told = {method: list(trials.space(method)) for method in names}
    further = told
    while further:
        table = _tried(name, seeds, told)
        own = {method: table[table["method"] == method] for method in names}
        further = {m: more for m, rows in own.items() if (more := trials.beyond(m, rows))}
        for method, more in further.items():
            told[method].append(more)
    path = trials.FOLDER / f"{family}.csv"
    files.write_text(path, table.to_csv(index=False, float_format="%.6g"))
    trials.reread()
    return str(path)


def _tried(model: str, seeds: Iterable[int], told: Mapping[str, list[dict]]) -> pd.DataFrame:
    """A row for each of these trials in each world; those that no call has made are made."""
    worlds = {seed: compare.trial_cells(model, plan.built_in(seed), told) for seed in seeds}
    todo = steps([cell for cells in worlds.values() for cell in cells.values()])
    if missing := [step for step in todo if not step.done()]:
        scheduler.print_plan(missing)
        if failures := scheduler.run(missing):
            raise failures[0]
    rows = [
        _row(method, told[method][number], seed, cell)
        for seed, cells in worlds.items()
        for (method, number), cell in cells.items()
    ]
    return pd.DataFrame(rows)


def _names(family: str) -> list[str]:
    """All methods; on a model where a trial takes minutes, the principal ones."""
    return [name for name in trials.names() if family in config.TINY_FAMILIES or name in PRINCIPAL]


def steps(cells: Iterable[Cell]) -> list[Step]:
    """The trials with the trainings that they need before them, each world a chain."""
    found: dict[str, Cell] = {}
    for cell in cells:
        found |= {need.key: need for need in cell.needs} | {cell.key: cell}
    return list(found.values())


def _row(name: str, told: dict, seed: int, cell: Cell) -> dict:
    """One trial: its price at matched forgetting, how close it comes, seconds."""
    train, *oracles = cell.needs
    seen, given = read_table(cell.observations), cell.config
    trained, target = read_table(train.observations), oracle_level(oracles)
    world = World(trained, target, given["retain"], given["control"])
    path = Path(name, seen, world)
    forgotten, nearest = path.read("forgetting"), path.read("closest")
    return {
        "method": name,
        "trial": json.dumps(told),
        "seed": seed,
        "price": forgotten["price"],
        "reached": forgotten["reached"],
        "closest": nearest["distance"],
        "seconds": path.steps["seconds"].iloc[-1],
    }
