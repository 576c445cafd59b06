"""What models say: greedily, against a loop over single rows without padding or cache, and by chance."""

import copy

import pytest
import torch
from architectures import architecture
from tokenizers.normalizers import NFC, Lowercase
from worlds import with_marker

from unlearnkit import metrics
from unlearnkit.batching import encode
from unlearnkit.data import Example
from unlearnkit.errors import DataError, DivergenceError
from unlearnkit.metrics import generation

ROWS = [[40, 50, 60, 70, 80, 90], [91, 55], [33, 44, 200], [91, 55]]  # one of them twice
CACHED, PLAIN = ("gpt2", "llama", "qwen3", "gemma2", "opt"), ("mamba", "rwkv", "bloom", "openai-gpt", "ctrl")


def one_by_one(model, row, steps):
    tokens = list(row)
    for _ in range(steps):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        tokens.append(logits.argmax().item())
    return tokens[len(row) :]


@pytest.mark.parametrize("name", [*CACHED, *PLAIN])
def test_rows_of_any_length_are_continued_as_each_alone(name):
    model = architecture(name)
    with torch.no_grad():
        said = generation.greedy(model, ROWS, 4)
    assert said == [one_by_one(model, row, 4) for row in ROWS]


def test_usual_models_are_run_in_batches_and_others_are_not():
    usual = ("gpt2", "llama", "qwen3")
    with torch.no_grad():
        assert [generation._can_batch(architecture(name)) for name in usual] == [True] * 3
        assert not generation._can_batch(architecture("mamba"))


def test_what_is_said_holds_nothing_of_the_prompt(monkeypatch, tiny_model):
    """A model that is right says the answer, also where its first token begins within the prompt."""
    tokenizer, model = with_marker(), tiny_model("llama")
    ids = tokenizer.convert_tokens_to_ids
    for prompt, answer, tokens in (("小明在", "北京", ["在北", "京"]), ("Dave is in", "Pim", ["▁Pim"])):
        monkeypatch.setattr(generation, "greedy", lambda *_, t=tokens: [ids(t)])
        assert metrics.continuations(model, tokenizer, [Example("a", "", prompt, answer, "forget")]) == [
            answer
        ]


@pytest.mark.parametrize(
    ("normalizer", "answer"),
    [(None, "a Small town"), (Lowercase(), "a Small town"), (NFC(), "a cafe\u0301"), (None, "a cafe\u0301")],
)
def test_an_answer_is_recalled_as_the_tokenizer_gives_it_back(
    normalizer, answer, monkeypatch, tiny_model, tiny_tokenizer
):
    tokenizer, example = copy.deepcopy(tiny_tokenizer), Example("a", "", "Dave was born in", answer, "forget")
    if normalizer:
        tokenizer.backend_tokenizer.normalizer = normalizer
    tokens, labelled = encode(tokenizer, example.prompt, answer, "answer")
    said = tokens[labelled.index(True) :]
    for row, expected in ((said, True), ([*said[:-1], said[0]], False), ([0] * len(said), False)):
        monkeypatch.setattr(generation, "greedy", lambda *_, row=row: [row])
        assert metrics.recalls(tiny_model(), tokenizer, [example]) == [expected]


@pytest.mark.parametrize("name", ["gpt2", "rwkv"])
def test_words_are_drawn_as_often_as_they_are_likely(name):
    """Of 4,000 draws of a first token: frequencies within five standard errors of the probabilities."""
    model, count = architecture(name), 4000
    with torch.no_grad():
        likely = model(input_ids=torch.tensor([ROWS[1]])).logits[0, -1].softmax(-1)
        draws = torch.rand(count, 1, generator=torch.Generator().manual_seed(3))
        said = torch.tensor(generation.greedy(model, [ROWS[1]] * count, 1, draws)).flatten()
    seen = torch.bincount(said, minlength=len(likely)) / count
    error = (likely * (1 - likely) / count).sqrt()
    assert ((seen - likely).abs() <= 5 * error + 1e-3).all()


@pytest.fixture
def speaker(tiny_model, tiny_tokenizer):
    return tiny_model("gpt2"), tiny_tokenizer


def test_samples_go_by_their_seed_and_are_those_of_their_example(speaker):
    prompts = ("Dave was born in", "Anna keeps", "The river")
    examples = [Example(p, "", p, "a small town", "forget") for p in prompts]
    said = metrics.samples(*speaker, examples, 3, seed=1)
    assert [len(texts) for texts in said] == [3, 3, 3]
    assert said == metrics.samples(*speaker, examples, 3, seed=1)
    assert said != metrics.samples(*speaker, examples, 3, seed=2)


def test_a_model_without_doubt_says_what_is_likeliest(speaker, monkeypatch):
    """With all logits a million times as large, chance has no say."""
    model, tokenizer = speaker
    selected = generation.forward.selected

    def sure(*what):
        output = selected(*what)
        output.logits = output.logits * 1e6
        return output

    examples = [Example(p, "", p, "a small town", "forget") for p in ("Dave was born in", "Anna keeps")]
    expected = metrics.continuations(model, tokenizer, examples)
    monkeypatch.setattr(generation.forward, "selected", sure)
    assert metrics.samples(model, tokenizer, examples, 2) == [[text, text] for text in expected]


def test_any_prompt_is_gone_on_with(speaker):
    model, tokenizer = speaker
    example = Example("a", "", "Dave was born in", "Larkhollow", "forget")
    (answer,) = metrics.continuations(model, tokenizer, [example])
    tokens = len(tokenizer(" Larkhollow")["input_ids"])
    assert metrics.spoken(model, tokenizer, example.prompt, tokens) == answer
    drawn = [metrics.spoken(model, tokenizer, "Dave", 8, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(DataError, match="prompt is empty"):
        metrics.spoken(model, tokenizer, "", 8)


def test_a_model_that_diverged_draws_nothing(speaker):
    model, tokenizer = speaker
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(float("nan"))
    with pytest.raises(DivergenceError, match="not finite"):
        metrics.spoken(model, tokenizer, "Dave", 8, seed=0)


def test_a_prompt_that_is_drawn_many_times_goes_through_the_model_once(speaker):
    model, _ = speaker
    prompts, seen = ("Dave was born in", "Anna keeps"), []
    examples = [Example(p, "", p, "a small town", "forget") for p in prompts]
    metrics.continuations(*speaker, examples)  # before its first batch a model is tried
    hook = model.get_input_embeddings().register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape))
    metrics.samples(*speaker, examples, 5)
    hook.remove()
    assert seen[0][0] == 2
    assert {tuple(shape) for shape in seen[1:]} == {(10, 1)}
