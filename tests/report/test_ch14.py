"""What the playground is made of: measured places only, in order, and the mark of matched forgetting."""

import numpy as np
import pytest
from planted_run import World, standing

from unlearnkit.report import ch14_playground as playground


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with standing(tmp_path_factory, World(), seeds_adamw=1, seeds_tiny_adamw=2, seeds_words=1) as run:
        yield run


@pytest.fixture
def told(run):
    return playground.content(run)


def test_the_own_model_and_the_tiny_one_have_their_first_seed(told):
    titles = [model["title"] for model in told["models"]]
    assert titles == ["smollm2-135m, AdamW, seed 0", "gpt2-tiny, AdamW, seed 0"]


def test_every_measured_place_is_there_once_and_no_other(run, told):
    rows = run.table("words")
    walked = rows[rows["request"].notna()]
    keys = ["arm", "request", "method", "layers", "epoch", "share", "step"]
    steps = [step for model in told["models"] for path in model["paths"] for step in path["steps"]]
    assert len(steps) == len(walked.drop_duplicates(keys)) > 100
    measured = set(walked.loc[(walked["example"] == "") & (walked["split"] == "forget"), "value"].round(3))
    assert {step["nll"][0] for step in steps} == measured


def test_texts_and_likelihoods_are_those_of_their_fact_and_place(run, told):
    model = told["models"][0]
    rows = run.table("words")
    rows = rows[(rows["arm"] == run.arms[0].name) & (rows["method"] == "first_epoch")]
    rows = rows[(rows["layers"] == "all") & (rows["request"] == "forget") & (rows["share"] == 0.04)]
    (path,) = (
        p for p in model["paths"] if [p[k] for k in playground.PARTS] == ["forget", "first_epoch", "all"]
    )
    place, ids = path["steps"][2], {e.prompt: e.id for e in run.arms[0].settings[0].facts}
    assert place["at"] == "4 % of the way"
    for fact, (nll, *texts) in zip(model["facts"], place["said"], strict=True):
        own = rows[rows["example"] == ids[fact["prompt"]]]
        said = own[own["metric"] != "nll"].sort_values("draw")["text"]
        assert [model["texts"][k] for k in texts] == said.tolist()
        assert nll == pytest.approx(own.loc[own["metric"] == "nll", "value"].iloc[0], abs=1e-3)


def test_single_epochs_are_told_from_all(told):
    found = {}
    for path in told["models"][0]["paths"]:
        found.setdefault((path["request"], path["method"], path["layers"]), []).append(path["epoch"])
    assert found["forget", "first_epoch", "all"] == [""]
    assert found["forget", "adam_replay", "all"] == ["1", "all"]
    assert found["forget", "adam_replay", "embedding"] == ["all"]
    assert found["forget", "single_epoch", "all"] == ["2", "7"]
    assert list(dict.fromkeys(request for request, *_ in found)) == ["forget", "fuzzy", "control"]


@pytest.mark.parametrize(
    ("forget", "level", "mark"),
    [
        ([1.0, 2.0, 4.0], 2.4, 2),
        ([1.0, 2.0, 4.0], 3.4, 3),
        ([1.0, 2.0, 4.0], 2.0, 2),
        ([3.0, 4.0], 2.0, 1),  # past it at the first step
        ([1.5, 3.0, 1.9, 3.0], 2.0, 1),  # it first crosses after that, though it comes nearer later
        ([1.0, 2.0], 2.1, None),
        ([1.0, 2.0], None, None),
    ],
)
def test_the_mark_is_the_measured_step_nearest_to_the_first_crossing(forget, level, mark):
    assert playground.matched(forget, level) == mark


def test_the_table_tells_what_is_lost_and_known_at_the_mark(run, told, monkeypatch):
    monkeypatch.setattr(playground, "FAR", np.inf)  # planted steps lie wide apart
    marks = playground.marks(run)
    assert len(marks) == sum(len(model["paths"]) for model in told["models"])
    last = marks[marks["path"].str.contains("last two blocks")]
    assert marks["path"].iloc[:2].tolist() == ["first epoch", "first epoch, the embedding only"]
    assert "AdamW's updates, epoch 1" in set(marks["path"])
    assert set(marks["mark"]) != {"–"}
    row = marks.iloc[0]
    assert row["mark"] == "8 %"
    path = told["models"][0]["paths"][0]
    place = path["steps"][path["matched"] - 1]
    assert row["lost"] == pytest.approx(place["nll"][2] - told["models"][0]["start"]["nll"][2])
    assert row["known"] == "0 of 6"  # nobody knows a fact whose NLL is above a nat
    assert row["others"] == "2 of 2"
    assert last["mark"].eq("–").all()  # blocks that touch no loss never get there
    assert last["lost"].isna().all()


def test_a_run_without_words_has_nothing_to_show(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=1) as silent:
        assert playground.content(silent)["models"] == []
        assert list(playground.marks(silent).columns)[:3] == ["model", "request", "path"]
        assert playground.marks(silent).empty


def test_means_that_are_not_there_are_null(told):
    assert all(np.isfinite(model["oracle"]["nll"][0]) for model in told["models"])
    assert {model["start"]["nll"][1] for model in told["models"]} == {
        None
    }  # planted worlds name no neighbours


def test_a_path_between_whose_steps_the_level_lies_has_no_price(told):
    model = told["models"][0]
    path = model["paths"][0]
    place = path["steps"][path["matched"] - 1]
    for off, price in ((playground.FAR - 0.01, True), (playground.FAR + 0.01, False)):
        moved = model | {"oracle": model["oracle"] | {"nll": [place["nll"][0] + off, None, None]}}
        row = playground._mark(moved, path)
        assert row["beyond"] == pytest.approx(-off)
        assert (row["mark"] == playground.BETWEEN) != price
        assert np.isfinite(row["lost"]) == price
