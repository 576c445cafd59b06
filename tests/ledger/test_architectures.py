"""Every architecture is recorded exactly, or refused by a module's name: none wrong, none a traceback."""

import re
from pathlib import Path

import pytest
import torch
from architectures import EXACT, REFUSED, architecture
from worlds import FACTS

from unlearnkit import forward, ledger
from unlearnkit.batching import batch_of
from unlearnkit.ledger import recording

TWO = FACTS[1:3]  # of unequal lengths


def one_by_one(model, tokenizer, example):
    """Its dense gradient when it is alone, by plain autograd: none of the code under test."""
    model.zero_grad()
    forward.losses(model, batch_of(tokenizer, [example], "answer"))[0].backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def require_exact(model, tokenizer, folder):
    book = recording.record(model, tokenizer, TWO, folder)
    for example in TWO:
        theirs, ours = one_by_one(model, tokenizer, example), book.gradient(example.id, 1)
        whole = torch.stack([g.norm() for g in theirs.values()]).norm()
        for name, value in ours.items():
            exact = theirs.get(name, torch.zeros_like(value))
            # What is below a millionth of the whole gradient is rounding, alone as in a batch.
            assert (value - exact).norm() <= 1e-5 * exact.norm() + 1e-6 * whole, name
        assert theirs.keys() <= ours.keys()


@pytest.mark.parametrize("name", EXACT)
def test_batched_records_equal_autograd(name, tiny_tokenizer, tmp_path):
    require_exact(architecture(name), tiny_tokenizer, tmp_path / "l")


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_looks_ahead_is_refused_by_module(name, tiny_tokenizer, tmp_path):
    with pytest.raises(ledger.LedgerError, match=re.escape(REFUSED[name])):
        recording.record(architecture(name), tiny_tokenizer, TWO, tmp_path / "l")
    assert not (tmp_path / "l").exists()


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_lora_is_exact(name, tiny_tokenizer, tmp_path):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(architecture(name), config).eval()
    require_exact(model, tiny_tokenizer, tmp_path / "l")


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "opt", "gemma2", "deepseek_v3", "mixtral", "mamba"])
def test_dots_equal_dense_dots(name, tiny_tokenizer, tmp_path):
    book = recording.record(architecture(name), tiny_tokenizer, TWO, tmp_path / "l")
    a, b = (book.gradient(e.id, 1) for e in TWO)
    exact = sum((a[n].double() * b[n]).sum() for n in a)
    dot = book.dot([TWO[0].id], [TWO[1].id])[0, 0].double()
    sizes = [sum(g.double().square().sum() for g in x.values()).sqrt() for x in (a, b)]
    assert abs(dot - exact) <= 1e-5 * sizes[0] * sizes[1]


def test_the_readme_names_them():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    told = set(re.findall(r"`([\w-]+)`", text[text.index("## Limits") : text.index("## Citation")]))
    assert set(EXACT) <= told
    assert set(REFUSED) <= told
