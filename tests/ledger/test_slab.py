"""What is kept of a step: its precision, whichever way its rows are taken."""

import numpy as np
import pytest
import torch
from worlds import DAVE as FACTS
from worlds import DAVE_IDS as IDS
from worlds import autograd_gradient, gradients, relative_error, require_same_ledgers

from unlearnkit import ledger
from unlearnkit.ledger import slab
from unlearnkit.ledger.rows import rows_of
from unlearnkit.ledger.store import Store


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 1e-3), ("bfloat16", 1e-2), ("float32", 1e-5)])
@pytest.mark.parametrize("divisor", [1e-9, 1.0, 1e9])
def test_every_encoding_keeps_its_precision_at_every_scale(
    dtype, bound, divisor, tiny_model, tiny_tokenizer, tmp_path
):
    """fp16's range is no limit: gradients of 10^9 and 10^-9 keep their digits through the scale exponents."""
    model = tiny_model("gpt2")
    book = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "l", dtype=dtype, divisor=divisor)
    theirs = autograd_gradient(model, tiny_tokenizer, FACTS[2], "answer")
    ours = {n: g * divisor for n, g in book.gradient(IDS[2], 1).items()}
    assert relative_error(ours, theirs) <= bound


@pytest.mark.parametrize(
    "scales",
    [(1.0, 1e-9, 1e9, 3.0), (1e9, 1e-9), (1e30, 1e-30, 1e30), (0.0, 1.0), (1.0, 0.0, 1e-6), (1, 40, 0.1)],
)
@pytest.mark.parametrize("width", [3, slab.CHUNK + 1])
def test_a_jump_between_two_steps_keeps_the_digits(scales, width, tmp_path):
    """The scale is the step before's only while it fits: no overflow and no lost digits when it does not."""
    store = Store.create(tmp_path / "l", {"dtype": "float16"})
    layout = {slab.Shape("live", torch.float16, width): ["x"]}
    gathered, generator = slab.Slab(store), torch.Generator().manual_seed(0)
    values = [scale * torch.randn(1, 5, width, generator=generator) for scale in scales]
    for number, value in enumerate(values):
        gathered.begin([str(number)], [(5, 5)], layout)
        gathered.put("x", value)
        gathered.end(1, number, 0.1)
    (piece,) = slab.pieces(layout, gathered.steps)
    for value, view, exponent in zip(values, piece.views, piece.exponents, strict=True):
        stored = torch.frombuffer(view, dtype=torch.float16).double() * 2.0**-exponent
        assert (stored - value.flatten().double()).norm() <= 1e-3 * value.double().norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kept", ["block", "apart", "none", "all"])
@pytest.mark.parametrize("chunk", [4, 7, 1 << 20])
def test_every_way_of_taking_rows_gives_the_same(kept, dtype, chunk, tmp_path, monkeypatch):
    """Rows that two slices name are cast where they lie, others are gathered first; in parts of any size."""
    monkeypatch.setattr(slab, "CHUNK", chunk)
    mask = torch.ones(3, 5, dtype=torch.bool) if kept == "all" else torch.zeros(3, 5, dtype=torch.bool)
    if kept == "block":
        mask[1:, :4] = True
    elif kept == "apart":
        mask[0, :2], mask[2, 1:] = True, True
    rows, width = rows_of(mask), 6
    assert isinstance(rows, tuple) == (kept in ("block", "all"))
    values = (1e-6 * torch.randn(3, 5, width, generator=torch.Generator().manual_seed(0))).to(dtype)
    store = Store.create(tmp_path / "l", {"dtype": "float16"})
    layout = {slab.Shape("live", torch.float16, width): ["x"], slab.Shape("live", torch.int32, 1): ["ids"]}
    gathered = slab.Slab(store)
    for number in range(2):  # a scale found, then a scale kept
        gathered.begin(["0"], [(int(mask.sum()), 0)], layout)
        gathered.put("x", values, rows)
        gathered.put_ids("ids", torch.arange(15).view(3, 5), rows)
        gathered.end(1, number, 0.1)
    taken, ids = slab.pieces(layout, gathered.steps)
    for view, exponent in zip(taken.views, taken.exponents, strict=True):
        stored = np.frombuffer(view, np.float16).reshape(-1, width).astype(float) * 2.0**-exponent
        np.testing.assert_allclose(stored, values[mask].double(), rtol=1e-3, atol=1e-12)
    for view in ids.views:
        assert list(np.frombuffer(view, np.int32)) == mask.flatten().nonzero().flatten().tolist()


def test_shards_of_bounded_size_hold_the_same(train, tmp_path, monkeypatch):
    train("one")
    monkeypatch.setattr(slab, "SHARD_BYTES", 1)
    train("many")
    assert len(list((tmp_path / "many").glob("e*"))) == 9  # one for each of 3 x 3 steps
    require_same_ledgers(gradients(tmp_path / "many"), gradients(tmp_path / "one"))
