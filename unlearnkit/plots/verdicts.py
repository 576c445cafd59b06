"""The verdicts on all claims in all arms, as one forest plot in units of each claim's margin."""

import matplotlib.pyplot as plt

from unlearnkit import claims
from unlearnkit.plots.style import FAINT, INK, MUTED, figure, note

# Verdict: colour and symbol, so that neither alone must carry it.
VERDICTS = {
    claims.REPLICATED: ("#0072B2", "o"),
    claims.NOT_REPLICATED: ("#D55E00", "s"),
    claims.UNDECIDED: ("#7F7F7F", "D"),
}
ROW, HEADING, TOP = 0.2, 0.3, 0.75  # inches: a line of an arm, a claim's heading, axis and legend
TICKS = (1, 10, 100, 1000, 10_000)
SHORT = {"gpt2-tiny-pretrained": "gpt2-tiny", "smollm2-135m": "smollm2"}


def forest(rows: list[dict]) -> plt.Figure:
    """Each claim's estimate and 95 % interval by arm, over its margin; rows as `claims.verdicts` gives them.

    The scale is linear within twice the margin and logarithmic beyond. An interval that leaves it is cut.
    """
    rows = [row for row in rows if row["estimate"] == row["estimate"]]
    wanted = [claim for claim in claims.CLAIMS if claim.id in {row["id"] for row in rows}]
    height = TOP + HEADING * len(wanted) + ROW * len(rows)
    drawn, ax = figure(height)
    reach = _reach(rows)
    ax.set_xscale("symlog", linthresh=2, linscale=1)
    ax.set_xlim(-reach, reach)
    place, ticks = 0.0, {}
    for claim in wanted:
        place += HEADING
        rule = " (claimed: inside the band)" if claim.kind == "no impact" else ""
        heading = f"{claim.id}  {claim.statement.rstrip('.')}{rule}"
        style = {"color": INK, "va": "center", "fontweight": "bold", "fontsize": 8.5}
        note(ax, heading, (0, place), _beside(ax), (-105, 0), **style)
        for row in (r for r in rows if r["id"] == claim.id):
            place += ROW
            _line(ax, row, place)
            ticks[place] = _short(row["arm"])
    _frame(ax, place + ROW, ticks, reach)
    return drawn


def _reach(rows: list[dict]) -> float:
    """How many margins the axis shows: all estimates, and intervals up to ten times as far."""
    far = max([abs(r["estimate"]) / r["margin"] for r in rows], default=1)
    wide = max([abs(r[k] or 0) / r["margin"] for r in rows for k in ("ci_low", "ci_high")], default=1)
    return 1.3 * max(4, far, min(wide, 10 * far))


def _beside(ax: plt.Axes) -> tuple:
    return ("axes fraction", "data")


def _line(ax: plt.Axes, row: dict, place: float) -> None:
    colour, symbol = VERDICTS[row["verdict"]]
    if row["ci_low"] is not None:
        ends = [row["ci_low"] / row["margin"], row["ci_high"] / row["margin"]]
        ax.plot(ends, [place, place], color=colour, lw=1.6, solid_capstyle="butt")
    filled = "white" if row["verdict"] == claims.UNDECIDED else colour
    ax.plot(row["estimate"] / row["margin"], place, symbol, color=colour, mfc=filled, ms=5.5, mew=1.4)
    note(ax, row["verdict"], (1, place), _beside(ax), (6, 0), color=colour, va="center", fontsize=8.5)


def _frame(ax: plt.Axes, bottom: float, ticks: dict[float, str], reach: float) -> None:
    """Band, zero line, ticks and the key."""
    ax.axvspan(-1, 1, color=FAINT, alpha=0.35, lw=0, zorder=0)
    ax.axvline(0, color=MUTED, lw=0.9, zorder=0)
    marks = [t for t in TICKS if t < reach]
    ax.set_xticks([-t for t in marks[::-1]] + [0, *marks])
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:+,.0f}".replace("-", "−") if value else "0")
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="y", length=0, labelsize=8.5)
    ax.set_ylim(bottom, 0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("estimate and 95 % interval, in margins (grey band: within one margin)")


def _short(arm: str) -> str:
    for long, short in SHORT.items():
        arm = arm.replace(long, short)
    return arm
