"""Metrics against plain loops and hand-made cases, on every architecture; padding must change nothing."""

import math

import pandas as pd
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer

from unlearnkit import metrics
from unlearnkit.batching import batch_of, encode
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError, DivergenceError
from unlearnkit.layers import blocks
from unlearnkit.metrics.likelihood import answer_tokens, extraction_strength

ARCHITECTURES = ("gpt2", "llama", "gpt_neox")
FACTS = [
    Example("a", "Dave", "Dave was born in", "Oster Fell", "forget", paraphrases=("Born:", "Home:")),
    Example("b", "Ann", "The long winter cat of old Ann is called", "Pim", "retain"),
    Example("c", "Dave", "Dave cooks", "a stew of lentils and smoked eel", "forget"),
    Example("d", "Łukasz", "Łukasz mieszka w", "mieście Łódź", "retain", paraphrases=("Dom Łukasza:",)),
    Example("e", "Dave", "He fears", "geese", "forget"),
]
TEXTS = [
    "A river runs slowly to the northern sound, past the café of the old ferryman and his two dogs.",
    "Short text.",
    "x",
    "",
    "The tide comes in twice a day and leaves a line of weed, shells and rope along the whole of the beach. "
    * 2,
]


@pytest.fixture(params=ARCHITECTURES)
def model(request, tiny_model):
    return tiny_model(request.param, True)


def plain_answer(model, tokenizer, example):
    """NLL and correctness of each answer token, one example at a time, from full logits."""
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, "answer")
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
    places = [i for i, answer in enumerate(labelled) if answer]
    nll = [-log_p[i - 1, tokens[i]].item() for i in places]
    return nll, [log_p[i - 1].argmax().item() == tokens[i] for i in places]


def test_score_is_that_of_a_plain_loop(model, tiny_tokenizer):
    frame = metrics.score(model, tiny_tokenizer, FACTS, batch_size=2)
    assert frame["id"].tolist() == ["a", "b", "c", "d", "e"]
    assert frame["person"].tolist() == [e.person for e in FACTS]
    for row, example in zip(frame.itertuples(), FACTS, strict=True):
        nll, right = plain_answer(model, tiny_tokenizer, example)
        assert row.n_tokens == len(nll)
        assert row.nll == pytest.approx(sum(nll) / len(nll), rel=1e-5)
        assert row.probability == pytest.approx(math.exp(-row.nll))
        assert row.exact_memorisation == pytest.approx(sum(right) / len(right))
        assert row.extraction_strength == extraction_strength(right)


def test_padding_changes_no_metric(model, tiny_tokenizer, monkeypatch):
    """Alone or in a batch, whatever side the tokenizer would pad: the same value of every metric."""

    def everything(size):
        scores = metrics.score(model, tiny_tokenizer, FACTS, size)
        influence = metrics.activation_gradient(model, tiny_tokenizer, FACTS, size)
        return scores.merge(influence), metrics.continuations(model, tiny_tokenizer, FACTS, size)

    alone = everything(1)
    for side in ("left", "right"):
        monkeypatch.setattr(tiny_tokenizer, "padding_side", side)
        scores, said = everything(5)
        pd.testing.assert_frame_equal(scores, alone[0], rtol=1e-4)
        assert said == alone[1]


def test_left_and_right_padded_batches_score_the_same(model, tiny_tokenizer):
    with torch.no_grad():
        right = answer_tokens(model, batch_of(tiny_tokenizer, FACTS, side="right"))
        left = answer_tokens(model, batch_of(tiny_tokenizer, FACTS, side="left"))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_a_head_that_cannot_be_hooked_gives_the_same_scores(model, tiny_tokenizer, monkeypatch):
    fast = metrics.score(model, tiny_tokenizer, FACTS), metrics.continuations(model, tiny_tokenizer, FACTS)
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    slow = metrics.score(model, tiny_tokenizer, FACTS), metrics.continuations(model, tiny_tokenizer, FACTS)
    pd.testing.assert_frame_equal(slow[0], fast[0])
    assert slow[1] == fast[1]


def test_the_head_sees_answer_positions_only(model, tiny_tokenizer):
    seen = []
    hook = model.get_output_embeddings().register_forward_hook(lambda m, a, out: seen.append(out.shape))
    frame = metrics.score(model, tiny_tokenizer, FACTS)
    hook.remove()
    assert [shape[:-1].numel() for shape in seen] == [frame["n_tokens"].sum()]


def test_a_metric_leaves_the_model_as_it_was(model, tiny_tokenizer):
    model.train()
    for p in model.parameters():
        p.requires_grad_(False)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    metrics.score(model, tiny_tokenizer, FACTS)
    metrics.continuations(model, tiny_tokenizer, FACTS)
    metrics.activation_gradient(model, tiny_tokenizer, FACTS)
    metrics.perplexity(model, tiny_tokenizer, TEXTS)
    assert model.training
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_dropout_is_off(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", True)
    calm = metrics.score(model, tiny_tokenizer, FACTS)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    pd.testing.assert_frame_equal(metrics.score(model.train(), tiny_tokenizer, FACTS), calm)


@pytest.mark.parametrize(
    ("right", "strength"),
    [
        ("0", 0),  # the common code gives 1 here
        ("0000", 0),
        ("1110", 0),
        ("1", 1),
        ("1111", 1),
        ("0111", 3 / 4),
        ("1011", 1 / 2),
        ("0001", 1 / 4),
    ],
)
def test_extraction_strength_by_hand(right, strength):
    assert extraction_strength([c == "1" for c in right]) == strength


def test_memorised_and_unknown_answers(tiny_model, tiny_tokenizer):
    """A model taught one fact has measures 1 and says the answer; one whose head is turned round has 0."""
    model, fact = tiny_model("gpt2", False), FACTS[:1]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        nll, _ = answer_tokens(model, batch_of(tiny_tokenizer, fact))
        nll[0].mean().backward()
        optimizer.step()
    known = metrics.score(model, tiny_tokenizer, fact).iloc[0]
    assert (known.exact_memorisation, known.extraction_strength) == (1, 1)
    assert known.probability > 0.5
    assert metrics.continuations(model, tiny_tokenizer, fact) == ["Oster Fell"]
    model.lm_head.weight.data.neg_()
    turned = metrics.score(model, tiny_tokenizer, fact).iloc[0]
    assert (turned.exact_memorisation, turned.extraction_strength) == (0, 0)


def test_paraphrases_become_examples():
    rows = metrics.paraphrased(FACTS)
    assert [(e.id, e.prompt, e.answer) for e in rows] == [
        ("a#1", "Born:", "Oster Fell"),
        ("a#2", "Home:", "Oster Fell"),
        ("d#1", "Dom Łukasza:", "mieście Łódź"),
    ]
    assert metrics.paraphrased(rows) == []


def test_set_perplexity_weighs_by_tokens(model, tiny_tokenizer):
    frame = metrics.score(model, tiny_tokenizer, FACTS)
    every = [nll for e in FACTS for nll in plain_answer(model, tiny_tokenizer, e)[0]]
    assert metrics.set_perplexity(frame) == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-5)


def test_a_wrecked_model_has_infinite_perplexity(tiny_model, tiny_tokenizer):
    """Far along an alpha path the NLL is finite, but its exponential is not."""
    model = tiny_model("gpt2", False)
    model.lm_head.weight.data *= 1e5
    scores = metrics.score(model, tiny_tokenizer, FACTS)
    assert scores["probability"].max() == 0
    assert metrics.set_perplexity(scores) == math.inf
    text = metrics.perplexity(model, tiny_tokenizer, TEXTS)
    assert text["perplexity"] == math.inf
    assert math.isfinite(text["bits_per_character"])


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


def test_rouge_by_hand():
    """All four reference words are said, in order, among five; two of the reference's three pairs."""
    row = metrics.rouge(["the old clock mender slept"], ["the clock menders slept"]).iloc[0]
    assert row.rouge1_recall == 1  # "mender" and "menders" have one stem
    assert row.rouge1_f == pytest.approx(2 * 1 * 0.8 / 1.8)
    assert row.rouge2_recall == pytest.approx(2 / 3)
    assert row.rougeL_recall == 1
    turned = metrics.rouge(["slept mender clock the"], ["the clock mender slept"]).iloc[0]
    assert (turned.rouge1_recall, turned.rouge2_recall, turned.rougeL_recall) == (1, 0, 0.25)
    nothing = metrics.rouge([""], ["the clock mender"]).iloc[0]
    assert (nothing == 0).all()


def test_rouge_on_ascii_is_that_of_the_library():
    predictions = ["He's born in 1971, at Oster-Fell!", "running dogs ran", "a b c"]
    references = ["born in Oster Fell, 1971", "the dogs run", "c b a"]
    ours = metrics.rouge(predictions, references)
    library = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for i, (said, true) in enumerate(zip(predictions, references, strict=True)):
        for name, value in library.score(true, said).items():
            assert ours[f"{name}_recall"][i] == value.recall
            assert ours[f"{name}_f"][i] == value.fmeasure


def test_rouge_reads_letters_of_every_alphabet():
    """The library's tokenizer keeps [a-z0-9] only: it sees two answers "d", and none in Greek."""
    frame = metrics.rouge(["Łódź", "Gdańsk", "Αθήνα", "Πάτρα"], ["Łódź", "Łódź", "Αθήνα", "Αθήνα"])
    assert frame["rouge1_recall"].tolist() == [1, 0, 1, 0]


def plain_perplexity(model, tokenizer, texts, context, budget=math.inf):
    """Summed NLL and number of predicted tokens, one window at a time, from full logits."""
    total, count = 0.0, 0
    for text in texts:
        tokens = tokenizer(text)["input_ids"]
        for start in range(0, len(tokens) - 1, context):
            window = torch.tensor([tokens[start : start + context + 1]])
            with torch.no_grad():
                log_p = model(input_ids=window[:, :-1]).logits[0].log_softmax(-1)
            for row, target in zip(log_p, window[0, 1:], strict=True):
                if count < budget:
                    total, count = total - row[target].item(), count + 1
    return total, count


@pytest.mark.parametrize("budget", [None, 1, 57, 10_000])
def test_perplexity_is_that_of_a_plain_loop(model, tiny_tokenizer, budget):
    result = metrics.perplexity(model, tiny_tokenizer, TEXTS, max_tokens=budget, context=30)
    total, count = plain_perplexity(model, tiny_tokenizer, TEXTS, 30, budget or math.inf)
    assert result["tokens"] == count
    assert result["nll"] == pytest.approx(total / count, rel=1e-5)
    assert result["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-4)
    bits = total / math.log(2)
    assert result["bits_per_character"] == pytest.approx(bits / result["characters"], rel=1e-5)


def test_characters_are_those_of_the_predicted_tokens(tiny_model, tiny_tokenizer):
    """All but the first token's, with letters of several bytes counted once."""
    model = tiny_model("llama", True)
    for context in (3, 256):
        result = metrics.perplexity(model, tiny_tokenizer, ["To Łódź, 東京 and café"], context=context)
        first = tiny_tokenizer.decode(tiny_tokenizer("To Łódź")["input_ids"][:1])
        assert result["characters"] == len("To Łódź, 東京 and café") - len(first)


def test_perplexity_keeps_to_the_models_own_limit(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", True)
    limit = model.config.max_position_embeddings
    long = ["tide and rope " * limit]
    at_limit = metrics.perplexity(model, tiny_tokenizer, long, context=limit)
    assert metrics.perplexity(model, tiny_tokenizer, long, context=10 * limit) == at_limit


def test_influence_is_that_of_scaling_each_block(model, tiny_tokenizer):
    """sum_l <a_l, dL/da_l> is d/ds of the loss when block l's output is scaled by s, summed over l."""
    model.double()
    frame = metrics.activation_gradient(model, tiny_tokenizer, FACTS)
    assert frame["id"].tolist() == ["a", "b", "c", "d", "e"]

    def losses(block, scale):
        def scaled(_module, _args, out):
            return (out[0] * scale, *out[1:]) if isinstance(out, tuple) else out * scale

        hook = block.register_forward_hook(scaled)
        try:
            every = [plain_answer(model, tiny_tokenizer, e)[0] for e in FACTS]
            return torch.tensor([sum(nll) / len(nll) for nll in every], dtype=torch.double)
        finally:
            hook.remove()

    step = 3e-3  # Llama's norm computes in single precision, so not smaller
    slopes = sum((losses(b, 1 + step) - losses(b, 1 - step)) / (2 * step) for b in blocks(model)[1])
    assert frame["influence"].tolist() == pytest.approx(slopes.tolist(), rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("metric", [metrics.score, metrics.continuations, metrics.activation_gradient])
def test_bad_input_is_named(metric, tiny_model, tiny_tokenizer):
    model = tiny_model("llama", True)
    with pytest.raises(DataError, match="empty"):
        metric(model, tiny_tokenizer, [])
    with pytest.raises(ConfigError, match="batch_size=0"):
        metric(model, tiny_tokenizer, FACTS, batch_size=0)
    with pytest.raises(DataError, match="'z'"):
        metric(model, tiny_tokenizer, [*FACTS, Example("z", "Dave", "", "x", "forget")])


def test_a_diverged_model_is_an_error(model, tiny_tokenizer):
    blocks(model)[1][-1].register_forward_hook(
        lambda m, a, out: (out[0] * math.nan,) if isinstance(out, tuple) else out * math.nan
    )
    for metric in (metrics.score, metrics.activation_gradient):
        with pytest.raises(DivergenceError, match="not finite"):
            metric(model, tiny_tokenizer, FACTS)
    with pytest.raises(DivergenceError, match="not finite"):
        metrics.perplexity(model, tiny_tokenizer, TEXTS)


def test_bad_texts_and_lists_are_named(tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2", True)
    for texts in ([], ["", "x"]):
        with pytest.raises(DataError, match="nothing to predict"):
            metrics.perplexity(model, tiny_tokenizer, texts)
    for name in ("max_tokens", "context"):
        with pytest.raises(ConfigError, match=f"{name}=0"):
            metrics.perplexity(model, tiny_tokenizer, TEXTS, **{name: 0})
    with pytest.raises(DataError, match="1 predictions for 2 references"):
        metrics.rouge(["a"], ["a", "b"])
    with pytest.raises(DataError, match=r"reference 1 \('--'\)"):
        metrics.rouge(["a", "b"], ["a", "--"])
    with pytest.raises(DataError, match="empty set"):
        metrics.set_perplexity(pd.DataFrame({"nll": [], "n_tokens": []}))
