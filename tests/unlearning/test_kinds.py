"""The three adaptors, each with a small method of its own, and the README's example."""

import re
from pathlib import Path

import pytest
import torch
from transformers import DynamicCache
from unlearning_helpers import FACTS, IDS, REQUEST, error, norm_of, same

from unlearnkit import unlearning
from unlearnkit.batching import batch_of
from unlearnkit.errors import DivergenceError, LayerError, MethodError
from unlearnkit.forward import losses

README = Path(__file__).parents[2] / "README.md"
RETAIN = FACTS[3:]


@pytest.fixture
def difference(own_methods):
    """Gradient difference: up on the forget set, down on what is retained."""

    @unlearning.trained(
        title="difference", needs=("examples", "retain", "tokenizer"), lr=0.01, steps=3, optimizer="sgd"
    )
    def difference(inputs, *, weight=1.0):
        def loss(forget, retain):
            kept, lost = losses(inputs.model, retain).sum(), losses(inputs.model, forget).sum()
            return weight * kept - lost

        return loss

    return own_methods["difference"]


# -- trained ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_a_trained_method_is_torchs_own_loop(arch, difference, tiny_model, tiny_tokenizer):
    ours, theirs = tiny_model(arch), tiny_model(arch)
    given = {"examples": FACTS, "retain": RETAIN, "tokenizer": tiny_tokenizer}
    result = unlearning.apply("difference", ours, request=REQUEST, weight=0.5, **given)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01)
    forget, kept = (batch_of(tiny_tokenizer, part) for part in (FACTS[:3], RETAIN))
    for _ in range(3):
        optimizer.zero_grad()
        value = 0.5 * losses(theirs, kept).sum() - losses(theirs, forget).sum()
        value.backward()
        optimizer.step()
    start = {n: p.detach() for n, p in tiny_model(arch).named_parameters()}
    moved, expected = ({n: p.detach() - start[n] for n, p in m.named_parameters()} for m in (ours, theirs))
    assert error(moved, expected) < 1e-4
    assert result.told == {"step": 3, "loss": pytest.approx(value.item(), rel=1e-4)}
    assert result.norm == pytest.approx(norm_of(expected), rel=1e-4)
    assert result.alpha is None
    assert all(p.grad is None for p in ours.parameters())
    result.revert()
    assert all(torch.equal(p, start[n]) for n, p in ours.named_parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_one_walk_passes_every_stop(optimizer, difference, trained):
    options = {"retain": RETAIN, "optimizer": optimizer, "batch_size": 2, "layers": ["block.1", "norms"]}
    start, there = trained.weights(), {}
    for point in trained.path("difference", steps=[2, 4, 1], **options):
        there[point.told["step"]] = trained.weights()
        assert {n for n, t in trained.weights().items() if not torch.equal(t, start[n])} <= set(point.touched)
    assert list(there) == [1, 2, 4]
    assert same(trained.weights(), start)
    for steps, weights in there.items():
        result = trained.apply("difference", steps=steps, **options)
        assert same(trained.weights(), weights)
        result.revert()
    trained.apply("difference", steps=2, seed=1, **options)
    assert not same(trained.weights(), there[2])


def test_settings_are_options(difference):
    own = {"lr": 0.01, "steps": 3, "optimizer": "sgd", "weight": 1.0}
    own |= {"batch_size": 8, "loss_on": "answer", "seed": 0, "lora": 0, "until": None}
    assert difference.options == own


def test_what_a_trained_method_refuses(difference, trained):
    start = trained.weights()
    for error_type, match, changes in (
        (MethodError, "needs retain=", {"retain": None}),
        (MethodError, "no fixed direction that alpha= could scale", {"alpha": 1.0}),
        (MethodError, "steps=0; use whole numbers from 1", {"steps": 0}),
        (MethodError, "optimizer='adam'; use adamw or sgd", {"optimizer": "adam"}),
        (LayerError, "'transformer.wte.weight' is tied.*name 'embedding'", {"layers": "embedding.input"}),
        (DivergenceError, "has a loss of nan at step 1", {"weight": float("nan")}),
        (DivergenceError, "is not finite at step 1", {"lr": 1e38, "weight": 1e9, "steps": 1}),
    ):
        with pytest.raises(error_type, match=match):
            trained.apply("difference", **{"retain": RETAIN, **changes})
        assert same(trained.weights(), start)


# -- wrapped ----------------------------------------------------------------------------------------------


@pytest.fixture
def guard(own_methods):
    """A prompt before every prompt, as keys and values that a hook puts into the forward pass."""

    @unlearning.wrapped(title="guard", family="prompt", needs=("tokenizer",))
    def guard(inputs, *, prompt="Dave is"):
        model, tokens = inputs.model, torch.tensor([inputs.tokenizer(prompt)["input_ids"]])

        def prefixed(_module, args, given):
            if "past_key_values" in given:
                return None
            rows, ahead = len(given["input_ids"]), tokens.shape[1]
            cache = model.base_model(tokens.expand(rows, -1), past_key_values=DynamicCache(), use_cache=True)
            mask = torch.cat([torch.ones(rows, ahead, dtype=torch.long), given["attention_mask"]], 1)
            places = given["position_ids"] + ahead
            more = {"attention_mask": mask, "position_ids": places, "past_key_values": cache.past_key_values}
            return args, {**given, **more}

        return model.register_forward_pre_hook(prefixed, with_kwargs=True).remove

    return own_methods["guard"]


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_a_wrapped_method_changes_outputs_and_no_weight(arch, guard, tiny_model, tiny_tokenizer):
    model = tiny_model(arch)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    given = {"request": REQUEST, "tokenizer": tiny_tokenizer}
    batch = batch_of(tiny_tokenizer, FACTS)
    plain = losses(model, batch)
    result = unlearning.apply("guard", model, **given)
    guarded = losses(model, batch)
    assert result.norm == 0
    assert all(torch.equal(p, start[n]) for n, p in model.named_parameters())
    result.revert()
    result.revert()
    assert torch.equal(losses(model, batch), plain)
    for example, value in zip(FACTS, guarded, strict=True):  # the prompt written out
        rows = batch_of(tiny_tokenizer, [example])
        ahead = torch.tensor([tiny_tokenizer("Dave is")["input_ids"]])
        rows = type(rows)(
            rows.ids,
            torch.cat([ahead, rows.input_ids], 1),
            torch.cat([torch.ones_like(ahead), rows.attention_mask], 1),
            torch.cat([torch.full_like(ahead, -100), rows.labels], 1),
        )
        assert losses(model, rows)[0].item() == pytest.approx(value.item(), abs=1e-4)
    assert (guarded - plain).abs().max() > 0.01
    with pytest.raises(MethodError, match="moves no weight"):
        result.delta()


def test_a_prompt_is_gone_after_a_path(guard, trained):
    batch = batch_of(trained.tokenizer, FACTS)
    plain = losses(trained.model, batch)
    for _ in trained.path("guard", prompt="Anna was"):
        assert not torch.equal(losses(trained.model, batch), plain)
    assert torch.equal(losses(trained.model, batch), plain)


# -- a user's own -----------------------------------------------------------------------------------------


def test_the_readmes_example_runs(own_methods, trained):
    """As it stands there, on a tiny model."""
    section = README.read_text().split("## Your own method", 1)[1]
    code = re.search(r"```python\n(.*?)```", section, re.S).group(1)
    assert len(code.splitlines()) <= 16
    kept = trained.weights()
    given = {"model": trained.model, "tokenizer": trained.tokenizer, "facts": FACTS, "forget": IDS[:3]}
    space = {"__name__": "own", **given}
    exec(code, space)
    assert space["step"].norm > 0
    assert own_methods["my_difference"].options["weight"] == 1.0
    assert same(trained.weights(), kept)
