"""Exact and certified removal: SISA's answers, a convex head's Newton step, its bound and its budget."""

import dataclasses

import pytest
import torch
from unlearning_helpers import FACTS, REQUEST

from unlearnkit import metrics, training, unlearning
from unlearnkit.batching import batch_of
from unlearnkit.errors import MethodError, ModelError, RequestError
from unlearnkit.forward import losses, target_logits
from unlearnkit.unlearning.convex import Head, minimum, newton

SHAPES = [("gpt2", True), ("llama", False)]
RECIPE = training.Recipe("adamw", epochs=2, lr=1e-2, batch_size=3)


@pytest.fixture(params=SHAPES, ids=["gpt2", "llama"])
def make(request, tiny_model):
    return lambda: tiny_model(request.param[0], tied=request.param[1])


def weights_of(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


# -- SISA -------------------------------------------------------------------------------------------------


def test_sisa_is_the_mean_of_its_shards_probabilities(make, tiny_tokenizer, tmp_path):
    model, batch = make(), batch_of(tiny_tokenizer, FACTS)
    start, plain = weights_of(model), losses(model, batch).detach()
    shards = training.Shards.train(model, tiny_tokenizer, FACTS, RECIPE, tmp_path / "s", shards=3, slices=1)
    told = {"request": REQUEST, "examples": FACTS, "tokenizer": tiny_tokenizer, "shards": shards}
    parts, other = [], make()
    for weights in shards.constituents(REQUEST, model, tiny_tokenizer, FACTS):
        other.load_state_dict(weights, strict=False)
        parts.append(target_logits(other, batch)[0].detach().double().softmax(-1))
    result = unlearning.apply("sisa", model, **told)
    logits, tokens, _ = target_logits(model, batch)
    assert torch.allclose(logits.double(), (sum(parts) / 3).log(), atol=1e-5)
    assert all(torch.equal(p, start[n]) for n, p in model.named_parameters())
    assert (losses(model, batch) - plain).abs().max() > 0.01
    left = batch_of(tiny_tokenizer, FACTS, side="left")
    assert torch.allclose(losses(model, left), losses(model, batch), atol=1e-5)
    said = metrics.continuations(model, tiny_tokenizer, FACTS)  # with each shard's own cache
    for example, ours in zip(FACTS, said, strict=True):
        assert said_anew(model, tiny_tokenizer, example) == ours
    with pytest.raises(ModelError, match="answers for several"):
        metrics.logit_lens(model, tiny_tokenizer, FACTS)
    result.revert()
    assert torch.equal(losses(model, batch), plain)
    assert "forward" not in vars(model)


def said_anew(model, tokenizer, example):
    tokens = tokenizer(example.prompt)["input_ids"]
    new = []
    for _ in range(len(tokenizer(example.text)["input_ids"]) - len(tokens)):
        with torch.no_grad():
            new.append(model(torch.tensor([tokens + new])).logits[0, -1].argmax().item())
    end = new.index(0) if 0 in new else len(new)
    return tokenizer.decode(new[:end], skip_special_tokens=True).strip()


def test_the_loss_of_sisa_is_that_of_its_own_answers(trained):
    batch = batch_of(trained.tokenizer, FACTS)
    trained.apply("sisa")
    told = trained.model(batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
    own = torch.nn.functional.cross_entropy(told.logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten())
    assert torch.isclose(told.loss, own, rtol=1e-5)
    with pytest.raises(MethodError, match="answers for its shards already"):
        trained.apply("sisa")


def test_what_sisa_refuses(trained):
    with pytest.raises(MethodError, match="needs shards="):
        trained.apply("sisa", shards=None)
    with pytest.raises(MethodError, match=r"as training.Shards.open\(folder\)"):
        trained.apply("sisa", shards=trained.history)


# -- a convex head ----------------------------------------------------------------------------------------


def problem(n=6, tokens=12, width=4, vocabulary=7, noise=0.1, seed=0):
    torch.manual_seed(seed)
    features, logits = (torch.randn(tokens, k, dtype=torch.float64) for k in (width, vocabulary))
    targets, shares = torch.randint(vocabulary, (tokens,)), torch.rand(tokens, 1, dtype=torch.float64)
    b = noise * torch.randn(vocabulary, width, dtype=torch.float64)
    return Head(features, logits, targets, shares, n, 0.1, b)


def value(head, w):
    nll = torch.nn.functional.cross_entropy(head.logits + head.features @ w.T, head.targets, reduction="none")
    penalty = head.lam * head.n / 2 * w.square().sum() + (head.noise * w).sum()
    return (head.shares[:, 0] * nll).sum() + penalty


def test_gradient_and_hessian_are_autograds():
    head, w = problem(), torch.randn(7, 4, dtype=torch.float64)
    at = w.clone().requires_grad_()
    assert torch.allclose(head.gradient(w), torch.autograd.grad(value(head, at), at)[0])
    hessian = torch.autograd.functional.hessian(lambda v: value(head, v), w).reshape(28, 28)
    u = torch.randn(7, 4, dtype=torch.float64)
    assert torch.allclose(head.product(head.likely(w))(u).flatten(), hessian @ u.flatten())


def test_for_a_quadratic_loss_the_step_is_retraining():
    """Ridge regression, from the minimum over all to that without some."""
    torch.manual_seed(0)
    x, y = torch.randn(30, 5, dtype=torch.float64), torch.randn(30, 3, dtype=torch.float64)

    def solve(rows):
        return torch.linalg.solve(x[:rows].T @ x[:rows] + torch.eye(5), x[:rows].T @ y[:rows])

    def hessian(u):
        return x[:25].T @ (x[:25] @ u) + u

    w = solve(30)
    gradient = x[:25].T @ (x[:25] @ w - y[:25]) + w
    assert torch.allclose(w + newton(gradient, hessian), solve(25), atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_residual_of_a_newton_step_is_within_its_bound(seed):
    whole = problem(seed=seed)
    w = minimum(whole, torch.zeros(7, 4, dtype=torch.float64), tolerance=1e-10)
    assert whole.gradient(w).norm() <= 1e-10
    parts = {k: getattr(whole, k)[:9] for k in ("features", "logits", "targets", "shares")}
    left = dataclasses.replace(whole, **parts, n=4)
    step = newton(left.gradient(w), left.product(left.likely(w)))
    residual = left.gradient(w + step).norm().item()
    assert 0 < residual <= left.bound(step)
    assert residual < 0.5 * left.gradient(w).norm().item()


def test_the_bound_s_constant_is_softmaxs():
    """The largest change of its Hessian a length of the logits, over many random places and directions."""
    from unlearnkit.unlearning.convex import LIPSCHITZ

    torch.manual_seed(0)
    largest = 0.0
    for _ in range(2000):
        z, u = (torch.randn(3, dtype=torch.float64) * s for s in (3.0, 1.0))
        u = 1e-4 * u / u.norm()
        hessians = [(p := (z + s * u).softmax(0)).diag() - torch.outer(p, p) for s in (0, 1)]
        largest = max(largest, torch.linalg.matrix_norm(hessians[1] - hessians[0], 2).item() / 1e-4)
    assert 0.8 * LIPSCHITZ < largest <= 1.001 * LIPSCHITZ


def kept(make, tokenizer, folder):
    model = make()
    training.fine_tune(model, tokenizer, FACTS, RECIPE, history=folder, progress=False)
    return model, training.History.open(folder)


def test_certified_removal_is_retraining_the_head_and_theta_0_beside_it(make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, tmp_path / "h")
    end, told = weights_of(model), {"request": REQUEST, "examples": FACTS, "tokenizer": tiny_tokenizer}
    options = {"checkpoints": history, "sigma": 1e-4, "newton": 30, "epsilon": 1e-3}
    result = unlearning.apply("certified_removal", model, **told, **options)
    base = make()
    assert all(torch.equal(p, base.get_parameter(n)) for n, p in model.named_parameters())
    assert 0 <= result.told["epsilon"] <= 1e-3
    assert result.told["residual"] <= result.told["bound"] + 1e-9
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(base.get_output_embeddings().weight.shape, generator=generator, dtype=torch.float64)
    head = Head.of(base, tiny_tokenizer, FACTS[3:], 0.1, 1e-4 * noise, RECIPE.loss_on)
    w = minimum(head, torch.zeros_like(noise), tolerance=1e-9)
    batch = batch_of(tiny_tokenizer, FACTS)
    logits, _, _ = target_logits(model, batch)
    seen = []
    hook = base.get_output_embeddings().register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    plain, _, _ = target_logits(base, batch)
    hook.remove()
    expected = plain + seen[0].flatten(0, 1) @ w.float().T
    assert torch.allclose(logits, expected, atol=1e-3)
    assert (logits - plain).abs().max() > 0.1
    result.revert()
    assert all(torch.equal(p, end[n]) for n, p in model.named_parameters())
    batch = batch_of(tiny_tokenizer, FACTS)
    after = make()
    after.load_state_dict(end, strict=False)
    assert torch.equal(losses(model, batch), losses(after, batch))


def test_a_second_head_is_not_put_on_the_first(trained):
    result = trained.apply("certified_removal", request=REQUEST[:1])
    with pytest.raises(RequestError, match="would come back"):
        trained.apply("certified_removal", request=REQUEST[1:], ledger=None)
    result.revert()
    trained.apply("certified_removal")


def test_beyond_the_budget_it_says_retrain(trained):
    start = trained.weights()
    with pytest.raises(MethodError, match="beyond the budget of .*: retrain"):
        trained.apply("certified_removal", newton=1, epsilon=1e-9)
    with pytest.raises(MethodError, match="certifies nothing but layers='all'"):
        trained.apply("certified_removal", layers="last2")
    assert all(torch.equal(t, start[n]) for n, t in trained.weights().items())
