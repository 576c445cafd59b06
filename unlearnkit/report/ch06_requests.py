"""Chapter 06: where fuzzy, exact and iterative removal end, and who pays for it (claim C5)."""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit.report import tables
from unlearnkit.report.ch05_stopping import held_out
from unlearnkit.report.claim_values import cost, one
from unlearnkit.report.readings import along, between, matched_damage, path_table, reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.config import STOP_DAMAGE
from unlearnkit.study.readings import at, start

REQUESTED = ("fuzzy", "iterative")  # what claim C5 compares
ITERATIVE = ("iterative", "iterative_reversed")
COMPARED = ("first_epoch", "fuzzy", "iterative", "wrong_person", "random_direction")  # walked in every seed
REQUESTS = {"first_epoch": "exact", "fuzzy": "fuzzy", "iterative": "iterative"}
GROUPS = ("neighbours in the fuzzy request", "neighbours outside of it", "other retain facts")


def by_damage(arm: Arm) -> pd.DataFrame:
    """D_F of the fuzzy request minus the iterative one's: seed, damage (at which both are read), difference.

    Only where both paths get so far.
    """
    found = []
    for damage in np.geomspace(0.02, 1, 18):
        there = matched_damage(arm, damage, methods=REQUESTED).query("crossed")
        wide = there.pivot_table(index="seed", columns="method", values="oracle_distance")
        apart = wide.reindex(columns=REQUESTED).dropna()
        found += [(seed, damage, fuzzy - iterative) for seed, fuzzy, iterative in apart.itertuples()]
    return tables.frame(found, "seed", "damage", "difference")


def mean_path(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Means over seeds of one path of a path table, at the steps that all its seeds looked at.

    Columns: share, damage, oracle_distance; the start is the first row.
    """
    path = along(table, method)
    path = path[path["seed"].isin(path.loc[path["method"] == method, "seed"])]
    steps = path.groupby("share")[["damage", "oracle_distance"]]
    return steps.mean()[steps.size() == path["seed"].nunique()].reset_index()


def mean_line(arm: Arm, method: str) -> pd.DataFrame:
    """The mean over seeds of one path between the steps, too: as `mean_path`, at shares close to each other.

    D_F is interpolated fact by fact and the damage straight, in each seed; it ends where the shortest does.
    """
    path, found = along(path_table(arm, methods=(method,)), method), []
    ends = path[path["method"] == method].groupby("seed")["share"].max()
    shares = np.linspace(0, ends.min(), 200)
    for seed in ends.index:
        own = path[path["seed"] == seed].dropna(subset="damage")
        norms = np.interp(shares, own["share"], own["norm"])  # rounds that left facts alone went less far
        found.append(between(arm, (seed, "all", method), own, norms))
    damage, distance = np.mean(found, axis=0)
    return pd.DataFrame({"share": shares, "damage": damage, "oracle_distance": distance})


def prices(run: Run) -> pd.DataFrame:
    """What each of REQUESTS costs the retain facts for forgetting as the oracle, as `claim_values.cost`.

    A row an arm, request and seed: arm, request (a value of REQUESTS), seed, price, forgets (False where the
    path never gets there).
    """
    found = []
    for arm in run.arms:
        for method, request in REQUESTS.items():
            there = one(arm, ("all", method), "forgetting")["reached"]
            for seed, price in cost(arm, ("all", method)).items():
                found.append((arm.name, request, seed, price, bool(there[seed])))
    return tables.frame(found, "arm", "request", "seed", "price", "forgets")


def endings(arm: Arm) -> pd.DataFrame:
    """Where each path gets to: a row a seed and method.

    nearest, nearest_norm, nearest_damage   lowest D_F anywhere on the path (`reading`), and what it takes
    known                                   share of forget facts likelier there than held-out ones were
    late                                    D_F at config.STOP_DAMAGE, where the fuzzy path is left
    end_share, end_gap, end_damage          at its longest step; a gap above 0 is past the oracle
    """
    table, found = path_table(arm, methods=COMPARED), []
    table = table.dropna(subset="oracle_distance")  # a seed may lack its oracle
    late = matched_damage(arm, STOP_DAMAGE, methods=COMPARED).set_index(["seed", "method"])["oracle_distance"]
    closest = reading(arm, "closest", layers="all", methods=COMPARED).set_index(["seed", "method"])
    for (seed, method), _ in table[table["method"] != "finetuned"].groupby(["seed", "method"], sort=False):
        path = along(table[table["seed"] == seed], method)
        near, end = closest.loc[(seed, method)], path.iloc[-1]
        row = {"seed": seed, "method": method, "late": late[seed, method], "nearest": near["oracle_distance"]}
        row |= {f"nearest_{c}": near[c] for c in ("norm", "damage")}
        found.append(row | {f"end_{c}": end[c] for c in ("share", "damage")} | {"end_gap": end["oracle_gap"]})
    columns = ["nearest", "nearest_norm", "nearest_damage", "late", "end_share", "end_gap", "end_damage"]
    ends = tables.frame(found, "seed", "method", *columns)
    facts = facts_at(arm, ends.set_index(["seed", "method"])["nearest_norm"]).query("split == 'forget'")
    facts = facts.assign(level=facts["seed"].map(held_out(arm)["nll"])).dropna(subset="level")
    known = (facts["nll"] < facts["level"]).groupby([facts["seed"], facts["method"]]).mean()
    return ends.join(known.rename("known"), on=["seed", "method"])


def facts_at(arm: Arm, norms: pd.Series) -> pd.DataFrame:
    """Every fact that the paths score, at a step length for each seed and method (the index of `norms`).

    Columns: seed, method, example, split, group (of GROUPS, for retain facts), nll, rise (above theta_T's).
    """
    found = []
    for setting in arm.settings:
        split = {e.id: e.split for e in setting.facts}
        trained, walked = (t[t["seed"] == setting.seed] for t in map(arm.observations, ("train", "path")))
        ids = {*setting.forget, *(e.id for e in setting.retain())}
        rows = pd.concat([start(trained, ids), walked[walked["layers"] == "all"]])
        rows = rows[(rows["metric"] == "nll") & rows["example"].isin(ids)]
        mine = norms[norms.index.get_level_values("seed") == setting.seed].droplevel("seed")
        for method, norm in mine.items():
            path = rows[rows["method"].isin(["finetuned", method])]
            path = path.pivot_table(index="norm", columns="example", values="value")
            for i in path:
                near = GROUPS[0] if i in setting.fuzzy else GROUPS[1]
                told = (setting.seed, method, i, split[i], near if split[i] == "neighbour" else GROUPS[2])
                value = at(path[i].dropna(), norm)
                found.append((*told, value, value - path[i].iloc[0]))
    return tables.frame(found, "seed", "method", "example", "split", "group", "nll", "rise")


@cache
def neighbour_rises(arm: Arm) -> pd.DataFrame:
    """Mean rise of the near-neighbours' NLL at matched damage: seed, method, group, rise."""
    norms = matched_damage(arm, methods=COMPARED).set_index(["seed", "method"])["norm"]
    facts = facts_at(arm, norms).query("split == 'neighbour'")
    return facts.groupby(["seed", "method", "group"], sort=False)["rise"].mean().reset_index()


def rounds(arm: Arm) -> pd.DataFrame:
    """The iterative paths by round, means over seeds that walked both orders, or all where one was.

    Columns: method, round, known (forget facts that the round adds), forget_nll, damage.
    """
    keys = ["seed", "method", "share"]
    walked = arm.observations("path").reindex(columns=[*keys, "removed"])
    known = walked[walked["method"].isin(ITERATIVE)].groupby(keys)["removed"].first().rename("known")
    table = path_table(arm, methods=ITERATIVE).join(known, on=keys).dropna(subset="known")
    orders = table.groupby("seed")["method"].transform("nunique")
    table = table[orders == table["method"].nunique()]
    turn = table.groupby(["seed", "method"])["share"].rank().astype(int).rename("round")
    return table.groupby(["method", turn])[["known", "forget_nll", "damage"]].mean().reset_index()


def both_orders(arm: Arm) -> list[int]:
    """The seeds that walked the facts in both orders."""
    walked = arm.observations("path").reindex(columns=["seed", "method"])
    orders = walked[walked["method"].isin(ITERATIVE)].groupby("seed")["method"].nunique()
    return orders.index[orders == len(ITERATIVE)].tolist()


def reversal(arm: Arm) -> pd.DataFrame:
    """What the reverse order changes, reversed less forward, a row a seed of `both_orders`.

    price       nats that the retain facts lose for forgetting as the oracle (`claim_values.cost`)
    closest     D_F at the path's closest approach
    """
    seeds = both_orders(arm)
    if not seeds:
        return tables.frame([], "price", "closest")
    near = reading(arm, "closest", layers="all", methods=ITERATIVE)
    near = near.pivot_table(index="seed", columns="method", values="oracle_distance")
    values = {"price": pd.DataFrame({m: cost(arm, ("all", m)) for m in ITERATIVE}), "closest": near}
    forward, backward = ITERATIVE
    return pd.DataFrame({name: v[backward] - v[forward] for name, v in values.items()}).reindex(seeds)
