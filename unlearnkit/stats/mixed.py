"""A mixed model of one value under two conditions, with examples nested in training seeds."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMResults

from unlearnkit.errors import DataError
from unlearnkit.stats.samples import LEVEL, require_share, require_spread, sample


@dataclass(frozen=True)
class MixedModel:
    """The effect of `level` against `reference`, with t statistics on n_seeds - 1 degrees of freedom."""

    reference: str
    level: str
    estimate: float
    se: float
    ci_low: float
    ci_high: float
    p: float
    n: int
    n_seeds: int


def mixed_model(
    frame: pd.DataFrame, value: str, condition: str, example: str, seed: str, level: float = LEVEL
) -> MixedModel:
    """REML fit of value ~ condition + (1 + condition | seed, uncorrelated) + (1 | example within seed).

    The four names are columns of a tidy frame. `condition` has two levels; the first in sorted (or
    categorical) order is the reference. The condition may differ by seed, so that examples of one trained
    model do not count as replicates: with balanced data the estimate is that of the paired t test over seed
    means. Raises DataError for missing columns, values or levels, and where the fit does not converge.
    """
    require_share(level, "level")
    data, levels = _prepared(
        frame, {"value": value, "condition": condition, "example": example, "seed": seed}
    )
    result = _fit(data)
    if result is None or not result.converged or not result.bse_fe["effect"] > 0:
        raise DataError(
            f"the mixed model of {value!r} by {condition!r} did not converge on {len(data)} rows; "
            "use the paired t test over seed means"
        )
    estimate, se = float(result.fe_params["effect"]), float(result.bse_fe["effect"])
    n_seeds = data["seed"].nunique()
    half = float(stats.t.ppf((1 + level) / 2, n_seeds - 1)) * se
    p = 2 * float(stats.t.sf(abs(estimate / se), n_seeds - 1))
    return MixedModel(
        str(levels[0]), str(levels[1]), estimate, se, estimate - half, estimate + half, p, len(data), n_seeds
    )


def _prepared(frame: pd.DataFrame, columns: dict[str, str]) -> tuple[pd.DataFrame, list]:
    """Columns under fixed names, `effect` coded -1/2 and +1/2, and the two levels of the condition."""
    missing = [name for name in columns.values() if name not in frame]
    if missing:
        raise DataError(
            f"the frame has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}"
        )
    data = pd.DataFrame({key: frame[name] for key, name in columns.items()})
    gaps = [columns[key] for key in data if data[key].isna().any()]
    if gaps:
        raise DataError(f"column {gaps[0]!r} has missing values: drop those rows first")
    data["value"] = sample(data["value"], columns["value"], at_least=4)
    require_spread(data["value"].to_numpy(), f"the values of {columns['value']!r}", data["value"].abs().max())
    conditions = data["condition"].astype("category").cat.remove_unused_categories()
    levels = list(conditions.cat.categories)
    if len(levels) != 2:
        raise DataError(f"{columns['condition']!r} must have two levels; it has {len(levels)}: {levels[:5]}")
    if data["seed"].nunique() < 2:
        raise DataError(f"{columns['seed']!r} has one value: a model over seeds needs at least 2")
    data["effect"] = conditions.cat.codes - 0.5
    return data, levels


def _fit(data: pd.DataFrame) -> MixedLMResults | None:
    """The fit, or None where the random effects explain everything and no optimiser can go on."""
    model = MixedLM.from_formula(
        "value ~ effect",
        groups="seed",
        re_formula="1",
        vc_formula={"condition": "0 + effect", "example": "0 + C(example)"},
        data=data,
    )
    with warnings.catch_warnings():
        # A variance of 0 is a legitimate estimate, but warned of; real failures are read from the result.
        warnings.simplefilter("ignore")
        try:
            return model.fit(reml=True, method=["lbfgs", "bfgs", "powell"])
        except np.linalg.LinAlgError:
            return None
