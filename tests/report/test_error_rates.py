"""Do verdicts err as seldom as they promise? A thousand studies of worlds that went through the pipeline.

A bank of planted worlds, each with a person and an order of its own, is read as every run is: from the cells'
observations over paths and readings to a contrast a seed. A study draws its seeds from the bank, which is its
population: its mean is the truth. Rates have a Monte Carlo error of 0.007 at 1,000 studies.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_run import World, planted

from unlearnkit import claims
from unlearnkit.claims import NOT_REPLICATED, REPLICATED
from unlearnkit.report.claim_values import PAIRS, claim_values
from unlearnkit.study import walks

STUDIES, SEEDS, BANK = 1000, 16, 40
NOMINAL, ERROR = 0.05, 3 * 0.007
WORLD = World(spread=0.15, seed_noise=0.4)
CLAIMS = ("C1", "C1a", "C1b", "C5")


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> pd.DataFrame:
    """Contrasts: worlds x claims, of the paths on all layers alone."""
    folder: Path = tmp_path_factory.mktemp("build")
    paths = {path for claim in CLAIMS for _, path in PAIRS[claim]}
    at_all = walks.paths_at_all
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_BUILD", str(folder))
        patch.setattr(walks, "paths_at_all", lambda *of: [p for p in at_all(*of) if p["label"] in paths])
        patch.setattr(walks, "selections", lambda *_: [])
        run = planted(folder, WORLD, model="gpt2-tiny-pretrained", seeds_adamw=BANK, whole_map=False)
        found = claim_values(run.arms[0])
    table = pd.DataFrame({claim: found[claim] for claim in CLAIMS})
    assert table.shape == (BANK, len(CLAIMS))
    assert (table.std() > 0).all()
    return table


def studies(table: pd.DataFrame, seeds: int = SEEDS):
    rng = np.random.default_rng(0)
    for _ in range(STUDIES):
        yield table.iloc[rng.integers(0, len(table), seeds)]


def judged(drawn: pd.DataFrame, margin: float = 0.1) -> list[dict]:
    return claims.verdicts({c: drawn[c].to_numpy() for c in drawn}, "arm", claims.with_margin(margin))


def rate(happened: list[bool]) -> float:
    assert len(happened) == STUDIES
    return sum(happened) / STUDIES


def test_the_interval_holds_the_truth_as_often_as_it_says(bank):
    truth = bank["C1"].mean()
    held = [r["ci_low"] <= truth <= r["ci_high"] for d in studies(bank[["C1"]]) for r in judged(d)]
    assert rate(held) == pytest.approx(1 - NOMINAL, abs=ERROR)


def test_where_nothing_is_there_one_study_in_twenty_finds_something_among_all_claims(bank):
    """Of the family, which Holm's correction is for, and not of each claim."""
    nothing = bank - bank.mean()
    found = [any(r["p_holm"] < 0.05 for r in judged(drawn)) for drawn in studies(nothing)]
    assert rate(found) <= NOMINAL + ERROR
    alone = [any(r["p"] < 0.05 for r in judged(drawn)) for drawn in studies(nothing)]
    assert rate(alone) > NOMINAL + ERROR  # as it would be without


def test_an_effect_at_the_margin_is_seldom_denied(bank):
    """The interval has a twentieth outside, half of it on this side."""
    spread = bank["C1"].std()
    at_margin = bank[["C1"]] - bank["C1"].mean() + spread
    denied = [r["verdict"] == NOT_REPLICATED for d in studies(at_margin) for r in judged(d, margin=spread)]
    assert rate(denied) <= NOMINAL / 2 + ERROR


def test_an_effect_of_two_margins_is_found_in_most_studies(bank):
    spread = bank["C1"].std()
    there = bank[["C1"]] - bank["C1"].mean() + 2 * spread
    found = [r["verdict"] == REPLICATED for d in studies(there) for r in judged(d, margin=spread)]
    assert rate(found) > 0.8


def test_orders_of_the_same_persons_are_no_replicates():
    """What the old design did: five persons in four orders each, taken for twenty seeds."""
    rng, held = np.random.default_rng(0), []
    for _ in range(STUDIES):
        person = np.repeat(rng.normal(0, 1, 5), 4)
        values = {"C1": person + rng.normal(0, 0.3, 20)}
        (row,) = claims.verdicts(values, "arm")
        held.append(row["ci_low"] <= 0 <= row["ci_high"])
    assert rate(held) < 0.8
