"""Chapter 07: every claim over training seeds and over persons, and how many seeds it takes."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown

from unlearnkit import claims, stats
from unlearnkit.errors import DataError
from unlearnkit.report.ch07_facts import EMBEDDING, FIRST, estimate
from unlearnkit.report.contrasts import (
    TESTED,
    claim_values,
    holds,
    influence_pairs,
    paired,
    with_holm,
)
from unlearnkit.report.figures import MUTED, figure, note
from unlearnkit.report.readings import by_setting, path_table
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import frame, number, p_value

D_F_CLAIMS = ("C1", "C1a", "C2a", "C5")  # contrasts of one unit, which one axis can show
STUDIES = (2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40)  # seeds of the studies in the power curve


@cache
def seed_tests(arm: Arm) -> pd.DataFrame:
    """Every claim's contrast over training seeds: a row a claim.

    Columns: id, n, mean, those of TESTED, d_av and g_av (the mean by the mean standard deviation of the two
    readings), p_wilcoxon (with at least six seeds that differ), detectable (smallest difference found in 80
    of 100 such studies), p_holm (over the claims of the arm). NaN where the seeds are too few.
    """
    pairs = claim_pairs(arm)
    rows = [_seed_test(claim, v, *pairs[claim]) for claim, v in claim_values(arm).items() if len(v)]
    extra = ("d_av", "g_av", "p_wilcoxon", "detectable")
    return with_holm(frame(rows, "id", "n", "mean", *TESTED, *extra))


def _seed_test(claim: str, values: pd.Series, less: pd.Series, more: pd.Series) -> dict:
    row = {"id": claim, **paired(values)}
    if "d_z" not in row:
        return row
    signed = stats.wilcoxon(np.zeros(len(values)), values)
    row |= {"p_wilcoxon": signed.p if signed else np.nan, "detectable": stats.mde(len(values), values.std())}
    try:
        test = asdict(stats.paired_t(less, more))
    except DataError:
        return row  # of two readings that never vary
    return row | {k: test[k] for k in ("d_av", "g_av")}


def claim_pairs(arm: Arm) -> dict[str, tuple[pd.Series, pd.Series]]:
    """By claim: the two readings of each seed, (less, more), whose difference is its contrast.

    Of the influence claims, whose contrast is a share of the score before, the scores themselves.
    """
    distance, found = by_setting(arm), {}
    start = path_table(arm, methods=()).set_index("seed")["forget_nll"]
    settings = {"C1": FIRST, "C1a": FIRST, "C2a": EMBEDDING, "C5": ("all", "iterative")}
    scores = {"C3a": "influence_activation", "C3b": "influence_gradient"}
    for claim, values in claim_values(arm).items():
        if claim in scores:
            means = influence_pairs(arm, scores[claim]).groupby("seed")[["after", "before"]].mean()
            found[claim] = means["after"], means["before"]
        else:
            less = distance[settings[claim]] if claim in settings else start
            less = (less - values if claim == "C4" else less)[values.index]
            found[claim] = less, less + values
    return found


def by_person(arm: Arm) -> dict[str, list[pd.Series]]:
    """Each claim's contrasts, a series a person; no claim with one person, or with one seed a person."""
    found = {}
    for claim, values in claim_values(arm).items():
        groups = [group for _, group in values.groupby(values.index.map(arm.target_of))]
        if 2 <= len(groups) < len(values):
            found[claim] = groups
    return found


def person_tests(arm: Arm) -> pd.DataFrame:
    """Every claim's contrast with persons as replicates, each person's seeds averaged first: a row a claim.

    Columns: id, n (persons), mean, those of TESTED, p_holm (over the claims of the arm). It speaks of persons
    that the arm has not met; no rows where nobody is forgotten under two orders of training.
    """
    means = {claim: pd.Series([g.mean() for g in groups]) for claim, groups in by_person(arm).items()}
    return with_holm(frame([{"id": c, **paired(v)} for c, v in means.items()], "id", "n", "mean", *TESTED))


def components(run: Run) -> pd.DataFrame:
    """Each contrast's spread over seeds, taken apart: what the order of training does, and who is forgotten.

    Columns: arm, claim, n, persons, sd_order (within a person, over orders), sd_person (between persons
    beyond that; one-way random effects, 0 where the estimate is negative). Only of `by_person`'s claims.
    """
    rows = []
    for arm in run.arms:
        for claim, groups in by_person(arm).items():
            values, k = pd.concat(groups), len(groups)
            n = len(values)
            within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (n - k)
            between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups) / (k - 1)
            size = (n - sum(len(g) ** 2 for g in groups) / n) / (k - 1)
            rows.append((arm.name, claim, n, k, within**0.5, max(0.0, (between - within) / size) ** 0.5))
    return frame(rows, "arm", "claim", "n", "persons", "sd_order", "sd_person")


def hold(run: Run, arm: Arm, **said: str) -> Markdown | None:
    """`contrasts.holds` of several claims of an arm, by id: nothing, or all warnings."""
    wrong = [warning.data for claim in said if (warning := holds(run, claim, arm, said[claim]))]
    return Markdown("\n\n".join(wrong)) if wrong else None


# -- tables and figure ------------------------------------------------------------------------------------


def seeds_table(run: Run) -> pd.DataFrame:
    """`seed_tests` of every arm for people."""
    titles = ("claim", "arm", "n", "mean [95 %]", "t = d_z √n", "p", "p (Holm)", "d_z (g)", "d_av (g)")
    rows = []
    for arm in run.arms:
        for r in seed_tests(arm).itertuples():
            identity = f"{_size(r.t)} = {_size(r.d_z * r.n**0.5)}" if np.isfinite(r.t) else "–"
            row = (r.id, arm.name, r.n, estimate(r), identity, p_value(r.p), p_value(r.p_holm))
            row += (_corrected(r.d_z, r.g_z), _corrected(r.d_av, r.g_av), p_value(r.p_wilcoxon))
            rows.append((*row, _size(r.detectable)))
    return frame(rows, *titles, "p, Wilcoxon", "smallest found")


def persons_table(run: Run) -> pd.DataFrame:
    """`person_tests` of every arm that has them, beside `seed_tests`."""
    titles = [f"{what}, {unit}" for unit in ("persons", "seeds") for what in ("mean [95 %]", "p (Holm)")]
    rows = []
    for arm in run.arms:
        seeds = {r.id: r for r in seed_tests(arm).itertuples()}
        for r in person_tests(arm).itertuples():
            other = seeds[r.id]
            row = (r.id, arm.name, r.n, estimate(r), p_value(r.p_holm))
            rows.append((*row, other.n, estimate(other), p_value(other.p_holm)))
    return frame(rows, "claim", "arm", "persons", *titles[:2], "seeds", *titles[2:])


def definitions() -> pd.DataFrame:
    """What is tested for each claim: what the paper says, contrast, margin and rule."""
    signs = {"difference": "≥ ", "no impact": "within ±"}
    rows = [(c.id, c.paper_says, c.contrast, f"{signs[c.kind]}{c.margin:g}") for c in claims.CLAIMS]
    return frame(rows, "claim", "the paper", "contrast", "replicated if")


def _size(value: float) -> str:
    """Two decimals, or two digits where there is little; no "-0"."""
    return number(value + 0.0, ".2f" if abs(value) >= 0.1 else ".2g")


def _corrected(d: float, g: float) -> str:
    return f"{_size(d)} ({_size(g)})" if np.isfinite(d) else "–"


def power(arms: Sequence[Arm], margin: float) -> plt.Figure:
    """The smallest difference that four of five studies find, by their seeds; a panel an arm.

    From each contrast's spread over the arm's seeds; a dot is the arm's own size. `margin` in nats.
    """
    drawn, axes = figure(3.1, 1, len(arms), sharey=True, squeeze=False)
    style = {"hue": "claim", "hue_order": D_F_CLAIMS, "palette": "colorblind"}
    for ax, arm in zip(axes.flat, arms, strict=True):
        spread = {c: v for c, v in claim_values(arm).items() if c in D_F_CLAIMS and v.std() > 0}
        rows = [(c, n, stats.mde(n, v.std())) for c, v in spread.items() for n in STUDIES]
        own = [(c, len(v), stats.mde(len(v), v.std())) for c, v in spread.items()]
        curves, dots = (frame(part, "claim", "training seeds", "found") for part in (rows, own))
        if spread:  # none over one seed
            sns.lineplot(curves, x="training seeds", y="found", ax=ax, **style)
            sns.scatterplot(dots, x="training seeds", y="found", ax=ax, legend=False, s=55, zorder=3, **style)
            ax.legend(frameon=False, loc="upper right")
        ax.axhline(margin, color=MUTED, lw=1, ls=(0, (4, 3)))
        note(ax, "margin", (0, margin), ("axes fraction", "data"), (3, -11))
        ax.set(xscale="log", yscale="log", xlabel="training seeds", ylabel="smallest difference found (nats)")
        ax.set_xticks([2, 3, 5, 10, 20, 40], ["2", "3", "5", "10", "20", "40"])
        ax.set_xticks([], minor=True)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_title(arm.name.replace("-pretrained", ""), fontsize=9.5)
    return drawn
