"""Layer maps: every selection of the model's parameters, read at equal damage and at equal step."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, TwoSlopeNorm

from unlearnkit.plots.style import COLOURS, FAINT, INK, LABELS, MUTED, figure, label_ends, note, step_axis
from unlearnkit.study import results
from unlearnkit.study.results.layermap import layer_name

DIVERGING = "PuOr_r"  # orange is more, purple is less, for every eye
RISING = LinearSegmentedColormap.from_list("rising", ["#ffffff", "#fdd0a2", "#b35806"])
LINES = {"all": "-", "embedding": (0, (5, 2)), "last2": (0, (1.2, 1.4))}
NATS = (0.02, 0.1, 0.5, 2, 8)  # ticks of a wide axis
MARKS = {"wrong_person": "s", "random_direction": "X"}


def heatmap(table: pd.DataFrame, rows: list[str], methods: list[str]) -> plt.Figure:
    """Four readings side by side, a column a method; a dagger where not every seed's path got there.

    `table` as `layermap.readings` gives it: gain and share at equal damage, rise and damage at equal step.
    """
    panels = (
        ("gain", "crossed", "closer to the\noracle (nats)", "{:+.2f}", 1),
        ("share", "crossed", "step\n(%)", "", 100),
        ("rise", "reached", "forget NLL\nrises (nats)", "{:+.2f}", 1),
        ("damage", "reached", "retain NLL\nrises (nats)", "{:+.2f}", 1),
    )
    drawn, axes = figure(0.25 * len(rows) + 1.5, 1, 4, sharey=True)
    for ax, (value, complete, title, form, scale) in zip(axes, panels, strict=True):
        means, whole = (
            table.pivot_table(index="layers", columns="method", values=v, aggfunc=how)
            .reindex(index=rows, columns=methods)
            .astype(float)
            for v, how in ((value, "mean"), (complete, "min"))
        )
        texts = (scale * means).map(lambda number, form=form: _number(number, form))
        texts = texts + whole.map(lambda w: "†" if w == 0 else "")
        colours, norm = _scale(value, means)
        cells(ax, means, texts, colours, norm)
        ax.set_xticks(range(len(methods)), [LABELS[m].replace(" ", "\n") for m in methods], fontsize=8)
        ax.set_title(f"\n\n{title}", fontsize=9, fontweight="normal", loc="center")
    axes[0].set_yticks(range(len(rows)), [layer_name(r) for r in rows], color=INK, fontsize=8.5, ha="left")
    axes[0].tick_params(axis="y", pad=98)
    for left, text in ((0, "at equal damage"), (2, "at equal step")):
        where = (1, 1), "axes fraction", (4, 36)
        bold = {"fontweight": "bold", "fontsize": 10, "color": INK}
        note(axes[left], text, *where, ha="center", in_layout=False, **bold)
    return drawn


def _number(number: float, form: str) -> str:
    """A cell's text: nothing measured is a dash, and a zero has no sign."""
    if not np.isfinite(number):
        return "–"
    text = form.format(number) if form else f"{number:.{1 if number < 10 else 0}f}"
    return text.replace("-0.00", "0.00").replace("+0.00", "0.00")


def _scale(value: str, means: pd.DataFrame) -> tuple[Colormap, Normalize]:
    """Diverging about 0 where a sign means something, rising for step lengths."""
    numbers = means.to_numpy()
    numbers = numbers[np.isfinite(numbers)]
    if value == "share":
        return RISING, Normalize(0, max(numbers.max(initial=0), 1e-9) * 1.1)
    # The largest would wash all others out where a few selections go far: the ninth tenth sets the scale.
    reach = max(np.quantile(np.abs(numbers), 0.9) if numbers.size else 0, 1e-6)
    return plt.get_cmap(DIVERGING), TwoSlopeNorm(0, -reach, reach)


def cells(
    ax: plt.Axes, values: pd.DataFrame, texts: pd.DataFrame, colours: Colormap, norm: Normalize
) -> None:
    """A heat map with its numbers, dark on light and light on dark, and no frame."""
    ax.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto")
    for (y, x), text in np.ndenumerate(texts.to_numpy()):
        value = values.iloc[y, x]
        red, green, blue, _ = colours(norm(value)) if np.isfinite(value) else (1, 1, 1, 1)
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        ax.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def gains(tables: dict[str, pd.DataFrame], rows: list[tuple[str, str]], value: str, label: str) -> plt.Figure:
    """One panel an arm: a reading of chosen (layers, method) rows, a dot a seed, a bar for their mean."""
    drawn, axes = figure(0.34 * len(rows) + 1.3, 1, len(tables), squeeze=False, sharey=True)
    for ax, (arm, table) in zip(axes.flat, tables.items(), strict=True):
        for height, (layers, method) in enumerate(reversed(rows)):
            here = table[(table["layers"] == layers) & (table["method"] == method)][value]
            ax.plot(here, [height] * len(here), "o", color=COLOURS[method], ms=4, alpha=0.45, mew=0)
            if here.empty:
                note(ax, "not walked", (0, height), "data", (4, 0), va="center", fontsize=8)
                continue
            ax.plot([here.mean()], [height], "|", color=COLOURS[method], ms=17, mew=2.6)
        ax.axvline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        ax.set_title("\n".join(textwrap.wrap(arm, 72 // len(tables))), fontsize=9)
        ax.set_ylim(-0.6, len(rows) - 0.4)
    names = [layer_name(n) if m == "first_epoch" else LABELS[m] for n, m in reversed(rows)]
    axes[0, 0].set_yticks(range(len(rows)), names, color=INK)
    for ax in axes.flat:
        ax.tick_params(axis="y", length=0)
    drawn.supxlabel(label, fontsize=10, color=INK)
    return drawn


def against_controls(table: pd.DataFrame, rows: list[str]) -> plt.Figure:
    """A panel a control: how far the forget NLL rises on every selection, after it and after the replay."""
    names = [c for c in MARKS if c in set(table["control"])]
    drawn, axes = figure(0.25 * len(rows) + 1.2, 1, len(names), squeeze=False, sharey=True)
    for ax, control in zip(axes.flat, names, strict=True):
        means = table[table["control"] == control].groupby("layers")[["rise", "rise_first"]].mean()
        means = means.reindex(rows[::-1])
        heights = range(len(means))
        _wide_axis(ax.xaxis, means.to_numpy())
        ax.hlines(heights, means["rise"], means["rise_first"], color=MUTED, lw=1, alpha=0.6)
        ax.plot(means["rise"], heights, MARKS[control], color=COLOURS[control], ms=6, label=LABELS[control])
        ax.plot(means["rise_first"], heights, "o", color=COLOURS["first_epoch"], ms=6, label="first epoch")
        ax.axvline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        share = table[table["control"] == control]["share"].max()
        ax.set_xlabel(f"rise of the forget NLL (nats)\nat a step of {share:.0%}")
        ax.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 1))
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(rows)), [layer_name(n) for n in rows[::-1]], color=INK, fontsize=8.5)
    axes[0, 0].set_ylim(-0.6, len(rows) - 0.4)
    return drawn


def _wide_axis(axis: Axis, values: np.ndarray) -> None:
    """Nats of either sign over several powers of ten: linear to the first tick, logarithmic beyond."""
    ticks = [t for t in NATS if t <= 1.5 * np.nanmax(values, initial=NATS[0])]
    below = [-t for t in NATS if t <= -1.5 * np.nanmin(values, initial=0)]
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("symlog", linthresh=NATS[0])
    axis.set_ticks([*below, 0, *ticks], [f"{t:g}" for t in [*below, 0, *ticks]])
    axis.set_ticks([], minor=True)


def paths_by_layer(
    table: pd.DataFrame, controls: pd.DataFrame, layers: str, margin: float, reference: float
) -> plt.Figure:
    """Rise of the forget NLL along the first-epoch step on a few selections; controls on one as marks.

    `table` is a path table of every selection with `rise`, the forget NLL above the start's; the band is a
    margin below which an effect does not matter, the upright line the reference step.
    """
    drawn, ax = figure(3.6)
    ends, shares = {}, set()
    for name, style in LINES.items():
        path = results.along(table, "first_epoch", name)
        if not (path["method"] == "first_epoch").any():
            continue
        steps = path.groupby("share")["rise"]
        mean = steps.mean()[steps.count() == path["seed"].nunique()]  # a mean of the same seeds throughout
        for _, one in path.groupby("seed"):
            ax.plot(one["share"], one["rise"], color=COLOURS["first_epoch"], lw=0.6, ls=style, alpha=0.35)
        ax.plot(mean.index, mean, color=COLOURS["first_epoch"], ls=style)
        ends[layer_name(name)] = (mean.index[-1], mean.iloc[-1])
        shares |= set(mean.index)
    for control, here in controls[controls["layers"] == layers].groupby("control"):
        ax.plot(here["share"], here["rise"], MARKS[control], color=COLOURS[control], ms=6, alpha=0.7)
        where = (here["share"].mean(), here["rise"].min())
        note(ax, LABELS[control], where, "data", (0, -14), ha="center", color=COLOURS[control])
    step_axis(ax, shares)
    _wide_axis(ax.yaxis, np.array([y for _, y in ends.values()]))
    ax.axhspan(-margin, margin, color=FAINT, alpha=0.35, lw=0)
    note(ax, "too small to matter", (0.01, margin), ("axes fraction", "data"), (0, -11))
    ax.axvline(reference, color=MUTED, lw=1, ls=(0, (4, 3)))
    note(ax, "read here", (reference, 1), ("data", "axes fraction"), (-3, -2), ha="right", va="top")
    ax.set(xlabel="step length, share of the fine-tuning displacement", ylabel="forget NLL, rise (nats)")
    ax.set_ylim(bottom=-0.05)
    drawn.canvas.draw()
    label_ends(ax, ends, **dict.fromkeys(ends, COLOURS["first_epoch"]))
    return drawn
