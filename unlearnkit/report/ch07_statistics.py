"""Chapter 07: every claim over training seeds, and how many seeds it takes."""

from functools import cache

import numpy as np
import pandas as pd

from unlearnkit import claims, stats
from unlearnkit.report.claim_values import PAIRS, claim_values, one
from unlearnkit.report.contrasts import TESTED, paired, verdicts
from unlearnkit.report.figures import INK
from unlearnkit.report.readings import damage_crossing, distance_at, points
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import count, frame
from unlearnkit.report.verdicts import MANY
from unlearnkit.study.config import DAMAGE_LEVELS

DEPENDS = "it depends"
LEVELS = tuple(np.geomspace(0.02, 4, 16))  # of the retain damage, in nats
MARKS = {"matched forgetting": "D", "matched damage": "o", "closest approach": "*"}  # and how each is drawn
SHADES = dict(zip(MARKS, ("#D55E00", INK, "#0072B2"), strict=True))
SAYS = {  # each claim of PAIRS, as the title of a panel
    "C1": "C1: first epoch\nbeats all epochs",
    "C1a": "C1a: right person\nbeats wrong person",
    "C1b": "C1b: AdamW's updates\nbeat gradients",
    "C2a": "C2a: embedding\nbeats all layers",
    "C5": "C5: iterative\nbeats fuzzy",
}
STUDIES = (2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40)  # seeds of the studies in the power curve
MOST = max(STUDIES)


def holding(run: Run) -> dict[str, list[str]]:
    """Claims by what their verdicts are in the arms that have many seeds.

    Keys: "replicated" in all of them, "not replicated" in all, and "it depends". What an arm cannot be
    asked (what AdamW's updates do after plain SGD) goes by the others.
    """
    found, asked = {}, {arm.name for arm in judging(run)}
    for row in verdicts(run):
        if row["arm"] in asked:
            found.setdefault(row["id"], set()).add(row["verdict"])
    kinds = {claims.REPLICATED: [], claims.NOT_REPLICATED: [], DEPENDS: []}
    for claim in (claim.id for claim in claims.CLAIMS if claim.id in found):
        only = found[claim].pop() if len(found[claim]) == 1 else DEPENDS
        kinds[only if only in kinds else DEPENDS].append(claim)
    return kinds


def judging(run: Run) -> list[Arm]:
    """The arms that `holding` asks: those of many seeds, or the first."""
    many = [arm for arm in run.arms if len(arm.seeds) >= MANY]
    return many or [run.arms[0]]


def holding_list(run: Run) -> str:
    """`holding` in words: a line a kind of verdict, with the claims' statements."""
    says = {claim.id: claim.statement.rstrip(".") for claim in claims.CLAIMS}
    where = count(len(judging(run)), "arm")
    lead = {
        claims.REPLICATED: f"**Still there** in all of {where} that were trained in many seeds",
        claims.NOT_REPLICATED: "**Not there** in any of them",
        DEPENDS: "**Different from arm to arm, or undecided**",
    }
    found = holding(run)
    lines = [
        f"* {lead[kind]}: {'; '.join(f'{c}, *{says[c]}*' for c in found[kind]) or 'none'}." for kind in lead
    ]
    return "\n".join(lines)


@cache
def seed_tests(arm: Arm) -> pd.DataFrame:
    """Every claim's contrast over training seeds: a row a claim.

    Columns: id, n, mean, those of TESTED, p and p_holm (of the verdict: `claims.rule`), p_wilcoxon (of no
    difference; with at least six seeds that differ), detectable (smallest difference found in 80 of 100 such
    studies). NaN where the seeds are too few.
    """
    judged = {row["id"]: row for row in verdicts(arm.run) if row["arm"] == arm.name}
    rows = [_seed_test(judged[claim], values) for claim, values in claim_values(arm).items()]
    return frame(rows, "id", "n", "mean", *TESTED, "p_holm", "p_wilcoxon", "detectable")


def _seed_test(judged: dict, values: pd.Series) -> dict:
    row = {"id": judged["id"], **paired(values)}
    if "d_z" not in row:
        return row
    signed = stats.wilcoxon(np.zeros(len(values)), values)
    row |= {"p_wilcoxon": signed.p if signed else np.nan}
    return row | {k: judged[k] for k in ("p", "p_holm", "detectable")}


def power(arm: Arm) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The smallest difference that four of five studies find, in nats, by their seeds: claim, seeds, found.

    From each contrast's spread over the arm's seeds: for STUDIES, and for a study of the arm's own size.
    """
    spread = {c: v for c, v in claim_values(arm).items() if c in PAIRS and v.std() > 0}
    rows = [(c, n, stats.mde(n, v.std())) for c, v in spread.items() for n in STUDIES]
    own = [(c, len(v), stats.mde(len(v), v.std())) for c, v in spread.items()]
    return frame(rows, "claim", "seeds", "found"), frame(own, "claim", "seeds", "found")


def needed(arm: Arm, size: float) -> pd.DataFrame:
    """Of each contrast of PAIRS: claim, seeds, found (as `power` has them) and needed (seeds to find `size`).

    `needed` is a text: the smallest of STUDIES that is enough, or a bound.
    """
    curves, own = power(arm)
    enough = curves[curves["found"] <= size].groupby("claim")["seeds"].min()
    told = [str(enough[c]) if c in enough else f"over {MOST}" for c in own["claim"]]
    return own.assign(needed=told)


@cache
def along_damage(arm: Arm) -> pd.DataFrame:
    """Each contrast of PAIRS in distance to the oracle, by the retain damage at which both paths are read.

    Columns: claim, damage (of LEVELS and config.DAMAGE_LEVELS), n, mean, ci_low, ci_high (95 %, over seeds;
    NaN of one). A damage that some seed's path never does is left out, so that a line is of the same seeds
    throughout.
    """
    walked, found = dict(iter(points(arm).groupby(["seed", "layers", "method"]))), []
    begins = {seed: rows for (seed, _, method), rows in walked.items() if method == "finetuned"}
    for claim, pair in PAIRS.items():
        seeds = [seed for seed in begins if all((seed, *path) in walked for path in pair)]
        steps = {
            (seed, path): pd.concat([begins[seed], walked[seed, *path]]) for seed in seeds for path in pair
        }
        for damage in sorted({*LEVELS, *DAMAGE_LEVELS}) if seeds else ():
            places = {where: damage_crossing(path, damage) for where, path in steps.items()}
            if not all(crossed for _, crossed in places.values()):
                break
            far = {(s, path): distance_at(arm, (s, *path), norm) for (s, path), (norm, _) in places.items()}
            values = pd.Series({s: far[s, pair[0]] - far[s, pair[1]] for s in seeds}).dropna()
            if len(values):
                found.append({"claim": claim, "damage": damage, **paired(values)})
    table = frame(found, "claim", "damage", "n", "mean", "ci_low", "ci_high")
    return table.astype(dict.fromkeys(("damage", "mean", "ci_low", "ci_high"), float))


def marks(arm: Arm) -> pd.DataFrame:
    """Each contrast of PAIRS at the three readings, and where the figure has it.

    Columns: claim, reading (of MARKS), damage (what the path that should do better has cost there, mean over
    seeds), mean, ci_low, ci_high.
    """
    kinds = [("matched forgetting", claims.PRIMARY, None), ("closest approach", "closest", None)]
    kinds += [("matched damage", "damage", level) for level in DAMAGE_LEVELS]
    rows = []
    for name, kind, level in kinds:
        for claim, values in claim_values(arm, kind, level).items():
            if claim in PAIRS:
                there = level or one(arm, PAIRS[claim][1], kind)["damage"].mean()
                rows.append({"claim": claim, "reading": name, "damage": there, **paired(values)})
    table = frame(rows, "claim", "reading", "damage", "mean", "ci_low", "ci_high")
    return table.astype(dict.fromkeys(("damage", "mean", "ci_low", "ci_high"), float))


def reach(line: pd.DataFrame, points: pd.DataFrame) -> tuple[float, float]:
    """Limits of a panel: all means, and intervals no further than half as far again; zero is among them."""
    means = np.concatenate([[0.0], line["mean"], points["mean"]]).astype(float)
    low, high = means.min(), means.max()
    room = max(high - low, 0.1) / 2
    ends = np.concatenate([means, *(t[c].dropna() for t in (line, points) for c in ("ci_low", "ci_high"))])
    return float(max(low - room, ends.min() - 0.1 * room)), float(min(high + room, ends.max() + 0.1 * room))
