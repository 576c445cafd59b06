"""Task vectors, negated adapters, single layers, contrastive partitions, inverse Hessians."""

import dataclasses

import pytest
import torch
from unlearning_helpers import FACTS, RETAIN, Trained, autograd_gradient, error, norm_of, same

from unlearnkit import influence, training
from unlearnkit.batching import batch_of, example_loss
from unlearnkit.errors import LayerError, MethodError
from unlearnkit.unlearning.methods.pcgu import lowest

SHAPES = [("gpt2", True), ("llama", False)]
FORGET = [dataclasses.replace(e, contradiction="a wrong one") for e in FACTS[:3]]
TOLD = [*FORGET, *FACTS[3:]]


@pytest.fixture(params=SHAPES, ids=["gpt2", "llama"])
def learnt(request, tiny_model, tiny_tokenizer, tmp_path):
    return Trained(tiny_model(request.param[0], tied=request.param[1]), tiny_tokenizer, tmp_path / "l")


# -- what more training adds ------------------------------------------------------------------------------


def test_a_task_vector_is_what_fine_tuning_adds(learnt, tiny_tokenizer):
    before = learnt.weights()
    direction = learnt.direction("task_vector", lr=1e-3, epochs=2, batch_size=2, layers="last2")
    recipe = training.Recipe("adamw", lr=1e-3, epochs=2, batch_size=2, loss_on="answer")
    training.fine_tune(learnt.model, tiny_tokenizer, FACTS[:3], recipe, progress=False)
    added = {n: t - before[n] for n, t in learnt.weights().items()}
    inside = {n for n in added if ".1." in n or ".2." in n}
    for name, found in direction.items():
        assert torch.allclose(found, -added[name] * (name in inside), atol=1e-7), name


def test_a_task_vector_to_itself_is_zero(trained, monkeypatch):
    """No step of training, no vector."""
    from unlearnkit.training import replaying

    monkeypatch.setattr(replaying, "learn", lambda *_: 0)
    assert norm_of(trained.direction("task_vector")) == 0


# -- adapters ---------------------------------------------------------------------------------------------


def test_lora_negation_turns_the_product(learnt):
    """alpha = -1 is where training LoRA led, alpha = 1 the other side; no matrix of a higher rank."""
    options = {"rank": 2, "steps": 4, "lr": 1e-2, "layers": ["block.0", "block.1"]}
    found = learnt.direction("lora_negation", **options)
    back = learnt.direction("lora_negation", alpha=-1.0, **options)
    assert error({n: -t for n, t in back.items()}, found) < 1e-4
    learnt.apply("lora_negation", alpha=-1.0, **options)
    moved = [t for t in found.values() if t.abs().sum() > 0]
    assert moved
    for change in moved:
        values = torch.linalg.svdvals(change.double())
        assert values[2] < 1e-4 * values[0]


def test_what_lora_learned_was_the_request(learnt, tiny_tokenizer):
    def loss():
        batch = batch_of(tiny_tokenizer, FACTS[:3])
        with torch.no_grad():
            return example_loss(learnt.model(**batch.inputs()).logits, batch.labels).mean().item()

    start, options = loss(), {"lr": 1e-2, "layers": "all-but-embedding"}
    for name, more in (
        ("lora_negation", {"steps": 10}),
        ("pem", {"epochs": 10}),
        ("task_vector", {"epochs": 5}),
    ):
        result = learnt.apply(name, alpha=-1.0, **options, **more)
        assert loss() < start, name
        result.revert()
        result = learnt.apply(name, alpha=1.0, **options, **more)
        assert loss() > start, name
        result.revert()


def test_ia3_negation_scales_what_comes_out(learnt, tiny_tokenizer):
    """One AdamW step moves every scale by lr, against the sign of its gradient; (2 - l) W at alpha = 1."""
    before, lr = learnt.weights(), 5e-3
    grads = [autograd_gradient(learnt.model, tiny_tokenizer, e, "answer", 8) for e in FACTS[:3]]
    found = learnt.direction("pem", lr=lr, epochs=1, layers="block.1")
    seen = 0
    for name, change in found.items():
        weight = before[name]
        if ".1." not in name or weight.dim() < 2:
            assert change.abs().max() == 0
            continue
        module = learnt.model.get_submodule(name.rpartition(".")[0])
        across = 1 if isinstance(module, torch.nn.Linear) else 0
        slope = (sum(g[name] for g in grads) * weight).sum(across, keepdim=True)
        expected = weight * lr * slope.sign()  # (1 - l) W with l = 1 - lr * sign
        clear = (slope.abs() > 1e-3 * slope.abs().max()).expand_as(weight)
        assert torch.allclose(change[clear], expected[clear], rtol=1e-2, atol=1e-6), name
        seen += 1
    assert seen >= 4


def test_where_there_is_no_matrix(trained):
    for name in ("lora_negation", "pem"):
        with pytest.raises(MethodError, match="have no matrix"):
            trained.apply(name, layers="norms", alpha=1.0)
    with pytest.raises(LayerError, match="is tied"):
        trained.apply("pem", layers="embedding.output", alpha=1.0)


# -- gradients of today -----------------------------------------------------------------------------------


def test_slug_is_one_parameters_gradient_on_the_front(learnt, tiny_tokenizer):
    forget, retain = (
        {n: sum(g[n].double() for g in found) for n in found[0]}
        for found in (
            [autograd_gradient(learnt.model, tiny_tokenizer, e, "answer") for e in part]
            for part in (FACTS[:3], RETAIN)
        )
    )
    weights = learnt.weights()
    scores = {}
    for n, g in forget.items():
        if n.endswith("bias") or "wte" in n or "wpe" in n or "embed_tokens" in n or "lm_head" in n:
            continue
        cosine = ((g * retain[n]).sum() / g.norm() / retain[n].norm()).abs().item()
        scores[n] = (g.norm() / weights[n].norm()).item(), cosine
    found = learnt.direction("slug")
    (name,) = [n for n, t in found.items() if t.abs().sum() > 0]
    own = scores[name]
    assert not [n for n, (i, c) in scores.items() if i > own[0] and c < own[1]]  # none beats it in both
    assert own[0] * (1 - own[1]) >= 0.999 * max(i * (1 - c) for i, c in scores.values())
    assert error({name: found[name]}, {name: forget[name]}) < 1e-3
    other = next(n for n in found if n != name)
    assert [n for n, t in learnt.direction("slug", layer=other).items() if t.abs().sum() > 0] == [other]
    assert any(t.abs().sum() > 0 for t in learnt.direction("slug", layers="embedding").values())
    with pytest.raises(MethodError, match="layer='nowhere' is none of the parameters"):
        learnt.apply("slug", layer="nowhere", alpha=1.0)


def test_pcgu_is_a_step_on_the_partitions_of_lowest_cosine(learnt, tiny_tokenizer):
    true, false = (
        {n: sum(g[n] for g in found) / 3 for n in found[0]}
        for found in (
            [autograd_gradient(learnt.model, tiny_tokenizer, e, "answer") for e in part]
            for part in (FORGET, [dataclasses.replace(e, answer=e.contradiction) for e in FORGET])
        )
    )
    turned = [f"{n}.weight" for n, m in learnt.model.named_modules() if type(m).__name__ == "Conv1D"]

    def partitions(name, tensor):  # a row an output of a linear map
        return tensor.T if name in turned else tensor if tensor.dim() > 1 else tensor[None]

    rows, others = ({n: partitions(n, g) for n, g in found.items()} for found in (true, false))
    every = sorted(
        torch.nn.functional.cosine_similarity(r, o, dim=0).item()
        for n in rows
        for r, o in zip(rows[n], others[n], strict=True)
    )
    before, lr, k = learnt.weights(), 0.1, 40
    learnt.apply("pcgu", examples=TOLD, lr=lr, k=k, epochs=1)
    moved = 0
    for name, now in learnt.weights().items():
        change = partitions(name, now - before[name])
        for row, g, o in zip(change, rows[name], others[name], strict=True):
            cosine = torch.nn.functional.cosine_similarity(g, o, dim=0).item()
            if abs(cosine - every[k - 1]) < 1e-4:
                continue
            expected = lr * g if cosine < every[k - 1] else torch.zeros_like(g)
            assert torch.allclose(row, expected, rtol=1e-2, atol=1e-5), name
            moved += cosine < every[k - 1]
    assert moved >= k - 5


def test_pcgu_needs_wrong_answers_and_takes_all_partitions_of_a_small_model(trained):
    with pytest.raises(MethodError, match="'f0' has none"):
        trained.apply("pcgu", examples=FACTS)
    gradient = {"w": torch.randn(3, 4), "b": torch.randn(3)}
    assert same(lowest(gradient, {n: t + 1 for n, t in gradient.items()}, 10_000), gradient)


# -- influence --------------------------------------------------------------------------------------------


def test_the_gauss_newton_matrix_and_conjugate_gradients(learnt, tiny_tokenizer):
    """Products against J^T (diag p - p p^T) J in float64, of one norm's weights; and the solution."""
    model = learnt.model.double()
    name = next(n for n in learnt.weights() if "ln_1.weight" in n or "input_layernorm" in n)
    weight, batch = model.get_parameter(name), batch_of(tiny_tokenizer, RETAIN)
    places = (batch.labels[:, 1:] != -100).nonzero().tolist()
    counts = (batch.labels[:, 1:] != -100).sum(1)

    def logits(value):
        found = torch.func.functional_call(model, {name: value}, kwargs=batch.inputs()).logits
        return torch.stack([found[i, t] for i, t in places])

    with influence.double_differentiable(model):
        with torch.no_grad():
            units = 1e-3 * torch.eye(weight.numel(), dtype=torch.float64)  # RMSNorm rounds to float32 inside
            ends = [(logits(weight + u) - logits(weight - u)) / 2e-3 for u in units]
        jacobian = torch.stack(ends, -1)
        expected = torch.zeros(weight.numel(), weight.numel(), dtype=torch.float64)
        for (i, _), j, row in zip(places, jacobian, logits(weight.detach()), strict=True):
            p = row.softmax(-1)
            expected += j.T @ (p.diag() - torch.outer(p, p)) @ j / counts[i] / len(counts)
        product = influence.gauss_newton(model, tiny_tokenizer, RETAIN, {name: weight})
        columns = [product({name: unit})[name] for unit in torch.eye(weight.numel(), dtype=torch.float64)]
        found = torch.stack(columns)
        assert torch.allclose(found, expected, atol=3e-3 * expected.abs().max().item())
        right = {name: torch.randn(weight.numel(), dtype=torch.float64)}
        solved = influence.conjugate_gradient(product, right, 0.1, 50, 1e-9)[name]
    whole = found + 0.1 * torch.eye(weight.numel(), dtype=torch.float64)
    assert torch.allclose(whole @ solved, right[name], atol=1e-4)


def test_hessian_products_are_differences_of_gradients(learnt, tiny_tokenizer):
    model = learnt.model.double()
    moving = dict(model.named_parameters())
    batch = batch_of(tiny_tokenizer, FACTS)

    def loss():
        return example_loss64(model(**batch.inputs()).logits, batch.labels)

    vector = {n: torch.randn_like(p) for n, p in moving.items()}
    with influence.double_differentiable(model):
        found = influence.hessian_product(loss(), moving, vector)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                for n, p in moving.items():
                    p.add_(vector[n], alpha=sign * 1e-4)
            ends.append(torch.autograd.grad(loss(), list(moving.values())))
            with torch.no_grad():
                for n, p in moving.items():
                    p.sub_(vector[n], alpha=sign * 1e-4)
    expected = {n: (a - b) / 2e-4 for n, a, b in zip(moving, *ends, strict=True)}
    assert error(found, expected) < 1e-3  # RMSNorm rounds to float32 inside


def example_loss64(logits, labels):
    nll = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    )
    return nll.sum() / (labels[:, 1:] != -100).sum()


def test_the_influence_step_solves_its_equations(learnt, tiny_tokenizer):
    options = {"layers": ["block.1"], "damping": 0.5, "iterations": 60, "tolerance": 1e-6, "curvature": 2}
    step = {n: t for n, t in learnt.direction("influence", **options).items() if ".1." in n}
    moving = {n: learnt.model.get_parameter(n) for n in step}
    grads = [autograd_gradient(learnt.model, tiny_tokenizer, e, "answer") for e in FACTS[:3]]
    right = {n: sum(g[n] for g in grads) for n in step}
    with influence.double_differentiable(learnt.model):
        product = influence.gauss_newton(learnt.model, tiny_tokenizer, RETAIN, moving)
        size = sum((right[n] * t).sum() for n, t in product(right).items())
        size = 0.5 * size / sum(t.square().sum() for t in right.values())
        image = {n: t + size * step[n] for n, t in product(step).items()}
    assert error(image, right) < 1e-2
