"""A world of verification on a tiny random model: where methods are taken, and what is seen there."""

import golden_cells
import pandas as pd
import pytest
from golden_cells import RECIPE, STEPS, TRAINED_RATE, setting

from unlearnkit import paths, unlearning
from unlearnkit.claims.verification import ROWS
from unlearnkit.errors import DivergenceError
from unlearnkit.study import judged
from unlearnkit.study.cells import Tidy
from unlearnkit.study.experiments.matched import Approach
from unlearnkit.study.experiments.unlearn import Walk
from unlearnkit.study.judged import Evidence, Observed
from unlearnkit.study.plan import Arm
from unlearnkit.study.tables import read
from unlearnkit.study.verified import ATTACKS, TESTS, Verification
from unlearnkit.study.walks import path

LONGER = (*STEPS, 0.3, 0.6)
NEAR = 0.02
SPECS = {
    "noop": path("noop", "noop", ()),
    "first_epoch": path("first_epoch", "first_epoch", LONGER),
    "gradient_ascent": path("gradient_ascent", "gradient_ascent", LONGER),
    "npo": path("npo", "npo", (1, 2, 3, 4), options={"lr": TRAINED_RATE}),
    "imitator": path("imitator", "noop", (), imitates={"rate": 1.0, "steps": 60}),
    "adam_embedding": path("adam_embedding", "adam_replay", LONGER, parts=["embedding"]),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A seed's cells: oracles, then the methods by name; all are run."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "run_cache", lambda: runs)
        model = golden_cells.save_model("gpt2-tied", tmp_path_factory.mktemp("model"))
        recipe = RECIPE | {"epochs": 6}
        arm = Arm(str(model), "adamw", recipe, (setting(),), whole_map=False)
        one = Verification(arm, setting(), (*TESTS, "known"))
        ways = {name: one.along(spec) for name, spec in SPECS.items()}
        for cell in (one.train, one.oracles, one.third, *ways.values()):
            cell.run()
        yield one, ways


@pytest.fixture(scope="module")
def rows(world):
    one, ways = world
    return read(one.oracles.observations), {name: read(cell.observations) for name, cell in ways.items()}


def forget_nll(found):
    return found[(found["metric"] == "nll") & (found["split"] == "forget")].set_index("example")["value"]


def test_doing_nothing_leaves_what_the_training_left(world, rows):
    one, _ = world
    trained = read(one.train.observations)
    last = trained[trained["epoch"] == RECIPE["epochs"] * 2]
    here = rows[1]["noop"]
    pd.testing.assert_series_equal(
        forget_nll(here), forget_nll(last), check_exact=False, rtol=1e-5, check_names=False, check_like=True
    )
    assert (here["norm"] == 0).all()
    assert not here["reached"].any()
    assert here.loc[here["metric"] == "uds", "value"].max() < 1e-3
    seen = here[here["metric"] == "nll_lens"]
    assert seen["split"].iloc[-1] == f"block.{len(seen) - 1}"
    assert seen["value"].iloc[-1] == pytest.approx(forget_nll(here).mean(), rel=1e-4)


def test_an_imitator_answers_as_the_oracle_and_moves_on_from_the_fine_tuned_model(rows):
    oracles, methods = rows
    level = forget_nll(oracles[oracles["order"] == 1])
    apart = {name: (forget_nll(methods[name]) - level).abs().mean() for name in ("noop", "imitator", "npo")}
    assert apart["imitator"] < 0.3 * apart["noop"]
    assert apart["imitator"] < apart["npo"]
    here = methods["imitator"]
    assert (here["norm"] > 0).all()
    assert "reached" not in here or here["reached"].isna().all()
    assert set(here["metric"]) == set(methods["noop"]["metric"])


def test_a_setting_moves_its_layers_only(rows):
    _, methods = rows
    here = methods["adam_embedding"]
    assert (here["layers"] == "embedding").all()
    assert here["norm"].iloc[0] > 0
    assert (methods["first_epoch"]["layers"] == "all").all()


def test_what_training_did_not_teach_is_told_here_and_before_training(rows):
    oracles, methods = rows
    first = [
        part[part["metric"] == "nll_known"].groupby("split")["value"].first()
        for part in (oracles[oracles["order"] == 1], *methods.values())
    ]
    assert all(list(part.index) == ["holdout", "holdout at first"] for part in first)
    assert len({round(part["holdout at first"], 5) for part in first}) == 1
    assert len({round(part["holdout"], 5) for part in first}) > 2


@pytest.mark.parametrize("name", ["first_epoch", "gradient_ascent", "npo"])
def test_a_method_stands_where_its_facts_are_what_they_are_to_the_oracle(rows, name):
    oracles, methods = rows
    assert methods[name]["reached"].all()
    level = forget_nll(oracles[oracles["order"] == 1]).mean()
    assert forget_nll(methods[name]).mean() == pytest.approx(level, abs=NEAR + 1e-6)
    assert level > forget_nll(methods["noop"]).mean() + 5 * NEAR


def test_both_sides_are_measured_alike(rows):
    oracles, methods = rows
    second, own = oracles[oracles["order"] == 2], methods["npo"]
    theirs, ours = (
        r[r["metric"] != "training_seconds"].fillna({"step": -1}).groupby(["split", "metric", "step"]).size()
        for r in (second[second["metric"] != "displacement"].fillna({"split": ""}), own)
    )
    assert theirs.to_dict() == ours.to_dict()
    assert len(set(forget_nll(oracles[oracles["order"] == 1])) & set(forget_nll(second))) == 0
    assert {f"mia_{a}" for a in ATTACKS} <= set(own["metric"])


def test_a_third_oracle_is_another_model_measured_as_the_second_is(world, rows):
    oracles, third = rows[0], read(world[0].third.observations)
    assert set(third["order"]) == {3}
    second = oracles[oracles["order"] == 2]
    assert set(third["metric"]) == set(second["metric"])
    assert not set(forget_nll(third)) & set(forget_nll(oracles))
    depth = third.loc[third["metric"] == "uds", "value"]
    assert len(depth) == len(second[second["metric"] == "uds"])
    assert depth.min() > 0.9


def test_rows_make_judgements(rows):
    """One seed says nothing: no row can pass."""
    oracles, methods = rows
    told = pd.concat(methods.values()).assign(seed=0)
    known = Evidence(Observed(told, oracles.assign(seed=0)))
    assert known.methods == [*SPECS, judged.ORACLE]
    found = judged.judgements(known, "npo")
    assert set(found) == {row.id for row in ROWS}
    assert "pass" not in {one.verdict for one in found.values()}
    own, _ = judged.numbers(known, "npo", "equivalence")
    assert abs(own.loc[0, "gap"]) < NEAR + 1e-6


def test_the_oracles_weights_go_once_all_have_read_them(world):
    one, ways = world
    folder = one.oracles.folder
    assert len(list((folder / "oracles").iterdir())) == 2
    tidy = Tidy(title="", estimate_s=0, owner=one.oracles, readers=tuple(ways.values()))
    assert not tidy.done()
    kept = (folder / "oracles").rename(folder / "aside")  # others of this module may need them
    assert tidy.done()
    assert not one.oracles.on_disk()
    assert one.oracles.is_made()
    kept.rename(folder / "oracles")
    assert one.oracles.on_disk()


def test_the_model_is_measured_and_not_moved(world):
    """A second look at the same place sees the same: rounding, relearning and patching are undone."""
    one, ways = world
    walk = Walk.from_cell(ways["npo"])
    level = 100.0  # out of reach: the path's end
    result, reached = Approach(walk, SPECS["npo"], walk.config["forget"], level, most=3, nats=NEAR).go()
    assert not reached
    assert result.told["step"] == SPECS["npo"]["steps"][-1]
    result.revert()
    short = Approach(walk, SPECS["npo"] | {"steps": [4]}, walk.config["forget"], level)
    assert short.go()[0].norm == pytest.approx(result.norm, rel=1e-5)


def test_without_further_looks_no_place_is_between_two_steps(world):
    _, ways = world
    walk = Walk.from_cell(ways["npo"])
    way = Approach(walk, SPECS["npo"], walk.config["forget"], level=0.0)  # passed by the first step
    result, reached = way.go()
    assert reached
    assert result.told["step"] == 1


def test_a_path_that_diverges_at_once_says_so(world):
    _, ways = world
    walk = Walk.from_cell(ways["npo"])
    far = SPECS["npo"] | {"options": {"lr": 1e30}}
    before = [p.detach().clone() for p in walk.model.parameters()]
    with pytest.raises(DivergenceError):
        Approach(walk, far, walk.config["forget"], level=100.0).go()
    assert all((a == b).all() for a, b in zip(before, walk.model.parameters(), strict=True))


def test_a_path_may_keep_the_model_at_its_end(world):
    _, ways = world
    walk = Walk.from_cell(ways["first_epoch"])
    given = {"request": walk.config["forget"], "ledger": walk.book, "norms": (0.1, 0.2)}
    start = [p.detach().clone() for p in walk.model.parameters()]
    *_, result = unlearning.path("first_epoch", walk.model, keep=True, **given)
    moved = sum((a - b).square().sum() for a, b in zip(start, walk.model.parameters(), strict=True)) ** 0.5
    assert moved.item() == pytest.approx(0.2, rel=1e-4)
    result.revert()
    assert all((a == b).all() for a, b in zip(start, walk.model.parameters(), strict=True))
