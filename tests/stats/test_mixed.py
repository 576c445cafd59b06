"""The mixed model."""

import numpy as np
import pandas as pd
import pytest

from unlearnkit import stats
from unlearnkit.errors import DataError


def nested(effect: float, slope_sd: float, n_seeds: int = 5, n_facts: int = 8) -> pd.DataFrame:
    """Synthetic observations: facts within seeds, each under two conditions."""
    rng = np.random.default_rng(7)
    seed, fact, treated = (
        a.ravel() for a in np.meshgrid(range(n_seeds), range(n_facts), [0, 1], indexing="ij")
    )
    value = (
        rng.normal(size=n_seeds)[seed]
        + rng.normal(size=(n_seeds, n_facts))[seed, fact]
        + treated * (effect + rng.normal(scale=slope_sd, size=n_seeds)[seed])
        + rng.normal(scale=0.3, size=len(seed))
    )
    arm = np.where(treated == 1, "first_epoch", "all_epochs")
    return pd.DataFrame({"nll": value, "method": arm, "id": fact, "seed": seed})


def test_mixed_model_on_balanced_data_is_the_paired_t_over_seed_means():
    frame = nested(effect=1.0, slope_sd=0.5)
    model = stats.mixed_model(frame, "nll", "method", "id", "seed")
    means = frame.pivot_table(values="nll", index="seed", columns="method")
    paired = stats.paired_t(means["all_epochs"], means["first_epoch"])
    assert (model.reference, model.level, model.n_seeds) == ("all_epochs", "first_epoch", 5)
    assert model.estimate == pytest.approx(paired.mean_diff)
    assert (model.ci_low, model.ci_high) == pytest.approx((paired.ci_low, paired.ci_high), rel=1e-2)
    assert model.p == pytest.approx(paired.p, rel=1e-2)


def test_mixed_model_does_not_count_examples_as_replicates():
    """Seeds that disagree leave the effect uncertain, however many facts each has."""
    frame = nested(effect=0.6, slope_sd=2.0, n_facts=20)
    first, second = (frame[frame["method"] == m]["nll"].to_numpy() for m in ("all_epochs", "first_epoch"))
    assert stats.paired_t(first, second).p < 0.01  # facts as replicates
    assert stats.mixed_model(frame, "nll", "method", "id", "seed").p > 0.2


def test_mixed_model_uses_the_categorical_order_and_ignores_the_row_order():
    frame = nested(effect=1.0, slope_sd=0.5)
    forward = stats.mixed_model(frame, "nll", "method", "id", "seed")
    order = ["first_epoch", "all_epochs", "unused"]
    frame["method"] = pd.Categorical(frame["method"], categories=order)
    turned = stats.mixed_model(frame.sample(frac=1, random_state=0), "nll", "method", "id", "seed")
    assert turned.reference == "first_epoch"
    assert turned.estimate == pytest.approx(-forward.estimate, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.drop(columns="id"), "no column 'id'"),
        (lambda f: f.assign(nll=f["nll"].where(f["id"] > 0)), "'nll' has missing values"),
        (lambda f: f.assign(nll=1.0), "zero variance"),
        (lambda f: f.assign(method="same"), "two levels; it has 1"),
        (lambda f: f.assign(seed=0), "at least 2"),
        (lambda f: f.assign(nll=(f["method"] == "first_epoch") * 1.0), "did not converge"),
    ],
)
def test_mixed_model_refuses(change, match):
    with pytest.raises(DataError, match=match):
        stats.mixed_model(change(nested(1.0, 0.5)), "nll", "method", "id", "seed")
