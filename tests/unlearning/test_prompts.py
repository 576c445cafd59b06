"""Texts that the model reads first: the same as if they were written out, in batches and in generation."""

import dataclasses

import pytest
import torch
from unlearning_helpers import FACTS, REQUEST, RETAIN
from worlds import with_marker

from unlearnkit import metrics, unlearning
from unlearnkit.batching import batch_of
from unlearnkit.errors import MethodError
from unlearnkit.forward import losses

SHAPES = [("gpt2", True), ("llama", False), ("gpt_neox", True)]
TOLD = [dataclasses.replace(e, contradiction="a wrong one") for e in FACTS]
METHODS = ("prompt_guard", "in_context")


def text_of(name):
    if name == "prompt_guard":
        return "Nothing is known about Dave: not where, when, what or whom."
    false = [f"{e.prompt} a wrong one" for e in FACTS[:3]]
    return ". ".join([*false, *(e.text for e in RETAIN)]) + ". "


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("arch", SHAPES)
@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_text_written_out(name, arch, side, tiny_model, tiny_tokenizer):
    model = tiny_model(arch[0], tied=arch[1])
    options = {"request": REQUEST, "examples": TOLD, "tokenizer": tiny_tokenizer, "retain": RETAIN}
    batch = batch_of(tiny_tokenizer, FACTS, side=side)
    with torch.no_grad():
        plain = losses(model, batch)
        result = unlearning.apply(name, model, **options)
        guarded = losses(model, batch)
        result.revert()
        assert torch.equal(losses(model, batch), plain)
        ahead = torch.tensor([tiny_tokenizer(text_of(name))["input_ids"]])
        for example, value in zip(FACTS, guarded.tolist(), strict=True):
            rows = batch_of(tiny_tokenizer, [example])
            whole = type(rows)(
                rows.ids,
                torch.cat([ahead, rows.input_ids], 1),
                torch.cat([torch.ones_like(ahead), rows.attention_mask], 1),
                torch.cat([torch.full_like(ahead, -100), rows.labels], 1),
            )
            assert losses(model, whole)[0].item() == pytest.approx(value, abs=1e-4)
    assert (guarded - plain).abs().max() > 0.01
    assert result.norm == 0


@pytest.mark.parametrize("arch", SHAPES)
def test_the_librarys_own_generation_reads_it_too(arch, tiny_model, tiny_tokenizer):
    """`generate` brings an empty cache of its own."""
    model = tiny_model(arch[0], tied=arch[1]).eval()
    how = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    how |= {"output_logits": True, "return_dict_in_generate": True}
    prompt = torch.tensor([tiny_tokenizer(FACTS[0].prompt)["input_ids"]])
    ahead = torch.tensor([tiny_tokenizer(text_of("prompt_guard"))["input_ids"]])
    written = model.generate(torch.cat([ahead, prompt], 1), **how)
    options = {"request": REQUEST, "examples": TOLD, "tokenizer": tiny_tokenizer}
    result = unlearning.apply("prompt_guard", model, **options)
    said = model.generate(prompt, **how)
    result.revert()
    assert said.sequences[0, prompt.shape[1] :].equal(written.sequences[0, -len(said.logits) :])
    torch.testing.assert_close(torch.cat(said.logits), torch.cat(written.logits), atol=1e-4, rtol=0)


@pytest.mark.parametrize("arch", SHAPES)
def test_what_it_says_is_what_it_would_say(arch, tiny_model, tiny_tokenizer):
    """Greedy, with the cache and in batches, against whole passes over the written-out text."""
    model = tiny_model(arch[0], tied=arch[1])
    options = {"request": REQUEST, "examples": TOLD, "tokenizer": tiny_tokenizer}
    result = unlearning.apply("prompt_guard", model, **options)
    said = metrics.continuations(model, tiny_tokenizer, FACTS)
    result.revert()
    ahead = tiny_tokenizer(text_of("prompt_guard"))["input_ids"]
    for example, ours in zip(FACTS, said, strict=True):
        tokens = ahead + tiny_tokenizer(example.prompt)["input_ids"]
        count = len(tiny_tokenizer(example.text)["input_ids"]) - len(tokens) + len(ahead)
        new = []
        for _ in range(count):
            with torch.no_grad():
                new.append(model(torch.tensor([tokens + new])).logits[0, -1].argmax().item())
        end = new.index(0) if 0 in new else len(new)
        assert tiny_tokenizer.decode(new[:end], skip_special_tokens=True).strip() == ours


def test_what_closes_a_text_is_not_in_the_prefix(trained, monkeypatch):
    """Some tokenizers end each text with a token, after which the prompt would begin anew."""
    closing, read = with_marker(), []
    base = type(trained.model.base_model)
    plain = base.forward

    def watched(self, *args, **given):
        read.append(args[0] if args else given["input_ids"])
        return plain(self, *args, **given)

    monkeypatch.setattr(base, "forward", watched)
    trained.apply("prompt_guard", tokenizer=closing, text="Dave", examples=FACTS[:1], request="f0")
    assert closing("Dave")["input_ids"][-1] == 2
    assert read[0].tolist() == [closing("Dave")["input_ids"][:-1]]


def test_what_they_refuse(trained):
    start = trained.weights()
    for match, name, changes in (
        ("'f0' has none", "in_context", {"examples": FACTS}),
        ("no option 'alpha'|no fixed direction", "prompt_guard", {"alpha": 1.0}),
        ("are more than the model's 256 positions", "prompt_guard", {"text": "a b c d " * 80}),
    ):
        with pytest.raises(MethodError, match=match):
            trained.apply(name, **changes)
    assert all(torch.equal(t, start[n]) for n, t in trained.weights().items())
