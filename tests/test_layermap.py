"""Readings of the layer map on paths whose crossings are known, and its figures and tables."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from unlearnkit import plots, profiles
from unlearnkit.errors import LedgerError
from unlearnkit.plots import layermap as drawing
from unlearnkit.study import cells, grid
from unlearnkit.study.results import layermap
from unlearnkit.tables import layers as layer_tables

ARM = "gpt2-tiny-pretrained-quick, AdamW"
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


def path_table(seeds: int) -> pd.DataFrame:
    """Straight paths; every seed starts another nat from the oracle. Columns as `results.path_table`."""
    rows = []
    for seed in range(seeds):
        points = [(("all", "finetuned"), (0, 0), 0.0)]
        points += [(k, v, s) for (k, v), s in itertools.product(SPEEDS.items(), STEPS)]
        for (layers, method), (harm, approach), share in points:
            norm = MOVED * share
            closer = (approach + 0.01 * seed) * norm
            row = {"seed": seed, "layers": layers, "method": method, "share": share, "norm": norm}
            row |= {"damage": harm * norm, "bystander_damage": harm * norm / 2}
            rows.append(row | {"forget_nll": seed + closer, "oracle_distance": 5 + seed - closer})
    return pd.DataFrame(rows)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    monkeypatch.setattr(layermap, "path_table", lambda *_args, **_options: path_table(3))
    layermap._readings.cache_clear()
    yield profiles.get("quick")
    layermap._readings.cache_clear()
    plt.close("all")


def one(table: pd.DataFrame, layers: str, seed: int = 0) -> pd.Series:
    (row,) = table[(table["layers"] == layers) & (table["seed"] == seed)].to_dict("records")
    return pd.Series(row)


def test_readings_at_equal_damage_and_at_equal_step(run):
    table = layermap.readings(run, ARM, ("first_epoch",))
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


def test_a_path_left_before_the_reference_step_is_marked(run, monkeypatch):
    table = path_table(1)
    short = table[(table["layers"] != "last2") | (table["share"] < 0.01)]
    monkeypatch.setattr(layermap, "path_table", lambda *_args, **_options: short)
    last = one(layermap.readings(run, ARM), "last2")
    assert not last["reached"]
    assert last["rise"] == pytest.approx(0.005)  # at the end of the path, 0.05 long


def test_the_embedding_against_the_others_is_paired_over_seeds(run):
    table = layermap.against_embedding(run, ARM).set_index("against")
    assert set(table.index) == {("all", "first_epoch"), ("all", "random_subset"), ("last2", "first_epoch")}
    row = table.loc[[("all", "first_epoch")]].iloc[0]
    # Closer by 1 + 0.005 seed nats against 0.1 + 0.001 seed: a distance less by their difference.
    assert row["difference"] == pytest.approx(-0.904)
    assert (row["n"], row["wins"]) == (3, 3)
    assert row["ci_low"] < -0.904 < row["ci_high"] < 0
    assert row["p"] <= row["p_holm"] <= 1


def test_without_the_embedding_there_is_nothing_to_compare(run, monkeypatch):
    rest = path_table(2).query("layers != 'embedding'")
    monkeypatch.setattr(layermap, "path_table", lambda *_args, **_options: rest)
    assert layermap.against_embedding(run, ARM).empty


def test_controls_are_compared_at_their_own_step(run):
    table = layermap.controls(run, ARM)
    last = one(table, "last2")
    assert last["share"] == 0.005  # the longest step that is no longer than grid.LAYER_CONTROLS asks for
    assert max(grid.LAYER_CONTROLS["wrong_person"]) < 0.02
    assert last["rise"] == pytest.approx(0.02 * 0.05)
    assert last["rise_first"] == pytest.approx(0.1 * 0.05)
    assert last["bystander_first"] == pytest.approx(0.01 * 0.05 / 2)
    assert set(table["control"]) == {"wrong_person"}


def test_a_map_compares_rows_over_the_seeds_that_walked_them_all(run):
    table = layermap.readings(run, ARM)
    part = table[(table["seed"] < 2) | (table["layers"] == "all")]
    assert set(layermap.common(part)["seed"]) == {0, 1}


def test_rows_go_from_input_to_output():
    names = ["norms", "block.10", "last2", "embedding", "block.2", "embedding.output", "all"]
    order = ["all", "embedding", "block.2", "block.10", "last2", "embedding.output", "norms"]
    assert layermap.order(names) == order
    assert layermap.layer_name("block.2") == "block 2"


def test_half_of_gpt2_needs_the_tied_head_counted_twice():
    once, twice = layermap.embedding_shares(*layermap.GPT2_SMALL)
    assert (round(once, 3), round(twice, 3)) == (0.310, 0.473)


def test_bytes_without_a_ledger_are_no_numbers(run, runs):
    assert layermap.space(run, ARM).empty
    assert layer_tables.space(run, [ARM]).empty


def test_bytes_and_parameters_by_part_of_a_ledger(run, runs, tiny_model, tiny_tokenizer, monkeypatch):
    """A tied model: its one token matrix counts once, its two gradients are stored apart."""
    from unlearnkit.data import Example
    from unlearnkit.ledger import GradientLedger, record

    model = tiny_model("gpt2")
    facts = [Example(f"f{k}", "Dave", "Dave was born in", "Larkhollow.", "forget") for k in range(2)]
    (cell,) = (c for c in cells(run) if c.stage == "train" and c.config["seed"] == 0)
    cell.folder.mkdir(parents=True)
    book = record(model, tiny_tokenizer, facts, cell.folder / "ledger")
    table = layermap.space(run, ARM).set_index("part")
    assert table["parameters"].sum() == sum(p.numel() for p in model.parameters())
    assert table.loc["embedding.input", "parameters"] == model.get_input_embeddings().weight.numel()
    assert table.loc["embedding.output", "parameters"] == 0
    assert table.loc["embedding.output", "bytes"] > 0
    assert table["bytes"].sum() * len(book.where) == sum(book.bytes_by_site().values())
    assert "other" not in table.index

    def damaged(self):
        raise LedgerError("gone")

    monkeypatch.setattr(GradientLedger, "bytes_by_site", damaged)
    assert layermap.space(run, ARM).empty


def test_the_figures_draw(run):
    table = layermap.readings(run, ARM, ("first_epoch", "random_subset"))
    rows = layermap.order(table["layers"])
    drawn = drawing.heatmap(table, rows, ["first_epoch"])
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert "+1.00" in texts  # the embedding, mean over seeds
    assert "+0.09†" in texts  # the last two blocks never cross
    plots.save(drawn, run, "map")
    shown = [("embedding", "first_epoch"), ("position", "first_epoch"), ("all", "random_subset")]
    drawn = drawing.gains({ARM: table}, shown, "gain", "gain")
    assert "not walked" in {text.get_text() for text in drawn.axes[0].texts}
    controls = layermap.controls(run, ARM)
    plots.save(drawing.against_controls(controls, rows), run, "controls")
    path = path_table(3).query("method in ('first_epoch', 'finetuned')")
    path = path.assign(rise=path["forget_nll"] - path["seed"])
    drawn = drawing.paths_by_layer(path, controls, "last2", 0.1, 0.01)
    assert {"embedding", "last two blocks", "wrong person"} <= {t.get_text() for t in drawn.axes[0].texts}


def test_the_contrast_table_names_what_it_compares(run):
    table = layer_tables.contrasts(run, ARM)
    assert list(table["embedding against"]) == [
        "all layers",
        "gradient on random parameters",
        "last two blocks",
    ]
    assert table["closer in"].iloc[0] == "3 of 3 seeds"


@pytest.mark.parametrize(
    ("difference", "p", "words"),
    [(-0.2, 0.01, "it matters which"), (-0.2, 0.2, "do not settle"), (0.2, 0.01, "random ones more so")],
)
def test_words_about_random_parameters_follow_the_corrected_p(difference, p, words):
    row = {"against": ("all", "random_subset"), "difference": difference, "p_holm": p}
    assert words in layer_tables.random_parameters(pd.DataFrame([row]))
    assert "not ruled out" in layer_tables.random_parameters(pd.DataFrame(columns=["against"]))


def test_verdicts_are_grouped_in_words():
    rows = [{"id": "C2a", "arm": a, "verdict": v} for a, v in (("A", "yes"), ("B", "no"), ("C", "yes"))]
    assert layer_tables.by_verdict(rows, "C2a") == "yes in A and C; no in B"
