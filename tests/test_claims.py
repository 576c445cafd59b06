"""The decision rule, on contrasts whose truth is planted."""

import math
import re

import numpy as np
import pytest

from unlearnkit import claims
from unlearnkit.claims import NOT_REPLICATED, REPLICATED, UNDECIDED, Claim, verdicts
from unlearnkit.errors import ConfigError

EFFECT = Claim("E", "it helps", "it does", "a minus b", margin=0.1)
NONE = Claim("N", "it does nothing", "it does", "a minus b", margin=0.1, kind="no impact")
SEEDS, SD = 6, 0.05
DRAWS = 1000  # so that a rate of 0.05 has a standard error of 0.007


def shares(claim, truth, sd=SD, seeds=SEEDS, draws=DRAWS):
    """How often each verdict comes out when every seed's contrast is truth + noise."""
    rng = np.random.default_rng(0)
    found = [verdicts({claim.id: rng.normal(truth, sd, seeds)}, "arm", [claim]) for _ in range(draws)]
    told = [rows[0]["verdict"] for rows in found]
    return {v: told.count(v) / draws for v in (REPLICATED, NOT_REPLICATED, UNDECIDED)}


def test_planted_truths_are_found():
    assert shares(EFFECT, truth=0.3)[REPLICATED] > 0.95
    assert shares(EFFECT, truth=-0.3)[NOT_REPLICATED] > 0.99
    assert shares(EFFECT, truth=0.0)[NOT_REPLICATED] > 0.9
    assert shares(NONE, truth=0.0)[REPLICATED] > 0.9
    assert shares(NONE, truth=0.3)[NOT_REPLICATED] > 0.95


def test_an_effect_at_the_margin_is_seldom_denied_and_seldom_called_none():
    assert shares(EFFECT, truth=0.1)[NOT_REPLICATED] < 0.05
    assert shares(NONE, truth=0.1)[REPLICATED] <= 0.05 + 3 * 0.007  # nominal, and Monte Carlo error


def test_noise_is_undecided_but_for_the_nominal_rate():
    """Where noise is twenty margins wide nothing can be said, and nothing is, some 95 times in 100.

    A little less for an effect, since "too small to matter" begins at the margin and not at zero: 0.94.
    """
    for claim in (EFFECT, NONE):
        assert shares(claim, truth=0.0, sd=2.0, seeds=3)[UNDECIDED] > 0.92
        assert shares(claim, truth=0.0, sd=2.0, seeds=10)[UNDECIDED] > 0.92


def test_a_single_seed_decides_nothing():
    row = verdicts({"E": [9.0]}, "arm", [EFFECT])[0]
    assert (row["verdict"], row["estimate"], row["ci_low"], row["p_holm"]) == (UNDECIDED, 9.0, None, None)


def test_holm_runs_over_the_claims_of_the_arm():
    values = {"C1": [0.30, 0.36, 0.33, 0.41], "C4": [0.2, 0.5, -0.1, 0.4]}
    rows = {r["id"]: r for r in verdicts(values, "arm")}
    assert rows["C1"]["p_holm"] == pytest.approx(2 * rows["C1"]["p"])
    assert rows["C4"]["p_holm"] == pytest.approx(rows["C4"]["p"])
    assert rows["C1"]["verdict"] == REPLICATED


def test_equal_values_have_an_interval_but_no_p():
    row = verdicts({"N": [0.02, 0.02, 0.02]}, "arm", [NONE])[0]
    assert (row["p"], row["verdict"]) == (None, REPLICATED)


def test_unknown_claim():
    with pytest.raises(ConfigError, match="unknown claims: 'C9'; choose from C0, C1, C1a"):
        verdicts({"C9": [1.0, 2.0]}, "arm")


def test_every_claim_of_the_paper_is_there_once():
    ids = [c.id for c in claims.CLAIMS]
    assert len(set(ids)) == len(ids)
    assert {i[:2] for i in ids} == {"C0", "C1", "C2", "C3", "C4", "C5"}
    assert all(c.kind in claims.KINDS and c.margin > 0 for c in claims.CLAIMS)


def test_claims_whose_paths_end_before_are_no_part_of_the_family():
    values = {"C1": [0.5, 0.9, 0.4, 0.6], "C2a": [0.3, 0.8, 0.5, 0.7], "C4": [1.0, 2.0, 1.5, 1.4]}
    alone = {r["id"]: r for r in verdicts({"C4": values["C4"]}, "arm")}
    rows = {r["id"]: r for r in verdicts(values, "arm", too_short=["C1", "C2a"])}
    assert rows["C4"]["p_holm"] == alone["C4"]["p_holm"] == alone["C4"]["p"]
    assert {rows[i]["verdict"] for i in ("C1", "C2a")} == {claims.NO_VERDICT}
    assert rows["C1"]["p"] is None
    assert math.isnan(rows["C1"]["estimate"])


def test_a_verdict_that_hangs_on_what_is_charged_is_undecided():
    values = {"C1": [3.0, 3.1, 2.9, 3.2], "C1a": [2.0, 2.1, 1.9, 2.2], "C5": [0.4, 0.9, -0.3, 0.2]}
    least, most = values | {"C1": [-0.4, 0.6, 0.1, 0.3]}, values | {"C1a": [2.5, 2.6, 2.4, 2.7]}
    plain, rows = ({r["id"]: r for r in verdicts(values, "arm", bounds=b)} for b in ((), (least, most)))
    assert plain["C1"]["verdict"] == plain["C1a"]["verdict"] == rows["C1a"]["verdict"] == REPLICATED
    assert rows["C1"]["verdict"] == UNDECIDED
    assert rows["C1"]["bound"][0] == pytest.approx(0.15)
    assert rows["C1"]["bound"][1] < 0.15 < rows["C1"]["bound"][2]
    assert rows["C1"]["estimate"] == plain["C1"]["estimate"]  # what is charged is still told
    assert plain["C1"]["bound"] is rows["C1a"]["bound"] is rows["C5"]["bound"] is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"memorised": 0.0, "distance": 0.04}, "0% of the forget facts.*make recipe"),
        ({"memorised": np.nan, "distance": 3.0}, "make recipe"),  # never measured is not known
        ({"memorised": 0.9, "distance": 0.04}, "0.04 nats from the oracle.*forget others"),
        ({"memorised": 0.9, "distance": 3.0, "missed": 0.01}, "rewind misses.*1.00%"),
    ],
)
def test_an_arm_that_learnt_nothing_or_cannot_be_replayed_gets_no_verdict(given, told):
    why = claims.unfit(**given)
    assert re.search(told, why)
    strong = {"C1": [5.0, 5.1, 4.9, 5.2]}
    assert verdicts(strong, "arm")[0]["verdict"] == REPLICATED
    assert verdicts(strong, "arm", why_not=why)[0]["verdict"] == claims.NO_VERDICT


def test_an_arm_that_learnt_is_fit():
    assert claims.unfit(0.97, 3.5, 0.0) == ""


def test_what_is_registered_is_this():
    """A change of a claim, margin or reading is a new registration: the runs before it do not count."""
    assert claims.digest() == "b2a535724507e18c"
    assert claims.PRIMARY == "forgetting"
