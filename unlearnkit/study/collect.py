"""From cells to data files: the one door between experiments and the report.

A run's `data` folder holds the observations of each stage (`packing`: CSV, a row a fact with a column a
metric, and its blocks), the facts, what models said, every cell with its key, cost and the machine that made
it, and `manifest.json`: the arms, the machines and each file's digest. Only metrics that the report reads are
kept, with six significant digits. The published run's folder is figures/data, and a cell that it has counts
as done. Imports no torch.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pandas as pd

from unlearnkit import paths
from unlearnkit.errors import DataError
from unlearnkit.study import plan, storage, variants, verified
from unlearnkit.study.cells import Cell
from unlearnkit.study.config import LAYER_RULES
from unlearnkit.study.profiles import Profile
from unlearnkit.study.storage import MANIFEST
from unlearnkit.study.tables import read as read_table

CELLS = "cells"
KEY_DIGITS = 8  # of a cell's key, in the data's `cell` column
METRICS = (
    *("nll", "exact_memorisation", "n_tokens", "rougeL_recall", "extraction_likelihood"),
    *("influence_activation", "influence_gradient", "influence_curvature", "gram"),
    *("tracin_first", "tracin_all", "training_seconds", "displacement", "ledger_error", "floor_error"),
    *("records", "ledger_bytes", "moments_bytes", "weights_bytes", "part_parameters", "part_bytes"),
    *LAYER_RULES,
    *verified.METRICS,
)
# Of facts that are not to be forgotten, paths are read for their likelihood only; close-ups weigh by tokens.
FORGET_ONLY = ("exact_memorisation", "rougeL_recall")
WEIGHED = ("oracle", "portraits")


def published() -> Path:
    """The folder of the published run's data."""
    return paths.ROOT / "figures" / "data"


def published_keys() -> set[str]:
    """Keys of the cells whose rows are in the published data."""
    return set(_published_cells(published())) if is_data(published()) else set()


def is_data(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def manifest(folder: Path) -> dict:
    """A data folder's manifest; DataError where there is none, or it is not what was written."""
    found = _without_cells(folder)
    cells = storage.read_table(folder, found["files"], CELLS).to_dict("records")
    return found | {CELLS: [cell | {"made": found["machines"][cell["made"]]} for cell in cells]}


def _without_cells(folder: Path) -> dict:
    """The manifest as its file has it; the cells are a table."""
    if not is_data(folder):
        raise DataError(
            f"no data in {folder} (no {MANIFEST}): run `make reproduce`, or read run = 'published'"
        )
    return storage.read_manifest(folder)


def read(folder: str | Path, name: str) -> pd.DataFrame:
    """A table of a data folder, by its name without ending; no rows where the run has none.

    DataError naming the file where a part of it is missing or damaged.
    """
    folder = Path(folder)
    return storage.read_table(folder, _without_cells(folder)["files"], name)


def verify(folder: Path) -> dict:
    """The manifest of a data folder, each of whose files is what was written; else DataError names it."""
    whole = manifest(folder)
    for name in whole["files"]:
        storage.content(folder, whole["files"], name)
    return whole


def is_current(profile: Profile, cells: Iterable[Cell]) -> bool:
    """Whether the run's data holds exactly these cells, as the cache or the published data has them."""
    folder = profile.folder / "data"
    if not (is_data(folder) and all(cell.done() for cell in cells)):
        return False
    try:
        return verify(folder)["cells"] == [_described(cell) for cell in cells]
    except DataError:
        return False


def collect(profile: Profile, cells: list[Cell]) -> Path:
    """Write the run's data folder from its finished cells; returns the folder."""
    stages: dict[str, list[pd.DataFrame]] = {}
    for cell in cells:
        stages.setdefault(cell.stage, []).append(rows(cell))
        if len(said := _said(cell)):
            stages.setdefault("continuations", []).append(said)
    tables = {stage: _joined(parts) for stage, parts in stages.items()}
    folder = profile.folder / "data"
    described = [_described(cell) for cell in cells]
    write(folder, profile, plan.arms(profile), described, tables, variants.arms(profile))
    return folder


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of several cells. Those of a cell that has none have no types, and would take away the others'."""
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def write(
    folder: Path,
    profile: Profile,
    arms: list[plan.Arm],
    cells: list[dict],
    tables: dict[str, pd.DataFrame],
    beside: Sequence[plan.Arm] = (),
) -> None:
    """Write a data folder: a file a table (a stage's rows), the arms' facts, and the manifest last.

    `beside` are the arms of the variants.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    written = {}
    for name, table in tables.items():
        written |= storage.write_table(folder, name, table.dropna(axis="columns", how="all"))
    written |= storage.write_table(folder, "facts", _facts([*arms, *beside]))
    machines = list({json.dumps(cell["made"]): cell["made"] for cell in cells}.values())
    if told := [cell | {"made": machines.index(cell["made"])} for cell in cells]:
        written |= storage.write_table(folder, CELLS, pd.DataFrame(told))
    for stale in set(folder.glob(f"*{storage.ENDING}")) - {folder / name for name in written}:
        stale.unlink()
    whole = {
        "run": profile.name,
        "parameters": _portable(profile),
        "arms": [_arm(a, _worlds(arms)) for a in arms],
        "variants": [_arm(a, _worlds([*arms, *beside])) for a in beside],
    }
    whole |= {"files": written, "machines": machines}
    storage.write_manifest(folder, whole)


def _portable(profile: Profile) -> dict:
    """The run's parameters, without this machine's folders."""
    return {k: Path(v).name if k in ("model", "data") else v for k, v in profile.parameters.items()}


def _described(cell: Cell) -> dict:
    """A cell's line of the manifest."""
    told = {"key": cell.key, "stage": cell.stage, "arm": cell.arm, "seed": cell.seed, "title": cell.title}
    cost = cell.cost() if cell.is_made() else _published_cells(published())[cell.key]
    seconds = float(f"{cost['seconds']:.6g}")  # as it is written
    return told | {"seconds": seconds, "peak_bytes": cost["peak_bytes"], "made": cost["made"]}


@cache
def _published_cells(folder: Path) -> dict[str, dict]:
    return {cell["key"]: cell for cell in manifest(folder)[CELLS]}


@cache
def _published_rows(name: str) -> dict[str, pd.DataFrame]:
    """By the beginning of a cell's key its rows; under "" none, for a cell whose path ended at once."""
    table = read(published(), name)
    return {"": table.iloc[:0]} | (dict(iter(table.groupby("cell"))) if len(table) else {})


def rows(cell: Cell) -> pd.DataFrame:
    """A cell's rows: its own where this checkout made them, else the published ones."""
    if cell.is_made():
        frame = read_table(cell.observations)
    else:
        known = _published_rows(cell.stage)
        frame = known.get(cell.key[:KEY_DIGITS], known[""])
    frame = frame[frame["metric"].isin(METRICS)]
    if cell.stage == "alignment":  # a symmetric matrix
        frame = frame[frame["a"] <= frame["b"]]
    if cell.stage == "path":
        frame = frame[~frame["metric"].isin(FORGET_ONLY) | (frame["split"] == "forget")]
    if cell.stage not in WEIGHED:
        frame = frame[frame["metric"] != "n_tokens"]
    return _labelled(frame, cell)


def restored(cell: Cell) -> pd.DataFrame | None:
    """`rows`, or None where the published data lack them: a cluster's worker may have older data."""
    return rows(cell) if cell.is_made() or cell.key in published_keys() else None


def _said(cell: Cell) -> pd.DataFrame:
    """What the models of a close-up said: example, model, text."""
    if not cell.is_made():
        found = _published_rows("continuations").get(cell.key[:KEY_DIGITS])
        return pd.DataFrame() if found is None else _labelled(found, cell)
    path = cell.folder / "continuations.json"
    if not path.is_file():
        return pd.DataFrame()
    told = json.loads(path.read_text())
    rows = [
        (i, m, text) for m, said in told["said"].items() for i, text in zip(told["ids"], said, strict=True)
    ]
    return _labelled(pd.DataFrame(rows, columns=["example", "model", "text"]), cell)


def _labelled(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Rows with the columns that say whose they are, in front; published ones may have other labels."""
    labels = {"cell": cell.key[:KEY_DIGITS], "arm": cell.arm, "seed": cell.seed}
    return pd.DataFrame(labels, index=frame.index).join(frame.drop(columns=labels, errors="ignore"))


def _worlds(arms: list[plan.Arm]) -> dict[tuple, int]:
    """The number of each world: facts as they are split, and never-trained ones."""
    worlds = dict.fromkeys((s.facts, s.holdout) for arm in arms for s in arm.settings)
    return {world: number for number, world in enumerate(worlds)}


def _facts(arms: list[plan.Arm]) -> pd.DataFrame:
    """Every example of every world, never-trained ones last; ids are unique within a world only."""
    table = pd.DataFrame(
        [
            {"world": number} | asdict(example)
            for (facts, held), number in _worlds(arms).items()
            for example in (*facts, *held)
        ]
    )
    for column in ("paraphrases", "mentions"):
        table[column] = table[column].map(json.dumps)
    return table


def _arm(arm: plan.Arm, worlds: dict[tuple, int]) -> dict:
    """An arm in JSON; a setting names its world, whose facts are in the table of facts."""
    settings = [
        {k: getattr(s, k) for k in ("seed", "forget", "target", "control", "fuzzy", "requests", "recipe")}
        | {"holdout": [e.id for e in s.holdout], "world": worlds[s.facts, s.holdout]}
        for s in arm.settings
    ]
    told = {"model": Path(arm.model).name, "optimizer": arm.optimizer, "variant": arm.variant}
    told |= {"recipe": arm.recipe}
    return told | {"whole_map": arm.whole_map, "settings": settings}
