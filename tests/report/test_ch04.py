"""Layers: readings on paths whose crossings are known, and gradients on vectors of known angles."""

import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from given import Given

from unlearnkit.errors import DataError
from unlearnkit.report import ch04_alignment as alignment
from unlearnkit.report import ch04_layers as parts
from unlearnkit.report import ch04_maps as maps
from unlearnkit.study.config import LAYER_CONTROLS

MOVED = 10.0  # length of the fine-tuning's way: a step's norm is its share of that
# Nats of damage and of approach to the oracle that a unit of step length costs and brings.
SPEEDS = {
    ("all", "first_epoch"): (0.5, 1.0),  # crosses at 0.1, 0.1 nats closer
    ("all", "random_subset"): (0.5, 1.5),
    ("all", "wrong_person"): (1.0, 0.2),
    ("embedding", "first_epoch"): (0.1, 2.0),  # crosses at 0.5, 1 nat closer
    ("last2", "first_epoch"): (0.01, 0.1),  # never crosses; 0.08 nats closer at its end
    ("last2", "wrong_person"): (0.01, 0.02),
}
STEPS = (0.005, 0.02, 0.08)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def path_table(seeds: int) -> pd.DataFrame:
    """Straight paths; every seed starts another nat from the oracle. Columns as `readings.path_table`."""
    rows = []
    for seed in range(seeds):
        points = [(("all", "finetuned"), (0, 0), 0.0)]
        points += [(k, v, s) for (k, v), s in itertools.product(SPEEDS.items(), STEPS)]
        for (layers, method), (harm, approach), share in points:
            norm = MOVED * share
            closer = (approach + 0.01 * seed) * norm
            row = {"seed": seed, "layers": layers, "method": method, "share": share, "norm": norm}
            row |= {"damage": harm * norm, "rise": closer}
            rows.append(row | {"forget_nll": seed + closer, "oracle_distance": 5 + seed - closer})
    return pd.DataFrame(rows)


@pytest.fixture
def walked(monkeypatch):
    """Makes an arm's paths the given ones (or those above)."""

    def give(table: pd.DataFrame) -> Given:
        for module in (parts, maps):
            monkeypatch.setattr(module, "path_table", lambda *_args, **_options: table)
        monkeypatch.setattr(maps, "verdicts", lambda *_: [{"margin": 0.1}])
        return Given(seeds=tuple(sorted(set(table["seed"]))))

    return give


def one(table: pd.DataFrame, layers: str, seed: int = 0) -> pd.Series:
    (row,) = table[(table["layers"] == layers) & (table["seed"] == seed)].to_dict("records")
    return pd.Series(row)


# -- parts of the model -----------------------------------------------------------------------------------


def test_readings_at_equal_damage_and_at_equal_step(walked):
    table = parts.readings(walked(path_table(3)), ("first_epoch",))
    whole, embedding, last = (one(table, name) for name in ("all", "embedding", "last2"))
    assert whole["gain"] == pytest.approx(0.1)
    assert embedding["gain"] == pytest.approx(1.0)
    assert whole["share"] == pytest.approx(0.01)
    assert embedding["share"] == pytest.approx(0.05)
    assert (whole["crossed"], embedding["crossed"], last["crossed"]) == (True, True, False)
    assert last["gain"] == pytest.approx(0.08)  # read at its longest step
    # At the reference step, 0.1 long:
    assert embedding["rise"] == pytest.approx(0.2)
    assert embedding["damage"] == pytest.approx(0.01)
    assert last["rise"] == pytest.approx(0.01)
    assert table["reached"].all()
    assert not table["early"].any()


def test_the_run_says_at_which_damage_paths_are_read(walked):
    walked(path_table(1))
    table = parts.readings(Given(damage=0.2), ("first_epoch",))
    assert one(table, "all")["share"] == pytest.approx(0.04)


def test_a_path_left_before_the_reference_step_is_marked(walked):
    table = path_table(1)
    short = table[(table["layers"] != "last2") | (table["share"] < 0.01)]
    last = one(parts.readings(walked(short)), "last2")
    assert not last["reached"]
    assert last["rise"] == pytest.approx(0.005)  # at the end of the path, 0.05 long


def test_the_embedding_against_the_others_is_paired_over_seeds(walked):
    arm = walked(path_table(3))
    table = parts.against_embedding(arm).set_index("against")
    assert set(table.index) == {("all", "first_epoch"), ("all", "random_subset"), ("last2", "first_epoch")}
    row = table.loc[[("all", "first_epoch")]].iloc[0]
    # Closer by 1 + 0.005 seed nats against 0.1 + 0.001 seed: a distance less by their difference.
    assert row["difference"] == pytest.approx(-0.904)
    assert (row["n"], row["wins"]) == (3, 3)
    assert row["ci_low"] < -0.904 < row["ci_high"] < 0
    assert row["p"] <= row["p_holm"] <= 1
    shown = parts.contrast_table(arm)
    names = ["all layers", "gradient on random parameters", "last two blocks"]
    assert list(shown["embedding against"]) == names
    assert shown["closer in"].iloc[0] == "3 of 3 seeds"


def test_without_the_embedding_there_is_nothing_to_compare(walked):
    arm = walked(path_table(2).query("layers != 'embedding'"))
    assert parts.against_embedding(arm).empty
    assert parts.contrast_table(arm).empty
    assert parts.parts_table([arm]).empty


def test_controls_are_compared_at_their_own_step(walked):
    table = parts.controls(walked(path_table(1)))
    last = one(table, "last2")
    assert last["share"] == 0.005  # the longest step that is no longer than LAYER_CONTROLS asks for
    assert max(LAYER_CONTROLS["wrong_person"]) < 0.02
    assert last["rise"] == pytest.approx(0.02 * 0.05)
    assert last["rise_first"] == pytest.approx(0.1 * 0.05)
    assert set(table["control"]) == {"wrong_person"}


def test_a_map_compares_rows_over_the_seeds_that_walked_them_all(walked):
    table = path_table(3)
    rest = ["all", "embedding"]
    arm = walked(table[(table["seed"] < 2) | table["layers"].isin(rest)])
    assert set(parts.common(arm)["seed"]) == {0, 1}
    narrow = Given()
    assert parts.widest(SimpleNamespace(arms=[narrow, arm])) is narrow  # equals: the first
    assert parts.exploding(arm, 0.05) == ["all layers"]
    assert parts.exploding(arm) == []


def test_rows_go_from_input_to_output_and_can_be_chosen():
    names = ["norms", "block.10", "last2", "embedding", "block.2", "embedding.output", "all"]
    order = ["all", "embedding", "block.2", "block.10", "last2", "embedding.output", "norms"]
    assert parts.order(names) == order
    assert parts.order(names, ["block.2", "all", "position"]) == ["all", "block.2"]
    with pytest.raises(DataError, match=r"choose from .*'block.10'"):
        parts.order(names, ["block.99"])
    assert parts.part_name("block.2") == "block 2"


def test_the_last_blocks_stand_beside_the_whole_model(walked):
    (row,) = parts.last_blocks_table([walked(path_table(1))]).to_dict("records")
    assert row["last two blocks, nats"] == "+0.010"
    assert (row["all layers, nats"], row["share"]) == ("+0.100", "10%")
    assert parts.last_blocks_table([walked(path_table(1).query("layers != 'last2'"))]).empty


def test_bytes_and_parameters_by_part():
    rows = [
        {"seed": 0, "layers": part, "metric": f"part_{kind}", "value": value}
        for part, sizes in {"blocks": (30.0, 900.0), "embedding.input": (10.0, 100.0)}.items()
        for kind, value in zip(("parameters", "bytes"), sizes, strict=True)
    ]
    arm = Given({"train": pd.DataFrame(rows)})
    table = parts.space_table([arm, Given()])
    assert list(table["part"]) == ["embedding, as input", "all blocks"]
    assert list(table["share of parameters"]) == ["25.0%", "75.0%"]
    assert list(table["share of bytes"]) == ["10.0%", "90.0%"]
    assert parts.space_table([Given()]).empty


def test_the_maps_draw_what_is_so(walked):
    arm = walked(path_table(3))
    drawn = maps.layer_map(arm)
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert "+1.00" in texts  # the embedding, mean over seeds
    assert "+0.09†" in texts  # the last two blocks never cross
    chosen = maps.layer_map(arm, ["all", "embedding"])
    assert [t.get_text() for t in chosen.axes[0].get_yticklabels()] == ["all layers", "embedding"]
    assert [len(ax.texts) for ax in chosen.axes[1:]] == [2, 3, 2]  # one of them a title


def test_a_map_has_both_methods_only_where_no_cell_would_be_empty(walked):
    more = path_table(1).query("method == 'first_epoch' and layers != 'last2'").assign(method="all_epochs")
    arm = walked(pd.concat([path_table(1), more]))
    assert len(maps.layer_map(arm).axes[1].texts) == 3
    assert len(maps.layer_map(arm, ["all", "embedding"]).axes[1].texts) == 4


def test_paths_and_controls_draw(walked):
    arm = walked(path_table(3))
    ends = maps.few(arm).groupby("part")["rise"].max()
    assert ends["embedding"] > ends["all layers"] > ends["last two blocks"]
    shown = {line.get_label() for line in maps.costs([arm]).axes[0].lines}
    assert {"all layers", "embedding", "last two blocks"} <= shown
    assert len(maps.against_controls(arm).axes) == 2
    drawn = maps.last_blocks(arm)
    assert "wrong person, last two blocks" in {t.get_text() for t in drawn.legends[0].get_texts()}


def test_a_path_is_averaged_over_the_same_seeds_throughout(walked):
    table = path_table(2)
    short = table[(table["seed"] == 0) | (table["share"] < 0.08)]
    assert maps.few(walked(short))["share"].max() == 0.02


# -- where gradients point --------------------------------------------------------------------------------

EMBEDDING = {  # one parameter of two weights, tied: the oracle's way is the same for both roles
    "embedding.input": {"epoch_1": [1, 0], "epoch_2": [0, 1], "now": [1, 0], "oracle": [3, 4]},
    "embedding.output": {"epoch_1": [0, 2], "epoch_2": [0, -1], "now": [0, 1], "oracle": [3, 4]},
}
BLOCK = {"block.0": {"epoch_1": [2, 0], "epoch_2": [-1, 0], "now": [0, 1], "oracle": [1, 0]}}
NORMS = {"norms": {name: [9, 9] for name in ("epoch_1", "epoch_2", "now", "oracle")}}


def pointing(layers: dict, seeds: int = 1) -> Given:
    """An arm whose gradients are these vectors in every seed."""
    rows = [
        {"layers": name, "a": a, "b": b, "value": float(np.dot(vectors[a], vectors[b])), "seed": seed}
        for seed in range(seeds)
        for name, vectors in layers.items()
        for a, b in itertools.product(vectors, repeat=2)
    ]
    return Given({"alignment": pd.DataFrame(rows)}, seeds=tuple(range(seeds)))


def at(table: pd.DataFrame, layers: str, epoch: int) -> pd.Series:
    return table[(table["layers"] == layers) & (table["epoch"] == epoch)].iloc[0]


def test_cosines_by_layer_and_in_total():
    table = alignment.cosines(pointing(EMBEDDING | BLOCK | NORMS))
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


def test_two_matrices_count_both_ways():
    apart = EMBEDDING | {"embedding.output": EMBEDDING["embedding.output"] | {"oracle": [0, 1]}}
    arm = pointing(apart | BLOCK)
    assert not alignment.tied(arm)
    whole = at(alignment.cosines(arm), "all", 1)
    assert whole["with_oracle"] == pytest.approx((3 + 2 + 2) / (3 * (25 + 1 + 1) ** 0.5))
    assert alignment.tied(pointing(EMBEDDING | BLOCK))


def test_the_sum_over_epochs_is_a_vector_of_its_own():
    table = alignment.vectors(pointing(BLOCK, seeds=2)).query("layers == 'block.0'")
    whole = table[table["vector"] == "all_epochs"]
    assert list(whole["seed"]) == [0, 1]
    assert list(whole["norm"]) == pytest.approx([1, 1])  # [2, 0] + [-1, 0]
    assert list(whole["with_oracle"]) == pytest.approx([1, 1])
    shares = table[table["vector"].str.startswith("epoch_") & (table["seed"] == 0)]["share"]
    assert list(shares) == pytest.approx([2, -1])  # they add up to 1


def test_a_vector_without_length_has_no_direction():
    still = {"block.0": BLOCK["block.0"] | {"epoch_2": [0, 0]}}
    table = alignment.cosines(pointing(still))
    assert np.isnan(at(table, "block.0", 2)["with_oracle"])
    assert at(table, "block.0", 1)["with_oracle"] == pytest.approx(1)


def test_a_run_without_alignment_cells_has_no_rows_and_empty_figures():
    arm = Given()
    assert alignment.cosines(arm).empty
    assert not alignment.tied(arm)
    assert alignment.theory([arm]).empty
    assert len(alignment.by_epoch([arm]).axes) == 1
    assert len(maps.cosine_map(arm).axes) == 1


def test_the_measured_share_is_the_theorys_on_a_quadratic():
    """SGD on half of curvature * w^2: epoch 1's share is [1 - (1 - r)^s] / [1 - (1 - r)^(s E)]."""
    rate, steps, epochs = 0.02, 10, 4
    gradients = (1 - rate) ** np.arange(steps * epochs)  # of unit curvature, w = 1 at the start
    vectors = {f"epoch_{e + 1}": [g] for e, g in enumerate(gradients.reshape(epochs, steps).sum(axis=1))}
    table = alignment.vectors(pointing({"block.0": vectors | {"now": [1.0], "oracle": [-1.0]}}))
    first = table.query("vector == 'epoch_1' and layers == 'all'")["share"].iloc[0]
    kept = (1 - rate) ** steps
    assert first == pytest.approx((1 - kept) / (1 - kept**epochs))


def test_theory_stands_beside_the_claim(monkeypatch):
    monkeypatch.setattr(alignment, "claim_values", lambda _: {"C1": pd.Series([0.1, 0.3])})
    (row,) = alignment.theory([pointing(EMBEDDING | BLOCK)]).to_dict("records")
    assert row["C1, nats"] == "+0.20"
    assert row["cos(epoch 1, oracle)"] == f"{13 / (3 * 26**0.5):+.3f}"
    assert (row["if all were alike"], row["epochs × steps"]) == ("50%", "2 × 3")


def test_the_figures_draw_with_one_arm_and_with_several():
    vectors = BLOCK["block.0"] | {"wrong_person": [1, 1], "retain_now": [0, 1]}
    arm = pointing({"block.0": vectors}, seeds=2)
    for count in (1, 3):
        drawn = alignment.by_epoch([arm] * count)
        texts = {text.get_text() for text in drawn.legends[0].get_texts()}
        assert {"way to the oracle", "today's gradient", alignment.WRONG} <= texts
    drawn = maps.cosine_map(arm, ["all", "block.0"])
    assert [t.get_text() for t in drawn.axes[0].texts] == ["+1.00", "-1.00"] * 2
