"""Tables of the statistics: facts against seeds, effect sizes, equivalence, mixed model, variances."""

import pandas as pd

from unlearnkit.stats import MixedModel
from unlearnkit.study.results import UNITS
from unlearnkit.study.results.testing import ALPHA
from unlearnkit.tables.build import frame, mean_and_range
from unlearnkit.tables.wording import count, p_value


def _number(value: float, digits: int = 2) -> str:
    """Rounded; a dash for a number that there is not."""
    if value != value:
        return "–"
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value + 0.0:.2g}"  # no "-0"


def interval(row: dict, digits: int = 2) -> str:
    """`+0.52 [+0.31, +0.73]`, from the keys mean, ci_low and ci_high; the mean alone without the others."""
    if row["ci_low"] != row["ci_low"]:
        return f"{row['mean']:+.{digits}f}"
    return f"{row['mean']:+.{digits}f} [{row['ci_low']:+.{digits}f}, {row['ci_high']:+.{digits}f}]"


def units(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`results.testing.units_compared` of some arms for people."""
    rows = [
        {
            "arm": arm,
            "tested": row["what"],
            "replicates": row["unit"],
            "n": row["n"],
            "mean [95 %]": interval(row),
            "t": _number(row["t"]),
            "p": _p(row["p"]),
            "d_z": _number(row["d_z"]),
        }
        for arm, table in tables.items()
        for row in table.to_dict("records")
    ]
    return frame(rows, "arm", "tested", "replicates", "n", "mean [95 %]", "t", "p", "d_z")


def units_in_words(table: pd.DataFrame) -> str:
    """What changes between the units of one arm, in a sentence or two; "" where seeds cannot be tested."""
    both = table.dropna(subset="p").pivot_table(index="what", columns="unit", values=["p", "d_z"])
    facts, trained = UNITS
    if both.empty or ("p", trained) not in both or ("p", facts) not in both:
        return ""
    p, d = both["p"].dropna(), both["d_z"].abs().dropna()
    lost = int(((p[facts] < ALPHA) & (p[trained] >= ALPHA)).sum())
    return (
        f"The facts of seed 0 give the smaller p in {(p[facts] < p[trained]).sum()} of {len(p)} tests, and "
        f"p < {ALPHA} where the seeds do not in {lost}. In the median p over seeds is "
        f"{(p[trained] / p[facts]).median():.1g} times p over facts, and |d_z| over seeds "
        f"{(d[trained] / d[facts]).median():.2g} times |d_z| over facts."
    )


def _p(p: float) -> str:
    """As `p_value`, but with its power of ten where it is small: that is what is compared."""
    return p_value(p) if not p < 0.001 else f"{p:.0e}"


def seeds(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`results.testing.seed_tests` of every arm for people."""
    rows = [
        {
            "claim": row["id"],
            "arm": arm,
            "n": row["n"],
            "mean [95 %]": interval(row),
            "t = d_z √n": f"{_number(row['t'])} = {_number(row['d_z_root_n'])}"
            if row["t"] == row["t"]
            else "–",
            "p": p_value(row["p"]),
            "p (Holm)": p_value(row["p_holm"]),
            "d_z (g)": _pair(row["d_z"], row["g_z"]),
            "d_av (g)": _pair(row["d_av"], row["g_av"]),
            "p, Wilcoxon": p_value(row["p_wilcoxon"]),
            "smallest found": _number(row["detectable"]),
        }
        for arm, table in tables.items()
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def persons(over_persons: dict[str, pd.DataFrame], over_seeds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`results.testing.person_tests` of every arm beside the `seed_tests`, for people."""
    rows = []
    for arm, table in over_persons.items():
        seeds_too = over_seeds[arm].set_index("id").to_dict("index")
        for row in table.to_dict("records"):
            other = seeds_too[row["id"]]
            rows.append(
                {
                    "claim": row["id"],
                    "arm": arm,
                    "persons": row["n"],
                    "mean [95 %], persons": interval(row),
                    "p (Holm), persons": p_value(row["p_holm"]),
                    "seeds": other["n"],
                    "mean [95 %], seeds": interval(other),
                    "p (Holm), seeds": p_value(other["p_holm"]),
                }
            )
    columns = ["claim", "arm", "persons", "mean [95 %], persons", "p (Holm), persons"]
    return frame(rows, *columns, "seeds", "mean [95 %], seeds", "p (Holm), seeds")


def _pair(d: float, g: float) -> str:
    return "–" if d != d else f"{_number(d)} ({_number(g)})"


def disagreement(table: pd.DataFrame) -> pd.DataFrame:
    """`results.testing.disagreement` for people."""
    return table.rename(
        columns={
            "seeds": "trained models",
            "positive": "p < 0.05, positive",
            "negative": "p < 0.05, negative",
            "missed": "interval misses the mean over seeds",
        }
    )


def equivalence(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`results.equivalence.equivalence` of every arm for people: a row an arm and update."""
    rows = []
    for arm, table in tables.items():
        for update, both in table.groupby("update", sort=False):
            one = both.set_index("measure").to_dict("index")
            distance, gap = one["distance"], one["gap"]
            passed = [name for name, row in (("D_F", distance), ("gap", gap)) if row["equivalent"]]
            rows.append(
                {
                    "arm": arm,
                    "update": update,
                    "n": distance["n"],
                    "D_F less the margin [90 %]": interval(distance),
                    "p (Holm)": p_value(_judged(distance)),
                    "signed gap [90 %]": interval(gap),
                    "p (Holm), gap": p_value(_judged(gap)),
                    "equivalent in": " and ".join(passed) or "not shown",
                }
            )
    return pd.DataFrame(rows)


def _judged(row: dict) -> float:
    """The p that decides: Holm's, or where there is none (the oracles' check), the test's own."""
    return row["p"] if row["p_holm"] != row["p_holm"] else row["p_holm"]


def ks(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`results.equivalence.ks_distances` for people: mean D by update and arm, with intervals over seeds."""
    columns = {
        f"{arm} ({count(table['seed'].nunique(), 'seed')})": table.groupby("update", sort=False)["d"].agg(
            mean_and_range
        )
        for arm, table in tables.items()
    }
    order = max((list(column.index) for column in columns.values()), key=len)
    return pd.DataFrame(columns).reindex(order).fillna("–").rename_axis("update").reset_index()


def models(model: MixedModel | None, over_seeds: dict, over_facts: dict) -> pd.DataFrame:
    """One contrast by mixed model, by t test over seeds, and by t test over all facts of all seeds."""
    rows = []
    if model:
        told = {"mean": model.estimate, "ci_low": model.ci_low, "ci_high": model.ci_high, "p": model.p}
        rows.append({"analysis": "mixed model, facts within seeds", "n": model.n // 2, **told})
    rows.append({"analysis": "t test over seeds", **over_seeds})
    rows.append({"analysis": "t test over all facts, seeds ignored", **over_facts})
    return pd.DataFrame(
        {
            "analysis": row["analysis"],
            "n": row["n"],
            "mean [95 %]": interval({"ci_low": float("nan"), **row}, 3),
            "p": _p(row.get("p", float("nan"))),
        }
        for row in rows
    )
