"""Methods side by side: the bar, the advice, tables and figures, in a world whose prices are planted."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from planted_methods import DEARNESS, FEW, SEEDS, compared, price

from unlearnkit.claims.methods import HAVE, MARGIN, NEVER_ADVISED, PRINCIPAL, SHARE
from unlearnkit.report import (
    ch00_advice,
    ch00_overview,
    ch09_advice,
    ch09_elsewhere,
    ch09_figures,
    ch09_imputed,
    ch09_tuning,
    ch10_practice,
    side_by_side,
    tables,
)
from unlearnkit.report import ch09_methods as chapter
from unlearnkit.study import trials


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    with compared(tmp_path_factory) as run:
        yield side_by_side.of_run(run)


@pytest.fixture
def arm(arms):
    return arms[0]


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture
def tuned(monkeypatch, tmp_path):
    """Writes the trials of a family of models."""

    def write(family, rows):
        columns = ["method", "trial", "seed", "price", "reached", "closest", "seconds"]
        pd.DataFrame(rows, columns=columns).to_csv(tmp_path / f"{family}.csv", index=False)

    monkeypatch.setattr(trials, "FOLDER", tmp_path)
    trials.reread()
    yield write
    trials.reread()


def test_the_bar_shows_exactly_those_planted_below_it(arm):
    found = chapter.bar(arm)
    below = {m for m in found.index if DEARNESS[m] is not None and price(m) < SHARE * price("first_epoch")}
    assert below == {"adam_replay", "kfac_replay", "msa", "rewind"}
    assert set(found.index[found["cheaper"]]) == below
    assert found["difference"]["npo"] == pytest.approx(price("npo") - SHARE * price("first_epoch"), abs=0.03)
    out = {"first_epoch", "random_direction", *NEVER_ADVISED}
    assert set(found.index) == set(DEARNESS) - out


def test_chapter_10_names_beside_its_own_what_everybodys_records_buy(arm, monkeypatch):
    def told(use):
        advised = pd.DataFrame({"have": ["the ledger"], "use": [use]})
        monkeypatch.setattr(ch09_advice, "advice", lambda _: advised)
        return ch10_practice.with_all_records(arm)

    found = side_by_side.summary(arm).loc["kfac_replay"]
    assert told("kfac_replay") == f"{found['title']}: {found['price']:.2f} ({found['seeds']} seeds)"
    assert told("adam_replay") == "–"  # which reads the person's own records alone
    assert told("") == "nothing"
    monkeypatch.setattr(ch10_practice.side_by_side, "walks", lambda _: pd.DataFrame())
    assert ch10_practice.with_all_records(arm) == "–"


def test_chapter_00_says_that_everybodys_records_save_where_they_do(arm, monkeypatch):
    assert ch00_overview.all_records_save(arm.run)  # one of the two was not walked
    prices = {"adam_replay": 0.3, "kfac_replay": 0.1, "projected_replay": 0.2}
    for projected, saves in ((0.2, True), (0.4, False)):
        table = pd.DataFrame({"price": prices | {"projected_replay": projected}})
        monkeypatch.setattr(ch00_overview.side_by_side, "summary", lambda _, table=table: table)
        assert ch00_overview.all_records_save(arm.run) == saves


def test_one_seed_shows_nothing(tmp_path_factory):
    with compared(tmp_path_factory, seeds=1) as run:
        arm = side_by_side.of_run(run)[0]
        assert not chapter.bar(arm)["cheaper"].any()
        assert all(len(alike) == 1 for alike in ch09_advice.advice(arm)["alike"])
        assert not chapter.every_number(arm)["others lose [95 %]"].str.contains(r"\[").any()


def test_advice_is_the_cheapest_that_one_can_run_and_ties_go_to_the_quickest(arm):
    found = ch09_advice.advice(arm).set_index("have")
    assert list(found.index) == list(HAVE)
    assert set(found.loc["the ledger", "alike"]) == {"adam_replay", "kfac_replay"}
    assert set(found.loc["retain texts", "alike"]) == {"npo", "dpo"}
    assert found.loc["the forget texts", "use"] == "gradient_ascent"  # a prompt never forgets
    assert found.loc["the history of training", "alike"] == ("rewind",)
    assert price("msa") - price("rewind") > MARGIN
    for row in found.itertuples():
        assert row.alike[0] == min(row.alike, key=price)
        assert row.use == side_by_side.summary(arm).loc[list(row.alike), "seconds"].idxmin()
    assert found["n"].to_dict() == {
        "the ledger": FEW,  # all epochs' gradients were walked in so many
        "the forget texts": SEEDS,
        "retain texts": FEW,
        "the history of training": FEW,
    }


def test_two_that_are_within_the_margin_by_chance_alone_are_not_as_good():
    near = pd.DataFrame({"a": [1.0, 1.0, 1.0, 1.0], "b": [1.04, 1.05, 1.06, 1.05], "c": [0.6, 1.4, 0.6, 1.5]})
    assert ch09_advice._as_good(near) == ["a", "b"]  # c's mean is 0.025 above a's, its interval far wider
    same = near.assign(b=near["a"] + 0.05)  # a difference without variance has no interval
    assert ch09_advice._as_good(same) == ["a", "b"]


def test_where_nothing_forgets_nothing_is_advised(arm, monkeypatch):
    never = side_by_side.summary(arm).assign(reached=0)
    monkeypatch.setattr(ch09_advice, "summary", lambda _: never)
    assert set(ch09_advice.advice(arm)["use"]) == {""}
    assert set(ch09_advice.advice_table(arm)["use"]) == {"none forgets"}


def test_one_table_joins_the_advice_of_both_chapters_below_training_again(arm, monkeypatch):
    told = ch00_advice.table(arm).set_index("if you have")
    read = side_by_side.summary(arm)
    assert list(told.index)[:2] == [ch00_advice.EVERYTHING, ch00_advice.OWN]
    assert len(told) == 2 + len(HAVE)
    own = ch10_practice.ranked(arm).query("advised").iloc[0]
    assert told.loc[ch00_advice.OWN, "use"] == own["setting"]
    assert told.loc[ch00_advice.OWN, "others lose [95 %]"].startswith(f"{own['cost']:.2f} [")
    use = ch09_advice.advice(arm).set_index("have").loc["the ledger", "use"]
    row = told.loc[ch00_advice.KEPT["the ledger"]]
    assert row["use"] == read.loc[use, "title"]
    assert row["single facts off by"] == f"{read.loc[use, 'distance']:.2f}"
    assert row["forgets on the mean in"] == f"{read.loc[use, 'reached']} of {read.loc[use, 'seeds']}"
    dearer = price("gradient_ascent") > price("first_epoch")
    assert ("dearer" in told.loc["the forget texts", "use"]) == dearer
    none = ch10_practice.ranked(arm).assign(advised=False)
    monkeypatch.setattr(ch00_advice.ch10_practice, "ranked", lambda _: none)
    monkeypatch.setattr(ch00_advice.side_by_side, "walks", lambda _: pd.DataFrame())
    assert list(ch00_advice.table(arm)["if you have"]) == [ch00_advice.EVERYTHING]


def test_the_readme_has_the_bar_and_the_advice_of_each_arm_that_09_reports(arm):
    told = ch00_advice.readme(arm.run)
    for one in chapter.reported(side_by_side.of_run(arm.run)):
        assert chapter.bar_sentence(one).data in told
    assert f"| {ch00_advice.OWN} | " in told
    assert ch00_advice.readme(type("Run", (), {"arms": []})()) == ""


def test_tables_list_every_method_once_the_cheapest_first(arm):
    table = chapter.every_number(arm)
    assert len(table) == len(DEARNESS)
    assert table["method"].is_unique
    assert table["method"].iloc[0] in ("retraining", "exact replay")
    by_title = table.set_index("method")
    assert by_title.loc["RMU", "forgets on the mean in"] == f"0 of {SEEDS}"
    assert by_title.loc["NPO", "sees again"] == "retain texts"
    assert by_title.loc["NPO", "kept from training"] == "–"
    assert by_title.loc["first epoch", "kept from training"] == "4.4 MB"
    told = pd.concat(chapter.rows(arm, family) for family in set(side_by_side.summary(arm)["family"]))
    assert sorted(told["method"]) == sorted(table["method"])


def test_the_sentence_names_those_below_the_bar_or_says_that_there_is_none(arm, monkeypatch):
    told = chapter.bar_sentence(arm).data
    assert f"forgets on the mean in {SEEDS} of {SEEDS} seeds" in told
    assert "4 of 12 methods" in told
    assert "AdamW's updates" in told
    assert "gradient ascent" not in told
    chosen = [m for m in chapter.bar(arm).index if m in PRINCIPAL]
    assert f"Of the {len(chosen)} principal methods, tested by themselves" in told  # beside the other model's
    none = chapter.bar(arm).assign(cheaper=False)
    monkeypatch.setattr(chapter, "bar", lambda _: none)
    told = chapter.bar_sentence(arm).data
    assert "No other method is shown" in told
    assert " is the cheapest: " in told


def test_where_only_those_chosen_in_advance_were_walked_the_sentence_says_so(arm, monkeypatch):
    found = chapter.bar(arm)
    found = found[found.index.isin(PRINCIPAL)]
    monkeypatch.setattr(chapter, "bar", lambda _: found)
    told = chapter.bar_sentence(arm).data
    assert f"{found['cheaper'].sum()} of the {len(found)} principal methods" in told
    assert "by themselves" not in told


def test_what_the_page_says_is_checked_where_the_run_can_tell(arm):
    def dear(summary):
        return summary.loc["npo", "price"] > 0.1

    assert chapter.checked([arm], ["npo"], dear, "NPO is dear") is None
    found = chapter.checked([arm], ["npo"], lambda summary: not dear(summary), "NPO is cheap")
    assert "Not so here" in found.data
    for asked, needed in (([], ["npo"]), ([arm], ["npo", "quark"])):
        assert chapter.checked(asked, needed, lambda _: False, "nothing") is None


def test_a_sentence_must_hold_of_every_arm_that_can_tell(arms):
    first = chapter.summary(arms[0])
    assert chapter.checked(arms, ["npo"], lambda _: True, "always") is None
    assert "Not so here" in chapter.checked(arms, ["npo"], lambda t: t is first, "of the first alone").data
    others = {"text": "the tiny model alone is another", "real": lambda t: t is first}
    assert chapter.checked(arms, ["npo"], lambda t: t is not first, **others) is None
    assert "Not so here" in chapter.checked(arms[:1], ["npo"], lambda _: True, "x", lambda _: False).data


def test_the_arm_with_the_most_paths_is_reported_beside_the_headline(arms):
    assert [chapter.model(arm) for arm in arms] == ["smollm2-135m", "gpt2-tiny"]
    assert chapter.reported(arms) == arms[:1]  # it has more seeds of the principal methods
    assert chapter.reported(arms[::-1]) == arms[::-1]
    assert chapter.reported([]) == []
    assert not len(chapter.of_each([], chapter.every_number))


def test_a_table_of_several_arms_names_the_model_and_keeps_a_methods_rows_together(arms):
    told = chapter.shown(arms, "ascent").data.split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")][:2] for line in told]
    assert cells[0] == ["method", "model"]
    assert cells[2:] == [
        [title, model]
        for title in ("gradient difference", "gradient ascent")
        for model in ("smollm2-135m", "gpt2-tiny")
    ]
    assert f"{FEW} to {SEEDS} seeds of {arms[0].name} (retraining takes" in chapter.note(arms)
    assert f"and {FEW} seeds of {arms[1].name}" in chapter.note(arms)


def test_a_family_without_a_path_is_said_to_have_none(arm):
    assert chapter.shown([], "reward") is None
    assert "none of these" in chapter.shown([arm], "reward").data
    told = chapter.shown([arm], "preference").data
    assert "| NPO |" in told
    assert f"{FEW} to {SEEDS} seeds" in told
    assert (arm.run.figures / "tables" / "methods_preference.csv").is_file()


def test_other_readings_are_of_those_that_get_there(arm):
    table = chapter.other_readings(arm).set_index("method")
    assert table.loc["first epoch", "gets to 0.05 in"] == f"{SEEDS} of {SEEDS}"
    assert table.loc["RMU", "gets to 0.5 in"] == f"0 of {SEEDS}"
    assert table.loc["retraining", "D_F at 0.05 nats"] == "–"  # one place, no path
    nats = table["D_F at 0.05 nats"].replace("–", np.nan).astype(float)
    assert nats["AdamW's updates"] < nats["NPO"] < nats["first epoch"]


def test_trials_are_told_as_they_were_chosen(arm, tuned):
    told = [("npo", {"rate": 0.25, "beta": 0.1}, 1.0), ("npo", {"rate": 1.0, "beta": 0.1}, 3.0)]
    told.append(("rmu", {}, 2.0))
    assert len(ch09_tuning.tuning(arm)[1]) == 0
    assert "No method was tuned" in ch09_tuning.tuning_sentence(arm).data
    rows = [(m, json.dumps(o), seed, p + seed, True, 1.0, 1.0) for m, o, p in told for seed in (0, 1)]
    tuned("gpt2-tiny", rows)
    trials.reread()
    assert ch09_tuning.tuning(arm)[0] == "gpt2-tiny"  # the fallback: smollm2-135m was not tuned
    prices = side_by_side.summary(arm)["price"]
    again = {m: tables.number(prices.get(m, np.nan), ".2f") for m in ("npo", "rmu")}
    assert ch09_tuning.tuning_table(arm).to_numpy().tolist() == [
        ["NPO", 2, "rate 1/4, beta 0.1", "1.50", again["npo"], "3.50"],
        ["RMU", 1, "its defaults", "2.50", again["rmu"], "–"],
    ]
    assert "since nobody tuned them on smollm2-135m" in ch09_tuning.tuning_sentence(arm).data
    tuned("smollm2-135m", rows[:4])
    trials.reread()
    assert ch09_tuning.tuning(arm)[0] == "smollm2-135m"
    said = ch09_tuning.tuning_sentence(arm).data
    assert "on smollm2-135m, in 2 worlds. What a trial takes" in said
    assert "RMU" in said  # has settings to choose from, and nobody tried them there
    assert "NPO" not in said
    assert "retraining" not in said  # has none
    tuned("smollm2-135m", [(m, "{}", 0, 1.0, True, 1.0, 1.0) for m in trials.names()])
    trials.reread()
    assert ch09_tuning.tuning_sentence(arm).data.endswith("on smollm2-135m, in 1 world.")


def test_prices_elsewhere_are_shares_and_keep_the_order(arms):
    found = ch09_elsewhere.shares(arms)
    assert list(found) == ["smollm2-135m", "gpt2-tiny"]
    assert found["smollm2-135m"].is_monotonic_increasing
    for name, arm in zip(found, arms, strict=True):
        assert found.loc["rmu", name] == pytest.approx(1, abs=0.02)
        assert found.loc["npo", name] == pytest.approx(price("npo") / side_by_side.thrown_away(arm), rel=0.12)
    (ax,) = ch09_elsewhere.marks(arms).axes
    assert [list(line.get_xdata()) for line in ax.get_lines()] == found.T.to_numpy().tolist()
    ranks = ch09_elsewhere.table(arms).iloc[-1]
    assert ranks.iloc[1] == "1.00"
    assert float(ranks.iloc[2]) > 0.9


def test_the_front_is_what_none_beats(arm):
    points = ch09_figures.pareto_points(arm)
    front = ch09_figures.front(points)
    assert "retrain" in front or "exact_replay" in front
    for name in front:
        beaten = points[["lost", "distance"]].lt(points.loc[name, ["lost", "distance"]]).all(axis=1)
        assert not beaten.any()
    assert "first_epoch" not in front


def test_a_method_that_never_forgets_is_drawn_where_it_is_closest(arm):
    points = ch09_figures.pareto_points(arm)
    assert not points.loc["rmu", "reached"]
    assert points.loc["rmu", "lost"] == pytest.approx(0.0, abs=1e-6)
    assert points.loc["npo", "lost"] == pytest.approx(price("npo"), rel=0.12)


def test_the_figures_draw_every_method(arm):
    ax = ch09_figures.pareto(arm).axes[0]
    assert len(ax.collections) >= len(DEARNESS)
    ax = ch09_figures.price_rows(arm).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(
        side_by_side.summary(arm).sort_values("price", kind="stable")["title"]
    )


def test_marks_grow_with_the_time_that_a_method_takes():
    sizes = [ch09_figures.area(seconds) for seconds in (np.nan, 0, 1, 10, 1000)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 4 * sizes[0]


def test_the_figure_of_another_arm_is_saved_by_its_model(arms):
    ch09_figures.show(arms, ch09_figures.pareto, "methods_by_arm")
    for name in ("methods_by_arm", "methods_by_arm_gpt2-tiny"):
        assert (arms[0].run.figures / f"{name}.png").is_file()


def test_what_was_measured_stands_beside_what_is_charged(arm):
    found = side_by_side.summary(arm)
    told = ch09_imputed.measured(found)
    missed = found["reached"] < found["seeds"]
    assert missed.any()
    assert told[missed].tolist() == found.loc[missed, "damage"].tolist()
    assert told[~missed].isna().all()
    shown = chapter.every_number(arm).set_index("method")["measured"]
    assert (shown[found.loc[~missed, "title"]] == "–").all()
    said = ch09_imputed.retraining_sentence(arm).data
    assert f"is charged {found.loc['retrain', 'price']:.2f} nats" in said
    assert ("falls" in said or "stays more than 0.05" in said) == bool(missed["retrain"])


def test_the_page_has_room_for_the_first_arm_and_the_principal_methods(arms):
    table = pd.DataFrame(
        {"method": ["NPO", "SISA", "SISA", "UNDO"], "model": [chapter.model(arms[0])] * 2 + ["x"] * 2}
    )
    assert chapter.headline_rows(table, arms[0]).tolist() == [True, True, False, False]
    assert chapter.headline_rows(table).tolist() == [True, False, False, False]
    assert chapter.headline_rows(table.drop(columns="model"), arms[0]).all()


def test_prices_that_did_not_keep_are_named(arm, tuned):
    price = side_by_side.summary(arm)["price"]
    then = {"npo": price["npo"] / 3 - 0.2, "first_epoch": price["first_epoch"]}
    tuned("smollm2-135m", [(m, "{}", 0, p, True, 1.0, 1.0) for m, p in then.items()])
    trials.reread()
    said = ch09_tuning.moved_sentence(arm).data
    assert f"*NPO* {then['npo']:.2f} → {price['npo']:.2f}" in said
    assert f"nothing to tune: {then['first_epoch']:.2f} → {price['first_epoch']:.2f}" in said
