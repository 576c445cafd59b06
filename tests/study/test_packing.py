"""Observations come back from their two small tables as they were."""

import pandas as pd
import pytest

from unlearnkit.study import packing

LABELS = ["seed", "norm", "example", "split", "metric"]


def observations():
    """Two points of a path of two seeds; one of them measured ROUGE as well, and a number of no fact."""
    rows = [
        (seed, norm, example, "forget", metric, seed + len(example) / 8)
        for seed in (0, 1)
        for norm in (0.5, float("nan"))
        for metric in (("nll", "rougeL_recall") if seed else ("nll",))
        for example in ("a", "007")
    ]
    return pd.DataFrame([*rows, (1, 0.5, "", "utility", "nll", 9.0)], columns=[*LABELS, "value"])


def in_order(table):
    return table.sort_values(LABELS, ignore_index=True)[[*LABELS, "value"]]


def test_all_rows_come_back_from_fewer():
    table = observations()
    rows, blocks = packing.packed(table)
    assert len(blocks) == 4
    assert len(rows) == 9  # facts of a block, and running text
    pd.testing.assert_frame_equal(in_order(packing.unpacked(rows, blocks)), in_order(table))


def test_what_came_back_is_packed_as_before():
    """So that data which is collected anew from published data is the same, byte for byte."""
    parts = packing.packed(observations().sample(frac=1, random_state=3))
    for part, again in zip(parts, packing.packed(packing.unpacked(*parts)), strict=True):
        pd.testing.assert_frame_equal(part.reset_index(drop=True), again.reset_index(drop=True))


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"id": ["a"], "answer": ["b"]}),
        pd.DataFrame({"seed": [0], "metric": ["ledger_bytes"], "value": [1.0]}),
        observations().assign(value=float("nan")),
        pd.concat([observations(), observations()]),
    ],
    ids=["no observations", "of no fact", "a missing number", "two in one place"],
)
def test_what_would_lose_something_is_left_as_it_is(table):
    same, blocks = packing.packed(table)
    assert same is table
    assert blocks is None


def test_several_texts_of_a_fact_come_back_beside_its_numbers():
    """Also equal ones, empty ones, and those that look like something else."""
    texts = ["a mill", "a mill", "", "007", "nan", 'a "mill", \n']
    rows = [(0.5, "a", "rougeL_recall", draw / 8, draw, text) for draw, text in enumerate(texts)]
    rows.append((0.5, "a", "nll", 1.5, float("nan"), ""))
    table = pd.DataFrame(rows, columns=["share", "example", "metric", "value", "draw", "text"])
    packed, blocks = packing.packed(table)
    assert len(blocks) == 1
    found = packing.unpacked(packed, blocks)[list(table)]
    order = ["metric", "draw"]
    expected = table.sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found.sort_values(order, ignore_index=True), expected, check_dtype=False)
