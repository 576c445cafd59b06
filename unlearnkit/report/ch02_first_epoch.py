"""Chapter 02: what each update pays for forgetting, at which damage it leads, and epoch by epoch."""

import pandas as pd

from unlearnkit.report import contrasts, readings, tables
from unlearnkit.report.claim_values import cost, thrown_away
from unlearnkit.report.run import Arm, Run

MAIN = ("first_epoch", "all_epochs", "adam_replay")  # the updates that arms are compared by
EPOCH_LAYERS = ("all", "embedding")
DAMAGES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # nats: reading points of the contrast against damage


def prices(arm: Arm, layers: str = "all", methods: tuple[str, ...] = readings.UPDATES) -> pd.DataFrame:
    """What each update pays for forgetting as the oracles have: a row a seed and update, of those walked.

    Columns: seed, method, reached (whether it gets there), cost (`claim_values.cost`, nats), share (of all
    that the retain facts were taught), distance (D_F there), closest (smallest D_F), closest_damage (there).
    """
    met = readings.reading(arm, "forgetting", None, layers, methods).dropna(subset="oracle_distance")
    near = readings.reading(arm, "closest", None, layers, methods).set_index(["method", "seed"])
    taught, parts = thrown_away(arm)["damage"], []
    for method in [m for m in methods if m in set(met["method"])]:
        rows = met[met["method"] == method].set_index("seed")
        paid, close = cost(arm, (layers, method)), near.loc[method]
        told = {"method": method, "reached": rows["reached"].astype(bool), "cost": paid}
        told |= {"share": paid / taught.reindex(paid.index), "distance": rows["oracle_distance"]}
        told |= {"closest": close["oracle_distance"], "closest_damage": close["damage"]}
        parts.append(pd.DataFrame(told).loc[rows.index].rename_axis("seed").reset_index())
    columns = ["seed", "method", "reached", "cost", "share", "distance", "closest", "closest_damage"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def by_arm(run: Run, layers: str = "all") -> pd.DataFrame:
    """The mean cost of MAIN (`prices`, nats), a row an arm by its short name; NaN where an arm lacks one."""
    costs = {tables.short(a.name): prices(a, layers, MAIN).groupby("method")["cost"].mean() for a in run.arms}
    return pd.DataFrame({name: cost.astype(float) for name, cost in costs.items()}).T.reindex(columns=MAIN)


def by_layers(run: Run) -> pd.DataFrame:
    """AdamW's updates of all epochs by the layers that they go to: a row an arm that walks both, by name.

    Columns: first (the first epoch's gradients on all layers), first_embedding (the same on the embedding
    alone), all, embedding (AdamW's updates there): mean costs in nats; reached, seeds: in how many of how
    many those on the embedding forget as the oracles have; there, there_all: what AdamW's updates cost on the
    embedding, and on all layers, in these.
    """
    paths = {"first": ("all", "first_epoch"), "first_embedding": ("embedding", "first_epoch")}
    paths |= {"all": ("all", "adam_replay"), "embedding": ("embedding", "adam_replay")}
    rows = {}
    for arm in run.arms:
        paid = {column: cost(arm, path) for column, path in paths.items()}
        if all(map(len, paid.values())):
            there = readings.reading(arm, "forgetting", None, "embedding", ("adam_replay",))
            there = there.dropna(subset="oracle_distance").set_index("seed")["reached"].astype(bool)
            row = {column: values.mean() for column, values in paid.items()}
            row |= {"reached": there.sum(), "seeds": len(there)}
            same = {"there": paid["embedding"], "there_all": paid["all"]}
            row |= {column: values.reindex(there.index[there]).mean() for column, values in same.items()}
            rows[tables.short(arm.name)] = row
    columns = [*paths, "reached", "seeds", "there", "there_all"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def layers_differ(run: Run) -> bool:
    """Whether AdamW's updates belong on the embedding of every arm but the first, where it matters less.

    On the first some seed does not forget by the embedding alone, and in those that do it costs about what it
    does on all layers; on the others they cost less there than half of the first epoch's gradients, and less
    than on all layers. True, too, of arms that do not walk both.
    """
    found, first = by_layers(run), tables.short(run.arms[0].name)
    others = found.drop(index=first, errors="ignore")
    there = (others["embedding"] < others[["first", "all"]].min(axis=1)) & (
        others["embedding"] < others["first"] / 2
    )
    own = found[found.index == first]
    alike = (own["there"] / own["there_all"]).between(2 / 3, 3 / 2) & (own["reached"] < own["seeds"])
    return bool(there.all() and (others["reached"] == others["seeds"]).all() and alike.all())


def saves_less(run: Run) -> bool:
    """Whether AdamW's updates on all layers save less than on the first arm elsewhere, and on one cost more.

    The one is that of GPT-NeoX's form; a run without it is not asked.
    """
    found, first = by_layers(run), tables.short(run.arms[0].name)
    ratio = found["all"] / found["first"]
    others = ratio.drop(index=first, errors="ignore")
    less = first not in ratio.index or (others > ratio[first]).all()
    return bool(less and ("neox-tiny, AdamW" not in others.index or (others > 1).sum() == 1))


def cheaper(arm: Arm, layers: str = "all", methods: tuple[str, ...] = readings.UPDATES) -> pd.DataFrame:
    """What the first epoch pays less what each other update pays, in nats: `contrasts.contrast`'s columns."""
    paid = {m: rows.set_index("seed")["cost"] for m, rows in prices(arm, layers, methods).groupby("method")}
    first = paid.pop("first_epoch", pd.Series(dtype=float))
    return contrasts.contrast(first, {m: paid[m] for m in methods if m in paid and len(first)})


def by_damage(arm: Arm, method: str = "all_epochs") -> pd.DataFrame:
    """D_F of `method` minus that of the first epoch, read at several damages: seed, damage, difference.

    Above 0 the first epoch is nearer to the oracle. Damages that some seed's path never costs are left out.
    """
    parts = [pd.DataFrame(columns=["seed", "damage", "difference"])]
    for damage in DAMAGES:
        table = readings.matched_damage(arm, damage, methods=("first_epoch", method))
        wide = table.pivot_table(index="seed", columns="method", values="oracle_distance")
        if table["crossed"].all() and method in wide:
            difference = (wide[method] - wide["first_epoch"]).dropna()
            parts.append(difference.rename("difference").reset_index().assign(damage=damage))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def by_epoch(arm: Arm) -> pd.DataFrame:
    """D_F at matched damage less the fine-tuned model's, by layers and epoch: negative is closer.

    Columns: layers, epoch (1 ... E, and "all"), n (seeds), change, ci_low, ci_high (NaN with one seed).
    Only seeds that walk every epoch count, so that epochs are compared over the same seeds; empty where none
    does.
    """
    names = {f"epoch_{e}": str(e) for e in range(2, arm.recipe["epochs"] + 1)}
    names = {"first_epoch": "1"} | names | {"all_epochs": "all"}
    start = readings.path_table(arm, methods=()).set_index("seed")["oracle_distance"]
    distance, rows = readings.by_setting(arm), []
    for layers in EPOCH_LAYERS:
        wide = distance.reindex(columns=[(layers, method) for method in names]).dropna()
        for method, epoch in names.items() if len(wide) else ():
            found = contrasts.paired(wide[layers, method], start[wide.index])
            rows.append({"layers": layers, "epoch": epoch, "change": found.pop("mean"), **found})
    return pd.DataFrame(rows).reindex(columns=["layers", "epoch", "n", "change", "ci_low", "ci_high"])


def turning_points(arm: Arm, method: str = "first_epoch", layers: str = "all") -> pd.DataFrame:
    """Per seed, three marks of one path: re-exposure, meeting the oracle, and the end.

    dip        lowest forget NLL minus the start's over the measured steps: below 0 is re-exposure
    meets      step length (share) where the forget NLL first reaches the oracles', interpolated; NaN if never
    damage_there, distance_there   retain damage and D_F at that step
    end_gap    forget NLL minus the oracles' at the longest step: above 0 is over-unlearning
    """
    table, found = readings.path_table(arm, layers, (method,)), []
    for met in readings.reading(arm, "forgetting", None, layers, (method,)).itertuples():
        gap = readings.along(table[table["seed"] == met.seed], method, layers)["oracle_gap"]
        row = {"seed": met.seed, "dip": min(gap.iloc[1:] - gap.iloc[0]), "end_gap": gap.iloc[-1]}
        if met.reached and met.norm > 0:
            row |= {"meets": met.share, "damage_there": met.damage, "distance_there": met.oracle_distance}
        found.append(row)
    columns = ["seed", "dip", "meets", "damage_there", "distance_there", "end_gap"]
    return pd.DataFrame(found).reindex(columns=columns)
