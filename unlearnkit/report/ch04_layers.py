"""Chapter 04: which part of the model carries unlearning, read at equal damage and at equal step.

Equal damage is where the path itself first costs the retain facts what the run is read at. Equal step is as
long as the first-epoch path on all layers is there, so that many parameters go no further than few.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import pandas as pd

from unlearnkit.errors import DataError
from unlearnkit.report.ch04_alignment import tied
from unlearnkit.report.contrasts import contrast
from unlearnkit.report.readings import along, damage_crossing, path_table
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import NAMES, bytes_of, contrasts, frame, mean_and_range
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
    "norm.final": "final norm",
    "embedding.output": "embedding, as output",
    "norms": "all norms",
}
METHODS = ("first_epoch", "all_epochs")
READ = (*METHODS, "random_subset")


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
    return PARTS.get(layers, layers.replace(".", " ")) if method in METHODS else NAMES[method]


# -- readings ---------------------------------------------------------------------------------------------


def changes(path: pd.DataFrame, norm: float) -> dict[str, float]:
    """One seed's path at a step length, as changes from its start.

    rise (forget NLL), damage (retain NLL) and gain (how much closer to the oracle, D_F), in nats; share (the
    step itself), and `reached`: False where the path ends before, and is read at its end.
    """
    path = path.set_index("norm").sort_index()
    found = {column: at(path[column], norm) for column in ("rise", "damage", "share")}
    gain = path["oracle_distance"].iloc[0] - at(path["oracle_distance"], norm)
    return found | {"gain": gain, "reached": bool(norm <= path.index[-1] * (1 + 1e-9))}


@cache
def readings(arm: Arm, methods: tuple[str, ...] = METHODS) -> pd.DataFrame:
    """Per seed, layers and method (any of READ), the two readings. The module says where they are taken.

    Columns: seed, layers, method; at equal damage `gain` (nats of D_F), `share` (step, of the fine-tuning
    displacement), `crossed` (False where the path never costs so much, and is read at its longest step),
    `early` (before the first measured step); at equal step `rise`, `damage`, `reached`.
    """
    found = []
    for seed, here in path_table(arm, layers=None, methods=None).groupby("seed"):
        length, _ = damage_crossing(along(here, "first_epoch"), arm.run.damage)
        for (layers, method), _ in here[here["method"].isin(methods)].groupby(
            ["layers", "method"], sort=False
        ):
            path = along(here, method, layers)
            norm, crossed = damage_crossing(path, arm.run.damage)
            matched, there = changes(path, norm), changes(path, length)
            row = {"seed": seed, "layers": layers, "method": method, "crossed": crossed}
            row |= {k: matched[k] for k in ("gain", "share")} | {"early": norm < path["norm"].iloc[1]}
            found.append(row | {k: there[k] for k in ("rise", "damage", "reached")})
    columns = ["seed", "layers", "method", "crossed", "gain", "share", "early", "rise", "damage", "reached"]
    return pd.DataFrame(found, columns=columns)


def common(arm: Arm) -> pd.DataFrame:
    """`readings` of the seeds that walked the most parts: rows of a map are compared on one set of seeds."""
    table = readings(arm)
    count = table.groupby("seed")["layers"].nunique()
    return table[table["seed"].isin(count[count == count.max()].index)]


def widest(run: Run) -> Arm:
    """The arm that walked the most parts, the first of equals: the one whose map is drawn."""
    return max(run.arms, key=lambda arm: readings(arm)["layers"].nunique())


def exploding(arm: Arm, nats: float = 1.0) -> list[str]:
    """Parts, in words, on which the equal step costs the retain facts at least so much, mean over seeds."""
    damage = common(arm).query("method == 'first_epoch'").groupby("layers")["damage"].mean()
    return [part_name(n) for n in order(damage[damage >= nats].index)]


def controls(arm: Arm) -> pd.DataFrame:
    """Per seed, layers and control, one step of the control and first-epoch replay at that very step.

    Columns: seed, layers, control, share, rise (of the forget NLL), rise_first (after the replay on the same
    layers), and reached (False where that path ends before). On all layers the control's longest measured
    step is taken that is no longer than the one on the other parts.
    """
    found = []
    for seed, here in path_table(arm, layers=None, methods=None).groupby("seed"):
        for control, steps in LAYER_CONTROLS.items():
            points = here[(here["method"] == control) & (here["share"] <= max(steps) * (1 + 1e-9))]
            for layers, measured in points.groupby("layers", sort=False):
                last = measured.sort_values("norm").iloc[-1]
                ours = changes(along(here, "first_epoch", layers), last["norm"])
                row = {"seed": seed, "layers": layers, "control": control, **last[["share", "rise"]]}
                found.append(row | {"rise_first": ours["rise"], "reached": ours["reached"]})
    return pd.DataFrame(
        found, columns=["seed", "layers", "control", "share", "rise", "rise_first", "reached"]
    )


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


def space(arm: Arm) -> pd.DataFrame:
    """Each part's parameters (a tied matrix's are the input part's), and bytes of one record of it.

    Columns: part, parameters, bytes (an example in an epoch, mean over the first seed's ledger).
    """
    rows = arm.observations("train").reindex(columns=["layers", "metric", "value"])
    wide = rows.pivot_table("value", "layers", "metric").reindex(columns=["part_parameters", "part_bytes"])
    wide = wide.dropna().set_axis(["parameters", "bytes"], axis=1)
    return wide.reindex(order(wide.index)).rename_axis("part").reset_index()


# -- tables -----------------------------------------------------------------------------------------------


def contrast_table(arm: Arm) -> pd.DataFrame:
    """The embedding against every other part, and against random parameters, at equal damage."""
    found = against_embedding(arm)
    titles = {"contrast": "embedding against", "difference": "difference of D_F", "wins": "closer in"}
    return contrasts(found, {pair: part_name(*pair) for pair in found["against"]}, 2, **titles)


def parts_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """The embedding's input part, its output part and both together, in every arm that walked them apart."""
    rows = [
        {
            "arm": arm.name,
            "matrices": "one, tied" if tied(arm) else "two",
            "part": part_name(layers),
            "closer, at equal damage": mean_and_range(mine["gain"]),
            "step (%)": mean_and_range(100 * mine["share"], 1),
            "forget NLL rises, at equal step": mean_and_range(mine["rise"], 3),
            "seeds": len(mine),
        }
        for arm in arms
        for layers, mine in readings(arm, ("first_epoch",)).groupby("layers")
        if "embedding.input" in set(readings(arm)["layers"]) and layers.startswith("embedding")
    ]
    return frame(rows, *(rows[0] if rows else ("arm", "part")))


def last_blocks_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """What a step on the last two blocks does beside one of that length on all layers; means over seeds."""
    rows = []
    for arm in arms:
        table = readings(arm, ("first_epoch",)).pivot_table("rise", "seed", "layers")
        table = table.reindex(columns=["last2", "all"]).dropna()
        last, whole = table.mean()
        told = {"last two blocks, nats": f"{last:+.3f}", "all layers, nats": f"{whole:+.3f}"}
        rows.append({"arm": arm.name, **told, "share": f"{last / whole:.0%}", "seeds": len(table)})
    return frame([row for row in rows if row["seeds"]], *rows[0])


def space_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """Parameters and ledger bytes of each part of the model."""
    rows = [
        {
            "arm": arm.name,
            "part": part_name(r.part),
            "parameters": f"{r.parameters:,.0f}",
            "share of parameters": f"{r.parameters / space(arm)['parameters'].sum():.1%}",
            "bytes a record": bytes_of(r.bytes),
            "share of bytes": f"{r.bytes / space(arm)['bytes'].sum():.1%}",
        }
        for arm in arms
        for r in space(arm).itertuples()
    ]
    return frame(rows, *(rows[0] if rows else ("arm", "part")))
