"""One look for every figure: a colour per method throughout, direct labels, byte-stable files."""

import math
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from matplotlib.axis import Axis
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from unlearnkit.report.run import Run

WIDTH = 7.2  # inches, of a full-width figure
TICKS = 7  # of a step axis; more are thinned to a ratio of neighbours of at least TICK_RATIO
TICK_RATIO = 3.9
BESIDE = 3  # how far up or down a line's name is still beside its end: points
FAR = (7, 14, 22, 32, 44, 58, 74)  # how far a point's name may be from it: points
ANGLES = (0, 180, 45, 135, -45, -135, 20, 160, -20, -160, 90, -90)  # and where: degrees
CONTRAST = 4.5  # of a word on white
NATS = (0.02, 0.1, 0.5, 2, 8)  # ticks of a wide axis
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#c8c8c8"
# Okabe and Ito's palette, safe for colour-blind readers.
COLOURS = {
    "first_epoch": "#D55E00",
    "all_epochs": "#0072B2",
    "adam_first": "#B07D62",
    "adam_replay": "#661100",
    "wrong_person": "#AA4499",
    "random_direction": "#7F7F7F",
    "random_subset": "#B5A642",
    "recomputed": "#56B4E9",
    "fuzzy": "#E69F00",
    "iterative": "#332288",
    "iterative_reversed": "#8F7FD0",
    "oracle": "#009E73",
    "finetuned": INK,
    "pretrained": "#999933",
    "target": "#D55E00",
}
LABELS = {
    "first_epoch": "first epoch",
    "all_epochs": "all epochs",
    "adam_first": "first epoch, AdamW",
    "adam_replay": "all epochs, AdamW",
    "wrong_person": "wrong person",
    "random_direction": "random direction",
    "random_subset": "random parameters",
    "recomputed": "recomputed",
    "fuzzy": "fuzzy request",
    "iterative": "iterative",
    "iterative_reversed": "iterative, reversed",
    "oracle": "oracle",
    "finetuned": "fine-tuned",
    "pretrained": "pretrained",
}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "unlearnkit",  # the same ids in every run
}


def figure(height: float, rows: int = 1, columns: int = 1, **options):
    """A full-width figure in the study's style, and its axes."""
    mpl.rcParams.update(STYLE)
    return plt.subplots(rows, columns, figsize=(WIDTH, height), **options)


def panels(height: float, many: int, columns: int = 4, **options) -> tuple[plt.Figure, list[plt.Axes]]:
    """A figure of so many panels in lines of at most `columns`, each `height` inches high, and their axes.

    Panels share their y axis; those that a last line has too many are not drawn.
    """
    columns = max(1, min(columns, many))
    lines = max(1, -(-many // columns))
    if lines > 1:  # an even number a line
        columns = -(-many // lines)
    drawn, axes = figure(height * lines, lines, columns, squeeze=False, **{"sharey": True} | options)
    for ax in axes.flat[many:]:
        ax.set_axis_off()
    return drawn, list(axes.flat[:many])


def save(drawn: plt.Figure, run: Run, name: str) -> Image:
    """Write NAME.svg and NAME.png below the run's figures, close the figure, and return it for display."""
    folder = run.figures
    folder.mkdir(parents=True, exist_ok=True)
    drawn.savefig(folder / f"{name}.svg", metadata={"Date": None})
    drawn.savefig(folder / f"{name}.png", metadata={"Software": None})
    plt.close(drawn)
    return Image(Path(folder / f"{name}.png").read_bytes(), format="png")


def shown(drawn: plt.Figure) -> None:
    """Display a figure without writing it, for sliders."""
    display(drawn)
    plt.close(drawn)


def plain(text: str) -> str:
    """A text that a model said, drawn as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def step_axis(ax: plt.Axes, shares: Iterable[float]) -> None:
    """Step length as a share of the fine-tuning displacement: linear up to the first step, then log."""
    ticks = sorted({s for s in shares if s > 0})
    longest = ticks[-1]
    ax.set_xscale("symlog", linthresh=ticks[0], linscale=0.7)
    for share in ticks[1:] if len(ticks) > TICKS else ():  # labels would run into each other
        if share < TICK_RATIO * max(t for t in ticks if t < share):
            ticks.remove(share)
    ax.set_xticks([0, *ticks], ["0", *(f"{100 * s:.2g}%" for s in ticks)])
    ax.set_xticks([], minor=True)
    ax.tick_params(axis="x", labelsize=8)
    ax.set_xlim(0, longest * 1.1)


def note(ax: plt.Axes, text: str, place: tuple, within, shift: tuple, **options) -> None:
    """A small text at a place in the coordinates `within`, moved by `shift` points."""
    given = {"fontsize": 9, "color": MUTED, "annotation_clip": False} | options
    given["color"] = readable(given["color"])
    ax.annotate(text, place, xycoords=within, xytext=shift, textcoords="offset points", **given)


def readable(colour: str) -> tuple[float, ...]:
    """The colour of a word: a line's, darkened until it stands out from white by CONTRAST (WCAG 2.2)."""
    linear = np.power(mpl.colors.to_rgb(colour), 2.2)
    luminance = max(linear @ (0.2126, 0.7152, 0.0722), 1e-9)
    return tuple((linear * min(1.0, (1.05 / CONTRAST - 0.05) / luminance)) ** (1 / 2.2))


def label_ends(ax: plt.Axes, ends: dict[str, tuple[float, float]], gap: float = 12, **extra: str) -> None:
    """Write each name beside the last point of its line, pushed apart to `gap` points where they meet.

    A thin line leads to a name that was moved. `ends` maps a method, or a name whose colour is in `extra`, to
    its line's last (x, y) in data units. Call it when nothing else moves the axes any more.
    """
    ax.figure.canvas.draw()  # lays the figure out
    scale = ax.figure.dpi / 72
    there = {name: ax.transData.transform(point)[1] / scale for name, point in ends.items()}
    names = sorted(there, key=there.get)
    heights = spread([there[name] for name in names], gap)
    moved = {name: height - there[name] for name, height in zip(names, heights, strict=True)}
    far = {name for name, up in moved.items() if abs(up) > BESIDE}
    for name, up in moved.items():
        colour = extra.get(name) or COLOURS[name]
        leader = {"arrowstyle": "-", "lw": 0.6, "color": colour, "shrinkA": 1, "shrinkB": 2}
        leader["relpos"] = (0, 0.5)  # to the name's left end
        look = {"va": "center", "color": colour} | ({"arrowprops": leader} if name in far else {})
        note(ax, LABELS.get(name, name), ends[name], "data", (18 if far else 7, up), **look)


def label_points(
    ax: plt.Axes,
    points: Mapping[str, tuple[float, float]],
    colours: Mapping[str, str],
    others: Iterable[tuple[float, float]] = (),
) -> None:
    """Write each name beside its point, (x, y) in data units, where it covers neither a name nor a point.

    `others` are points without a name. The nearest of a few places is taken, with a thin line where that is
    not beside the point. Call it when nothing else moves the axes any more.
    """
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    inside, reach = ax.get_window_extent(), ax.figure.dpi / 72
    marks = [ax.transData.transform(point) for point in [*points.values(), *others]]
    taken = [Bbox.from_bounds(x - 4 * reach, y - 4 * reach, 8 * reach, 8 * reach) for x, y in marks]
    for name, point in sorted(points.items(), key=lambda item: -item[1][1]):
        line = {"arrowstyle": "-", "lw": 0.5, "color": MUTED, "shrinkA": 0, "shrinkB": 3}
        given = {"xycoords": "data", "textcoords": "offset points", "va": "center", "fontsize": 8}
        told = ax.annotate(name, point, (0, 0), color=readable(colours[name]), arrowprops=line, **given)
        told.set(in_layout=False, path_effects=[withStroke(linewidth=2, foreground="white")])
        least = math.inf
        for place in product(FAR, ANGLES):
            covered = _misplaced(told, *place, renderer, inside, taken)
            if covered < least:
                least, (far, angle) = covered, place
            if not covered:
                break
        taken.append(box := _placed(told, far, angle, renderer))
        taken += _along(ax.transData.transform(point), box, reach) if far > FAR[0] else []
        told.arrow_patch.set_visible(far > FAR[0])


def _misplaced(told: plt.Annotation, far: float, angle: float, renderer, inside: Bbox, taken: list) -> int:
    """How many marks and names a name would cover there; more than any where it would leave the axes."""
    box = _placed(told, far, angle, renderer)
    outside = not all(inside.contains(*corner) for corner in box.corners())
    return box.count_overlaps(taken) + outside * (len(taken) + 1)


def _along(point: np.ndarray, box: Bbox, reach: float) -> list[Bbox]:
    """Small boxes on the thin line from a point to its name, which no other name is to cover."""
    middle = np.array([box.x0 + box.width / 2, box.y0 + box.height / 2])
    places = [point + share * (middle - point) for share in np.linspace(0, 1, 15)]
    return [Bbox.from_bounds(*(at - reach), 2 * reach, 2 * reach) for at in places if not box.contains(*at)]


def _placed(told: plt.Annotation, far: float, angle: float, renderer) -> Bbox:
    """Put a name so many points away from its point, in that direction (degrees); what it covers."""
    across = math.cos(math.radians(angle))
    told.set_position((far * across, far * math.sin(math.radians(angle))))
    told.set_horizontalalignment("center" if abs(across) < 0.1 else "left" if across > 0 else "right")
    told.update_positions(renderer)
    return Text.get_window_extent(told, renderer)


def spread(places: list[float], gap: float) -> list[float]:
    """Ascending places moved as little as it takes (in least squares) to lie at least `gap` apart."""
    ranks = gap * np.arange(len(places))
    return [float(x) for x in isotonic_regression(np.array(places) - ranks).x + ranks]


def wide_axis(axis: Axis, values: Iterable[float]) -> None:
    """Nats of either sign over several powers of ten: linear to the first tick, logarithmic beyond."""
    ticks = [t for t in NATS if t <= 1.5 * np.nanmax(values, initial=NATS[0])]
    below = [-t for t in NATS if t <= -1.5 * np.nanmin(values, initial=0)]
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("symlog", linthresh=NATS[0])
    axis.set_ticks([*below, 0, *ticks], [f"{t:g}" for t in [*below, 0, *ticks]])
    axis.set_ticks([], minor=True)
