"""Benchmarks on tiny models: every side computes what it claims, and the report reads what they write."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from unlearnkit import notebooks, paths, profiles
from unlearnkit.bench import (
    command,
    growth,
    influence,
    kept,
    ledger,
    memory,
    peers,
    report,
    results,
    scale,
    timing,
    unlearn,
)
from unlearnkit.bench import sides as ways
from unlearnkit.bench.setting import Options, Setting, parts, random_gpt2
from unlearnkit.errors import ConfigError, DataError
from unlearnkit.ledger import record_batches

TINY = "gpt2-shape-2x64"
NAMES = ["gpt2", "llama"]


def needs(package: str):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture(params=NAMES)
def setting(request, tiny_model):
    return Setting(tiny_model(request.param), 4, 8)


@pytest.fixture
def batch(setting):
    """Without token 0, the padding token, whose gradient torch drops and peers keep."""
    batch = setting.examples(3)
    batch.input_ids.clamp_(min=1)
    return batch


def autograd(setting, batch):
    return [setting.gradient(one) for one in parts(batch, 1)]


def worst(found, expected):
    """Largest relative error over examples and parameters of stacked gradients."""
    return max(
        ((found[n][k] - g).norm() / g.norm().clamp(min=1e-12)).item()
        for k, gradient in enumerate(expected)
        for n, g in gradient.items()
        if n in found
    )


def test_vmap_gives_autograds_gradients(setting, batch):
    setting.model.set_attn_implementation("eager")
    assert worst(ways.vmap_gradients(setting, batch), autograd(setting, batch)) < 1e-5


def test_ledger_norms_are_autograds(setting, batch, tmp_path):
    book = record_batches(setting.model, [batch], tmp_path / "l", divisor=setting.batch)
    expected = [sum(g.square().sum() for g in one.values()).sqrt() for one in autograd(setting, batch)]
    assert book.norms(batch.ids).tolist() == pytest.approx([e.item() for e in expected], rel=1e-5)
    assert ledger.error(setting, tmp_path / "e", "float32") < 1e-5
    assert 1e-6 < ledger.error(setting, tmp_path / "f", "float16") < 1e-3


@needs("opacus")
def test_opacus_gives_autograds_gradients(setting, batch):
    with peers.opacus_model(setting) as sampled:
        found = {n: g.clone() for n, g in peers.opacus_gradients(setting, sampled, batch).items()}
    assert not setting.model.training
    assert worst(found, autograd(setting, batch)) < 1e-5


@needs("bergson")
def test_bergson_gives_autograds_gradients_of_linears(setting, tmp_path):
    collector = peers.bergson_collector(setting, tmp_path / "b")
    batch, kept = setting.examples(0), {}
    with collector.with_batch(torch.ones_like(batch.labels, dtype=torch.bool)):
        losses = setting.losses(batch)
        (losses.sum() / setting.batch).backward()
    for name, rows in collector.mod_grads.items():
        weight = setting.model.get_submodule(name).weight
        transposed = setting.model.config.model_type == "gpt2"  # Conv1D keeps its weight the other way round
        shape = tuple(reversed(weight.shape)) if transposed else tuple(weight.shape)
        grads = rows.float().view(len(rows), *shape)
        kept[f"{name}.weight"] = grads.transpose(1, 2) if transposed else grads
    assert len(kept) == len([n for n, p in setting.model.named_parameters() if p.dim() > 1]) - (
        2 if transposed else 1
    )
    assert worst(kept, autograd(setting, batch)) < 2e-3


@needs("kronfluence")
def test_kronfluence_identity_scores_are_dots_of_block_linears(tiny_model, tmp_path):
    setting = Setting(tiny_model("llama"), 4, 8)
    train, queries = setting.examples(1, 6, "t"), setting.examples(2, 3, "q")
    scorer = peers.Kronfluence(setting, train, queries, tmp_path / "k")
    found = scorer.scores("identity")
    names = [f"{n}.weight" for n in scorer.names]
    assert len(names) == 3 * 7
    rows, columns = autograd(setting, train), autograd(setting, queries)
    expected = torch.tensor([[sum((a[n] * b[n]).sum() for n in names) for b in columns] for a in rows])
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max())


def test_every_side_takes_the_same_step(setting, tmp_path, monkeypatch):
    """One plain step's weights are what every side that steps on its own gradients arrives at."""
    monkeypatch.setattr(Setting, "optimizer", lambda self: torch.optim.SGD(self.model.parameters(), lr=0.1))
    monkeypatch.setattr(Setting, "examples", lambda self, *_: examples(self, 0))
    start = {n: p.detach().clone() for n, p in setting.model.named_parameters()}
    moved = {}
    steps = {
        "plain": ways.plain(setting, 1),
        "ledger": ways.with_ledger(setting, tmp_path, "float16", 1),
        "naive": timing.simple(lambda k: ways.naive_step(setting, setting.examples(k), tmp_path)),
        "vmap": ways.vmapped(setting),
    }
    for name, side in steps.items():
        with torch.no_grad():
            for n, p in setting.model.named_parameters():
                p.copy_(start[n])
        with side.open() as turn:
            turn(0)
        moved[name] = {n: p.detach() - start[n] for n, p in setting.model.named_parameters()}
    for name in ("ledger", "naive", "vmap"):
        stacked = {n: d[None] for n, d in moved[name].items()}
        assert worst(stacked, [moved["plain"]]) < 1e-4, name
    assert max(d.abs().max() for d in moved["plain"].values()) > 1e-3
    assert not list(tmp_path.rglob("*.safetensors"))


examples = Setting.examples


def test_interleaving_counts_no_warm_up_and_drops_peers_that_fail(capsys):
    turns = []

    def broken(_round):
        raise RuntimeError("cannot do\nthis")

    sides = {
        "a": timing.simple(lambda k: turns.append(("a", k))),
        "b": timing.simple(lambda k: turns.append(("b", k)), rounds=1),
        "c": timing.simple(broken, peer="pytest"),
        "d": timing.simple(broken, peer="no-such-package"),
    }
    seconds, missing = timing.interleaved(sides, 2)
    assert turns == [("a", 0), ("a", 1), ("b", 1), ("a", 2)]
    assert {n: len(s) for n, s in seconds.items()} == {"a": 2, "b": 1}
    assert missing["c"].startswith("pytest ")
    assert missing["c"].endswith("fails with RuntimeError: cannot do")
    assert "no-such-package is not installed" in missing["d"]
    assert "min to go" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="cannot do"):
        timing.interleaved({"own": timing.simple(broken)}, 1)


def test_summary_takes_ratios_within_rounds():
    found = timing.summary({"base": [1.0, 2.0, 4.0], "x": [2.0, 6.0, 4.0], "once": [3.0]}, "base")["sides"]
    assert found["x"]["ratio"] == 2.0
    assert found["x"]["ratio_quartiles"] == [1.5, 2.5]
    assert found["x"]["median"] == 4.0
    assert found["once"]["ratio"] == 3.0
    assert found["once"]["quartiles"] == [3.0, 3.0]


def test_unknown_side_and_full_disk_are_named():
    with pytest.raises(ConfigError, match="unknown side 'vmop'; known: plain step"):
        ledger.run(Options(TINY, 2, 4, 1, ("vmop",)))
    with pytest.raises(ConfigError, match="UNLEARNKIT_RUNS"), timing.scratch(1e18):
        pass


def test_bytes_by_kind_add_up(setting, tmp_path):
    sizes = ledger.sizes(setting, tmp_path)
    kinds = {r["kind"]: r for r in sizes["bytes_by_kind"]}
    assert {"attention", "MLP", "norms", "token embedding", "output head"} <= set(kinds)
    assert sum(r["dense_bytes"] for r in kinds.values()) == setting.dense_bytes()
    stored = sum(sum(r["parts"].values()) for r in kinds.values())
    (told,) = [r for r in sizes["bytes_an_example"] if (r["tokens"], r["dtype"]) == (8, "float16")]
    assert 0.7 * told["bytes"] < stored <= told["bytes"]  # the rest are headers and checksums
    assert len({r["tokens"] for r in sizes["bytes_an_example"]}) == 3


def test_random_shapes():
    model = random_gpt2("gpt2-shape-3x128")
    assert (model.config.n_layer, model.config.n_embd, model.config.vocab_size) == (3, 128, 8192)
    assert torch.equal(model.transformer.wte.weight, random_gpt2("gpt2-shape-3x128").transformer.wte.weight)


def run_tiny(what: str) -> dict:
    """A benchmark's result as its JSON file would hold it."""
    return json.loads(json.dumps(command.measure(what, Options(TINY, 4, 8, 1))))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Every benchmark but `scale` on a tiny shape, under the names of the large ones; written to a folder."""
    folder = tmp_path_factory.mktemp("benchmarks")
    patch = pytest.MonkeyPatch()
    patch.setenv("UNLEARNKIT_RUNS", str(tmp_path_factory.mktemp("bench-runs")))
    patch.setattr(influence, "TRAIN", 6)
    patch.setattr(influence, "QUERIES", 4)
    patch.setattr(unlearn, "SIZES", (24, 32))
    patch.setattr(
        growth, "points", lambda: [("parameters", Options(TINY, 2, 4)), ("tokens", Options(TINY, 2, 8))]
    )
    patch.setattr(memory, "in_child", lambda function, *arguments: function(*arguments))
    patch.setattr(scale, "in_child", lambda function, *arguments: function(*arguments))
    patch.setattr(scale, "SIZES", (16, 160))
    made = {what: run_tiny(what) for what in {what for what, _ in results.EXPECTED}}
    for what, model in results.EXPECTED:
        result = made[what] | {"model": model}
        (folder / f"{what}-{model}.json").write_text(json.dumps(result))
    patch.undo()
    return folder


def test_every_benchmark_fills_its_rows_of_the_report(measured):
    found = results.load(measured)
    assert set(found) == set(results.EXPECTED)
    assert results.lacking(found) == []
    table = report.table(found)
    assert len(table) == sum(len(bar.models) for bar in report.BARS)
    empty = table[table["reached"] == "–"]
    assert all(any(p in row for p in ("opacus", "bergson", "kronfluence")) for row in empty["measured"])
    errors = table[table["measure"].str.contains("error")]
    assert set(errors["reached"]) == {"yes"}, errors.to_string()
    assert found["kept", "gpt2-shape"]["machine"]["freed_memory"] == timing.KEPT
    machine = found["ledger", "gpt2-shape"]["machine"]
    assert {"threads", "torch", "commit", "date"} <= set(machine)


def test_retraining_is_measured_outright(measured):
    result = results.load(measured)["unlearn", "smollm2-135m"]
    again = result["retraining"]
    assert again["steps"] == again["epochs"] * -(-again["examples"] // 4)
    assert len(result["sides"]["retraining"]["seconds"]) == 1
    assert results.request_side(result) == "request from 32"
    doubled = results.speedup(result, 2020, 1) / results.speedup(result, 1020, 1)
    assert doubled == pytest.approx(2)


def test_the_notebook_runs_on_these_results_and_without_any(measured, tmp_path, monkeypatch):
    from unlearnkit.study import results as study

    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path / "build"))
    back = {"records": 330.0, "ledger_error": 1e-4, "floor_error": 1e-4}
    monkeypatch.setattr(study, "rewind", lambda _run: back)
    made = profiles.get("default").folder / "figures"
    for folder, drawn in ((measured, 5), (tmp_path, 0)):
        monkeypatch.setattr(results, "FOLDER", Path(folder))
        space: dict = {}
        for cell in notebooks.source("08_ledger")["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), space)
        assert len(space["listed"].splitlines()) == (0 if drawn else 1 + len(results.EXPECTED))
        assert drawn == 0 or len(list(made.glob("*.svg"))) == drawn


def test_a_process_is_told_to_keep_its_memory(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with kept.keeping():
        assert timing.in_child(timing.freed_memory) == timing.KEPT
    assert os.environ["MALLOC_MMAP_MAX_"] == "7"
    assert timing.freed_memory() == timing.HANDED_BACK
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    told = dict(re.findall(r"reproduce: export (\w+) = (\d+)", (paths.ROOT / "Makefile").read_text()))
    assert told == kept.KEEP


def test_a_file_that_is_no_result_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match=r"x\.json is no result of a benchmark"):
        results.load(tmp_path)


def test_report_holds_values_against_bars():
    sides = {n: {"seconds": s} for n, s in (("plain step", [1.0, 1.0]), ("ledger fp16", [1.05, 1.2]))}
    result = {"sides": sides, "missing": {"Opacus": "opacus 1.6.0: cannot"}}
    table = report.table({("ledger", "gpt2-shape"): result}).set_index(["measure", "model"])
    step = table.loc[("step with the 16-bit ledger / plain step", "gpt2-shape")]
    assert (step["must reach"], step["measured"], step["reached"]) == ("≤ 1.08 ×", "1.12 ×", "no")
    assert table.loc[("Opacus / ours", "gpt2-shape"), "measured"] == "opacus 1.6.0: cannot"
    assert table.loc[("vmap(grad) / ours", "gpt2-shape"), "reached"] == "–"
    assert "no result yet" in table.loc[("Opacus / ours", "smollm2-135m"), "measured"]


def test_summary_has_a_column_a_model_and_marks_what_is_missed():
    def result(seconds):
        return {
            "sides": {
                n: {"seconds": [s]} for n, s in zip(("plain step", "ledger fp16"), seconds, strict=True)
            }
        }

    assert report.summary({}) == ""
    told = report.summary(
        {("ledger", "gpt2-shape"): result((1, 2)), ("ledger", "smollm2-135m"): result((1, 1))}
    )
    assert told.splitlines() == [
        "| measure | must reach | gpt2-shape | smollm2-135m |",
        "| --- | --- | --- | --- |",
        "| step with the 16-bit ledger / plain step | ≤ 1.08 × | 2 × (**not reached**) | 1 × |",
    ]


def test_memory_of_a_side_is_that_of_a_process_of_its_own():
    loaded, peak = timing.in_child(memory.peak, Options(TINY, 2, 4), "plain step")
    assert 0 < loaded <= peak
