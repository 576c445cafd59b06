"""For practitioners: settings ranked at equal damage, what they cost, and what they leave behind."""

import numpy as np
import pandas as pd

from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study.results.learning import closeups, ledger_sizes
from unlearnkit.study.results.matched import matched_damage, paired
from unlearnkit.study.results.observed import arm_of, costs, observations
from unlearnkit.study.results.paths import path_table
from unlearnkit.study.results.testing import RANDOM, WRONG, fact_readings

CONTROLS = ("wrong_person", "random_direction")
MODELS = ("finetuned", "first_epoch", "all_epochs", "oracle")
NEAR = 0.1  # nats: a fact this close to the oracle's NLL is neither still known nor past the oracle
LEFT = ("seed", "model", "forget_nll", "distance", "still", "past", "paraphrase_nll", "paraphrase_distance")
LEFT_MORE = ("exact_memorisation", "rougeL_recall")


def ranked(profile: Profile, arm: str) -> pd.DataFrame:
    """Every update and layer selection at matched retain damage, the farthest ahead of the controls first.

    Columns: layers, method, control (whether it is one), n (seeds), reach (share of them that cost the agreed
    damage; the others are read at their longest step), distance (mean D_F), start (the fine-tuned model's, in
    the same seeds), ahead (D_F of each seed's best control on all layers less the setting's own, paired),
    ci_low, ci_high, p_holm (over all settings but controls), wins (seeds where it is ahead), and
    perplexity_ratio. The best control of a seed is picked after looking, which flatters the controls.
    """
    readings = matched_damage(profile, arm, layers=None, methods=None)
    start = path_table(profile, arm, methods=None).query("method == 'finetuned'")
    start = start.set_index("seed")["oracle_distance"]
    wide = readings.pivot_table(index="seed", columns=["layers", "method"], values="oracle_distance")
    best = wide[[c for c in wide if c[0] == "all" and c[1] in CONTROLS]].min(axis=1)
    rows = []
    for (layers, method), part in readings.groupby(["layers", "method"], sort=False):
        part = part.dropna(subset="oracle_distance")
        row = {"layers": layers, "method": method, "control": method in CONTROLS, "n": len(part)}
        row |= {"reach": part["crossed"].mean(), "distance": part["oracle_distance"].mean()}
        row |= {"start": start.reindex(part["seed"]).mean()}
        rows.append(row | {"perplexity_ratio": part["perplexity_ratio"].mean()})
    table = pd.DataFrame(rows)
    ahead = [_ahead(best, wide, table[table["control"] == flag]) for flag in (False, True)]
    table = table.merge(pd.concat(ahead), on=["layers", "method"])
    return table.sort_values("ahead", ascending=False, ignore_index=True)


def _ahead(best: pd.Series, wide: pd.DataFrame, which: pd.DataFrame) -> pd.DataFrame:
    """The best control's distances less those of some settings, tested together as one family."""
    keys = list(zip(which["layers"], which["method"], strict=True))
    table = paired(best, {key: wide[key] for key in keys})
    table[["layers", "method"]] = keys
    table["wins"] = [int((best > wide[key]).sum()) for key in keys]
    wanted = ["layers", "method", "ahead", "ci_low", "ci_high", "p_holm", "wins"]
    return table.rename(columns={"difference": "ahead"}).reindex(columns=wanted)


def left_behind(profile: Profile, arm: str) -> pd.DataFrame:
    """What each model still knows of the target, a row a seed and model.

    Columns: seed, model, forget_nll, distance (D_F), still and past (shares of the forget facts whose NLL is
    below, or above, the oracles' by more than NEAR), paraphrase_nll, paraphrase_distance (D_F of the
    paraphrases), exact_memorisation, rougeL_recall. The close-ups, measured at the step that matches the
    damage; the two controls, which have none, as read off their paths, and NaN where a path does not look. An
    oracle is held against the others of its target.
    """
    rows = closeups(profile, arm)
    rows = rows[rows["method"].isin(MODELS)]
    asked = _shares(_against_oracle(rows[rows["split"] == "paraphrase"]))
    table = pd.DataFrame(
        {
            **_shares(_against_oracle(rows[rows["split"] == "forget"])),
            "paraphrase_nll": asked["forget_nll"],
            "paraphrase_distance": asked["distance"],
            **{m: _mean(rows, m) for m in LEFT_MORE},
        }
    ).reset_index()
    controls = fact_readings(profile, arm)
    controls = controls[controls.set_index(["layers", "method"]).index.isin([WRONG, RANDOM])]
    controls = pd.DataFrame(_shares(controls.assign(gap=controls["nll"] - controls["oracle"]))).reset_index()
    both = pd.concat([table, controls]).rename(columns={"method": "model"})
    return both.reindex(columns=[*LEFT, *LEFT_MORE]).sort_values("seed", kind="stable", ignore_index=True)


def _against_oracle(rows: pd.DataFrame) -> pd.DataFrame:
    """seed, method, nll and gap (nll minus the mean over the oracles that have the example) of each example.

    An oracle's own gap is to the other oracles; NaN where there are none.
    """
    nll = rows[rows["metric"] == "nll"].rename(columns={"value": "nll"})
    own = nll["method"] == "oracle"
    oracles = nll[own].groupby("example")["nll"].agg(["sum", "size"]).reindex(nll["example"]).to_numpy()
    total, count = oracles[:, 0] - np.where(own, nll["nll"], 0.0), oracles[:, 1] - own
    return nll.assign(gap=nll["nll"] - total / count.where(count > 0))


def _shares(facts: pd.DataFrame) -> dict[str, pd.Series]:
    known = facts.dropna(subset="gap").groupby(["seed", "method"])["gap"]
    return {
        "forget_nll": facts.groupby(["seed", "method"])["nll"].mean(),
        "distance": known.apply(lambda gap: gap.abs().mean()),
        "still": known.apply(lambda gap: (gap < -NEAR).mean()),
        "past": known.apply(lambda gap: (gap > NEAR).mean()),
    }


def _mean(rows: pd.DataFrame, metric: str) -> pd.Series:
    rows = rows[(rows["split"] == "forget") & (rows["metric"] == metric)]
    return rows.groupby(["seed", "method"])["value"].mean()


def prices(profile: Profile, arm: str) -> dict[str, float]:
    """What the arm's work takes: means over seeds; NaN for what is not on disk (a ledger may be deleted).

    Keys: training_seconds (with the ledger), retraining_seconds (the oracle's training), apply_seconds_first
    and apply_seconds_all (one update from the ledger), training_gb and unlearning_gb (peak memory),
    ledger_bytes, record_bytes, ledger_facts, weights_bytes.
    """
    found = {
        "training_seconds": _told(profile, arm, "train"),
        "retraining_seconds": _told(profile, arm, "oracle"),
    }
    applied = observations(profile, "portraits", arm)  # a path reads the ledger once for all its steps
    seconds = applied.groupby("method")["seconds"].mean() if "seconds" in applied else {}
    found |= {"apply_seconds_first": seconds.get("first_epoch", np.nan)}
    found |= {"apply_seconds_all": seconds.get("all_epochs", np.nan)}
    spent = costs(profile)
    peak = spent[spent["arm"] == arm].groupby("stage")["peak_gb"].max()
    found |= {"training_gb": peak.get("train", np.nan), "unlearning_gb": peak.get("paths", np.nan)}
    sizes = ledger_sizes(profile)
    sizes = sizes[sizes["arm"] == arm] if len(sizes) else sizes
    keys = ("ledger_bytes", "record_bytes", "ledger_facts", "weights_bytes")
    if not len(sizes):
        return found | dict.fromkeys(keys, np.nan)
    largest = sizes.loc[sizes["bytes"].idxmax()]  # some ledgers keep only what is replayed
    told = (
        largest["bytes"],
        largest["bytes"] / largest["records"],
        largest["examples"],
        largest["weights_bytes"],
    )
    return found | dict(zip(keys, map(float, told), strict=True))


def _told(profile: Profile, arm: str, stage: str) -> float:
    rows = observations(profile, stage, arm)
    return rows.loc[rows["metric"] == "training_seconds", "value"].mean()


def person_spread(
    profile: Profile, arm: str, layers: str = "all", method: str = "first_epoch"
) -> pd.DataFrame:
    """D_F of one setting at matched damage by person forgotten: target, n (seeds), low, mean, high."""
    table = matched_damage(profile, arm, layers=layers, methods=(method,))
    if table.empty:
        raise DataError(f"{arm} has no path of {method} on {layers}")
    targets = {s.seed: s.target for s in arm_of(profile, arm).settings}
    groups = table.groupby(table["seed"].map(targets), sort=False)["oracle_distance"]
    found = groups.agg(n="size", low="min", mean="mean", high="max")
    return found.rename_axis("target").reset_index()


def read_and_measured(profile: Profile, arm: str, method: str = "first_epoch") -> pd.DataFrame:
    """D_F by seed as `measured` by the close-up at its step, and as `read` off the path between two steps."""
    left = left_behind(profile, arm)
    measured = left[left["model"] == method].set_index("seed")["distance"]
    path = matched_damage(profile, arm, methods=(method,)).set_index("seed")["oracle_distance"]
    return pd.DataFrame({"measured": measured, "read": path}).dropna()
