"""LoRA: torch's own training of W_0 + left @ right in float64, ranks, and what it leaves alone."""

import copy
import math

import pytest
import torch
from torch.func import functional_call
from unlearning_helpers import FACTS, RETAIN, error, same

from unlearnkit import unlearning
from unlearnkit.batching import batch_of
from unlearnkit.errors import MethodError
from unlearnkit.forward import losses


class Loss(torch.nn.Module):
    """Gradient difference as a module, whose weights torch can replace by functions of others."""

    def __init__(self, model, tokenizer):
        super().__init__()
        self.model = model
        self.forget, self.retain = (batch_of(tokenizer, part) for part in (FACTS[:3], RETAIN))

    def forward(self):
        return losses(self.model, self.retain).mean() - losses(self.model, self.forget).mean()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("arch", "tied"), [("gpt2", True), ("llama", False)])
def test_lora_is_torchs_own_training_of_the_factors(arch, tied, optimizer, tiny_model, tiny_tokenizer):
    model, steps, rank, rate = tiny_model(arch, tied), 3, 2, 1e-2
    theirs = Loss(copy.deepcopy(model).double(), tiny_tokenizer)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    generator, pairs = torch.Generator().manual_seed(4), {}
    for name, weight in theirs.named_parameters():
        if weight.dim() == 2:
            right = (2 * torch.rand(rank, weight.shape[1], generator=generator) - 1) / math.sqrt(
                weight.shape[1]
            )
            left = torch.zeros(weight.shape[0], rank)
            pairs[name] = [torch.nn.Parameter(f.double()) for f in (left, right)]
    makers = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    descent = makers[optimizer]([f for pair in pairs.values() for f in pair], lr=rate, weight_decay=0.0)
    frozen = {n: p.detach() for n, p in theirs.named_parameters()}

    def merged():
        return {n: frozen[n] + left @ right for n, (left, right) in pairs.items()}

    for _ in range(steps):
        descent.zero_grad()
        functional_call(theirs, merged(), ()).backward()
        descent.step()
    given = {"examples": FACTS, "retain": RETAIN, "tokenizer": tiny_tokenizer, "batch_size": None}
    given |= {"optimizer": optimizer, "lr": rate, "steps": steps, "lora": rank, "seed": 4}
    result = unlearning.apply("grad_diff", model, request=[e.id for e in FACTS[:3]], **given)
    moved = {n: p.detach().double() - start[n] for n, p in model.named_parameters()}
    expected = {n: torch.zeros_like(t) for n, t in moved.items()}
    expected |= {n.removeprefix("model."): w.detach() - frozen[n] for n, w in merged().items()}
    assert error(moved, expected) < 2e-3
    result.revert()
    assert same({n: p.detach() for n, p in model.named_parameters()}, start)


@pytest.mark.parametrize("layers", ["all", "embedding", "block.1"])
def test_the_change_has_that_rank_at_every_stop(layers, trained):
    start = trained.weights()
    for _ in trained.path("grad_diff", steps=[1, 4], lora=2, lr=1e-2, layers=layers):
        moved = {n: t - start[n] for n, t in trained.weights().items()}
        assert any(c.any() for c in moved.values())
        for change in moved.values():
            if change.dim() == 1:
                assert not change.any()
            elif change.any():
                sizes = torch.linalg.svdvals(change)
                assert sizes[2] < 1e-4 * sizes[0]
    assert same(trained.weights(), start)


def test_full_rank_is_no_bound(trained):
    """A rank beyond a matrix's own is taken."""
    result = trained.apply("grad_diff", lora=64, steps=1)
    assert result.norm > 0


def test_what_lora_refuses(trained):
    start = trained.weights()
    with pytest.raises(MethodError, match="layers 'norms' have no matrix that lora= could change"):
        trained.apply("grad_diff", lora=2, layers="norms")
    with pytest.raises(MethodError, match="lora=-1; use a whole number from 0"):
        trained.apply("grad_diff", lora=-1)
    assert same(trained.weights(), start)
