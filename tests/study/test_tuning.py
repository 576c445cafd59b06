"""`make tune`: every trial of every method in each world, and what is kept of them; nothing is trained."""

import json

import pandas as pd
import pytest

from unlearnkit import __main__ as cli
from unlearnkit import files, models
from unlearnkit.claims.methods import BEYOND, PRINCIPAL, TUNING_SEEDS
from unlearnkit.study import config, scheduler, trials, tuning
from unlearnkit.study.cells import DONE, Cell

NAMES = ["first_epoch", "npo", "retrain"]
TAUGHT, ORACLE = 4.0, 5.0  # nats: what others were taught, and what is asked to be forgotten
COLUMNS = ["example", "split", "metric", "value"]


def planted(cell):
    """A larger rate costs others more by the time that all is forgotten; "retrain" costs nothing."""
    given = cell.config
    if cell.stage == "recorded":
        rows = [
            (i, "forget" if i in given["forget"] else "retain", "nll", value, epoch)
            for epoch, value in ((0, TAUGHT), (8, 0.0))
            for i in (*given["forget"], *given["retain"])
        ]
        return pd.DataFrame(rows, columns=[*COLUMNS, "epoch"])
    if cell.stage == "oracle":
        return pd.DataFrame([(i, "forget", "nll", ORACLE) for i in given["forget"]], columns=COLUMNS)
    (spec,) = given["paths"]
    lost = {"first_epoch": 2.0, "npo": 100 * spec["options"].get("lr", 0), "retrain": 0.0}[spec["method"]]
    rows = [(i, "forget", "nll", ORACLE) for i in given["forget"]] + [("retain", "retain", "nll", lost)]
    return pd.DataFrame(rows, columns=COLUMNS).assign(place=1.0, seconds=3.0)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where the tuned options go; the cells are planted, and run one by one."""

    def compute(cell):
        files.write_text(cell.observations, planted(cell).to_csv(index=False))
        files.write_text(cell.folder / DONE, "{}")

    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(Cell, "_compute", compute)
    monkeypatch.setattr(scheduler, "run", lambda todo: [step.run() for step in todo] and [])
    monkeypatch.setattr(trials, "FOLDER", tmp_path)
    monkeypatch.setattr(trials, "names", lambda: NAMES)
    monkeypatch.setattr(models, "fetch", lambda name: name)
    trials.reread()
    yield tmp_path
    trials.reread()


def test_each_trial_is_kept_and_the_cheapest_is_chosen(kept, capsys):
    assert cli.main(["tune", "gpt2-tiny"]) == 0
    table = trials.tried("gpt2-tiny")
    counts = table.groupby("method")["trial"].nunique()
    assert dict(counts) == {"first_epoch": 1, "npo": 6 + BEYOND, "retrain": 1}  # ever gentler rates of NPO's
    assert set(table["seed"]) == set(TUNING_SEEDS)
    lr = config.RECIPES["gpt2-tiny", "adamw"]["lr"]
    npo = table[table["method"] == "npo"]
    for row in npo.to_dict("records"):
        assert row["price"] == pytest.approx(
            min(100 * json.loads(row["trial"])["rate"] * lr, TAUGHT), rel=1e-5
        )
        assert row["reached"]
        assert row["seconds"] == pytest.approx(3.0)
    assert trials.chosen("gpt2-tiny", "npo", {"lr": lr})["lr"] == min(trials.RATES) / 4**BEYOND * lr
    assert table.loc[table["method"] == "retrain", "price"].eq(0.0).all()
    assert str(kept / "gpt2-tiny.csv") in capsys.readouterr().out


def test_a_second_call_repeats_nothing(kept, monkeypatch):
    tuning.tune("neox-tiny")
    before = (kept / "neox-tiny.csv").read_text()
    monkeypatch.setattr(Cell, "_compute", lambda cell: pytest.fail(cell.title))
    tuning.tune("neox-tiny")
    assert (kept / "neox-tiny.csv").read_text() == before


def test_where_a_trial_takes_minutes_the_principal_methods_are_tuned(kept):
    tuning.tune("smollm2-135m")
    assert set(trials.tried("smollm2-135m")["method"]) == set(NAMES) & set(PRINCIPAL)


def test_another_model_is_refused_by_name(kept, capsys):
    assert cli.main(["tune", "some/other"]) == 2
    said = capsys.readouterr().err
    assert "some/other" in said
    assert "gpt2-tiny" in said
