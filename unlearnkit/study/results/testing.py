"""The statistics of the report: tests over the facts of one model, as the paper has them, beside tests over
training seeds, which are the ones to believe; a mixed model that keeps both.
"""

from dataclasses import asdict

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.experiments.readings import at
from unlearnkit.profiles import Profile
from unlearnkit.stats import MixedModel
from unlearnkit.study.results.influence import UNITS, influence_pairs, influence_tests
from unlearnkit.study.results.matched import matched_damage, with_holm
from unlearnkit.study.results.observed import arm_names, arm_of
from unlearnkit.study.results.oracles import oracle_nll
from unlearnkit.study.results.paths import fact_paths, path_table
from unlearnkit.study.results.verdicts import claim_values, components, person_means

FIRST, ALL = ("all", "first_epoch"), ("all", "all_epochs")
WRONG, RANDOM = ("all", "wrong_person"), ("all", "random_direction")
EMBEDDING = ("embedding", "first_epoch")
# Updates that are held against the oracle one fact at a time, as (layers, method), and their names.
UPDATES = {
    FIRST: "first epoch",
    ALL: "all epochs",
    EMBEDDING: "first epoch, embedding only",
    WRONG: "wrong person",
    RANDOM: "random direction",
}
# Contrasts of D_F: name -> (whose D_F, less whose D_F). Positive favours the second.
CONTRASTS = {
    "all epochs − first epoch": (ALL, FIRST),
    "wrong person − first epoch": (WRONG, FIRST),
    "random direction − first epoch": (RANDOM, FIRST),
    "all layers − embedding only": (FIRST, EMBEDDING),
}
MAIN_CONTRAST = next(iter(CONTRASTS))
ALPHA = 0.05


def fact_readings(profile: Profile, arm: str) -> pd.DataFrame:
    """Each forget fact under each of UPDATES, where retain facts have first lost the agreed damage.

    Columns: seed, layers, method, example, nll, oracle (mean over the oracles without the fact), distance
    (|nll - oracle|, nats). Interpolated in the step length fact by fact, just as D_F is, so that the mean
    distance of a seed is its D_F in `matched_damage`.
    """
    norms = matched_damage(profile, arm, layers=None, methods=None)
    norms = norms.set_index(["seed", "layers", "method"])["norm"]
    target, walked = oracle_nll(profile, arm).mean(axis=1), fact_paths(profile.name, arm)
    found = []
    for setting in arm_of(profile, arm).settings:
        for layers, method in UPDATES:
            path = walked.get((setting.seed, layers, method))
            if path is not None:
                rows = _facts_at(path, target, norms[setting.seed, layers, method])
                found.append(rows.assign(seed=setting.seed, layers=layers, method=method))
    table = pd.concat(found, ignore_index=True).dropna(subset="distance")
    return table[["seed", "layers", "method", "example", "nll", "oracle", "distance"]]


def _facts_at(path: pd.DataFrame, target: pd.Series, norm: float) -> pd.DataFrame:
    """The facts of one path (step lengths x facts) at a step length."""
    aim = target.reindex(path.columns)

    def each(values: pd.DataFrame) -> list[float]:
        return [at(values[fact], norm) for fact in values]

    found = {"example": path.columns, "nll": each(path), "oracle": aim.to_numpy()}
    return pd.DataFrame(found | {"distance": each((path - aim).abs())})


def fact_contrasts(profile: Profile, arm: str) -> pd.DataFrame:
    """D_F of one update minus that of another, fact by fact: contrast, seed, example, less, more, value."""
    wide = fact_readings(profile, arm).pivot_table(
        index=["seed", "example"], columns=["layers", "method"], values="distance"
    )
    parts = []
    for name, (more, less) in CONTRASTS.items():
        if more in wide and less in wide:
            both = pd.DataFrame({"less": wide[less], "more": wide[more]}).dropna().reset_index()
            parts.append(both.assign(contrast=name, value=both["more"] - both["less"]))
    columns = ["contrast", "seed", "example", "less", "more", "value"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def tested(values: pd.Series) -> dict[str, float]:
    """n, mean, 95 % interval, t, p and d_z of differences against zero; n and mean where no test can be."""
    row = {"n": len(values), "mean": values.mean()}
    try:
        test = stats.paired_t(np.zeros(len(values)), values)
    except DataError:
        return row
    return row | {k: getattr(test, k) for k in ("ci_low", "ci_high", "t", "p", "d_z", "g_z")}


def by_seed(profile: Profile, arm: str) -> pd.DataFrame:
    """The paper's kind of test of every contrast, in each trained model on its own: a row a seed.

    Columns: contrast, seed, target, n (facts), mean, ci_low, ci_high, t, p, d_z, g_z; none corrected, since
    the question is what a reader of one model alone would have concluded.
    """
    targets = {s.seed: s.target for s in arm_of(profile, arm).settings}
    groups = fact_contrasts(profile, arm).groupby(["contrast", "seed"], sort=False)["value"]
    rows = [{"contrast": c, "seed": s, "target": targets[s], **tested(v)} for (c, s), v in groups]
    columns = ["contrast", "seed", "target", "n", "mean", "ci_low", "ci_high", "t", "p", "d_z", "g_z"]
    return pd.DataFrame(rows, columns=columns)


def units_compared(profile: Profile, arm: str) -> pd.DataFrame:
    """Each contrast of D_F and each influence score, tested over facts of seed 0, then over training seeds.

    Columns: what, unit, n, mean, ci_low, ci_high, t, p, d_z. Influence is after minus before. Uncorrected:
    the two units are compared on one and the same number.
    """
    facts, rows = fact_contrasts(profile, arm), []
    for contrast, part in facts.groupby("contrast", sort=False):
        samples = part[part["seed"] == 0]["value"], part.groupby("seed")["value"].mean()
        rows += [{"what": contrast, "unit": u, **tested(v)} for u, v in zip(UNITS, samples, strict=True)]
    scores = influence_tests(profile, arm).rename(columns={"score": "what", "change": "mean"})
    columns = ["what", "unit", "n", "mean", "ci_low", "ci_high", "t", "p", "d_z"]
    return pd.concat([pd.DataFrame(rows), scores]).reindex(columns=columns).reset_index(drop=True)


def disagreement(table: pd.DataFrame) -> pd.DataFrame:
    """What `by_seed` would have told readers of one model each: a row a contrast.

    Columns: contrast, seeds, positive and negative (models whose own test has p < 0.05, by sign), missed
    (models whose 95 % interval over facts excludes the mean over seeds; some one in twenty if facts were
    fair replicates of trained models).
    """
    rows = []
    for contrast, part in table.dropna(subset="p").groupby("contrast", sort=False):
        found = part["p"] < ALPHA
        mean = part["mean"].mean()
        rows.append(
            {
                "contrast": contrast,
                "seeds": len(part),
                "positive": int((found & (part["mean"] > 0)).sum()),
                "negative": int((found & (part["mean"] < 0)).sum()),
                "missed": int(((part["ci_low"] > mean) | (part["ci_high"] < mean)).sum()),
            }
        )
    return pd.DataFrame(rows, columns=["contrast", "seeds", "positive", "negative", "missed"])


def claim_pairs(profile: Profile, arm: str, values: dict[str, pd.Series]) -> dict[str, pd.DataFrame]:
    """By claim: the two readings whose difference (more - less) is its contrast in `values`, a row a seed.

    Of the influence claims, whose contrast is a share of the score before, the scores themselves.
    """
    distance = matched_damage(profile, arm, layers=None, methods=None).pivot_table(
        index="seed", columns=["layers", "method"], values="oracle_distance"
    )
    path = path_table(profile, arm, methods=())
    start_nll = path.set_index("seed")["forget_nll"]
    less = {claim: distance.get(FIRST) for claim in ("C1", "C1a")}
    less |= {"C2a": distance.get(EMBEDDING), "C5": distance.get(("all", "iterative"))}
    less |= {"C2b": start_nll, "C4": start_nll - values["C4"]}
    found = {
        claim: pd.DataFrame({"less": base, "more": base + values[claim]}).dropna()
        for claim, base in less.items()
        if claim in values
    }
    for claim, score in (("C3a", "influence_activation"), ("C3b", "influence_gradient")):
        means = influence_pairs(profile, arm, score).groupby("seed")[["before", "after"]].mean()
        found[claim] = means.rename(columns={"after": "less", "before": "more"})
    return found


def seed_tests(profile: Profile, arm: str) -> pd.DataFrame:
    """Every claim's contrast over training seeds: a row a claim.

    Columns: id, n, mean, ci_low, ci_high, t, p, p_holm (over the claims of the arm), d_z, g_z, d_av, g_av (of
    `claim_pairs`), d_z_root_n (d_z * sqrt(n), which is t), p_wilcoxon (with at least six seeds that differ),
    detectable (smallest difference found in 80 of 100 such studies). NaN where the seeds are too few.
    """
    values = claim_values(profile, arm)
    pairs = claim_pairs(profile, arm, values)
    rows = [_seed_test(claim, v, pairs[claim]) for claim, v in values.items() if len(v)]
    columns = ["id", "n", "mean", "ci_low", "ci_high", "t", "p", "p_holm", "d_z", "g_z", "d_av", "g_av"]
    columns += ["d_z_root_n", "p_wilcoxon", "detectable"]
    table = with_holm(pd.DataFrame(rows).reindex(columns=columns))
    return table.astype({c: float for c in columns[2:]})


def person_tests(profile: Profile, arm: str) -> pd.DataFrame:
    """Every claim's contrast with persons as replicates, each person's seeds averaged first: a row a claim.

    Columns: id, n (persons), mean, ci_low, ci_high, p, p_holm (over the claims of the arm). This is what the
    arm says of persons that it has not met; no rows where nobody is forgotten under two orders.
    """
    rows = [{"id": claim, **tested(means)} for claim, means in person_means(profile, arm).items()]
    columns = ["id", "n", "mean", "ci_low", "ci_high", "p", "p_holm"]
    return with_holm(pd.DataFrame(rows).reindex(columns=columns))


def _seed_test(claim: str, values: pd.Series, pair: pd.DataFrame) -> dict:
    row = {"id": claim, **tested(values)}
    if "d_z" not in row:
        return row
    signed = stats.wilcoxon(np.zeros(len(values)), values)
    row |= {"d_z_root_n": row["d_z"] * len(values) ** 0.5, "p_wilcoxon": signed.p if signed else np.nan}
    row["detectable"] = stats.mde(len(values), values.std())
    try:
        test = asdict(stats.paired_t(pair["less"], pair["more"]))
    except DataError:
        return row
    return row | {k: test[k] for k in ("d_av", "g_av")}


def mixed(profile: Profile, arm: str, contrast: str = MAIN_CONTRAST) -> MixedModel | None:
    """The contrast per fact by a mixed model (facts within seeds); None where it cannot be fitted."""
    facts = fact_contrasts(profile, arm)
    facts = facts[facts["contrast"] == contrast]
    long = facts.melt(["seed", "example"], ["less", "more"], "update", "distance")
    try:
        return stats.mixed_model(long, "distance", "update", "example", "seed")
    except DataError:
        return None


def spreads(profile: Profile) -> tuple[pd.DataFrame, list[str]]:
    """`components` of every arm, with a column arm; and the arms where order and person are not separable."""
    parts = {arm: components(profile, arm) for arm in arm_names(profile)}
    found = [part.assign(arm=arm) for arm, part in parts.items() if len(part)]
    columns = ["arm", "id", "n", "persons", "sd_order", "sd_person"]
    table = pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)
    return table, [arm for arm, part in parts.items() if part.empty]
