"""What requests pay, on a planted run."""

import pytest
from planted_run import World, planted

from unlearnkit.report import ch06_requests as requested
from unlearnkit.report.claim_values import claim_values


def test_prices_are_those_of_the_claim(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    run = planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=2)
    table = requested.prices(run).set_index(["request", "seed"])
    gap = table.loc["fuzzy"]["price"] - table.loc["iterative"]["price"]
    assert gap.to_numpy() == pytest.approx(claim_values(run.arms[0])["C5"].to_numpy())
    assert table["forgets"].dtype == bool
