"""Layers: readings on paths whose crossings are known, and gradients on vectors of known angles."""

import itertools
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from given import Given
from planted_run import World, standing

from unlearnkit.errors import DataError
from unlearnkit.report import ch04_alignment as alignment
from unlearnkit.report import ch04_layers as parts
from unlearnkit.report import ch04_map as layer_map
from unlearnkit.report import figures
from unlearnkit.report.claim_values import claim_values, thrown_away
from unlearnkit.report.readings import along
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
        monkeypatch.setattr(parts, "path_table", lambda *_args, **_options: table)
        none = pd.DataFrame(columns=["seed", "layers", "method", "price", "forgets"])
        monkeypatch.setattr(parts, "paid", lambda _: none)

        def distance_at(_arm, where: tuple, norm: float) -> float:  # of one fact, which no step brings past
            path = along(table[table["seed"] == where[0]], where[2], where[1])
            return float(np.interp(norm, path["norm"], path["oracle_distance"]))

        monkeypatch.setattr(parts, "distance_at", distance_at)
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


def test_how_much_closer_a_path_comes_is_read_fact_by_fact(walked, monkeypatch):
    """Between two steps D_F is lower than the line between its values where facts pass their oracles."""
    arm = walked(path_table(1))
    monkeypatch.setattr(parts, "distance_at", lambda _arm, where, norm: 4.0 - norm)
    assert one(parts.readings(arm, ("first_epoch",)), "embedding")["gain"] == pytest.approx(5 - 3.5)


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


@pytest.fixture(scope="module")
def planted_arm(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=2) as run:
        yield run.arms[0]


def test_prices_of_forgetting_are_the_claims_and_capped(planted_arm):
    table = parts.paid(planted_arm).set_index(["layers", "method", "seed"])
    assert table.loc["all", "first_epoch", 0]["price"] == pytest.approx(claim_values(planted_arm)["C0"][0])
    last = table.loc["last2", "first_epoch", 0]  # touches no loss: never forgets
    assert not last["forgets"]
    assert last["price"] == pytest.approx(thrown_away(planted_arm)["damage"][0])
    read = parts.readings(planted_arm).set_index(["layers", "method", "seed"])
    assert read.loc["last2", "first_epoch", 0]["price"] == last["price"]


def test_parts_are_held_to_the_step_by_which_all_layers_forget(planted_arm):
    table = parts.held(planted_arm).set_index(["layers", "method", "seed"]).sort_index()
    values = claim_values(planted_arm)
    assert table.loc["last2", "first_epoch", 1]["rise"] == pytest.approx(values["C2b"][1])
    gap = table.loc["other2", "first_epoch"]["rise"] - table.loc["last2", "first_epoch"]["rise"]
    assert gap.to_numpy() == pytest.approx(values["C2c"].to_numpy())
    assert set(table.index.unique("layers")) == {"all", "last2", "other2"}


def test_a_mean_path_has_the_steps_of_all_its_seeds(walked):
    table = path_table(2)
    table = table[(table["seed"] == 0) | (table["share"] < 0.05) | (table["layers"] == "last2")]
    assert list(parts.steps_of_all(table, "all", "first_epoch")["share"]) == [0, 0.005, 0.02]
    last = parts.steps_of_all(table, "last2", "first_epoch")
    assert last["rise"].iloc[-1] == pytest.approx(0.8 * 0.105)
    assert parts.steps_of_all(table, "block.3", "first_epoch").empty


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
    names = ["all layers", "gradient on random parameters", "last two blocks"]
    assert [parts.part_name(*pair) for pair in table.index] == names


def test_without_the_embedding_there_is_nothing_to_compare(walked):
    arm = walked(path_table(2).query("layers != 'embedding'"))
    assert parts.against_embedding(arm).empty


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
    assert not layer_map.is_mapped(arm)
    assert layer_map.widest(SimpleNamespace(arms=[narrow, arm])) is narrow  # equals: the first


@pytest.fixture
def mapped(monkeypatch):
    """Makes an arm whose map of three blocks so many seeds walked; a later seed walked no single block."""
    tables = {}

    def give(seeds: int) -> Given:
        rows = [
            {"seed": seed, "layers": f"block.{n}", "method": "first_epoch", "damage": d + seed, "rise": 0.5}
            | {"price": 1.0, "gain": 0.1, "forgets": n > bool(seed), "crossed": True, "reached": True}
            for seed in range(seeds)
            for n, d in enumerate((0.0, 0.1, 2.0))
        ]
        tables[arm := Given()] = pd.DataFrame([*rows, rows[-1] | {"seed": seeds, "layers": "all"}])
        return arm

    for module in (parts, layer_map):
        monkeypatch.setattr(module, "readings", tables.get)
    return give


def test_the_map_that_most_seeds_walked_is_the_one_that_is_compared(mapped):
    one_seed, three = mapped(1), mapped(3)
    assert layer_map.is_mapped(one_seed)
    assert layer_map.widest(SimpleNamespace(arms=[one_seed, three, mapped(3)])) is three


def test_the_fragile_block_costs_others_most_at_equal_step(mapped):
    found = layer_map.fragile(mapped(3))  # seeds 0, 1, 2
    assert found["part"] == "block 2"
    assert found["damage"] == pytest.approx(3.0)
    assert found["median"] == pytest.approx(1.1)
    assert found["rise"] == pytest.approx(0.5)


def test_a_map_has_a_row_a_part_a_dagger_where_a_seed_does_not_get_there_and_never_where_none(mapped):
    drawn = layer_map.layer_map(mapped(2))
    texts = [[t.get_text() for t in ax.texts] for ax in drawn.axes]
    assert texts[0] == ["1.00†", "1.00", "never"]
    assert texts[3] == ["+0.50", "+0.60", "+2.50"]
    shades = [ax.collections[0].get_cmap().name for ax in drawn.axes]
    assert shades == ["PuOr", "PuOr_r", "PuOr_r", "PuOr"]  # purple is what others pay
    assert [text.get_text() for text in drawn.legends[0].get_texts()][1] == "others pay"
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == [
        "block 0",
        "block 1",
        "block 2",
    ]


def test_rows_go_from_input_to_output_and_can_be_chosen():
    names = ["norms", "block.10", "last2", "embedding", "block.2", "embedding.output", "all"]
    order = ["all", "embedding", "block.2", "block.10", "last2", "embedding.output", "norms"]
    assert parts.order(names) == order
    assert parts.order(names, ["block.2", "all", "position"]) == ["all", "block.2"]
    with pytest.raises(DataError, match=r"choose from .*'block.10'"):
        parts.order(names, ["block.99"])
    assert parts.part_name("block.2") == "block 2"


def test_bytes_and_parameters_by_part():
    rows = [
        {"seed": 0, "layers": part, "metric": f"part_{kind}", "value": value}
        for part, sizes in {"blocks": (30.0, 900.0), "embedding.input": (10.0, 100.0)}.items()
        for kind, value in zip(("parameters", "bytes"), sizes, strict=True)
    ]
    arm = Given({"train": pd.DataFrame(rows)})
    sizes = [("embedding.input", 10, 100), ("blocks", 30, 900)]  # from input to output
    assert list(parts.space(arm).itertuples(index=False, name=None)) == sizes
    assert parts.space(Given()).empty


def test_a_heat_map_writes_parts_in_words_and_colours_numbers_by_size():
    values = pd.DataFrame({"gain": [0.5, -0.5, 0.0]}, index=["all", "block.2", "norms"])
    _, ax = plt.subplots()
    layer_map.heat(ax, values, values.map("{:+.1f}!".format), reach=0.5)
    assert [text.get_text() for text in ax.texts] == ["+0.5!", "-0.5!", "+0.0!"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["all layers", "block 2", "all norms"]
    more, less, none = ax.collections[0].get_facecolors()[:, :3]
    assert more[0] > more[2]  # orange
    assert less[2] > less[0]  # purple
    assert min(none) > 0.95
    layer_map.heat(ax, values * 100, values.map(str))
    assert ax.collections[1].get_clim() == pytest.approx((-50, 50))  # by its own numbers where not told


def test_a_wide_axis_has_ticks_on_the_sides_where_there_is_something():
    _, ax = plt.subplots()
    figures.wide_axis(ax.yaxis, pd.Series([-0.05, 0.3, 6.0]))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["-0.02", "0", "0.02", "0.1", "0.5", "2", "8"]
    assert ax.get_yscale() == "symlog"
    assert ax.get_xscale() == "linear"
    figures.wide_axis(ax.xaxis, pd.Series([0.0, 0.05]))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.02"]


def test_the_embedding_s_parts_are_paired_over_seeds_at_both_readings(monkeypatch):
    rows = [(s, part, "first_epoch", 1.0 + k + 0.1 * s * k, 0.5 - 0.1 * k - 0.1 * s * k, True, s > 0 or k > 0)
            for s in range(3) for k, part in enumerate(["embedding.input", "embedding.output"])]  # fmt: skip
    table = pd.DataFrame(rows, columns=["seed", "layers", "method", "price", "gain", "crossed", "forgets"])
    monkeypatch.setattr(parts, "readings", lambda *_: table)
    found = parts.output_less_input(Given()).set_index("reading")
    assert found["difference"].tolist() == pytest.approx([1.1, -0.2])
    assert found["n"].tolist() == [3, 3]
    assert found["both"].tolist() == [False, True]
    monkeypatch.setattr(parts, "readings", lambda *_: table[table["layers"] == "embedding.input"])
    assert parts.output_less_input(Given()).empty


def test_lines_of_a_few_parts_start_at_no_damage_and_are_named_in_words(planted_arm):
    table = parts.lines(planted_arm)
    assert list(table) == ["part", "damage", "distance"]
    assert table["part"].unique()[0] == "all layers"
    assert set(table["part"]) <= {parts.part_name(layers) for layers in parts.LINES}
    starts = table.groupby("part").first()
    assert (starts["damage"] == 0).all()
    assert np.ptp(starts["distance"]) == pytest.approx(0.0)  # every path begins at theta_T


def test_a_step_that_all_layers_never_forget_by_counts_as_ended_before(planted_arm, monkeypatch):
    assert not parts.held(planted_arm).query("layers == 'all'")["ends"].any()
    never = parts.one(planted_arm, parts.FIRST, "forgetting").assign(reached=False)
    monkeypatch.setattr(parts, "one", lambda *_: never)
    assert parts.held(planted_arm)["ends"].all()


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


def test_a_run_without_alignment_cells_has_no_rows():
    arm = Given()
    assert alignment.cosines(arm).empty
    assert not alignment.tied(arm)


def test_the_measured_share_is_the_theorys_on_a_quadratic():
    """SGD on half of curvature * w^2: epoch 1's share is [1 - (1 - r)^s] / [1 - (1 - r)^(s E)]."""
    rate, steps, epochs = 0.02, 10, 4
    gradients = (1 - rate) ** np.arange(steps * epochs)  # of unit curvature, w = 1 at the start
    vectors = {f"epoch_{e + 1}": [g] for e, g in enumerate(gradients.reshape(epochs, steps).sum(axis=1))}
    table = alignment.vectors(pointing({"block.0": vectors | {"now": [1.0], "oracle": [-1.0]}}))
    first = table.query("vector == 'epoch_1' and layers == 'all'")["share"].iloc[0]
    kept = (1 - rate) ** steps
    assert first == pytest.approx((1 - kept) / (1 - kept**epochs))


def test_updates_aim_in_a_fixed_order_and_a_step_shortens_the_way_by_its_cosine(monkeypatch):
    rows = [(0, "all", "wrong_person", 0.0), (0, "all", "epoch_2", 0.3), (0, "all", "adam_replay", 0.6)]
    rows += [(0, "all", "epoch_1", 0.2), (0, "blocks", "epoch_1", 0.9)]
    columns = ["seed", "layers", "vector", "with_oracle"]
    monkeypatch.setattr(alignment, "vectors", lambda _: pd.DataFrame(rows, columns=columns))
    table = alignment.aims(SimpleNamespace(arms=[Given()]))
    assert list(table["update"]) == ["first_epoch", "adam_replay", "wrong_person"]
    assert list(table["cosine"]) == [0.2, 0.6, 0.0]
    assert alignment.shortened(pd.Series([0.0, 0.6, 1.0, -0.5])).tolist() == pytest.approx([0, 0.2, 1, 0])
