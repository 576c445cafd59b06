"""Tables of the report, saved beside its figures, and numbers in words."""

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version

import numpy as np
import pandas as pd
from IPython.display import Markdown

from unlearnkit import files, stats
from unlearnkit.errors import DataError
from unlearnkit.report.run import Run
from unlearnkit.study import scheduler

NAMES = {
    "first_epoch": "first epoch's gradients",
    "all_epochs": "all epochs' gradients",
    "adam_first": "first epoch's AdamW updates",
    "adam_replay": "all epochs' AdamW updates",
    "wrong_person": "wrong person's gradients",
    "random_direction": "random direction",
    "random_subset": "gradient on random parameters",
    "random_last2": "gradient on as many random parameters as the last blocks have",
    "recomputed": "gradients recomputed at every step",
    "fuzzy": "first epoch, fuzzy request",
    "iterative": "first epoch, one fact at a time",
    "iterative_reversed": "one fact at a time, in reverse order",
}
# A machine's entries in the manifest, in words, and what the report is made with.
MADE = {
    "commit": "computed by commit",
    "processor": "computed on",
    "device": "and on",
    "python": "with Python",
    "torch": "with torch",
    "transformers": "with transformers",
}
READ_BY = ("numpy", "pandas", "scipy", "statsmodels", "matplotlib", "seaborn")


def short(arm: str) -> str:
    """An arm's name without what most share."""
    return arm.replace("-pretrained", "")


def show(
    table: pd.DataFrame, run: Run, name: str, note: str = "", rows: int | pd.Series | None = None
) -> Markdown:
    """Save a table of texts and numbers as NAME.csv and NAME.md, and return it for display.

    `note` goes below it: seeds, n, what was corrected for. Of a table too long for a page, `rows` says which
    are displayed: so many from the top, or those where it is true. All are saved, and a line says where.
    """
    text = markdown(table) + (f"\n\n*{note}*" if note else "")
    files.write_text(run.figures / "tables" / f"{name}.csv", table.to_csv(index=False))
    files.write_text(run.figures / "tables" / f"{name}.md", text + "\n")
    if rows is None:
        return Markdown(text)
    shown = table.head(rows) if isinstance(rows, int) else table[rows]
    if len(shown) == len(table):
        return Markdown(text)
    where = f"{len(shown)} of {count(len(table), 'row')}; all are in `figures/tables/{name}.csv`."
    return Markdown(f"{markdown(shown)}\n\n*{f'{note} {where}'.strip()}*")


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table; numbers to the right."""
    sides = ["---:" if pd.api.types.is_numeric_dtype(table[c]) else "---" for c in table]
    rows = [list(table.columns), sides, *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return number(value) if abs(value) < 1000 or value != value else f"{value:,.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("*", "\\*").replace("$", "\\$")


def frame(rows: Iterable[dict], *columns: str) -> pd.DataFrame:
    """The rows as a table with these columns, also when there are none."""
    return pd.DataFrame(list(rows), columns=list(columns))


def number(value: float, style: str = ".3g") -> str:
    """A number in a format, or a dash where there is none."""
    return "–" if value is None or not np.isfinite(value) else f"{value:{style}}"


def interval(low: float, high: float, style: str = "+.2f") -> str:
    """`[+0.31, +0.73]`, or a dash."""
    return "–" if low is None or not np.isfinite(low) else f"[{low:{style}}, {high:{style}}]"


def estimate(value: float, low: float = np.nan, high: float = np.nan, style: str = "+.2f") -> str:
    """`+0.52 [+0.31, +0.73]`; the value alone where there is no interval."""
    return f"{number(value, style)} {interval(low, high, style)}".removesuffix(" –")


def estimates(table: pd.DataFrame, value: str = "mean", style: str = "+.2f") -> list[str]:
    """`estimate` of every row: the column `value` with ci_low and ci_high."""
    columns = (table[c] for c in (value, "ci_low", "ci_high"))
    return [estimate(*row, style) for row in zip(*columns, strict=True)]


def mean_and_range(values: pd.Series, digits: int = 2) -> str:
    """Mean and 95 % interval, `0.52 [0.31, 0.73]`; of one seed just the number."""
    try:
        found = stats.mean_ci(values)
    except DataError:
        return number(values.mean(), f".{digits}f")
    return estimate(found.mean, found.ci_low, found.ci_high, f".{digits}f")


def mean_and_extremes(values: pd.Series, style: str = ".2f") -> str:
    """Mean, lowest and highest, `0.52 (0.31 to 0.73)`; dashes where there is none."""
    mean, low, high = (number(value, style) for value in values.agg(["mean", "min", "max"]))
    return f"{mean} ({low} to {high})"


def over_seeds(
    table: pd.DataFrame, by: str | list[str], titles: Mapping[str, str], **digits: int
) -> pd.DataFrame:
    """A row a group of `by`, in order of appearance: mean [95 % interval] of columns, under their titles.

    `digits` by column; 2 where not told. A column that was never measured is left out.
    """
    groups = table.groupby(by, sort=False)
    known = [column for column in titles if table[column].notna().any()]
    told = {titles[c]: groups[c].agg(_mean_of_known, digits.get(c, 2)) for c in known}
    return pd.DataFrame(told, index=groups.size().index).reset_index()


def _mean_of_known(values: pd.Series, digits: int) -> str:
    return mean_and_range(values.dropna(), digits)


def p_value(p: float) -> str:
    """Three digits, or a bound."""
    return "< 0.001" if p is not None and p < 0.001 else number(p, ".3f")


def count(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours; a dash where there is none."""
    return scheduler.duration(seconds) if np.isfinite(seconds) else "–"


def bytes_of(number: float) -> str:
    """A size in the decimal unit that suits it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} bytes"


def contrasts(table: pd.DataFrame, names: dict | None = None, digits: int = 3, **titles: str) -> pd.DataFrame:
    """`contrasts.contrast` for people; `names` gives the words for what is in `against`.

    `titles` replace the column names contrast, difference and wins.
    """
    title = {"contrast": "contrast", "difference": "difference", "wins": "lower in"} | titles
    called, style = names or NAMES, f"+.{digits}f"
    told = {
        title["contrast"]: [called.get(a, a) for a in table["against"]],
        title["difference"]: [number(value, style) for value in table["difference"]],
        "95 % interval": [
            interval(*ends, style) for ends in zip(table["ci_low"], table["ci_high"], strict=True)
        ],
        "p": table["p"].map(p_value),
        "p (Holm)": table["p_holm"].map(p_value),
        title["wins"]: [f"{r.wins} of {count(r.n, 'seed')}" for r in table.itertuples()],
    }
    return pd.DataFrame(told)


def stamp(run: Run) -> Markdown:
    """Where a page's numbers come from: the run, what computed it, its seeds, and what read it."""
    made = pd.DataFrame(run.manifest["machines"]).astype(str)
    rows = [("data", run.name)]
    rows += [(MADE[key], ", ".join(made[key].unique())) for key in MADE if key in made]
    rows += [(f"seeds of {arm.name}", ", ".join(map(str, arm.seeds))) for arm in run.arms]
    versions = [f"{name} {version(name)}" for name in READ_BY]
    rows.append(("read with", ", ".join([f"Python {platform.python_version()}", *versions])))
    return Markdown(markdown(pd.DataFrame(rows, columns=["this page", ""])))
