"""Figures of the report: each function takes numbers and returns a drawn figure; `save` writes it.

style      colours, labels, axes, saving
diagram    the method in one drawing
learning   memorisation, perplexity, the hold-out yardstick
paths      unlearning paths against the oracle
influence  influence before and after
"""

from unlearnkit.plots import diagram, influence, learning, paths
from unlearnkit.plots.style import COLOURS, LABELS, save, shown

__all__ = ["COLOURS", "LABELS", "diagram", "influence", "learning", "paths", "save", "shown"]
