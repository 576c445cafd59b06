"""Paths of a trained tiny model, looked at again near their readings."""

from pathlib import Path
from types import SimpleNamespace

import golden_cells
import pandas as pd
import pytest

from unlearnkit.study import config
from unlearnkit.study.experiments import unlearn
from unlearnkit.study.readings import damages
from unlearnkit.study.route import Route

GRID = (0.05, 0.3, 1.0)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Path cells by method, on all layers, of a trained random GPT-2 of two blocks."""
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        found = golden_cells.cells(golden_cells.save_model("gpt2-tied", Path(folder)))
        paths = [c for c in found if c.stage == "path" and c.config["layers"] == "all"]
        yield {c.config["paths"][0]["method"]: c for c in paths}


def walked(cell):
    """Rows of the cell's path on GRID, the start among them, and whether the model is as it was."""
    for need in cell.needs:
        need.run()
    walk = unlearn.Walk.from_cell(cell)
    target = unlearn.oracle_level(cell.needs[1:])
    before = {n: p.detach().clone() for n, p in walk.model.named_parameters()}
    goes_back = unlearn.unlearning.METHODS[cell.config["paths"][0]["method"]].goes_back
    route = Route(GRID, 99.0, cell.config["retain"], target, cell.config["readings"], goes_back)
    spec = cell.config["paths"][0]

    def look():
        return unlearn.measure.point(walk.model, walk.tokenizer, walk.groups)

    rows = pd.concat([walk.start(), *unlearn.points(walk, spec, walk.start(), route, look)])
    same = all(p.equal(before[n]) for n, p in walk.model.named_parameters())
    return rows, same, walk.moved


@pytest.mark.smollm2
def test_steps_towards_the_readings_are_rows_like_others_and_the_model_is_as_it_was(cells):
    rows, same, moved = walked(cells["first_epoch"])
    assert same
    shares = rows["share"].drop_duplicates().tolist()
    assert tuple(shares[:4]) == (0.0, *GRID)
    refined = shares[4:]
    assert 0 < len(refined) <= 4 * config.REFINED["most"]
    assert max(refined) < GRID[-1]
    assert rows["norm"].to_numpy() == pytest.approx(rows["share"] * moved, rel=1e-4)
    damage = damages(rows, "first_epoch", "all")
    for level in config.DAMAGE_LEVELS:
        if damage.max() >= level:  # so many looks later
            assert abs(damage - level).min() <= config.REFINED["of_damage"] * level


@pytest.mark.smollm2
def test_a_walk_that_cannot_go_back_keeps_its_grid(cells):
    rows, same, _ = walked(cells["gradient_ascent"])
    assert same
    assert tuple(rows["share"].drop_duplicates()) == (0.0, *GRID)


@pytest.mark.smollm2
@pytest.mark.parametrize("name", ["grad_diff", "jang", "kga"])
def test_a_trained_path_is_looked_at_after_optimizer_steps(name, cells):
    """Its lengths are what these come to; what only the study can give is given."""
    cell = cells[name]
    spec = cell.config["paths"][0]
    for need in cell.needs:
        need.run()
    walk = unlearn.Walk.from_cell(cell)
    before = {n: p.detach().clone() for n, p in walk.model.named_parameters()}
    route = Route(spec["steps"], 99.0, cell.config["retain"], unlearn.oracle_level(cell.needs[1:]))
    rows = pd.concat(
        unlearn.points(
            walk,
            spec,
            walk.start(),
            route,
            lambda: unlearn.measure.point(walk.model, walk.tokenizer, walk.groups),
        )
    )
    assert all(p.equal(before[n]) for n, p in walk.model.named_parameters())
    assert set(rows["step"]) <= set(spec["steps"])
    assert (rows["norm"] > 0).all()
    assert rows["share"].to_numpy() == pytest.approx(rows["norm"] / walk.moved)
    assert bool(cell.config["holdout"]) == (name != "grad_diff")
    assert ("stopped" in rows) == (name == "jang")


@pytest.mark.smollm2
def test_the_line_to_the_first_step_is_looked_at_and_the_steps_after_it_are_as_without(cells):
    cell = cells["grad_diff"]
    for need in cell.needs:
        need.run()
    walk = unlearn.Walk.from_cell(cell)
    begin = walk.start()
    at_first = begin[begin["metric"] == "nll"].set_index("example")["value"]
    target = at_first.reindex(cell.config["forget"]) + 0.15  # the first step goes past it

    def rows(divided):
        spec = cell.config["paths"][0] | {"divided": divided}
        what = Route(
            spec["steps"], 99.0, cell.config["retain"], target, cell.config["readings"], False, divided
        )

        def look():
            return unlearn.measure.point(walk.model, walk.tokenizer, walk.groups)

        return pd.concat(unlearn.points(walk, spec, begin, what, look)).drop(columns="seconds")

    plain, divided = rows(False), rows(True)
    on_the_line = divided[divided["step"] < 1]
    assert 0 < on_the_line["step"].nunique() <= 4 * config.REFINED["most"]
    first = plain.loc[plain["step"] == 1, "norm"].iloc[0]
    assert on_the_line["norm"].to_numpy() == pytest.approx(first * on_the_line["step"].to_numpy(), rel=1e-5)
    of = on_the_line[(on_the_line["metric"] == "nll") & (on_the_line["split"] == "forget")]
    assert abs(of.groupby("step")["value"].mean() - target.mean()).min() < 0.05
    after = divided[divided["step"] >= 1].astype(plain.dtypes)  # whole numbers again
    pd.testing.assert_frame_equal(after, plain)


def test_what_a_path_scores_is_not_seen_again_by_its_method():
    facts = [SimpleNamespace(id=i) for i in "abcde"]
    walk = SimpleNamespace(groups={"facts": facts, "retain": facts[1:3]})
    assert [e.id for e in unlearn._retained(walk, {"a"})] == ["d", "e"]
    walk.groups["retain"] = facts[1:]
    assert [e.id for e in unlearn._retained(walk, {"a"})] == ["b", "c", "d", "e"]


def test_the_level_is_the_mean_over_all_oracles(tmp_path):
    told = {"split": ["forget", "paraphrase", "retain"], "metric": "nll", "example": ["f", "f#1", "r"]}
    oracles = []
    for number, nll in enumerate((2.0, 3.0)):
        oracles.append(SimpleNamespace(observations=tmp_path / f"{number}.csv"))
        pd.DataFrame(told | {"value": [nll, 9.0, 8.0]}).to_csv(oracles[-1].observations, index=False)
    assert unlearn.oracle_level(oracles).to_dict() == {"f": 2.5}
