"""Continuations, against a plain greedy loop."""

import torch
from worlds import ANSWERS as FACTS

from unlearnkit import metrics
from unlearnkit.batching import encode


def test_continuations_are_the_greedy_loop(model, tiny_tokenizer):
    said = metrics.continuations(model, tiny_tokenizer, FACTS, batch_size=3)
    for example, text in zip(FACTS, said, strict=True):
        tokens, labelled = encode(tiny_tokenizer, example.prompt, example.answer, "answer")
        count = sum(labelled)
        tokens = tokens[:-count]
        for _ in range(count):  # no cache, no padding
            with torch.no_grad():
                tokens = [*tokens, model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax().item()]
        new = tokens[-count:]
        end = tiny_tokenizer.eos_token_id
        new = new[: new.index(end)] if end in new else new
        assert text == tiny_tokenizer.decode(new).strip()


def test_continuations_ignore_generation_settings_and_stop_at_the_end(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", False)
    plain = metrics.continuations(model, tiny_tokenizer, FACTS)
    model.generation_config.update(do_sample=True, temperature=9.0, repetition_penalty=5.0)
    assert metrics.continuations(model, tiny_tokenizer, FACTS) == plain
    # The final norm's output becomes constant, and the head prefers the end of text to everything.
    model.transformer.ln_f.weight.data.zero_()
    model.transformer.ln_f.bias.data.fill_(1)
    model.lm_head.weight.data.zero_()[tiny_tokenizer.eos_token_id] = 1
    assert metrics.continuations(model, tiny_tokenizer, FACTS) == [""] * 5
