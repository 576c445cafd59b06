"""Influence of each forget fact before and after unlearning."""

import matplotlib.pyplot as plt
import pandas as pd

from unlearnkit.plots.style import COLOURS, MUTED, figure


def before_after(pairs: dict[str, pd.DataFrame], method: str = "first_epoch") -> plt.Figure:
    """One panel a score: every fact a thin line from before to after, the mean a thick one."""
    drawn, axes = figure(3.3, 1, len(pairs), squeeze=False)
    for ax, (label, frame) in zip(axes.flat, pairs.items(), strict=True):
        for _, row in frame.iterrows():
            ax.plot([0, 1], [row["before"], row["after"]], color=MUTED, lw=0.9, alpha=0.5)
        means = frame[["before", "after"]].mean()
        ax.plot([0, 1], means, color=COLOURS[method], marker="o", ms=6, lw=2.6)
        ax.axhline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        ax.set_xticks([0, 1], ["before", "after"])
        ax.set_xlim(-0.2, 1.2)
        ax.set_title("\n".join(_halves(label)), fontweight="normal", fontsize=9.5)
    axes[0, 0].set_ylabel("influence")
    return drawn


def _halves(label: str) -> tuple[str, str]:
    """A label on two lines, cut at its middle space."""
    spaces = [i for i, letter in enumerate(label) if letter == " "]
    cut = min(spaces, key=lambda i: abs(i - len(label) / 2), default=len(label))
    return label[:cut], label[cut + 1 :]
