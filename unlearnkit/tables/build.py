"""The report's tables: columns named and rounded for people, saved as CSV and Markdown."""

import pandas as pd
from IPython.display import Markdown

from unlearnkit import stats, study
from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study import results
from unlearnkit.tables.wording import bytes_of, count, duration, p_value


def show(table: pd.DataFrame, profile: Profile, name: str, note: str = "") -> Markdown:
    """Save a table of texts and numbers as NAME.csv and NAME.md, and return it for display.

    `note` goes below it: seeds, n, what was corrected for.
    """
    folder = profile.figures / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    text = markdown(table) + (f"\n\n*{note}*" if note else "")
    (folder / f"{name}.md").write_text(text + "\n")
    return Markdown(text)


def frame(rows: list[dict], *columns: str) -> pd.DataFrame:
    """The rows as a table with these columns, also when there are none."""
    return pd.DataFrame(rows, columns=list(columns))


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table; numbers to the right."""
    sides = ["---:" if pd.api.types.is_numeric_dtype(table[c]) else "---" for c in table]
    rows = [list(table.columns), sides, *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("*", "\\*").replace("$", "\\$")


def mean_and_range(values: pd.Series, digits: int = 2) -> str:
    """Mean and 95 % interval, `0.52 [0.31, 0.73]`; of one seed just the number."""
    try:
        found = stats.mean_ci(values)
    except DataError:
        return f"{values.mean():.{digits}f}"
    return f"{found.mean:.{digits}f} [{found.ci_low:.{digits}f}, {found.ci_high:.{digits}f}]"


def facts(examples: list, target: str, forget: list[str]) -> pd.DataFrame:
    """How many facts, and of which kinds, each person has; persons in the order of the data."""
    rows = pd.DataFrame(
        {
            "person": e.person or "(nobody named)",
            "role": "forget" if e.id in forget else e.split,
            "paraphrases": len(e.paraphrases),
            "words": len(e.answer.split()),
        }
        for e in examples
    )
    few = rows.groupby("person")["role"].transform("size") < 5
    rows.loc[few & (rows["role"] == "neighbour"), "person"] = "near-neighbours"
    table = rows.groupby(["person", "role"], sort=False).agg(
        facts=("words", "size"), paraphrases=("paraphrases", "sum"), mean_words=("words", "mean")
    )
    table["mean_words"] = table["mean_words"].round(1)
    return table.rename(columns={"mean_words": "words an answer"}).reset_index()


def readings(profile: Profile, arm: str) -> pd.DataFrame:
    """At matched retain damage: distance, gap, step and utility of every update, over seeds."""
    table = results.matched_damage(profile, arm)
    found = []
    for method in results.methods(table):
        mine = table[table["method"] == method]
        found.append(
            {
                "update": results.NAMES[method],
                "distance to the oracle": mean_and_range(mine["oracle_distance"]),
                "forget NLL": mean_and_range(mine["forget_nll"]),
                "perplexity, × start": mean_and_range(mine["perplexity_ratio"]),
                "step (%)": mean_and_range(100 * mine["share"]),
                "seeds that reach it": f"{int(mine['crossed'].sum())} of {len(mine)}",
            }
        )
    return pd.DataFrame(found)


def contrasts(profile: Profile, arm: str) -> pd.DataFrame:
    """First epoch against every other update at matched damage, paired over seeds."""
    found = []
    for row in results.contrasts(profile, arm).to_dict("records"):
        has = row.get("p") == row.get("p", float("nan"))
        interval = f"[{row['ci_low']:.2f}, {row['ci_high']:.2f}]" if has else "–"
        found.append(
            {
                "first epoch against": results.NAMES[row["against"]],
                "difference of D_F": f"{row['difference']:+.3f}",
                "95 % interval": interval,
                "p": p_value(row.get("p", float("nan"))),
                "p (Holm)": p_value(row.get("p_holm", float("nan"))),
                "closer in": f"{row['wins']} of {count(row['n'], 'seed')}",
            }
        )
    return pd.DataFrame(found)


def influence(profile: Profile, arm: str) -> pd.DataFrame:
    """The before-and-after tests of each score, over facts and over seeds."""
    found = []
    for row in results.influence_tests(profile, arm).to_dict("records"):
        has = row.get("t") == row.get("t", float("nan"))
        numbers = {k: f"{row[k]:.2f}" if has else "–" for k in ("t", "d_z", "d_av")}
        found.append(
            {
                "score": row["score"],
                "replicates": row["unit"],
                "n": row["n"],
                "before → after": f"{row['before']:.3g} → {row['after']:.3g}",
                "change [95 %]": f"{row['change']:+.3g} [{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
                if has
                else f"{row['change']:+.3g}",
                "t": numbers["t"],
                "p (Holm)": p_value(row.get("p_holm", float("nan"))),
                "d_z": numbers["d_z"],
                "d_av": numbers["d_av"],
            }
        )
    return pd.DataFrame(found)


def recipes(profile: Profile) -> pd.DataFrame:
    """How each model was fine-tuned, what it knows in the end, and what that cost running text and time."""
    rows = [
        {
            "model, optimizer": r.arm,
            "seeds": r.seeds,
            "learning rate": f"{r.lr:g}",
            "epochs": r.epochs,
            "batch": r.batch_size,
            "frozen": "some" if r.frozen else "nothing",
            "exact memorisation": f"{r.exact_memorisation:.2f}",
            "encyclopedia perplexity": f"{r.perplexity_change:+.0%}",
            "took": duration(r.seconds),
        }
        for r in results.recipes(profile).itertuples()
    ]
    return pd.DataFrame(rows)


def ledger(profile: Profile) -> pd.DataFrame:
    """What the ledgers on disk hold, beside the size that dense gradients would have."""
    rows = [
        {
            "run": f"{r.arm}, seed {r.seed}",
            "facts": r.examples,
            "epochs": r.epochs,
            "on disk": bytes_of(r.bytes),
            "a record": bytes_of(r.bytes / r.records),
            "dense would be": bytes_of(r.dense_bytes),
        }
        for r in results.ledger_sizes(profile).itertuples()
    ]
    return frame(rows, "run", "facts", "epochs", "on disk", "a record", "dense would be")


def costs(profile: Profile) -> pd.DataFrame:
    """Seconds and peak memory of each kind of work, by arm."""
    table = results.costs(profile).groupby(["arm", "stage"], sort=False)
    table = table.agg(runs=("seconds", "size"), seconds=("seconds", "mean"), peak=("peak_gb", "max"))
    table = table.reset_index()
    table["stage"] = table["stage"].map(study.KINDS)
    table["time each"] = table.pop("seconds").map(duration)
    table["peak memory"] = (table.pop("peak") * 1e9).map(bytes_of)
    return table.rename(columns={"stage": "work"})
