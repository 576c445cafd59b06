"""AdamW's second moments beside the records: what is kept, checked, purged, and refused."""

import dataclasses
import json
import math

import pytest
import torch
from worlds import DAVE, RECIPE, autograd_gradient, files_no_larger_than, flip
from worlds import DAVE_IDS as IDS

from unlearnkit import ledger
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import store as store_module
from unlearnkit.ledger.store import Store

ADAMW = dataclasses.replace(RECIPE, optimizer="adamw", lr=1e-3, lr_schedule="linear")


@pytest.fixture
def adam(train, tmp_path):
    """`adam(**options)`: the run of a finished AdamW ledger of three epochs, and the ledger."""

    def go(**options):
        _, run = train(recipe=ADAMW, **options)
        return run, ledger.GradientLedger.open(tmp_path / "l")

    return go


@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_they_are_torchs_with_the_bias_correction(arch, adam, tiny_model, tiny_tokenizer):
    """Against torch's own AdamW on autograd's gradients, one example at a time, epoch by epoch."""
    run, book = adam(arch=arch)
    model, per_epoch = tiny_model(arch), len(run.order) // 3
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    for number, ids in enumerate(run.order, start=1):
        terms = [autograd_gradient(model, tiny_tokenizer, DAVE[IDS.index(i)], "text", 3) for i in ids]
        for name, parameter in model.named_parameters():
            parameter.grad = sum(t[name] for t in terms)
        optimizer.param_groups[0]["lr"] = ADAMW.rate(number - 1, len(run.order))
        optimizer.step()
        if number % per_epoch:
            continue
        kept = dict(book.second_moment(number // per_epoch))
        assert list(kept) == [n for n, _ in model.named_parameters()]
        for name, parameter in model.named_parameters():
            exact = optimizer.state[parameter]["exp_avg_sq"] / (1 - 0.999**number)
            # bf16 rounds by 2**-9; below a millionth of the largest, float32's own rounding is seen
            off = (kept[name] - exact).abs() - 2**-8 * exact
            assert (off <= 1e-6 * exact.max()).all(), name


def test_a_selection_of_layers_has_its_own_and_tied_roles_one(adam):
    _, book = adam()
    whole = dict(book.second_moment(2))
    for layers in ("embedding", "embedding.input", "embedding.output"):
        ((name, moment),) = book.second_moment(2, layers)
        assert name == "transformer.wte.weight"
        assert torch.equal(moment, whole[name])
        assert moment.dtype == torch.float32
    assert all("ln_" in name for name, _ in book.second_moment(1, "norms"))


def test_the_mean_rate_of_an_epoch_is_its_steps(adam):
    _, book = adam(record=IDS[:2])  # also where most steps have no record
    rates = [ADAMW.rate(step, 9) for step in range(9)]
    for epoch in (1, 2, 3):
        expected = sum(rates[3 * epoch - 3 : 3 * epoch]) / 3
        assert math.isclose(book.mean_rate(epoch), expected)
        assert set(book.rates(IDS[:2], epoch).tolist()) <= {float(torch.tensor(r)) for r in rates}


def test_what_is_frozen_has_none(adam, train, tmp_path):
    train("frozen", recipe=dataclasses.replace(ADAMW, frozen=("transformer.w*",)))
    book = ledger.GradientLedger.open(tmp_path / "frozen")
    assert [n for n, _ in book.second_moment(1)] == list(book.shapes)
    assert not any(n.startswith("transformer.w") for n, _ in book.second_moment(1))


def test_verify_reads_them(adam, tmp_path):
    _, book = adam()
    book.verify()
    moments = tmp_path / "l" / "moments-002.safetensors"
    flip(moments, moments.stat().st_size - 5)
    with pytest.raises(LedgerError, match="moments-002"):
        book.verify()
    with pytest.raises(LedgerError, match="moments-002"):
        dict(book.second_moment(2))
    assert dict(book.second_moment(1))
    moments.unlink()
    with pytest.raises(LedgerError, match="moments-002"):
        book.verify()


def test_a_purge_deletes_them_and_says_so_when_asked(adam, tmp_path):
    """Whoever goes: a second moment holds traces of every example."""
    _, book = adam()
    size = sum(p.stat().st_size for p in (tmp_path / "l").glob("*.safetensors"))
    freed = book.purge(IDS[:1])
    assert list((tmp_path / "l").glob("moments-*")) == []
    assert freed == size - sum(p.stat().st_size for p in (tmp_path / "l").glob("*.safetensors"))
    book.verify()
    for reader in (book, ledger.GradientLedger.open(tmp_path / "l")):
        for act in (reader.second_moment, reader.mean_rate):
            with pytest.raises(LedgerError, match="no second moments: .* or purged since"):
                act(1)


def test_a_failed_purge_leaves_them(adam, monkeypatch):
    _, book = adam()

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "publish", fail)
    with pytest.raises(KeyboardInterrupt):
        book.purge(IDS[:1])
    book.verify()
    assert len(dict(book.second_moment(3))) == len(book.shapes)


def test_an_older_ledger_opens_and_says_that_it_has_none(adam, tmp_path):
    adam()
    index = tmp_path / "l" / "index.json"
    body = json.loads(index.read_text())
    del body["moments"], body["seal"]
    index.write_text(store_module._sealed(body))
    for path in (tmp_path / "l").glob("moments-*"):
        path.unlink()
    book = ledger.GradientLedger.open(tmp_path / "l")
    book.verify()
    assert book.sum(IDS)
    with pytest.raises(LedgerError, match="made before they were kept"):
        book.second_moment(1)


def test_other_ledgers_have_none_and_say_why(trained, tiny_model, tiny_tokenizer, tmp_path):
    book = ledger.GradientLedger.open(trained)
    assert list(trained.glob("moments-*")) == []
    with pytest.raises(LedgerError, match="made with sgd, and only AdamW has them"):
        book.second_moment(1)
    recorded = ledger.record(tiny_model(), tiny_tokenizer, DAVE[:2], tmp_path / "recorded")
    with pytest.raises(LedgerError, match="made with no optimizer"):
        recorded.mean_rate(1)


def test_an_epoch_that_is_not_there_is_refused(adam):
    _, book = adam()
    for act in (book.second_moment, book.mean_rate):
        with pytest.raises(LedgerError, match="epoch 4 is not in ledger"):
            act(4)


def test_a_full_disk_is_told_and_the_ledger_stays(train, tmp_path):
    train("before")  # keeps theta_0
    with files_no_larger_than(20_000), pytest.raises(LedgerError, match="epoch 1 of ledger .* is not kept"):
        train(recipe=ADAMW)
    assert ledger.GradientLedger.open(tmp_path / "l").epochs == []
