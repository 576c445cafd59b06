"""Every benchmark runs, and what it writes is read by the report and its notebook."""

from types import SimpleNamespace

import pandas as pd
import pytest

from unlearnkit import report
from unlearnkit.bench import bars, cases, timing
from unlearnkit.bench.cases import CASES
from unlearnkit.publishing import notebooks
from unlearnkit.report import ch08_ledger, tables


def test_every_benchmark_fills_its_rows_of_the_report(found):
    assert set(found) == {(case.name, model) for case in CASES.values() for model in case.models}
    assert cases.lacking(found) == []
    table = ch08_ledger.bars(found)
    assert len(table) == sum(len(CASES[bar.what].models) for bar in bars.BARS)
    empty = table[table["reached"] == "–"]
    assert all(any(p in row for p in ("opacus", "bergson", "kronfluence")) for row in empty["measured"])
    errors = table[table["measure"].str.contains("error")]
    assert set(errors["reached"]) == {"yes"}, errors.to_string()
    assert found["kept", "gpt2-shape"]["machine"]["freed_memory"] == timing.KEPT
    machine = found["ledger", "gpt2-shape"]["machine"]
    assert {"threads", "torch", "commit", "date"} <= set(machine)


def test_retraining_is_measured_outright(found):
    result = found["unlearn", "smollm2-135m"]
    again = result["retraining"]
    assert again["steps"] == again["epochs"] * -(-again["examples"] // 4)
    assert len(result["sides"]["retraining"]["seconds"]) == 1
    assert bars.request_side(result) == "request from 32"
    doubled = ch08_ledger.speedup(result, 2020, 1) / ch08_ledger.speedup(result, 1020, 1)
    assert doubled == pytest.approx(2)


def test_the_notebook_runs_on_these_results(measured, tmp_path, monkeypatch):
    back = pd.DataFrame({"metric": ["records", "ledger_error", "floor_error"], "value": [330.0, 1e-4, 1e-4]})
    back["seed"] = 0
    arm = SimpleNamespace(seeds=(0,), observations=lambda _stage: back)
    run = SimpleNamespace(figures=tmp_path, arms=[arm])
    monkeypatch.setattr(report, "Run", lambda _name, **_options: run)
    monkeypatch.setattr(tables, "stamp", lambda _run: None, raising=False)
    monkeypatch.setattr(cases, "FOLDER", measured)
    space: dict = {}
    for cell in notebooks.source("08_ledger")["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
    assert len(list(tmp_path.glob("*.svg"))) == 5
    assert len(list(tmp_path.glob("tables/*.csv"))) == 6
