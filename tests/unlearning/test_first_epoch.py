"""The paper's update is the dense sum of first-epoch gradients."""

import pytest
from unlearning_helpers import FACTS, REQUEST, autograd_gradient, error, norm_of

from unlearnkit import ledger, training, unlearning


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_first_epoch_at_the_rate_adds_the_dense_sum(arch, tiny_model, tiny_tokenizer, tmp_path):
    """B = 8 > 7 examples: the first epoch is one step, its gradients are theta_0's by plain autograd."""
    model = tiny_model(arch)
    recipe = training.Recipe(epochs=2, lr=0.05, batch_size=8)
    dense = [autograd_gradient(model, tiny_tokenizer, e, "text", divisor=8) for e in FACTS[:3]]
    training.fine_tune(
        model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", ledger_dtype="float32", progress=False
    )
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    result = unlearning.apply("first_epoch", model, request=REQUEST, ledger=book, alpha=recipe.lr)
    expected = {n: recipe.lr * sum(d[n] for d in dense) for n in dense[0]}
    added = {n: p.detach() - before[n] for n, p in model.named_parameters()}
    assert error(added, expected) < 1e-4
    assert result.norm == pytest.approx(norm_of(expected), rel=1e-4)


def test_it_adds_the_ledgers_sum(trained):
    assert error(trained.direction("first_epoch"), trained.book.sum(REQUEST, 1)) < 1e-5
