"""KLoM: how far apart two populations of models answer each fact, with what equal populations would show.

A margin is the log-odds of a fact's answer, teacher-forced. Per fact, each population's margins are fitted by
a Gaussian, and KL(unlearned || oracles) is taken (Georgiev et al. 2024, arXiv:2410.23232; EasyDUB,
arXiv:2602.16400, which bins the margins: with some tens of models a fit is steadier). Of few models KL is
large between equals too, so that it says nothing without its null: the oracles against themselves, halved at
random again and again. All comparisons are of as many models a side as the null has.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearnkit.errors import ConfigError, DataError
from unlearnkit.stats.samples import LEVEL, require_share

FEWEST = 10  # models a side: below, KL between equals is larger than most differences
SHIFT = 0.5  # standard deviations: the difference whose discovery is told as power


@dataclass(frozen=True)
class KLoM:
    """Medians over facts, in nats, of `size` models a side; each over random halves.

    `median` is their mean, `low` to `high` the central share `level` of them; the null's are its median and
    its quantile `level`. `per_fact` is the mean over halves of each fact's KL, and `null_per_fact` the same
    between oracles. `power` is how often oracles shifted by SHIFT standard deviations lie beyond `null_high`.
    """

    n_unlearned: int
    n_oracles: int
    size: int
    per_fact: tuple[float, ...]
    null_per_fact: tuple[float, ...]
    median: float
    low: float
    high: float
    null_median: float
    null_high: float
    power: float

    @property
    def is_beyond_null(self) -> bool:
        """Whether the populations differ by more than oracles differ among themselves."""
        return self.median > self.null_high


def log_odds(nll: ArrayLike) -> np.ndarray:
    """log p / (1 - p) of an answer whose probability is p = exp(-nll); DataError unless all NLLs exceed 0."""
    array = np.asarray(nll, dtype=float)
    if not (np.isfinite(array) & (array > 0)).all():
        raise DataError("an NLL is not a finite number above 0, so that its log-odds are undefined")
    return -array - np.log(-np.expm1(-array))


def gaussian_kl(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """KL(N_p || N_q), in nats, of the Gaussians fitted to each column of p and q (models, facts): (facts,).

    Variances are unbiased. DataError where a column has no spread.
    """
    (p_mean, p_sd), (q_mean, q_sd) = _fit(np.asarray(p, float)), _fit(np.asarray(q, float))
    return np.log(q_sd / p_sd) + (p_sd**2 + (p_mean - q_mean) ** 2) / (2 * q_sd**2) - 0.5


def klom(
    unlearned: ArrayLike, oracles: ArrayLike, splits: int = 200, seed: int = 0, level: float = LEVEL
) -> KLoM:
    """KLoM of margins (models, facts), all models having been taught the same facts.

    Worlds of different facts cannot be pooled. Raises DataError for fewer than ten models a side, which takes
    20 oracles, since these are halved; for other shapes, NaN, or a fact without spread.
    """
    require_share(level, "level")
    if splits < 20:
        raise ConfigError(f"splits={splits}: the null's quantile needs at least 20")
    ours, theirs = _margins(unlearned, "unlearned"), _margins(oracles, "oracles")
    if ours.shape[1] != theirs.shape[1]:
        raise DataError(f"unlearned has {ours.shape[1]} facts and oracles {theirs.shape[1]}: give the same")
    size = min(len(ours), len(theirs) // 2)
    if size < FEWEST:
        raise DataError(
            f"{len(ours)} unlearned models and {len(theirs)} oracles make {size} a side: KLoM is noise below "
            f"{FEWEST}. Give at least {FEWEST} unlearned models and {2 * FEWEST} oracles of one world"
        )
    rng, shift = np.random.default_rng(seed), SHIFT * theirs.std(axis=0, ddof=1)
    found, null, shifted = (np.empty((splits, ours.shape[1])) for _ in range(3))
    for k in range(splits):
        order = rng.permutation(len(theirs))
        first, second = theirs[order[:size]], theirs[order[size : 2 * size]]
        found[k] = gaussian_kl(ours[rng.permutation(len(ours))[:size]], second)
        null[k], shifted[k] = gaussian_kl(first, second), gaussian_kl(first + shift, second)
    medians, null_medians = np.median(found, axis=1), np.median(null, axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    null_high = float(np.quantile(null_medians, level))
    return KLoM(
        n_unlearned=len(ours),
        n_oracles=len(theirs),
        size=size,
        per_fact=tuple(found.mean(axis=0).tolist()),
        null_per_fact=tuple(null.mean(axis=0).tolist()),
        median=float(medians.mean()),
        low=float(low),
        high=float(high),
        null_median=float(np.median(null_medians)),
        null_high=null_high,
        power=float((np.median(shifted, axis=1) > null_high).mean()),
    )


def _margins(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise DataError(f"{name} must be finite margins, models x facts; it has shape {array.shape}")
    return array


def _fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
    flat = np.flatnonzero(~(sd > 1e-12 * np.abs(values).max(axis=0)))
    if len(flat):
        raise DataError(f"fact {flat[0]} has the same margin in every model: no Gaussian fits it")
    return mean, sd
