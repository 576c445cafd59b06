"""Chapter 04: which part of the model carries unlearning, read at equal damage and at equal step.

Equal damage is where the path itself first costs the retain facts what the run is read at. Equal step is as
long as the first-epoch path on all layers is there, so that many parameters go no further than few.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import pandas as pd

from unlearnkit.errors import DataError
from unlearnkit.report.ch00_overview import curves
from unlearnkit.report.claim_values import FIRST, one, priced, rise
from unlearnkit.report.contrasts import contrast, paired
from unlearnkit.report.figures import INK
from unlearnkit.report.readings import along, damage_crossing, distance_at, is_path, path_table, reading
from unlearnkit.report.run import Arm
from unlearnkit.report.tables import NAMES, frame
from unlearnkit.study.config import LAYER_CONTROLS
from unlearnkit.study.readings import at

PARTS = {  # from the model's input to its output, wholes first
    "all": "all layers",
    "all-but-embedding": "all but embedding",
    "embedding": "embedding",
    "embedding.input": "embedding, as input",
    "position": "positions",
    "first2": "first two blocks",
    "blocks": "all blocks",
    "block": "block",  # followed by its number
    "last2": "last two blocks",
    "other2": "two random blocks",
    "norm.final": "final norm",
    "embedding.output": "embedding, as output",
    "norms": "all norms",
}
METHODS = ("first_epoch", "all_epochs")
CONTROLS = {"random_last2": "as many random parameters", "random_subset": "gradient on random parameters"}
PAYS, NEARER = "matched forgetting: others lose", "second reading: closer to the oracle"
LINES = {"all": INK, "embedding": "#D55E00", "last2": "#0072B2"}  # parts drawn as lines
# Claims C2b and C2c: what is moved by one and the same step, and the colour it is drawn in.
HELD = {
    ("all", "first_epoch"): INK,
    ("last2", "first_epoch"): LINES["last2"],
    ("other2", "first_epoch"): "#56B4E9",
    ("all", "random_last2"): "#B5A642",
}
# Paths whose price of forgetting is told, by what is moved and by how.
PRICED = (("all", "first_epoch"), ("embedding", "first_epoch"), ("last2", "first_epoch"))
PRICED += (("other2", "first_epoch"), ("all", "adam_replay"), ("embedding", "adam_replay"))


def order(names: Iterable[str], only: Sequence[str] = ()) -> list[str]:
    """Parts of a model in the order of PARTS, blocks by number; `only` restricts them.

    DataError where that leaves nothing.
    """

    def place(name: str) -> tuple[int, int]:
        kind, _, number = name.partition("block.")
        return list(PARTS).index(kind or "block"), int(number or 0)

    found = sorted({*names}, key=place)
    if only and not set(only) & set(found):
        raise DataError(f"layers: none of {list(only)} was walked; choose from {found}")
    return [n for n in found if not only or n in only]


def part_name(layers: str, method: str = "first_epoch") -> str:
    """A part in words, `block.3` as block 3; a control by its method."""
    if method in METHODS:
        return PARTS.get(layers, layers.replace(".", " "))
    called = CONTROLS.get(method, NAMES[method])
    return called if layers == "all" else f"{called}, {part_name(layers)}"


def lines(arm: Arm) -> pd.DataFrame:
    """First-epoch paths on the parts of LINES, each seed read at the same damages before the mean is taken.

    Columns: part (in words), damage, distance (mean D_F over seeds), as `ch00_overview.curves`.
    """
    walked = path_table(arm, None, ("first_epoch",))
    found = [
        curves(arm, layers, ("first_epoch",)).assign(part=part_name(layers))
        for layers in LINES
        if is_path(walked, layers, "first_epoch").any()
    ]
    columns = ["part", "damage", "distance"]
    return pd.concat(found, ignore_index=True)[columns] if found else frame([], *columns)


def steps_of_all(table: pd.DataFrame, layers: str, method: str) -> pd.DataFrame:
    """A path's means over seeds at the steps that all of them measured: share, rise; empty if not walked."""
    own = table[is_path(table, layers, method)]
    if own.empty:
        return frame([], "share", "rise")
    seeds = own["seed"].unique()
    path = along(table[table["seed"].isin(seeds)], method, layers)
    steps = path.groupby("share")["rise"].agg(["mean", "size"]).query("size == @seeds.size")
    return steps["mean"].rename("rise").reset_index()


# -- readings ---------------------------------------------------------------------------------------------


def changes(path: pd.DataFrame, norm: float) -> dict[str, float]:
    """One seed's path at a step length: rise (of the forget NLL) and damage from its start, in nats.

    `reached` is False where the path ends before, and is read at its end.
    """
    path = path.set_index("norm").sort_index()
    found = {column: at(path[column], norm) for column in ("rise", "damage")}
    return found | {"reached": bool(norm <= path.index[-1] * (1 + 1e-9))}


@cache
def readings(arm: Arm, methods: tuple[str, ...] = METHODS) -> pd.DataFrame:
    """Per seed, layers and method, the two readings. The module says where they are taken.

    Columns: seed, layers, method; at equal damage `gain` (nats of D_F), `share` (step, of the fine-tuning
    displacement), `crossed` (False where the path never costs so much, and is read at its longest step); at
    equal step `rise`, `damage`, `reached`; `price` and `forgets` as `paid` has them.
    """
    found, damage = [], arm.run.damage
    prices = {row[:3]: row[3:] for row in paid(arm).itertuples(index=False, name=None)}
    for seed, here in path_table(arm, layers=None, methods=None).groupby("seed"):
        length, _ = damage_crossing(along(here, "first_epoch"), damage)
        walked = here[here["method"].isin(methods)][["layers", "method"]].drop_duplicates()
        for layers, method in walked.itertuples(index=False):
            path = along(here, method, layers)
            norm, crossed = damage_crossing(path, damage)
            gain = path["oracle_distance"].iloc[0] - distance_at(arm, (seed, layers, method), norm)
            row = {"seed": seed, "layers": layers, "method": method, "crossed": crossed, "gain": gain}
            row |= {"share": at(path.set_index("norm")["share"], norm)} | changes(path, length)
            price, forgets = prices.get((seed, layers, method), (np.nan, False))
            found.append(row | {"price": price, "forgets": forgets})
    columns = ("crossed", "gain", "share", "rise", "damage", "reached", "price", "forgets")
    return frame(found, "seed", "layers", "method", *columns)


@cache
def paid(arm: Arm) -> pd.DataFrame:
    """What every path costs the retain facts for forgetting as the oracle.

    Columns: seed, layers, method, price, forgets. As `claim_values.cost`: capped at throwing the fine-tuning
    away, which is what a path pays that never gets there (forgets is False).
    """
    table = reading(arm, "forgetting").dropna(subset="oracle_distance")
    table = table.assign(price=priced(arm, table), forgets=table["reached"].astype(bool))
    return table[["seed", "layers", "method", "price", "forgets"]].reset_index(drop=True)


def held(arm: Arm) -> pd.DataFrame:
    """Rise of the forget NLL by a step as long as that at which all layers have forgotten as the oracle.

    A row a seed and path of HELD, in its order: seed, layers, method, part (in words), share (of the step),
    rise, ends (True where the path is shorter than the step, and read at its end; or where all layers never
    forget so much, so that the step is where their own path does most).
    """
    first, found = one(arm, FIRST, "forgetting"), []
    ends = path_table(arm, None, None).groupby(["seed", "layers", "method"])["norm"].max()
    for layers, method in HELD:
        for seed, value in rise(arm, (layers, method), first["norm"]).items():
            short = bool(ends[seed, layers, method] < first["norm"][seed] * (1 - 1e-9))
            short |= not first["reached"][seed]
            told = (seed, layers, method, part_name(layers, method), first["share"][seed])
            found.append((*told, value, short))
    return frame(found, "seed", "layers", "method", "part", "share", "rise", "ends")


def common(arm: Arm) -> pd.DataFrame:
    """`readings` of the seeds that walked the most parts: rows of a map are compared on one set of seeds."""
    table = readings(arm)
    count = table.groupby("seed")["layers"].nunique()
    return table[table["seed"].isin(count[count == count.max()].index)]


def controls(arm: Arm) -> pd.DataFrame:
    """Per seed, layers and control, one step of the control and first-epoch replay at that very step.

    Columns: seed, layers, control, share, rise (of the forget NLL), rise_first (after the replay on the same
    layers). On all layers the control's longest measured step is taken that is no longer than the one on the
    other parts.
    """
    found = []
    for seed, here in path_table(arm, layers=None, methods=None).groupby("seed"):
        for control, steps in LAYER_CONTROLS.items():
            points = here[(here["method"] == control) & (here["share"] <= max(steps) * (1 + 1e-9))]
            for layers, measured in points.groupby("layers", sort=False):
                last = measured.sort_values("norm").iloc[-1]
                ours = changes(along(here, "first_epoch", layers), last["norm"])
                row = {"seed": seed, "layers": layers, "control": control, **last[["share", "rise"]]}
                found.append(row | {"rise_first": ours["rise"]})
    return frame(found, "seed", "layers", "control", "share", "rise", "rise_first")


def against_embedding(arm: Arm) -> pd.DataFrame:
    """Distance to the oracle at equal damage: the embedding minus every other part, paired over seeds.

    Columns as `contrasts.contrast`; `against` is (layers, method). Random parameters, as many as the
    embedding has, stand beside the parts. Empty where the embedding was not walked.
    """
    table = readings(arm, ("first_epoch", "random_subset"))
    wide = table.pivot_table(index="seed", columns=["layers", "method"], values="gain")
    if ("embedding", "first_epoch") not in wide:
        return contrast(pd.Series(dtype=float), {})
    rows = [(n, "first_epoch") for n in order(table["layers"]) if n != "embedding"]
    rows = [*rows[:1], ("all", "random_subset"), *rows[1:]]
    # A gain is the start's distance minus the reading's, so that distances differ by minus the gains.
    return contrast(-wide["embedding", "first_epoch"], {row: -wide[row] for row in rows if row in wide})


def output_less_input(arm: Arm) -> pd.DataFrame:
    """The embedding's output part less its input part, first epoch, paired over seeds: a row a reading.

    Columns: reading (PAYS: what others lose; NEARER: how much closer to the oracle), n, difference, ci_low,
    ci_high, both (whether every path of the two gets there). No rows where the parts were not walked alone.
    """
    table, rows = readings(arm, ("first_epoch",)), []
    for name, value, complete in ((PAYS, "price", "forgets"), (NEARER, "gain", "crossed")):
        mine = table[table["layers"].isin(["embedding.input", "embedding.output"])]
        wide = mine.pivot_table(index="seed", columns="layers", values=value).dropna()
        if wide.shape[1] == 2 and len(wide):
            found = paired(wide["embedding.output"], wide["embedding.input"])
            found |= {"reading": name, "difference": found["mean"], "both": bool(mine[complete].all())}
            rows.append(found)
    columns = ["reading", "n", "difference", "ci_low", "ci_high", "both"]
    return pd.DataFrame(rows).reindex(columns=columns).astype(dict.fromkeys(columns[1:5], float))


def space(arm: Arm) -> pd.DataFrame:
    """Each part's parameters (a tied matrix's are the input part's), and bytes of one record of it.

    Columns: part, parameters, bytes (an example in an epoch, mean over the first seed's ledger).
    """
    rows = arm.observations("train").reindex(columns=["layers", "metric", "value"])
    wide = rows.pivot_table("value", "layers", "metric").reindex(columns=["part_parameters", "part_bytes"])
    wide = wide.dropna().set_axis(["parameters", "bytes"], axis=1)
    return wide.reindex(order(wide.index)).rename_axis("part").reset_index()


# -- how it is drawn --------------------------------------------------------------------------------------
