"""Where gradients point, on vectors whose angles are known; the theory of the first epoch on a quadratic."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from unlearnkit import plots, profiles
from unlearnkit.errors import DataError
from unlearnkit.plots import alignment as drawing
from unlearnkit.study.results import alignment
from unlearnkit.tables import layers as layer_tables

ARM = "gpt2-tiny-pretrained-quick, AdamW"
EMBEDDING = {  # one parameter of two weights, tied: the oracle's way is the same for both roles
    "embedding.input": {"epoch_1": [1, 0], "epoch_2": [0, 1], "now": [1, 0], "oracle": [3, 4]},
    "embedding.output": {"epoch_1": [0, 2], "epoch_2": [0, -1], "now": [0, 1], "oracle": [3, 4]},
}
BLOCK = {"block.0": {"epoch_1": [2, 0], "epoch_2": [-1, 0], "now": [0, 1], "oracle": [1, 0]}}
NORMS = {"norms": {name: [9, 9] for name in ("epoch_1", "epoch_2", "now", "oracle")}}


def gram(layers: dict, seed: int = 0) -> pd.DataFrame:
    rows = [
        {"layers": name, "a": a, "b": b, "value": float(np.dot(vectors[a], vectors[b])), "seed": seed}
        for name, vectors in layers.items()
        for a, b in itertools.product(vectors, repeat=2)
    ]
    return pd.DataFrame(rows).assign(metric="gram")


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Makes the run's alignment observations the given ones."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))

    def give(*frames: pd.DataFrame):
        def observations(_profile, stage, _arm=None):
            if not frames:
                raise DataError(f"no {stage} cell")
            return pd.concat(frames)

        monkeypatch.setattr(alignment, "observations", observations)
        alignment._grams.cache_clear()
        return profiles.get("quick")

    yield give
    alignment._grams.cache_clear()
    plt.close("all")


def at(table: pd.DataFrame, layers: str, epoch: int) -> pd.Series:
    return table[(table["layers"] == layers) & (table["epoch"] == epoch)].iloc[0]


def test_cosines_by_layer_and_in_total(given):
    run = given(gram(EMBEDDING | BLOCK | NORMS))
    table = alignment.cosines(run, ARM)
    assert list(table.columns) == ["seed", "epoch", "layers", "with_oracle", "with_now", "norm"]
    assert at(table, "embedding.input", 1)["with_oracle"] == pytest.approx(3 / 5)
    assert at(table, "embedding.output", 1)["with_oracle"] == pytest.approx(8 / (2 * 5))
    assert at(table, "block.0", 1)["with_oracle"] == pytest.approx(1)
    assert at(table, "block.0", 2)["with_oracle"] == pytest.approx(-1)
    assert at(table, "block.0", 1)["with_now"] == pytest.approx(0)
    # In total: inner products 3 + 8 + 2; the gradient's square 1 + 4 + 4; the way's 25 once, and 1. No norms.
    assert at(table, "all", 1)["with_oracle"] == pytest.approx(13 / (3 * 26**0.5))
    assert at(table, "all", 1)["norm"] == pytest.approx(3)
    assert at(table, "embedding", 1)["with_oracle"] == pytest.approx(11 / (5**0.5 * 5))
    assert at(table, "blocks", 1)["with_oracle"] == pytest.approx(1)


def test_two_matrices_count_both_ways(given):
    apart = EMBEDDING | {"embedding.output": EMBEDDING["embedding.output"] | {"oracle": [0, 1]}}
    run = given(gram(apart | BLOCK))
    assert not alignment.tied(run, ARM)
    table = alignment.cosines(run, ARM)
    assert at(table, "all", 1)["with_oracle"] == pytest.approx((3 + 2 + 2) / (3 * (25 + 1 + 1) ** 0.5))
    assert alignment.tied(given(gram(EMBEDDING | BLOCK)), ARM)


def test_the_sum_over_epochs_is_a_vector_of_its_own(given):
    run = given(gram(BLOCK), gram(BLOCK, seed=1))
    table = alignment.vectors(run, ARM).query("layers == 'block.0' and vector == 'all_epochs'")
    assert list(table["seed"]) == [0, 1]
    assert list(table["norm"]) == pytest.approx([1, 1])  # [2, 0] + [-1, 0]
    assert list(table["with_oracle"]) == pytest.approx([1, 1])
    told = alignment.shares(run, ARM).query("layers == 'block.0' and seed == 0")
    assert list(told["share"]) == pytest.approx([2, -1])  # they add up to 1


def test_a_vector_without_length_has_no_direction(given):
    still = {"block.0": BLOCK["block.0"] | {"epoch_2": [0, 0]}}
    table = alignment.cosines(given(gram(still)), ARM)
    assert np.isnan(at(table, "block.0", 2)["with_oracle"])
    assert at(table, "block.0", 1)["with_oracle"] == pytest.approx(1)


def test_a_run_without_alignment_cells_has_no_rows(given):
    run = given()
    assert alignment.cosines(run, ARM).empty
    assert alignment.shares(run, ARM).empty
    assert not alignment.tied(run, ARM)
    assert alignment.theory(run).empty
    assert "No arm" in layer_tables.plain_sgd(alignment.theory(run))


@pytest.mark.parametrize(("rate", "share"), [(0.001, 0.22), (0.01, 0.43), (0.05, 0.92), (0.1, 0.995)])
def test_the_published_shares_of_the_first_epoch(rate, share):
    """verification.md 1.3, five epochs of 50 steps."""
    assert alignment.first_share(rate, 50, 5) == pytest.approx(share, abs=0.005)
    assert alignment.implied_rate(alignment.first_share(rate, 50, 5), 50, 5) == pytest.approx(rate)


def test_a_share_that_no_curvature_gives_implies_none():
    assert alignment.first_share(0.0, 50, 5) == 0.2
    assert np.isnan(alignment.implied_rate(0.2, 50, 5))
    assert np.isnan(alignment.implied_rate(1.0, 50, 5))


def test_the_measured_share_is_the_theorys_on_a_quadratic(given):
    """SGD on half of curvature * w^2: what the pipeline reads from its gradients is the closed form."""
    rate, steps, epochs = 0.02, 10, 4
    gradients = (1 - rate) ** np.arange(steps * epochs)  # of unit curvature, w = 1 at the start
    vectors = {f"epoch_{e + 1}": [g] for e, g in enumerate(gradients.reshape(epochs, steps).sum(axis=1))}
    run = given(gram({"block.0": vectors | {"now": [1.0], "oracle": [-1.0]}}))
    first = alignment.shares(run, ARM).query("epoch == 1 and layers == 'all'")["share"].iloc[0]
    assert first == pytest.approx(alignment.first_share(rate, steps, epochs))
    assert alignment.implied_rate(first, steps, epochs) == pytest.approx(rate)


def test_theory_stands_beside_the_claim(given, monkeypatch):
    run = given(gram(EMBEDDING | BLOCK))
    monkeypatch.setattr(alignment, "claim_values", lambda _run, _arm: {"C1": pd.Series([0.1, 0.3])})
    (row,) = alignment.theory(run).to_dict("records")
    assert row["C1"] == pytest.approx(0.2)
    assert row["first"] == pytest.approx(13 / (3 * 26**0.5))
    assert row["uniform"] == 1 / row["epochs"]
    assert layer_tables.theory(alignment.theory(run))["arm"].iloc[0] == ARM


def test_arms_agree_with_the_theory_only_where_there_are_some():
    arms = pd.DataFrame({"share": [0.2, 0.3, 0.4], "C1": [0.0, 0.1, 0.5]})
    assert alignment.agreement(arms) == pytest.approx(1)
    assert alignment.agreement(arms.assign(C1=-arms["C1"])) == pytest.approx(-1)
    assert np.isnan(alignment.agreement(arms.head(2)))
    told = arms.assign(arm=["A", "B", "C"], optimizer=["sgd", "adamw", "adamw"], uniform=0.1)
    text = layer_tables.plain_sgd(told)
    assert "In A" in text
    assert "+1.0" in text


def test_the_figures_draw_with_one_seed_and_with_several(given):
    vectors = BLOCK["block.0"] | {"wrong_person": [1, 1], "retain_now": [0, 1]}
    run = given(*(gram({"block.0": vectors}, seed) for seed in range(2)))
    table, others = alignment.cosines(run, ARM), alignment.vectors(run, ARM)
    for arms in (1, 3):
        drawn = drawing.by_epoch({f"{ARM} {k}": (table, others) for k in range(arms)})
        texts = {text.get_text() for text in drawn.axes[0].texts}
        assert {"way to the oracle", "today's gradient", "wrong person"} <= texts
    drawn = drawing.by_layer(table, ["all", "block.0"])
    assert [t.get_text() for t in drawn.axes[0].texts] == ["+1.00", "-1.00"] * 2
    plots.save(drawn, run, "by_layer")
