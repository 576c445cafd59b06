"""EK-FAC's curvature is the Gauss-Newton matrix's diagonal in its basis, and its solution solves with it."""

import importlib.util

import pytest
import torch
from worlds import DAVE as FACTS

from unlearnkit import ekfac, influence
from unlearnkit.batching import batch_of
from unlearnkit.errors import MethodError

MANY = 1024  # copies of each example: labels are drawn, so that its curvature is a mean of as many draws
needs = pytest.mark.skipif(
    importlib.util.find_spec("kronfluence") is None, reason="kronfluence: see `make peers`"
)


def matrices(model):
    """The parameters of the last block's first feed-forward matrix, by name, and its module's name."""
    name = next(n for n, _ in model.named_modules() if n.endswith(("1.mlp.c_fc", "1.mlp.up_proj")))
    module = model.get_submodule(name)
    return {f"{name}.{n}": p for n, p in module.named_parameters()}, name


@needs
@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_its_eigenvalues_are_the_gauss_newton_matrix_s(arch, tiny_model, tiny_tokenizer):
    """<v, G v> for the outer product v of two eigenvectors, with G by `influence`, which draws no label."""
    model, few = tiny_model(arch), FACTS[:3]
    moving, name = matrices(model)
    twin, turned = ekfac._with_linears(model)
    factors = ekfac._fitted(twin, [name], batch_of(tiny_tokenizer, few * MANY, "answer"))
    left, across, sizes = (factors[kind][name] for kind in ekfac.KINDS)
    sizes = sizes / factors["num_lambda_processed"][name].item()
    expected, found = [], []
    with influence.double_differentiable(model):
        product = influence.gauss_newton(model, tiny_tokenizer, few, moving)
        for place in sizes.flatten().topk(6).indices.tolist():
            row, column = divmod(place, sizes.shape[1])
            v = torch.outer(left[:, row], across[:, column])
            parts = dict(zip(moving, _split(v, name in turned, len(moving)), strict=True))
            image = product(parts)
            expected.append(sum((image[n] * t).sum() for n, t in parts.items()).item())
            found.append(sizes[row, column].item())
    assert found == pytest.approx(expected, rel=0.15)


def _split(whole, turned, parts):
    weight = whole[:, :-1] if parts == 2 else whole
    return [weight.T if turned else weight, whole[:, -1]][:parts]


@needs
@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_the_solution_is_in_that_basis_and_zero_elsewhere(arch, tiny_model, tiny_tokenizer):
    model, damping = tiny_model(arch), 0.3
    moving, name = matrices(model)
    right = {n: torch.randn_like(p) for n, p in moving.items()}
    norm = next(n for n, _ in model.named_parameters() if "1.ln_1.weight" in n or "1.input_layernorm" in n)
    right[norm] = torch.ones_like(model.get_parameter(norm))
    solved = ekfac.solve(model, tiny_tokenizer, FACTS[:3], right, damping)
    twin, turned = ekfac._with_linears(model)
    factors = ekfac._fitted(twin, [name], batch_of(tiny_tokenizer, FACTS[:3], "answer"))
    left, across, sizes = (factors[kind][name].double() for kind in ekfac.KINDS)
    sizes = sizes / factors["num_lambda_processed"][name].item()
    basis = torch.kron(left, across)  # of the matrix, row by row
    dense = basis @ (sizes.flatten() + damping * sizes.mean()).diag() @ basis.T
    given, found = (_joined(told, moving, name in turned) for told in (right, solved))
    assert torch.allclose(dense @ found.flatten(), given.flatten(), atol=1e-4 * given.abs().max().item())
    assert not solved[norm].any()


def _joined(told, moving, turned):
    weight, *bias = (told[n].double() for n in moving)
    return torch.cat([weight.T if turned else weight, *(b[:, None] for b in bias)], 1)


@needs
def test_a_frozen_bias_is_a_column_that_nobody_asks_about(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2")
    moving, name = matrices(model)
    weight = next(n for n in moving if n.endswith("weight"))
    right = {weight: torch.randn_like(moving[weight])}
    torch.manual_seed(0)  # labels are drawn from the model
    alone = ekfac.solve(model, tiny_tokenizer, FACTS[:3], right, 0.3)
    beside = right | {n: torch.zeros_like(p) for n, p in moving.items() if n != weight}
    torch.manual_seed(0)
    both = ekfac.solve(model, tiny_tokenizer, FACTS[:3], beside, 0.3)
    assert set(alone) == {weight}
    assert torch.allclose(alone[weight], both[weight], atol=1e-5 * both[weight].abs().max().item())


@needs
def test_layers_without_a_block_matrix_are_refused(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2")
    norm = {"transformer.ln_f.weight": torch.ones(16)}
    with pytest.raises(MethodError, match="block matrices only, and the layers asked have none"):
        ekfac.solve(model, tiny_tokenizer, FACTS[:3], norm, 0.1)


def test_without_kronfluence_it_says_what_to_install(tiny_model, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MethodError, match="needs kronfluence.*pip install kronfluence.*or use solver='cg'"):
        ekfac.solve(tiny_model("gpt2"), tiny_tokenizer, FACTS[:3], {}, 0.1)
