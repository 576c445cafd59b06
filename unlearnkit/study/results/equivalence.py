"""Is an unlearned model as good as an oracle? Equivalence within a margin, and distances of distributions."""

import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study import plan
from unlearnkit.study.results.matched import matched_damage
from unlearnkit.study.results.observed import arm_of, arms
from unlearnkit.study.results.oracles import oracle_distance, oracle_floor, oracle_nll
from unlearnkit.study.results.testing import ALPHA, UPDATES, fact_readings

FIXED_MARGIN = 0.25  # nats; of a run without several oracles of one target, fixed before looking
ORACLE = "an oracle (against the others)"
MEASURES = ("distance", "gap")


def margin(profile: Profile, arm: str) -> tuple[float, str]:
    """(nats, where from): how far one oracle lies from the others of its target, on average over seeds.

    Of the tiny model's AdamW arm, which has several oracles of each target; else of the arm itself; else
    fixed.
    """
    tiny = [a.name for a in arms(profile) if a.model == plan.TINY and a.optimizer == "adamw"]
    for name in [*tiny, arm]:
        spread = oracle_floor(oracle_nll(profile, name))
        if spread:
            return spread, f"mean distance of one oracle from the others, {name}"
    return FIXED_MARGIN, "fixed beforehand, since no person here has two oracles"


def oracle_spread(profile: Profile, arm: str) -> pd.DataFrame:
    """Each oracle against the others without the same facts: seed, distance (D_F), gap (signed), nats."""
    nll, rows = oracle_nll(profile, arm), []
    for seed in nll:
        own = nll[seed].dropna()
        others = nll.drop(columns=seed).reindex(own.index).dropna(axis=1)
        if others.shape[1]:
            gap = (own - others.mean(axis=1)).mean()
            rows.append({"seed": seed, "distance": oracle_distance(own, others), "gap": gap})
    return pd.DataFrame(rows, columns=["seed", "distance", "gap"])


def equivalence(profile: Profile, arm: str) -> pd.DataFrame:
    """TOST over seeds: is an update about as far from the oracle as oracles are, at matched damage?

    measure "distance": D_F minus the margin, which is what an oracle itself has of D_F; "gap": forget NLL
    minus the oracles', signed. Both must lie within +- the margin, so that D_F must be below twice that. The
    oracles among themselves come last, where there are several, for scale: their means are zero by
    construction.

    Columns: measure, update, n, mean, ci_low, ci_high (90 %, which decides), p, p_holm (over the updates of a
    measure), equivalent (p_holm < 0.05). One seed has a mean and nothing else.
    """
    size, _ = margin(profile, arm)
    readings = matched_damage(profile, arm, layers=None, methods=None).set_index(["layers", "method"])
    among, rows = oracle_spread(profile, arm), []
    for measure, column in zip(MEASURES, ("oracle_distance", "oracle_gap"), strict=True):
        shift = size if measure == "distance" else 0.0
        values = {
            name: readings.loc[[where], column].dropna() - shift
            for where, name in UPDATES.items()
            if where in readings.index
        }
        values[ORACLE] = among[measure] - shift
        tests = {name: _tost(v, size) for name, v in values.items() if len(v)}
        rows += [{"measure": measure, "update": name, **row} for name, row in tests.items()]
    table = pd.DataFrame(rows).reindex(
        columns=["measure", "update", "n", "mean", "ci_low", "ci_high", "p", "p_holm"]
    )
    for _, group in table[table["p"].notna() & (table["update"] != ORACLE)].groupby("measure"):
        table.loc[group.index, "p_holm"] = stats.holm(group["p"])
    judged = table["p_holm"].where(table["update"] != ORACLE, table["p"])
    return table.assign(equivalent=judged < ALPHA)


def _tost(values: pd.Series, size: float) -> dict:
    row = {"n": len(values), "mean": values.mean()}
    try:
        test = stats.tost(values, size)
    except DataError:
        return row
    return row | {"ci_low": test.ci_low, "ci_high": test.ci_high, "p": test.p}


def ks_distances(profile: Profile, arm: str) -> pd.DataFrame:
    """KS distance D between the forget facts' NLLs under an update and under the oracle, in every seed.

    Columns: update, seed, d, ci_low, ci_high (bootstrap over facts), p, n. The oracle's rows hold its mean D
    from the other oracles of its target, and no interval: what two oracles have between them.
    """
    nll, rows = oracle_nll(profile, arm), []
    for (layers, method, seed), part in fact_readings(profile, arm).groupby(["layers", "method", "seed"]):
        if seed in nll:
            test = stats.ks(part["nll"], nll[seed].reindex(part["example"]))
            row = {"update": UPDATES[layers, method], "seed": seed, "d": test.d, "n": test.n}
            rows.append(row | {"ci_low": test.ci_low, "ci_high": test.ci_high, "p": test.p})
    for seed in arm_of(profile, arm).seeds:
        if seed not in nll:
            continue
        own = nll[seed].dropna()
        others = nll.drop(columns=seed).reindex(own.index).dropna(axis=1)
        if others.shape[1]:
            d = [stats.ks(own, others[s], resamples=100).d for s in others]
            rows.append({"update": ORACLE, "seed": seed, "d": sum(d) / len(d), "n": len(own)})
    table = pd.DataFrame(rows, columns=["update", "seed", "d", "ci_low", "ci_high", "p", "n"])
    order = [name for name in [*UPDATES.values(), ORACLE] if name in set(table["update"])]
    return table.sort_values("seed").sort_values("update", key=lambda u: u.map(order.index), kind="stable")
