"""The grid of methods and tests, on planted worlds in which one method forgets and one only hides."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from planted_tests import FACTS, WORLDS, population, study, thrown

from unlearnkit.claims.judging import FAIL, FEWEST, NO_POWER, PASS
from unlearnkit.claims.verification import ROWS
from unlearnkit.report import ch10_practice as practice
from unlearnkit.report import ch11_numbers
from unlearnkit.report import ch11_verification as chapter
from unlearnkit.report import ch12_stress as stress
from unlearnkit.study import config, judged, judged_on
from unlearnkit.study.config import VERIFIED
from unlearnkit.study.judged import Observed
from unlearnkit.study.verified import COINS, POPULATION

GOOD, HIDING = "adam_replay", "npo"


class PlantedArm:
    """What the chapters ask of an arm."""

    def __init__(self, observed, variant="", beside=()):
        self.name, self.model, self.variant = f"planted{variant}", "planted", variant
        self.recipe = {"epochs": 3, "lr": 1e-3}
        self.tables = {"verified": observed.methods, "verified_oracles": observed.oracles}
        self.run = type("Run", (), {"beside": list(beside), "arms": [self]})()

    def observations(self, stage):
        return self.tables[stage]


@pytest.fixture(scope="module")
def arm():
    coins = PlantedArm(thrown(good=GOOD, hiding=HIDING), COINS)
    world = PlantedArm(population(good=GOOD), f"{POPULATION} 0")
    return PlantedArm(study(good=GOOD, hiding=HIDING), beside=(coins, world))


def test_the_grid_tells_who_forgets(arm):
    table = chapter.verdicts(arm)
    assert list(table.index) == ["oracle", "noop", "wrong_person", GOOD, HIDING]
    assert list(table) == [*(row.id for row in ROWS), chapter.VERDICT]
    assert table[chapter.VERDICT].to_dict() == {
        "oracle": NO_POWER,  # the null cannot be held against itself
        "noop": FAIL,
        "wrong_person": FAIL,
        GOOD: PASS,
        HIDING: FAIL,
    }
    assert table.loc[HIDING, "equivalence"] == PASS
    assert table.loc[HIDING, "relearning"] == FAIL
    assert chapter.controls_behave(arm)


def test_the_sentence_names_them(arm):
    told = chapter.sentence(arm).data
    assert "1 of 2 methods pass every test that decides" in told
    assert "AdamW's updates" in told
    assert f"{WORLDS} seeds" in told
    assert "Each of them passes: " in told
    means = ch11_numbers.means(arm).set_index("method")
    distance = float(means.loc["AdamW's updates", "equivalent: distance"])
    assert f"AdamW's updates comes nearest: {distance:.2f} nats" in told


def test_the_readme_has_the_sentence_of_each_arm(arm):
    assert chapter.sentence(arm).data in chapter.readme(arm.run)
    assert chapter.readme(type("Run", (), {"arms": []})()) == ""


def test_further_models_have_a_grid_where_there_are_worlds_enough(arm):
    tables = arm.tables.values()
    few = PlantedArm(Observed(*(rows[rows["seed"] < FEWEST - 1] for rows in tables)))
    assert chapter.further([few, arm, few]) == [arm]
    assert chapter.further([]) == []


def test_what_did_not_get_there_is_not_called_nearest():
    observed = study(good=GOOD, hiding=HIDING)
    others = observed.methods["reached"] & (observed.methods["method"] != GOOD)
    never = observed.methods.assign(reached=others)
    assert chapter.nearest(PlantedArm(Observed(never, observed.oracles))) == HIDING
    nobody = PlantedArm(Observed(observed.methods.assign(reached=False), observed.oracles))
    assert chapter.nearest(nobody) is None
    assert "comes nearest" not in chapter.sentence(nobody).data


def test_the_figure_can_be_read_without_colour(arm):
    drawn = chapter.grid(arm)
    texts = [text.get_text() for text in drawn.axes[0].texts]
    table = chapter.verdicts(arm)
    told = [chapter.MARKS[v] for v in table.to_numpy().ravel()]
    assert [mark.replace("–", "?") for mark in texts] == told
    assert len(set(chapter.MARKS.values())) == 3
    plt.close(drawn)


def test_a_test_that_was_not_asked_has_a_dash_and_one_that_cannot_tell_a_question_mark():
    observed = study(good=GOOD)
    few = observed.methods["seed"] < 2
    alone = PlantedArm(Observed(observed.methods[few], observed.oracles[observed.oracles["seed"] < 2]))
    assert set(chapter.marks(alone).loc[GOOD, ["klom", "audit"]]) == {"–"}
    assert chapter.marks(alone).loc[GOOD, "relearning"] == "?"
    assert chapter.marks(alone).loc[GOOD, chapter.VERDICT] == "?"
    told = ch11_numbers.deciding(alone).set_index("method").loc[chapter.title(GOOD)]
    assert told["many models"] == "–"
    assert float(told["relearning"]) == pytest.approx(
        chapter.judgements(alone)[GOOD]["relearning"].estimate, abs=0.006
    )


def test_every_cell_can_be_traced_to_its_seeds(arm):
    known = chapter.evidence(arm)
    for row in judged.NUMBERS:
        table = ch11_numbers.numbers_table(arm, GOOD, row)
        assert list(table["seed"]) == known.seeds
        own, control = judged.numbers(known, GOOD, row)
        assert table.shape[1] == 1 + 2 * own.shape[1]
        assert float(table.iloc[0, 1]) == pytest.approx(own.iloc[0, 0], abs=6e-4)
        assert float(table.iloc[0, 2]) == pytest.approx(control.iloc[0, 0], abs=6e-4)
    many = ch11_numbers.numbers(arm, GOOD, "klom")
    assert many["of"].str.contains("world 0").sum() == FACTS
    assert not len(ch11_numbers.numbers(arm, HIDING, "klom"))  # which that world was not unlearned with
    assert 0.5 < many["value"].mean() / many["oracle"].mean() < 2
    coins = ch11_numbers.numbers(arm, GOOD, "audit")
    right, of = judged_on.guesses(known.coins.of(GOOD)).sum()
    assert coins["value"].mean() == pytest.approx(right / of)
    assert not len(ch11_numbers.numbers(PlantedArm(study(2, GOOD, HIDING)), GOOD, "audit"))
    for row in ("equivalence", "klom", "audit"):
        plt.close(ch11_numbers.figure(arm, GOOD, row))
    within = ch11_numbers.bounds(ch11_numbers.numbers(arm, GOOD, "equivalence"), "equivalence")
    margin = judged.numbers(known, GOOD, "equivalence")[1]["distance"].mean()
    assert within == {"distance": (0, 2 * margin), "gap": (-margin, margin)}
    assert not ch11_numbers.bounds(many, "klom")
    told = ch11_numbers.rows(arm, GOOD)
    assert list(told["verdict"]) == list(chapter.verdicts(arm).loc[GOOD].drop(chapter.VERDICT))
    assert len(ch11_numbers.means(arm)) == len(chapter.verdicts(arm))


def test_attacks_at_a_low_share_of_false_alarms(arm):
    """Of 40 strangers a seed one threshold of all seeds lets one in a hundred through."""
    table = ch11_numbers.low_fpr(arm).set_index("method").astype(float)
    scores = arm.tables["verified"].query("method == @GOOD and metric == 'mia_zlib'")
    members, others = (scores[scores["split"] == split]["value"] for split in ("forget", "holdout"))
    threshold = others.nlargest(len(others) // 100 + 1).iloc[-1]
    assert table.loc[chapter.title(GOOD), "zlib"] == pytest.approx((members > threshold).mean(), abs=6e-3)
    assert (table.loc["nothing done"] == 1).all()
    assert (table.loc["another oracle"] < 0.1).all()
    assert ch11_numbers.low_fpr(PlantedArm(study(2, GOOD, HIDING))).empty


def test_a_run_without_verification_says_so(arm):
    arm.run.manifest = {"run": "full", "parameters": {}}
    assert chapter.warnings(arm.run) is None
    arm.run.manifest = {"run": "full-01234567", "parameters": config.PROFILES["full"] | {"seeds_audit": 5}}
    assert "still to run: worlds of coins, 5 of 24 are there. The" in chapter.warnings(arm.run).data
    assert "verified no method" in chapter.warnings(type("Run", (), {"arms": []})()).data


def test_advice_rests_on_the_grid(arm):
    told = practice.tested(arm.run).set_index("update")
    assert list(told.index) == ["all epochs' AdamW updates"]  # needs a ledger, and NPO texts
    assert told["verdict"].item() == PASS
    assert told["fails"].item() == told["cannot tell"].item() == "–"
    assert len(told["passes"].item().split(", ")) == len(ROWS)


def test_relearning_curves_start_at_the_model_and_show_what_was_hidden(arm):
    found = stress.curves(arm)
    assert list(found.columns) == VERIFIED["relearn"]
    nll = chapter.evidence(arm).worlds.of(HIDING).query("metric == 'nll'")["value"].mean()
    assert found.loc[HIDING, 0] == pytest.approx(nll, abs=0.05)
    assert found.loc[HIDING, 8] < 0.6 * found.loc[stress.FIRST, 8]


def test_areas_are_of_each_seed_and_told_with_their_interval(arm):
    found, lines = stress.relearnt(arm), stress.curves(arm)
    own = found[found["model"] == HIDING].set_index("seed")
    judged_by = judged.numbers(chapter.evidence(arm), HIDING, "relearning")[0]["area"]
    assert own["half"].to_dict() == pytest.approx(judged_by.to_dict())
    assert own["back"].mean() == pytest.approx(lines.loc[HIDING, 0] - lines.loc[HIDING].iloc[-1])
    others = stress.curves(arm, "others")
    apart = others.loc[GOOD] - others.loc[stress.FIRST]
    mean = found.groupby("model")["others"].mean()[GOOD]
    assert mean == pytest.approx(np.trapezoid(apart, apart.index), abs=1e-9)
    areas = stress.areas(arm)
    assert stress.FIRST not in areas.index
    assert (areas["n"] == WORLDS).all()
    assert areas.loc[HIDING, "ci_high"] < 0
    assert areas.loc["oracle", "ci_low"] < 0 < areas.loc["oracle", "ci_high"]
    told = stress.relearning_table(arm).set_index("model")
    assert (told["seeds"] == WORLDS).all()
    assert told.loc["the oracle", "area less the oracle's, half"] == "–"
    value, low, high = areas.loc[HIDING, ["mean", "ci_low", "ci_high"]]
    assert told.loc["NPO", "area less the oracle's, half"] == f"{value:.2f} [{low:.2f}, {high:.2f}]"


def test_the_lens_shows_which_blocks_still_know(arm):
    table = stress.lens(arm)
    assert list(table) == list(range(1, 13))
    below = table.loc[stress.FIRST] - table.loc[HIDING] > 1
    assert list(below.index[below]) == list(range(4, 10))
    assert (abs(table.loc[GOOD] - table.loc[stress.FIRST]) < 0.5).all()
    plt.close(stress.inside(arm))


def test_what_is_hidden_comes_back_by_rounding_and_sampling(arm):
    told = stress.hidden(arm).set_index("model")
    assert float(told.loc["NPO", "back at int4"].split()[0]) == pytest.approx(0.5, abs=0.02)
    assert told.loc["nothing done", "back at int4"] == "–"
    assert float(told.loc["NPO", "leak@64, less the oracle's"].split()[0]) == pytest.approx(0.4, abs=0.02)
    ways = stress.asked_otherwise(arm).set_index("model")
    apart = float(ways.loc["NPO", "worst way"].split()[0])
    assert np.isclose(apart, -1.0, atol=0.1)
