"""The verdict table: for people, for the README, and for programs (figures/claims.json)."""

import json
import math

import pandas as pd
from IPython.display import Markdown

from unlearnkit import claims
from unlearnkit.profiles import Profile
from unlearnkit.study import results
from unlearnkit.tables.build import frame, markdown, show
from unlearnkit.tables.wording import count, p_value

FILE = "claims.json"
KEYS = (
    *("id", "statement", "arm", "contrast", "estimate", "ci_low", "ci_high", "p_holm", "n_seeds"),
    *("verdict", "paper_says", "margin", "p", "detectable"),
)
DIGITS = 6  # of the numbers in the file
COLUMNS = (*("claim", "arm", "estimate [95 %]", "margin", "p (Holm)", "seeds", "smallest found", "verdict"),)


def show_verdicts(rows: list[dict], profile: Profile) -> Markdown:
    """The table of every claim in every arm; saves it, and claims.json beside the figures."""
    save(rows, profile)
    note = (
        "Estimates in nats, for C3 in shares of the score before; mean over training seeds with its 95 % "
        "interval; Holm over the claims of an arm; smallest found: the difference that four of five studies "
        "with as many seeds would find, before Holm's correction."
    )
    return show(table(rows), profile, "verdicts", note)


def save(rows: list[dict], profile: Profile) -> None:
    """Write claims.json: a list of objects with KEYS; a number that there is not is null."""
    folder = profile.figures
    folder.mkdir(parents=True, exist_ok=True)
    told = [{key: _plain(row[key]) for key in KEYS} for row in rows]
    (folder / FILE).write_text(json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: object) -> object:
    """JSON's own types, with as many digits as mean something."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def table(rows: list[dict]) -> pd.DataFrame:
    """A row a claim and arm, claims together."""
    order = [claim.id for claim in claims.CLAIMS]
    told = [
        {
            "claim": f"{row['id']}: {row['statement']}",
            "arm": row["arm"],
            "estimate [95 %]": estimate(row),
            "margin": f"±{row['margin']:g}" if _is_none(row["id"]) else f"{row['margin']:g}",
            "p (Holm)": p_value(row["p_holm"]) if row["p_holm"] is not None else "–",
            "seeds": row["n_seeds"],
            "smallest found": "–" if row["detectable"] is None else f"{row['detectable']:.2g}",
            "verdict": row["verdict"],
        }
        for row in sorted(rows, key=lambda row: order.index(row["id"]))
    ]
    return frame(told, *COLUMNS)


def definitions() -> pd.DataFrame:
    """What is tested for each claim: statement, what the paper says, contrast, margin and rule."""
    return pd.DataFrame(
        {
            "claim": claim.id,
            "the paper": claim.paper_says,
            "contrast": claim.contrast,
            "replicated if": f"within ±{claim.margin:g}" if _is_none(claim.id) else f"≥ {claim.margin:g}",
        }
        for claim in claims.CLAIMS
    )


def markdown_for_readme(profile: Profile) -> str:
    """A compact table, a column an arm: verdict, estimate and interval of every claim."""
    rows = results.verdicts(profile)
    told = {(row["id"], row["arm"]): f"**{row['verdict']}** {estimate(row)}" for row in rows}
    arms = {arm.name: count(len(arm.seeds), "seed") for arm in results.arms(profile)}
    found = {claim for claim, _ in told}
    lines = [
        {
            "claim": f"{claim.id}. {claim.statement}",
            "the paper": claim.paper_says,
            **{f"{arm} ({seeds})": told.get((claim.id, arm), "–") for arm, seeds in arms.items()},
        }
        for claim in claims.CLAIMS
        if claim.id in found
    ]
    return markdown(pd.DataFrame(lines)).replace("\\*", "*")


def estimate(row: dict) -> str:
    """`+0.52 [+0.31, +0.73]`; of one seed just the number."""
    if not math.isfinite(row["estimate"]):
        return "–"
    if row["ci_low"] is None:
        return f"{row['estimate']:+.2f}"
    return f"{row['estimate']:+.2f} [{row['ci_low']:+.2f}, {row['ci_high']:+.2f}]"


def _is_none(claim_id: str) -> bool:
    """Whether the claim is that there is no effect."""
    return next(c.kind for c in claims.CLAIMS if c.id == claim_id) == "no impact"
