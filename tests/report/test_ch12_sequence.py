"""Requests in sequence, from planted rows: those asked for, earlier ones, and what others lose."""

from types import SimpleNamespace

import pandas as pd
import pytest

from unlearnkit.claims.methods import PRINCIPAL
from unlearnkit.report import ch12_sequence as chapter
from unlearnkit.study import config, sequence
from unlearnkit.unlearning import METHODS

PERSONS = ("Ann", "Ben", "Cyd", "Dan")
ORACLE, KNOWN, LOSS = 4.0, 0.5, 0.1  # nats: of who was never seen, of who was, and a request's price
OVER, DRIFT = 0.2, 0.4  # beyond the oracle after one's own request, and further after the next


class PlantedArm:
    def __init__(self, seeds=2):
        requests = tuple((name, ()) for name in PERSONS)
        self.settings = [SimpleNamespace(seed=s, requests=requests) for s in range(seeds)]
        self.rows = {stage: self.planted(stage) for stage in ("sequence", "sequence_oracle")}

    def observations(self, stage):
        return self.rows[stage]

    def planted(self, stage):
        seeds = [s.seed for s in self.settings]
        if stage == "sequence_oracle":
            told = [(s, n, "f", p, "nll", ORACLE) for s in seeds for n in (1, 2) for p in PERSONS[:n]]
            return pd.DataFrame(told, columns=["seed", "asked", "example", "person", "metric", "value"])
        rows = []
        for seed in seeds:
            for mode in ("batch", "carry on"):
                for asked, back in ((0, None), (1, None), (2, None), (2, True)):
                    if back and mode == "batch":
                        continue
                    for place, person in enumerate(PERSONS):
                        gone = place < asked and not (back and place == 1)
                        nll = ORACLE + OVER + DRIFT * (place < asked - 1) if gone else KNOWN
                        rows.append((seed, mode, asked, back, person, "person", nll))
                    rows.append((seed, mode, asked, back, "", "retain", KNOWN + LOSS * asked))
                    rows.append((seed, mode, asked, back, "", "utility", 3.0))
        columns = ["seed", "mode", "asked", "withdrawn", "person", "split", "value"]
        return pd.DataFrame(rows, columns=columns).assign(method="npo", metric="nll", reached=True)


def test_those_asked_for_are_held_against_who_never_saw_them_and_others_against_the_start():
    found = chapter.sequences(PlantedArm())
    after = found[(found["asked"] == 2) & ~found["withdrawn"]]
    assert len(after) == 4
    assert after["forgotten"].tolist() == pytest.approx([OVER + DRIFT / 2] * 4)
    assert after["retained"].tolist() == pytest.approx([2 * LOSS] * 4)
    assert after["text"].tolist() == pytest.approx([0.0] * 4)
    told = chapter.sequence_table(PlantedArm())
    assert list(told["requests"]) == [1, 2, 1, 2]
    assert set(told["reached"]) == {"2 of 2"}
    assert set(told["method"]) == {"NPO"}


def test_the_drift_of_earlier_requests_is_told_without_the_newest():
    found = chapter.sequences(PlantedArm())
    found = found[~found["withdrawn"]].groupby("asked")["earlier"].mean()
    assert found[2] == pytest.approx(OVER + DRIFT)
    assert found[[0, 1]].isna().all()
    told = chapter.sequence_table(PlantedArm())["asked for earlier, less the oracle's"]
    assert list(told) == ["–", "0.60 [0.60, 0.60]"] * 2


def test_what_is_planned_is_told_as_configured():
    told = chapter.planned().data
    full = config.PROFILES[config.REGISTERED]
    assert f"{len(config.SEQUENCE_METHODS)} methods" in told
    assert all(METHODS[name].title in told for name in config.SEQUENCE_METHODS)
    assert f"{full['seeds_sequence']} worlds" in told
    assert f"{len(PRINCIPAL)} methods and {full['seeds_verified']} worlds" in told


def test_a_run_without_sequences_has_no_arm():
    assert chapter.of_run(SimpleNamespace(variants={})) is None
    assert chapter.of_run(SimpleNamespace(variants={sequence.SEQUENCE: "arm"})) == "arm"


def test_a_request_that_is_taken_back_is_known_again():
    (row,) = chapter.withdrawn(PlantedArm()).to_dict("records")
    assert row["how"] == "carry on"
    numbers = [float(row[k].split()[0]) for k in ("at first", "forgotten", "taken back")]
    assert numbers == pytest.approx([KNOWN, ORACLE + OVER, KNOWN])
