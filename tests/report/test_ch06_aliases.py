"""Chapter 06, requests that differ: whom they reach, and what they pay, in a world whose truth is known."""

import re
from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from planted_run import World, planted, standing

from unlearnkit import data, requests
from unlearnkit.report import ch04_planted as layers
from unlearnkit.report import ch05_stages as stages
from unlearnkit.report import ch06_aliases as aliases
from unlearnkit.report import variants
from unlearnkit.study import config

SEEDS = 5
# What a step on each request costs the others for what it forgets.
DEARNESS = {
    **{"exact": 0.1, "exact_by_name": 0.5, "words_alias": 0.3, "words": 0.6, "resembling": 0.7},
    **{"loose_alias": 0.4, "iterative": 0.1},
}


@dataclass(frozen=True)
class Requested(World):
    def direction(self, method: str, layers: str) -> tuple[float, float, float]:
        """Straight along the target's coordinate, but for the request's share of the others'."""
        return 1.0, DEARNESS.get(method, 0.0), 0.0


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    with standing(tmp_path_factory, Requested(), seeds_adamw=1, seeds_requests=SEEDS) as run:
        yield aliases.of_run(run)


def test_the_variant_is_no_arm_of_the_report(arm):
    assert arm.variant == "requests"
    assert [a.variant for a in arm.run.arms] == [""]
    assert len(arm.seeds) == SEEDS
    mine = arm.settings[2]
    assert [label for label, _ in mine.requests] == list(config.REQUESTS)
    assert list(mine.facts) == data.under_alias(data.world(2), 2, config.UNDER_ALIAS)[0]


def test_whom_each_request_reaches(arm):
    table = aliases.matched(arm).groupby("method")[["precision", "recall"]].mean()
    missed = 1 - config.UNDER_ALIAS / 20
    complete = ["exact", "words_alias", "loose_alias", "iterative"]
    assert table.loc[complete, "recall"].tolist() == [1.0] * 4
    assert table.loc[["exact_by_name", "words"], "recall"].tolist() == pytest.approx([missed] * 2)
    assert table.loc[["exact", "exact_by_name", "iterative"], "precision"].tolist() == [1.0] * 3
    order = ["loose_alias", "resembling", "words_alias", "exact"]
    assert table.loc[order, "precision"].is_monotonic_increasing
    one = arm.settings[1]
    named = [e.id for e in one.facts if re.search(rf"\b{one.target}\b", e.text)]
    assert dict(one.requests)["words"] == named  # every text that holds the name, and no other
    assert len(requests.by_person(list(one.facts), one.target)) == 20  # the alias's facts are the target's


def test_contrasts_are_what_the_others_lose_until_as_much_is_forgotten(arm):
    """With a step (1, d) the target's coordinate is 0 after a_T, when the others' has fallen by d a_T."""
    found = aliases.contrasts(arm)
    assert list(found) == ["V1a", "V1b", "V1c", "V1d", "V1e"]
    world, loss = Requested(), {}
    a, s = world.learned(world.own, 0.2)[0], world.learned(world.shared, 1.0)[0]
    for label, dear in DEARNESS.items():
        loss[label] = world.shared * ((1 - s + dear * a) ** 2 - (1 - s) ** 2) / 2
    for claim, (more, less) in aliases.registered.REQUEST_PAIRS.items():
        assert len(found[claim]) == SEEDS
        assert found[claim].mean() == pytest.approx(loss[more] - loss[less], abs=0.35), claim
    table = aliases.answers(arm)
    assert table["so?"].tolist() == ["yes", "yes", "yes", "yes", "no"]
    assert table["compared"][4] == f"{aliases.NAMES['exact']} less {aliases.NAMES['iterative']}"


def test_the_table_and_the_figure_show_every_request(arm):
    table = aliases.request_table(arm)
    assert len(table) == len(config.REQUESTS) + 1
    assert table["forgets on the mean in"].tolist() == [f"{SEEDS} of {SEEDS} seeds"] * len(table)
    assert table.set_index("request for").loc[aliases.NAMES["words"], "recall"] == "0.70"
    drawn = aliases.figure(arm)
    assert len(drawn.axes[0].collections) == len(table)
    plt.close(drawn)


def test_worlds_in_which_a_request_that_misses_facts_comes_closer_are_counted(arm, monkeypatch):
    values = {"exact": [1.0, 2.0], "exact_by_name": [2.0, 1.0], "words": [0.5, 1.5], "iterative": [3.0, 0.0]}
    rows = [(s, m, v) for m, both in values.items() for s, v in enumerate(both)]
    near = pd.DataFrame(rows, columns=["seed", "method", "oracle_distance"])
    monkeypatch.setattr(aliases, "reading", lambda *_: near)
    table = aliases.exceptions(arm).set_index("request that misses facts")
    assert list(table.index) == [aliases.NAMES["exact_by_name"], aliases.NAMES["words"]]
    assert table[aliases.NAMES["exact"]].tolist() == ["1 of 2", "2 of 2"]
    assert table[aliases.NAMES["iterative"]].tolist() == ["1 of 2", "1 of 2"]


def test_a_run_without_the_variant_says_so(arm, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    run = planted(tmp_path, World(), seeds_adamw=1)
    assert (aliases.of_run(run), stages.of_run(run), layers.of_run(run)) == (None, None, None)
    assert "seeds_requests=8" in variants.unless_there(None, "seeds_requests").data
    assert variants.unless_there(arm, "seeds_requests") is None


def test_a_reader_s_margin_counts_instead_of_the_registered_one(arm, monkeypatch):
    assert aliases.answers(arm)["so?"].tolist()[0] == "yes"
    monkeypatch.setattr(arm.run, "margin", 50.0)
    assert set(aliases.answers(arm)["so?"]) == {"no"}
