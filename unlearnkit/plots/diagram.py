"""The method in one drawing: what is stored while the model learns, and what is added back."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

from unlearnkit.plots.style import COLOURS, FAINT, INK, MUTED, figure


def _box(ax: plt.Axes, x: float, y: float, text: str, colour: str, width: float = 1.5, fill: str = "white"):
    patch = FancyBboxPatch(
        (x - width / 2, y - 0.3), width, 0.6, boxstyle="round,pad=0.04", ec=colour, fc=fill, lw=1.6
    )
    ax.add_patch(patch)
    ax.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)


def _arrow(ax: plt.Axes, start: tuple, end: tuple, colour: str, **options) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8, **options})


def method(target: str, epochs: int) -> plt.Figure:
    """Fine-tuning over epochs with its ledger below, the first epoch added back, the oracle beside."""
    drawn, ax = figure(3.5)
    ax.set(xlim=(-0.1, 10.1), ylim=(-0.45, 3.75))
    ax.axis("off")
    y, colour = 2.2, COLOURS["first_epoch"]
    _box(ax, 0.8, y, "pretrained\n$\\theta_0$", COLOURS["pretrained"])
    places = [(2.75, "epoch 1", 1), (4.15, "…", None), (5.55, f"epoch {epochs}", epochs)]
    _arrow(ax, (1.6, y), (2.15, y), INK)
    for x, text, epoch in places:
        first = epoch == 1
        _box(ax, x, y, text, colour if first else FAINT, width=1.0)
        _arrow(ax, (x + 0.55, y), (x + 0.85 if x < 5 else 6.35, y), INK)
        if epoch:
            _arrow(ax, (x, y - 0.38), (x, 0.95), colour if first else MUTED)
            ax.text(x + 0.1, 1.35, f"$g_{{{epoch},i}}$", fontsize=10, color=colour if first else MUTED)
    _box(ax, 4.15, 0.55, "ledger: one gradient per fact and epoch", MUTED, width=4.1)
    _box(ax, 7.15, y, "fine-tuned\n$\\theta_T$", INK)
    _arrow(ax, (6.3, 0.55), (8.35, 0.55), colour)
    ax.text(7.25, 0.7, f"{target}'s, epoch 1", fontsize=9, color=colour, ha="center")
    _box(ax, 9.2, 0.55, "unlearned", colour)
    _arrow(ax, (7.5, y - 0.38), (8.9, 0.93), INK)
    ax.text(
        9.2, -0.2, "$\\theta_T + \\alpha\\,\\sum_{i \\in F} g_{1,i}$", fontsize=10, ha="center", color=INK
    )
    _box(ax, 9.2, 3.35, "oracle", COLOURS["oracle"])
    _arrow(
        ax, (0.8, y + 0.4), (8.4, 3.35), COLOURS["oracle"], connectionstyle="angle,angleA=90,angleB=180,rad=8"
    )
    ax.text(
        4.6, 3.47, f"the same training without {target}", fontsize=9, color=COLOURS["oracle"], ha="center"
    )
    _arrow(ax, (9.2, 2.95), (9.2, 0.97), COLOURS["oracle"], arrowstyle="<|-|>", ls=(0, (3, 2)))
    ax.text(9.3, 1.95, "how\nclose?", fontsize=9, color=COLOURS["oracle"], va="center")
    return drawn
