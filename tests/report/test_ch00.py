"""Chapter 00: curves over damage, a sentence a verdict, the spread of a rerun, in worlds of known truth."""

import numpy as np
import pandas as pd
import pytest
from planted_run import ORACLE_NOISE, World, planted, standing

from unlearnkit import claims
from unlearnkit.report import ch00_overview as overview
from unlearnkit.report.contrasts import verdicts
from unlearnkit.report.readings import fact_paths, path_table, reading

SEEDS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with standing(tmp_path_factory, World(), model="gpt2-tiny-pretrained", seeds_adamw=SEEDS) as run:
        yield run


def test_a_curve_begins_at_the_start_and_passes_through_the_price(run):
    arm = run.arms[0]
    table = overview.curves(arm).set_index(["method", "share"])
    begin = path_table(arm, methods=()).query("method == 'finetuned'")["oracle_distance"].mean()
    there = reading(arm, "forgetting", None, "all", ("first_epoch",))
    assert there["reached"].all()
    assert table.loc[("first_epoch", 0.0), "distance"] == pytest.approx(begin)
    assert table.loc[("first_epoch", 0.0), "damage"] == pytest.approx(0)
    assert table.loc[("first_epoch", 1.0), "damage"] == pytest.approx(there["damage"].mean())
    assert table.loc[("first_epoch", 1.0), "distance"] == pytest.approx(there["oracle_distance"].mean())


def test_a_curve_ends_where_the_first_seeds_path_does(run):
    arm = run.arms[0]
    there = reading(arm, "forgetting", None, "all", ("first_epoch",)).set_index("seed")["norm"]
    ends = [fact_paths(arm)[seed, "all", "first_epoch"].index[-1] / norm for seed, norm in there.items()]
    last = overview.curves(arm).query("method == 'first_epoch'")["share"].max()
    assert last == pytest.approx(min(ends)) or last == pytest.approx(overview.SHARES[-1])


def test_every_claim_has_a_sentence_that_says_its_verdict(run):
    assert set(overview.FOUND) == {claim.id for claim in claims.CLAIMS}
    told, judged = overview.in_sentences(run), verdicts(run)
    assert len(told) == len(judged)
    for row, claim in zip(judged, told["claim"], strict=True):
        wanted = {claims.REPLICATED: overview.FOUND[row["id"]][0], claims.UNDECIDED: "Open"}
        assert wanted.get(row["verdict"], overview.FOUND[row["id"]][1]) in claim


def test_a_claim_that_is_not_tested_and_one_seed_are_said_to_be(run):
    arm = run.arms[0]
    assert arm.name in overview._sentence(None, arm)
    alone = {"verdict": claims.UNDECIDED, "detectable": None, "id": "C1"}
    assert "more than one seed" in overview._sentence(alone, arm)


def test_a_rerun_with_a_quarter_of_the_seeds_spreads_twice_as_far(run):
    table = overview.expected(run.arms[0], again=SEEDS)
    spread = table[table["sd"] > 0]
    assert len(spread) > 5
    assert list(spread["here"]) == pytest.approx(list(spread["rerun"]))
    assert list(overview.expected(run.arms[0], again=4 * SEEDS)["rerun"] * 2) == pytest.approx(
        list(table["here"]), nan_ok=True
    )
    assert table["machine"].isna().all()  # nobody began one rounding off
    reach = 4.302653 * spread["sd"] / np.sqrt(SEEDS)  # t of two degrees of freedom
    pd.testing.assert_series_equal(spread["here"], reach, check_names=False, rtol=1e-5)


def test_another_machine_differs_by_what_the_nudged_seeds_do(tmp_path, monkeypatch):
    """In a planted world a nudge changes nothing but the noise of oracles, each of 20 facts' own."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    run = planted(tmp_path, World(), seeds_adamw=SEEDS, seeds_nudged=SEEDS)
    table = overview.expected(run.arms[0], again=SEEDS).set_index("reading")
    assert table["machine"].notna().all()
    assert table.loc["answers' tokens memorised", "machine"] == 0
    start = table.loc["distance to the oracle before any update"]
    assert 0 < start["machine"] < ORACLE_NOISE
