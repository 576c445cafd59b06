"""What comes back of what was forgotten."""

import numpy as np
from numpy.typing import ArrayLike


def recovered_share(unlearned: ArrayLike, rounded: ArrayLike, original: ArrayLike) -> np.ndarray:
    """(NLL_U - NLL_Uq) / (NLL_U - NLL_original): what rounding gives back of what was forgotten, elementwise.

    1 is all of it; below 0, rounding forgets more. NaN where nothing had been forgotten.
    """
    ours, after, before = (np.asarray(v, dtype=float) for v in (unlearned, rounded, original))
    forgotten = ours - before
    return np.where(forgotten > 0, (ours - after) / np.where(forgotten > 0, forgotten, 1.0), np.nan)
