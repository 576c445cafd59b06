"""Tables of the chapter on requests: matchers, what they catch, where the paths end."""

from collections.abc import Mapping

import pandas as pd

from unlearnkit.study import results
from unlearnkit.study.results.requests_compared import COMPARED
from unlearnkit.tables.build import mean_and_range
from unlearnkit.tables.wording import p_value


def matchers(swept: pd.DataFrame, best: pd.DataFrame, threshold: int) -> pd.DataFrame:
    """Precision, recall and F1 (means over targets) at a fixed threshold and at each matcher's best."""
    fixed = swept[swept["threshold"] == threshold].groupby("matcher", sort=False).mean(numeric_only=True)
    found = []
    for row in best.itertuples():
        for label, at in ((f"{threshold} (the study's)", fixed.loc[row.matcher]), ("best F1", row)):
            found.append(
                {
                    "matcher": row.matcher,
                    "threshold": label if label[0].isdigit() else f"{row.threshold:.0f} ({label})",
                    "facts matched": f"{at.matched:.1f}",
                    "precision": f"{at.precision:.2f}" if at.precision == at.precision else "–",
                    "recall": f"{at.recall:.2f}",
                    "F1": f"{at.f1:.2f}",
                }
            )
    return pd.DataFrame(found)


def caught(fixed: pd.DataFrame, best: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Share of each kind of fact that matches: at the study's threshold, and at each matcher's own best."""
    table = pd.DataFrame({"facts": fixed.index})
    for matcher in fixed:
        table[matcher] = [f"{v:.0%}" for v in fixed[matcher]]
        table[f"{matcher}, at {thresholds[matcher]:.0f}"] = [f"{v:.0%}" for v in best[matcher]]
    return table


def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """`requests_compared.contrasts` for people."""
    found = []
    for row in table.to_dict("records"):
        has = row.get("p") == row.get("p", float("nan"))
        found.append(
            {
                "D_F of": results.NAMES[row["of"]],
                "minus that of": results.NAMES[row["against"]],
                "difference": f"{row['difference']:+.3f}",
                "95 % interval": f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" if has else "–",
                "p (Holm)": p_value(row.get("p_holm", float("nan"))),
                "the first is closer in": f"{row['wins']} of {row['n']}",
            }
        )
    return pd.DataFrame(found)


def endings(table: pd.DataFrame, known: pd.DataFrame, damage: float) -> pd.DataFrame:
    """Where each path gets to, over seeds; `known` is `left_known` at the nearest step, or empty."""
    found = []
    for method in COMPARED:
        rows = table[table["method"] == method]
        if rows.empty:
            continue
        left = known.loc[known["method"] == method, "known"] if len(known) else pd.Series(dtype=float)
        found.append(
            {
                "path": results.NAMES[method],
                "nearest to the oracle": mean_and_range(rows["nearest"]),
                "damage there": mean_and_range(rows["nearest_damage"]),
                "still known there (%)": mean_and_range(100 * left, 0) if len(left) else "–",
                f"distance at damage {damage}": mean_and_range(rows["late"]),
                "last step (%)": f"{100 * rows['end_share'].mean():.2g}",
                "past the oracle at the end": mean_and_range(rows["end_gap"]),
                "damage at the end": mean_and_range(rows["end_damage"]),
            }
        )
    return pd.DataFrame(found)


def rounds(table: pd.DataFrame) -> pd.DataFrame:
    """The iterative paths by round, means over seeds: who was still known, and what both orders lead to."""
    found = []
    for number, rows in table.groupby("round"):
        row = {"round": number}
        for method, mine in rows.groupby("method"):
            label = "reversed: " if method.endswith("reversed") else ""
            row[f"{label}still known"] = f"{mine['removed'].mean():.1f} of {mine['asked'].mean():.0f}"
            row[f"{label}forget NLL"] = mine["forget_nll"].mean()
            row[f"{label}retain damage"] = mine["damage"].mean()
        found.append(row)
    return pd.DataFrame(found)
