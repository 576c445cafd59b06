"""Tables of the benchmarks."""

from types import SimpleNamespace

import pandas as pd
from given import Given

from unlearnkit.bench import cases
from unlearnkit.report import ch08_ledger


def test_report_holds_values_against_bars():
    sides = {n: {"seconds": s} for n, s in (("plain step", [1.0, 1.0]), ("ledger fp16", [1.05, 1.2]))}
    result = {"sides": sides, "missing": {"Opacus": "opacus 1.6.0: cannot"}}
    table = ch08_ledger.bars({("ledger", "gpt2-shape"): result}).set_index(["measure", "model"])
    step = table.loc[("step with the 16-bit ledger / plain step", "gpt2-shape")]
    assert (step["must reach"], step["measured"], step["reached"]) == ("≤ 1.08 ×", "1.12 ×", "no")
    assert table.loc[("Opacus / ours", "gpt2-shape"), "measured"] == "opacus 1.6.0: cannot"
    assert table.loc[("vmap(grad) / ours", "gpt2-shape"), "reached"] == "–"
    assert "no result yet" in table.loc[("Opacus / ours", "smollm2-135m"), "measured"]


def test_summary_has_a_column_a_model_and_marks_what_is_missed():
    def result(*seconds):
        names = ("plain step", "ledger fp16")
        return {"sides": {n: {"seconds": [s]} for n, s in zip(names, seconds, strict=True)}}

    assert ch08_ledger.readme({}) == ""
    told = ch08_ledger.readme(
        {("ledger", "gpt2-shape"): result(1, 2), ("ledger", "smollm2-135m"): result(1, 1)}
    )
    assert told.splitlines() == [
        "| measure | must reach | gpt2-shape | smollm2-135m |",
        "| --- | --- | --- | --- |",
        "| step with the 16-bit ledger / plain step | ≤ 1.08 × | 2 × (**not reached**) | 1 × |",
    ]


def test_the_published_results_miss_what_notebook_08_says():
    table = ch08_ledger.bars(cases.load())
    missed = {"step with the 16-bit ledger / plain step", "vmap(grad) / ours, freed memory kept"}
    assert set(table.loc[table["reached"] == "no", "measure"]) == missed


def test_moments_stand_beside_the_ledger_of_the_first_seed_and_only_where_kept():
    sizes = {"records": 20.0, "ledger_bytes": 2000.0, "moments_bytes": 800.0, "weights_bytes": 400.0}
    rows = [{"seed": 0, "metric": k, "value": v} for k, v in sizes.items()]
    rows += [{"seed": 1, "metric": k, "value": 9 * v} for k, v in sizes.items()]
    older = [row for row in rows if row["metric"] != "moments_bytes"]
    arms = [Given({"train": pd.DataFrame(t)}, seeds=(0, 1)) for t in (rows, older)]
    (row,) = ch08_ledger.kept(SimpleNamespace(arms=arms)).to_dict("records")
    assert (row["epochs"], row["moments_bytes"], row["ledger_bytes"]) == (2, 800.0, 2000.0)
    assert row["breakeven"] == 4  # facts of two records of 100 bytes each


def test_a_rewind_is_told_where_there_is_one():
    rows = [("records", 330.0), ("ledger_error", 0.00066), ("floor_error", 0.0005)]
    rows = pd.DataFrame(rows, columns=["metric", "value"])
    told = ch08_ledger.rewound(Given({"rewind": rows}))
    assert told.startswith("Over 330 records the rewind misses the start by 0.00066 of")
    assert "no rewind" in ch08_ledger.rewound(Given())
