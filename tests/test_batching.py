"""Batches and losses: padding changes nothing, the boundary of prompt and answer is exact."""

import pytest
import torch
from worlds import FACTS

from unlearnkit.batching import IGNORED, batch_of, batches, collate, encode, example_loss, token_nll
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError

ARCHS = ["gpt2", "llama", "gpt_neox"]


def losses(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return example_loss(model(**batch.inputs()).logits, batch.labels)


@pytest.mark.parametrize("loss_on", ["text", "answer"])
@pytest.mark.parametrize("arch", ARCHS)
def test_padding_changes_no_loss(arch, loss_on, tiny_model, tiny_tokenizer):
    """Alone, right-padded or left-padded, and whatever the batch mates: one loss."""
    model = tiny_model(arch)
    alone = torch.cat([losses(model, batch_of(tiny_tokenizer, [e], loss_on)) for e in FACTS])
    assert alone.std() > 0.01
    for side in ("right", "left"):
        together = losses(model, batch_of(tiny_tokenizer, FACTS, loss_on, side))
        assert torch.allclose(together, alone, rtol=1e-5, atol=1e-6), side
        parts = [losses(model, b) for b in batches(tiny_tokenizer, FACTS, 3, loss_on, side)]
        assert torch.allclose(torch.cat(parts), alone, rtol=1e-5, atol=1e-6), side


def test_the_loss_is_the_mean_over_labelled_tokens(tiny_model, tiny_tokenizer):
    """Against a plain loop over the next-token probabilities of the unpadded text."""
    model = tiny_model("gpt2")
    for loss_on in ("text", "answer"):
        together = losses(model, batch_of(tiny_tokenizer, FACTS, loss_on, "left"))
        for example, found in zip(FACTS, together, strict=True):
            prompt = tiny_tokenizer(example.prompt)["input_ids"]
            answer = tiny_tokenizer(" " + example.answer)["input_ids"]
            tokens = prompt + answer
            with torch.no_grad():
                log_p = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
            first = 1 if loss_on == "text" else len(prompt)
            terms = [-log_p[t - 1, tokens[t]].item() for t in range(first, len(tokens))]
            assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("loss_on", ["text", "answer"])
def test_first_token_and_padding_are_never_targets(side, loss_on, tiny_tokenizer):
    facts = [*FACTS, Example("bare", "Dave", "", "Dave was born", "forget")]
    batch = batch_of(tiny_tokenizer, facts, loss_on, side)
    assert batch.ids == tuple(e.id for e in facts)
    assert (batch.labels[batch.attention_mask == 0] == IGNORED).all()
    for row, example in enumerate(facts):
        real = batch.attention_mask[row].bool()
        tokens, labelled = encode(tiny_tokenizer, example.prompt, example.answer, loss_on)
        assert batch.input_ids[row][real].tolist() == tokens
        assert (batch.labels[row][real] != IGNORED).tolist() == labelled
        assert not labelled[0]
        assert batch.position_ids[row][real].tolist() == list(range(len(tokens)))
        counted = batch.labels[row][batch.labels[row] != IGNORED]
        assert counted.tolist() == [t for t, count in zip(tokens, labelled, strict=True) if count]
        assert real.sum() == real.nonzero().max() - real.nonzero().min() + 1  # one stretch,
        assert bool(real[0 if side == "right" else -1])  # at the other side of the padding


def test_prompt_and_answer_keep_their_boundary(tiny_tokenizer):
    tokens, labelled = encode(tiny_tokenizer, "Dave was born in", "Larkhollow", "answer")
    head = tiny_tokenizer("Dave was born in")["input_ids"]
    assert tokens[: len(head)] == head
    assert labelled == [False] * len(head) + [True] * (len(tokens) - len(head))
    assert tiny_tokenizer.decode(tokens) == "Dave was born in Larkhollow"
    whole, counted = encode(tiny_tokenizer, "Dave was born in", "Larkhollow", "text")
    assert whole == tokens
    assert counted == [False] + [True] * (len(tokens) - 1)
    bare, counted = encode(tiny_tokenizer, "", "Larkhollow", "answer")
    assert bare == tiny_tokenizer("Larkhollow")["input_ids"]  # no space before a text without a prompt
    assert counted == [False] + [True] * (len(bare) - 1)


def test_a_closing_token_after_the_prompt_goes():
    """A tokenizer that ends every text with its end token must not put one in the middle."""

    class Closing:
        eos_token_id = 9

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": [len(w) for w in text.split()] + [9] * add_special_tokens}

    assert encode(Closing(), "ab abc", "abcd", "answer") == ([2, 3, 4], [False, False, True])


def test_an_answer_without_a_token_is_named(tiny_tokenizer):
    empty = Example("blank", "Dave", "", "", "forget")
    single = Example("single", "Dave", "", "a", "forget")
    for bad in (empty, single):
        with pytest.raises(DataError, match=f"example {bad.id!r} has no token to predict"):
            batch_of(tiny_tokenizer, [*FACTS[:2], bad], "answer")
    with pytest.raises(ConfigError, match="loss_on='prompt' is unknown: use one of text, answer"):
        batch_of(tiny_tokenizer, FACTS, "prompt")


def test_batches_keep_the_order(tiny_tokenizer):
    found = list(batches(tiny_tokenizer, FACTS, 3))
    assert [b.ids for b in found] == [("f0", "f1", "f2"), ("f3", "f4", "f5"), ("f6",)]
    longest = max(len(encode(tiny_tokenizer, e.prompt, e.answer, "text")[0]) for e in FACTS[:3])
    assert found[0].input_ids.shape == (3, longest)


def test_token_nll_is_zero_where_nothing_is_counted():
    batch = collate([([1, 2, 3], [False, True, False]), ([4, 5], [False, True])], "ab", pad_id=0, side="left")
    logits = torch.zeros(2, 3, 8)
    nll = token_nll(logits, batch.labels)
    uniform = torch.log(torch.tensor(8.0))
    assert torch.allclose(nll, torch.tensor([[uniform, 0.0], [0.0, uniform]]))
    assert torch.allclose(example_loss(logits, batch.labels), uniform.expand(2))
    assert token_nll(logits.half(), batch.labels).dtype == torch.float32
