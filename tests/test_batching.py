"""Batches and losses: padding changes nothing, the boundary of prompt and answer is exact."""

import pytest
import torch
from transformers import PreTrainedTokenizer
from worlds import FACTS, with_marker

from unlearnkit import data, models
from unlearnkit.batching import IGNORED, across, batch_of, batches, collate, encode, example_loss, token_nll
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
    parts = [losses(model, b) for b in batches(tiny_tokenizer, FACTS, 3, loss_on)]
    assert torch.allclose(torch.cat(parts), alone, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize("style", ["normalizer", "first", "always"])
def test_a_space_marker_is_no_token_of_its_own(style):
    """Llama's way of writing spaces: the tokens are those of the text as a whole, known from its merges."""
    tokenizer = with_marker(style)
    for prompt, answer, head, tail in (
        ("Dave is in", "Pim", "<s> ▁Dave ▁ i s ▁in", "▁Pim"),
        ("Dave is in", "19", "<s> ▁Dave ▁ i s ▁in", "▁ 1 9"),  # no merge of a marker with a digit
        ("小明", "北京", "<s> ▁ 小 明", "北 京"),  # no space, and so no marker
        ("小明在", "北京", "<s> ▁ 小 明", "在北 京"),  # a token across the cut is the answer's
        ("Dave is in", "", "<s> ▁Dave ▁ i s ▁in", ""),
        ("", "Pim", "", "▁Pim"),
    ):
        tokens, labelled = encode(tokenizer, prompt, answer, "answer")
        assert tokenizer.convert_ids_to_tokens(tokens) == [*head.split(), *tail.split()]
        expected = [False] * len(head.split()) + [True] * len(tail.split())
        assert labelled == [False, *expected[1:]]
        assert encode(tokenizer, prompt, answer, "text") == (tokens, [False] + [True] * (len(tokens) - 1))
    assert across(tokenizer, "小明在", "北京") == "在"
    assert across(tokenizer, "小明", "北京") == across(tokenizer, "Dave is in", "Pim") == ""


def as_before(tokenizer, prompt, answer):
    """Tokens of prompt and answer apart, which is right where no token can lie across a space."""
    return tokenizer(prompt)["input_ids"], tokenizer(f" {answer}")["input_ids"]


def require_as_before(tokenizer, seeds):
    for seed in seeds:
        for e in (e for e in [*data.dave(seed=seed), *data.holdout()]):
            head, tail = as_before(tokenizer, e.prompt, e.answer)
            found = encode(tokenizer, e.prompt, e.answer, "answer")
            assert found == (head + tail, [False] * len(head) + [True] * len(tail)), (seed, e.id)
            assert across(tokenizer, e.prompt, e.answer) == ""


def test_byte_level_tokens_of_the_studys_facts_are_those_of_prompt_and_answer_apart(tiny_tokenizer):
    require_as_before(tiny_tokenizer, range(3))


@pytest.mark.smollm2
@pytest.mark.parametrize("name", ["smollm2-135m", "gpt2-tiny"])
def test_the_models_own_tokenizers_have_the_same(name):
    _, tokenizer = models.load(name)
    require_as_before(tokenizer, range(4))


class Letters(PreTrainedTokenizer):
    """A tokenizer without offsets: a token a character, or two where a pair is named; closed by "</s>"."""

    def __init__(self, pairs=(), **given):
        self.pairs = pairs
        super().__init__(eos_token="</s>", **given)

    vocab_size = 0x3000

    def get_vocab(self):
        return {}

    def _tokenize(self, text, **_):
        for pair in self.pairs:
            text = text.replace(pair, f"\0{pair}\0")
        parts = text.split("\0")
        return [t for part in parts for t in ([part] if part in self.pairs else part)]

    def _convert_token_to_id(self, token):
        return sum(map(ord, token))

    def build_inputs_with_special_tokens(self, first, second=None):
        return [*first, self.eos_token_id]

    def get_special_tokens_mask(self, first, second=None, already_has_special_tokens=False):
        return [0] * len(first) + [1]


def test_a_tokenizer_without_offsets_is_cut_where_the_prompts_own_tokens_end():
    assert not Letters().is_fast
    assert encode(Letters(), "ab", "c", "answer") == ([97, 98, 32, 99], [False, False, True, True])
    joined = Letters(pairs=["b "])
    with pytest.raises(
        DataError, match=r"Letters tells no offsets, .* 'ab' .* once 'c' follows.*fast version"
    ):
        encode(joined, "ab", "c", "answer")


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
