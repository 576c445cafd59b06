"""The verdicts on the claims: as tables and a figure, for the README, and for programs (claims.json)."""

import json
import math
import re
from collections.abc import Callable
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd

from unlearnkit import claims, files
from unlearnkit.report import claim_values, contrasts, figures, readings, tables
from unlearnkit.report.run import Arm, Run

FILE = "claims.json"
KEYS = (
    *("id", "statement", "arm", "contrast", "estimate", "ci_low", "ci_high", "p_holm", "n_seeds"),
    *("verdict", "paper_says", "margin", "p", "detectable"),
)
TABLE = ("claim", "arm", "estimate [95 %]", "margin", "p (Holm)", "seeds", "smallest found", "verdict")
ORDER = [claim.id for claim in claims.CLAIMS]
UNITS = {claim.id: claim.unit for claim in claims.CLAIMS}
NONE = [claim.id for claim in claims.CLAIMS if claim.kind == "no impact"]
DIGITS = 6  # of the numbers in the file
# Verdict: symbol, and how it is drawn; its colour alone must not carry it.
LOOK = {
    claims.REPLICATED: ("●", {"color": "#0072B2", "marker": "o"}),
    claims.NOT_REPLICATED: ("■", {"color": "#D55E00", "marker": "s"}),
    claims.UNDECIDED: ("◇", {"color": "#6b6b6b", "marker": "D", "mfc": "white"}),
    claims.NO_VERDICT: ("×", {"color": "#6b6b6b", "marker": "x"}),
}
MANY = 8  # seeds of an arm that has a column of its own
COLUMNS = 2  # of the figure's panels
NEAR = 3.0  # an axis reaches this many times as far as its panel's estimates; longer intervals are cut


def save(run: Run) -> None:
    """Write claims.json: a list of objects with KEYS; a number that there is not is null."""
    told = [{key: _plain(row[key]) for key in KEYS} for row in contrasts.verdicts(run)]
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)
    files.write_text(run.figures / FILE, text + "\n")


def _plain(value: object) -> object:
    """JSON's own types, with as many digits as mean something."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def table(rows: list[dict]) -> pd.DataFrame:
    """A row a claim and arm, claims together: what was estimated, and how sure that is."""
    told = []
    for row in sorted(rows, key=lambda row: ORDER.index(row["id"])):
        found = (f"{row['id']}: {row['statement']}", row["arm"], _estimate(row))
        margin = f"{'±' if row['id'] in NONE else ''}{row['margin']:g}"
        found += (margin, tables.p_value(row["p_holm"]), row["n_seeds"])
        told.append((*found, tables.number(row["detectable"], ".2g"), row["verdict"]))
    return tables.frame(told, *TABLE)


def _estimate(row: dict) -> str:
    told = tables.estimate(*(row[key] for key in ("estimate", "ci_low", "ci_high")))
    return f"{told}; uncharged {tables.estimate(*row['bound'])}" if row["bound"] else told


def _by_arm(run: Run, told: Callable[[dict], str]) -> pd.DataFrame:
    """A row a claim, a column an arm (with its seeds): what `told` makes of each verdict.

    Of the first arm, and of others with MANY seeds; the rest are in `table`.
    """
    shown = [arm for arm in run.arms if arm is run.arms[0] or len(arm.seeds) >= MANY]
    rows: dict[str, dict[str, str]] = {}
    arms = {a.name: f"{tables.short(a.name)} ({tables.count(len(a.seeds), 'seed')})" for a in shown}
    for row in sorted(contrasts.verdicts(run), key=lambda row: ORDER.index(row["id"])):
        if row["arm"] in arms:
            claim = f"{row['id']}. {row['statement']}"
            none = {"claim": claim} | dict.fromkeys(arms.values(), "–")
            rows.setdefault(claim, none)[arms[row["arm"]]] = told(row)
    return tables.frame(rows.values(), "claim", *arms.values())


def words(run: Run) -> pd.DataFrame:
    """Every claim's verdict by arm in words, with its symbol in its colour; the numbers are in `figure`."""
    span = '<span style="color: {1[color]}">{0} {2}</span>'
    return _by_arm(run, lambda row: span.format(*LOOK[row["verdict"]], row["verdict"]))


def markdown_for_readme(run: Run) -> str:
    """A compact table, a column an arm: verdict, estimate and interval of every claim."""
    told = _by_arm(run, lambda row: f"<b>{row['verdict']}</b> {_estimate(row)}")
    return re.sub("</?b>", "**", tables.markdown(told))  # asterisks in cells are escaped


def units() -> str:
    """What the numbers of `markdown_for_readme` are: their units and margins, as registered."""
    groups: dict[str, list[str]] = {}
    for claim in claims.CLAIMS:
        groups.setdefault(f"{claim.unit} with a margin of {claim.margin:g}", []).append(claim.id)
    most, *rest = sorted(groups.items(), key=lambda group: -len(group[1]))
    told = [f"in {most[0]}", *(f"{', '.join(ids)} in {what}" for what, ids in rest)]
    return (
        "Between two steps of a path, prices are read off a straight line. A path that ended before it "
        "forgot is charged all that the others were taught.\n\n"
        f"A verdict, and the mean over seeds [95 % interval]: {'; '.join(told)}. Above zero favours "
        f"the claim; {' and '.join(NONE)} claim a number near zero. A verdict that the charge alone makes is "
        "undecided; *uncharged* takes what such paths had cost by their end:"
    )


def summary(run: Run) -> str:
    """One screen: what forgetting costs by the first arm's updates, and the verdicts on all claims."""
    arm = run.arms[0]
    read = readings.reading(arm, "forgetting", None, "all", readings.UPDATES)
    start = readings.path_table(arm, methods=()).query("method == 'finetuned'")["oracle_distance"].mean()
    closest = readings.reading(arm, "closest", None, "all", readings.UPDATES)
    rows = []
    for method in (m for m in readings.UPDATES if m in set(read["method"])):
        there = read[read["method"] == method]["reached"]
        nearest = closest[closest["method"] == method]["oracle_distance"].mean()
        price, seen = (claim_values.cost(arm, ("all", method), charged=c).mean() for c in (True, False))
        pays = f"{price:.2f}" if there.all() else f"{price:.2f} charged ({seen:.2f} by its end)"
        told = (tables.NAMES[method], f"{there.sum()} of {len(there)}", pays, f"{nearest:.2f}")
        rows.append(told)
    others = "what others lose by then"
    columns = ["update", "seeds where it forgets as the oracle", others, "closest to the oracle"]
    told = tables.markdown(pd.DataFrame(rows, columns=columns))
    head = (
        f"**{arm.name}**, {tables.count(len(arm.seeds), 'training seed')}. In "
        f"nats; the fine-tuned model is {start:.2f} from the retrained oracle, and all that the others were "
        f"taught is worth {claim_values.thrown_away(arm)['damage'].mean():.2f}:"
    )
    parts = [head, told, *filter(None, [in_answers(arm)]), units(), markdown_for_readme(run)]
    if warned := contrasts.warnings(run):
        parts.insert(0, warned.data)
    return "\n\n".join(parts)


def in_answers(arm: Arm) -> str:
    """What the first epoch's price is in words that others' facts are answered with; "" without close-ups."""
    seen = arm.observations("portraits").query("metric == 'exact_memorisation' and split == 'retain'")
    known = (
        seen.groupby("method")["value"].mean().reindex(["finetuned", "first_epoch_forgotten", "pretrained"])
    )
    before, after, never = known
    if not math.isfinite(before + after):
        return ""
    never = f" (to the public model: {never:.0%})" if math.isfinite(never) else ""
    return (
        "In answers: where the first epoch has forgotten, the model's first choice is right for "
        f"{after:.0%} of the tokens of others' answers, of {before:.0%} before{never}."
    )


def figure(rows: list[dict]) -> plt.Figure:
    """A panel a claim in its own unit: estimate and 95 % interval by arm, and the margin as a grey band."""
    rows = [row for row in rows if math.isfinite(row["estimate"])]
    wanted = sorted({(ORDER.index(row["id"]), row["id"], row["statement"]) for row in rows})
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    lines = -(-len(wanted) // COLUMNS) or 1
    drawn, axes = figures.figure(
        lines * (0.85 + 0.2 * len(arms)) + 0.5, lines, COLUMNS, sharey=True, squeeze=False
    )
    for ax, (_, claim, statement) in zip(axes.flat, wanted, strict=False):
        _panel(ax, [row for row in rows if row["id"] == claim], arms)
        ax.set_title(fill(f"{claim}  {statement.rstrip('.')}", 40), fontsize=8)
        ax.set_xlabel(UNITS[claim], fontsize=8)
    for ax in axes.flat[len(wanted) :]:
        ax.set_visible(False)
    looks = {
        v: look for v, look in LOOK.items() if v != claims.NO_VERDICT or v in {r["verdict"] for r in rows}
    }
    marks = [plt.Line2D([], [], **style) for _, style in looks.values()]
    marks.append(plt.Rectangle((0, 0), 1, 1, color=figures.FAINT, alpha=0.5, lw=0))
    drawn.legend(marks, [*looks, "within the margin"], loc="outside upper center", ncols=4, frameon=False)
    return drawn


def _panel(ax: plt.Axes, rows: list[dict], arms: list[str]) -> None:
    """One claim's line of every arm; an interval that leaves the axis is cut, and a charged path is named."""
    margin = rows[0]["margin"]
    far = NEAR * max([margin, *(abs(row["estimate"]) for row in rows)])
    ends = [row[k] for row in rows for k in ("ci_low", "ci_high", "estimate") if row[k] is not None]
    low, high = max(-far, min([-2 * margin, *ends])), min(far, max([2 * margin, *ends]))
    room = 0.06 * (high - low)
    ax.axvspan(-margin, margin, color=figures.FAINT, alpha=0.5, lw=0, zorder=0)
    ax.axvline(0, color=figures.MUTED, lw=0.9, zorder=1)
    for row in rows:
        (_, style), y = LOOK[row["verdict"]], arms.index(row["arm"])
        if row["ci_low"] is not None:
            ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=style["color"], lw=1.6)
        ax.plot(row["estimate"], y, ms=5.5, mew=1.4, **style)
        if row.get("bound"):
            figures.note(ax, "charged", (row["estimate"], y), "data", (0, 4), ha="center", fontsize=7.5)
    there = {row["arm"] for row in rows}
    for arm in (arm for arm in arms if arm not in there):  # in order: files are the same in every run
        figures.note(ax, "not asked", (0, arms.index(arm)), "data", (4, 0), va="center", fontsize=7.5)
    ax.set(xlim=(low - room, high + room), ylim=(len(arms) - 0.4, -0.6))
    ax.set_yticks(range(len(arms)), [tables.short(arm) for arm in arms], color=figures.INK)
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.locator_params(axis="x", nbins=5)
