"""What the history of training buys: bytes, prices and trials by epoch, in a world of planted prices."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from planted_methods import compared, price
from planted_run import KEPT, TRAINED_IN

from unlearnkit.report import ch15_history as chapter
from unlearnkit.report import side_by_side
from unlearnkit.study import trials

pytestmark = pytest.mark.usefixtures("untuned")


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    with compared(tmp_path_factory) as run:
        yield side_by_side.of_run(run)[0]


def test_rows_are_ordered_by_what_is_kept_and_priced(arm):
    table = chapter.rows(arm, (*chapter.LEDGER, *chapter.BESIDE))
    assert list(table["method"]) == [
        "retraining",
        "first epoch",
        "K-FAC replay",
        "all epochs",
        "AdamW's updates",
    ]
    told = table.set_index("method")
    assert told.loc["retraining", "bytes"] == "2 MB"
    assert float(told.loc["AdamW's updates", "others lose [95 %]"].split()[0]) == pytest.approx(
        price("adam_replay"), abs=0.01
    )
    seconds = side_by_side.summary(arm).loc["retrain", "seconds"]
    assert told.loc["retraining", "of retraining"] == f"{seconds / TRAINED_IN:.0%}"


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("first_epoch", "ledger, epoch 1"),
        ("kfac_replay", "ledger"),
        ("adam_replay", "ledger, moments"),
        ("amnesiac", "every step's update"),
        ("msa", "one state of the weights"),
        ("finetune_retain", "texts"),
    ],
)
def test_what_is_kept_in_words(arm, method, words):
    assert chapter.keeps(arm, method) == words


def test_trials_are_told_by_epoch(arm, monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "FOLDER", tmp_path)
    trials.reread()
    assert not len(chapter.by_epoch_table(arm))
    told = [
        ("rewind", {"epoch": 1}, 0.2),
        ("rewind", {"epoch": 6}, 4.0),
        ("msa", {"epoch": 0, "b": 0.5}, 1.0),
    ]
    told.append(("npo", {"rate": 1.0}, 1.0))
    rows = [(m, json.dumps(o), s, p + s, True, 1.0, 9.0) for m, o, p in told for s in (0, 1)]
    columns = ["method", "trial", "seed", "price", "reached", "closest", "seconds"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "smollm2-135m.csv", index=False)
    trials.reread()
    assert chapter.by_epoch_table(arm).to_numpy().tolist() == [
        ["rewind", 1, "–", "0.70", "1.00", "9.00"],
        ["rewind", 6, "–", "4.50", "1.00", "9.00"],
        ["model state arithmetic", 0, "b 0.5", "1.50", "1.00", "9.00"],
    ]
    trials.reread()


def test_what_the_hessian_adds_is_told_of_plain_sgd(arm, monkeypatch):
    assert chapter.of_hessian(arm.run) is None  # whose arms AdamW trained
    found = side_by_side.summary(arm).loc[["all_epochs", "thudi"]].rename(index={"thudi": "hf_ocu"})
    monkeypatch.setattr(chapter, "summary", lambda _: found.assign(closest=[0.8, 0.2]))
    table = chapter.hessian_table(arm)
    assert list(table["closest D_F"]) == ["0.80", "0.20"]
    near = pd.DataFrame({"seed": [0, 1, 2], "all_epochs": [0.8, 0.9, 0.7], "hf_ocu": [0.3, 0.5, 0.1]})
    for later, said in ((near, False), (near.assign(hf_ocu=[0.3, 1.5, 0.9]), True)):
        told = later.melt("seed", var_name="method", value_name="distance")
        monkeypatch.setattr(chapter, "reading", lambda *_, told=told: told)
        sentence = chapter.hessian_sentence(arm)
        assert "as close as 0.80 nats" in sentence
        assert ("not shown" in sentence) == said


def test_the_figure_has_a_mark_and_a_name_for_each(arm):
    ax = chapter.figure(arm).axes[0]
    names = {text.get_text() for text in ax.texts}
    assert {"rewind", "model state arithmetic", "K-FAC replay", "retraining", "first epoch"} <= names
    marks = {line.get_xdata()[0]: line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"}
    assert min(marks) < max(marks) == side_by_side.kept(arm)["adam_replay"]
    assert KEPT["weights_bytes"] in marks
    plt.close("all")
