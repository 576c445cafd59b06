"""Which part of the model carries unlearning: every layer selection, read at equal damage and at equal step.

Equal damage is where the path itself first costs the retain facts grid.DAMAGE_NATS. Equal step is as long as
the first-epoch path on all layers is there, so that many parameters go no further than few.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import pandas as pd

from unlearnkit import profiles
from unlearnkit.experiments.readings import at
from unlearnkit.profiles import Profile
from unlearnkit.study import grid
from unlearnkit.study.results.matched import damage_crossing, paired
from unlearnkit.study.results.observed import arm_of, arms
from unlearnkit.study.results.paths import along, path_table

NAMES = {
    "all": "all layers",
    "all-but-embedding": "all but embedding",
    "embedding": "embedding",
    "embedding.input": "embedding, as input",
    "embedding.output": "embedding, as output",
    "position": "positions",
    "first2": "first two blocks",
    "last2": "last two blocks",
    "norm.final": "final norm",
    "norms": "all norms",
}
GPT2_SMALL = (50257 * 768, 124_439_808)  # weights of its token matrix, and of the whole model
METHODS = ("first_epoch", "all_epochs")
READ = (*METHODS, "random_subset")
FIRST_ROWS = ("all", "all-but-embedding", "embedding", "embedding.input", "position", "first2")
LAST_ROWS = ("last2", "norm.final", "embedding.output", "norms")
CHANGES = {
    "forget_nll": "rise",
    "damage": "damage",
    "bystander_damage": "bystander",
    "oracle_distance": "away",
}


def order(names: Iterable[str]) -> list[str]:
    """Layer selections as a reader looks for them: wholes, then from the model's input to its output."""
    found = set(names)
    blocks = sorted((n for n in found if n.startswith("block.")), key=lambda n: int(n[6:]))
    return [n for n in (*FIRST_ROWS, *blocks, *LAST_ROWS) if n in found]


def layer_name(layers: str) -> str:
    """A layer selection in words; `block.3` is block 3."""
    return NAMES.get(layers, layers.replace("block.", "block "))


def changes(path: pd.DataFrame, norm: float) -> dict[str, float]:
    """One seed's path at a step length, as changes from its start (nats).

    rise (forget NLL), damage (retain NLL), bystander (the same without the wrong person's facts), gain (how
    much closer to the oracle, D_F), and `reached`: False where the path ends before, and is read at its end.
    """
    path = path.set_index("norm").sort_index()
    found = {name: at(path[c], norm) - path[c].iloc[0] for c, name in CHANGES.items()}
    found["gain"] = -found.pop("away")
    return found | {"reached": bool(norm <= path.index[-1] * (1 + 1e-9))}


def readings(profile: Profile, arm: str, methods: Sequence[str] = METHODS) -> pd.DataFrame:
    """Per seed, layers and method (any of READ), the two readings. The module says where they are taken.

    Columns: seed, layers, method; at equal damage `gain` (nats of D_F), `share` (step, of the fine-tuning
    displacement), `crossed` (False where the path never costs so much, and is read at its longest step),
    `early` (before the first measured step); at equal step `rise`, `damage`, `gain_there`, `reached`.
    """
    table = _readings(profile.name, arm)
    return table[table["method"].isin(methods)].reset_index(drop=True)


@cache
def _readings(name: str, arm: str) -> pd.DataFrame:
    table, found = path_table(profiles.get(name), arm, layers=None, methods=None), []
    for seed, here in table.groupby("seed"):
        length, _ = damage_crossing(along(here, "first_epoch"))
        for (layers, method), _ in here[here["method"].isin(READ)].groupby(["layers", "method"], sort=False):
            path = along(here, method, layers)
            norm, crossed = damage_crossing(path)
            matched, there = changes(path, norm), changes(path, length)
            row = {"seed": seed, "layers": layers, "method": method, "gain": matched["gain"]}
            row |= {"share": at(path.set_index("norm")["share"].sort_index(), norm), "crossed": crossed}
            row |= {"early": norm < path["norm"].iloc[1], "gain_there": there.pop("gain")}
            found.append(row | {k: there[k] for k in ("rise", "damage", "reached")})
    return pd.DataFrame(found)


def common(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that have the most layer selections: rows of a map are compared on one set."""
    count = table.groupby("seed")["layers"].nunique()
    return table[table["seed"].isin(count[count == count.max()].index)]


def widest(profile: Profile) -> str:
    """The arm with the most layer selections, the first of equals: the one whose map is drawn."""
    counts = {a.name: max(len(grid.layers_of(a, s)) for s in a.settings) for a in arms(profile)}
    return max(counts, key=counts.get)


def controls(profile: Profile, arm: str) -> pd.DataFrame:
    """Per seed, layers and control, one step of the control and first-epoch replay at that very step.

    Columns: seed, layers, control, share, then rise, bystander, gain of the control and, with `_first`, of
    the replay on the same layers, and reached (False where that path ends before). On all layers the
    control's longest measured step is taken that is no longer than the one on the other selections.
    """
    table, found = path_table(profile, arm, layers=None, methods=None), []
    for seed, here in table.groupby("seed"):
        for control, steps in grid.LAYER_CONTROLS.items():
            points = here[(here["method"] == control) & (here["share"] <= max(steps) * (1 + 1e-9))]
            for layers, measured in points.groupby("layers", sort=False):
                last = measured.sort_values("norm").iloc[-1]
                theirs = changes(along(here, control, layers), last["norm"])
                ours = changes(along(here, "first_epoch", layers), last["norm"])
                row = {"seed": seed, "layers": layers, "control": control, "share": last["share"]}
                row |= {k: theirs[k] for k in ("rise", "bystander", "gain")}
                row |= {f"{k}_first": ours[k] for k in ("rise", "bystander", "gain")}
                found.append(row | {"reached": ours["reached"]})
    return pd.DataFrame(found)


def against_embedding(profile: Profile, arm: str) -> pd.DataFrame:
    """Distance to the oracle at equal damage: the embedding minus every other selection, paired over seeds.

    Columns as `results.contrasts`; `against` is (layers, method). Random parameters, as many as the
    embedding has, stand beside the selections. Empty where the embedding was not walked.
    """
    table = readings(profile, arm, ("first_epoch", "random_subset"))
    wide = table.pivot_table(index="seed", columns=["layers", "method"], values="gain")
    if ("embedding", "first_epoch") not in wide:
        return pd.DataFrame(columns=["against", "n", "difference", "wins"])
    mine = wide["embedding", "first_epoch"]
    rows = [(n, "first_epoch") for n in order(table["layers"]) if n != "embedding"]
    rows = [*rows[:1], ("all", "random_subset"), *rows[1:]]
    # A gain is the start's distance minus the reading's, so that the distances differ by minus the gains.
    return paired(-mine, {row: -wide[row] for row in rows if row in wide})


def space(profile: Profile, arm: str) -> pd.DataFrame:
    """Of each part of the model its parameters, and its bytes in the ledger of seed 0; empty without it.

    Columns: part (embedding.input, embedding.output, position, blocks, norm.final, other), parameters (a tied
    matrix counts as the input part's), bytes (of one record: an example in an epoch).
    """
    from unlearnkit.errors import LedgerError
    from unlearnkit.ledger import GradientLedger  # here, since it imports torch
    from unlearnkit.study import cells

    empty = pd.DataFrame(columns=["part", "parameters", "bytes"])
    first = arm_of(profile, arm).seeds[0]
    trained = (c for c in cells(profile) if c.stage == "train" and c.config["arm"] == arm)
    (cell,) = (c for c in trained if c.config["seed"] == first)
    try:
        book = GradientLedger.open(cell.folder / "ledger")
        stored = book.bytes_by_site()
    except LedgerError:  # removed once the cells that need it were done
        return empty
    found = pd.DataFrame(0.0, index=pd.Index(PARTS, name="part"), columns=["parameters", "bytes"])
    sizes = book.parameter_sizes()
    for slot, names in book.tags.items():
        found.loc[_part(names), "parameters"] += sizes.pop(slot.parameter, 0)
    of_module = {s.module: _part(book.tags[s.slots()[0]]) for s in book.reader.sites}
    for name, size in stored.items():
        found.loc[of_module.get(name.rpartition("/")[0], "other"), "bytes"] += size / max(len(book.where), 1)
    return found[found.sum(axis=1) > 0].reset_index()


PARTS = ("embedding.input", "embedding.output", "position", "blocks", "norm.final", "other")


def _part(names: Iterable[str]) -> str:
    """The part that a slot with these elementary layer names belongs to."""
    if any(n.startswith("block.") for n in names):
        return "blocks"
    return next((p for p in PARTS if p in names), "other")


def embedding_shares(matrix: int, total: int) -> tuple[float, float]:
    """A token matrix's share of a model's weights: counted once, and with the tied head counted again."""
    return matrix / total, 2 * matrix / (total + matrix)
