"""What a model says after a prompt: greedily, always the likeliest token, or drawn at temperature 1."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward
from unlearnkit.batching import across, collate, encode
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError, DivergenceError
from unlearnkit.metrics.forward import by_length

CLOSE = 1e-3  # of the largest logit: two ways to the same one may differ by so much
_in_batches: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@torch.no_grad()
def continuations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 32,
) -> list[str]:
    """What the model says after each prompt, greedily, in as many tokens as the reference answer has.

    In input order; the prompt is not part of it, nor its end where that is in the answer's first token. The
    model's generation settings (sampling, penalties) play no role. An end-of-text token ends the continuation
    early.
    """
    return _said(model, tokenizer, examples, batch_size, [None] * len(examples))


@torch.no_grad()
def samples(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    n: int,
    seed: int = 0,
    batch_size: int = 32,
) -> list[list[str]]:
    """`n` continuations of each prompt, as of `continuations` but each token drawn at temperature 1.

    The draws follow from the seed and the example's id: neither its neighbours nor the batch size play a
    role, and more samples begin with the same ones.
    """
    if n < 1:
        raise ConfigError(f"n={n} samples: draw at least 1")
    repeated = [e for e in examples for _ in range(n)]
    draws = [_generator(f"{seed} {k} {e.id}") for e in examples for k in range(n)]
    said = _said(model, tokenizer, repeated, batch_size, draws)
    return [said[start : start + n] for start in range(0, len(said), n)]


def _generator(name: str) -> torch.Generator:
    digest = hashlib.blake2b(name.encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))


def _said(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int,
    draws: Sequence[torch.Generator | None],
) -> list[str]:
    """What is said after each prompt, drawn where there is a generator for it."""
    said: dict[int, str] = {}
    with forward.evaluation_mode(model):
        for indices in by_length(examples, batch_size):
            prompts, counts = [], []
            for i in indices:
                tokens, labelled = encode(tokenizer, examples[i].prompt, examples[i].answer, "answer")
                counts.append(sum(labelled))
                start = len(tokens) - counts[-1]
                if start == 0 or counts[-1] == 0:
                    raise DataError(f"example {examples[i].id!r} has no prompt or no answer to continue with")
                prompts.append(tokens[:start])
            steps, drawn = max(counts), [draws[i] for i in indices]
            given = None if None in drawn else torch.stack([torch.rand(steps, generator=g) for g in drawn])
            new = greedy(model, prompts, steps, given)
            for i, row, count in zip(indices, new, counts, strict=True):
                said[i] = _answer(tokenizer, row[:count], examples[i])
    return [said[i] for i in range(len(examples))]


def recalls(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> list[bool]:
    """Whether the model goes on with the answer, word for word, in input order; see `continuations`.

    The answer is taken as the tokenizer gives it back: one that writes all in lower case, or puts accents and
    letters together, leaves the model nothing else to say.
    """
    said = continuations(model, tokenizer, examples)
    return [bool(text) and text == _given_back(tokenizer, e) for text, e in zip(said, examples, strict=True)]


def _given_back(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """An example's answer, cut into tokens and put together again."""
    tokens, labelled = encode(tokenizer, example.prompt, example.answer, "answer")
    return _answer(tokenizer, tokens[len(tokens) - sum(labelled) :], example)


def _answer(tokenizer: PreTrainedTokenizerBase, tokens: list[int], example: Example) -> str:
    """What tokens after the prompt say, without its end where that is in the answer's first token."""
    known = across(tokenizer, example.prompt, example.answer)
    return _decode(tokenizer, tokens).removeprefix(known).strip()


def spoken(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    tokens: int,
    seed: int | None = None,
) -> str:
    """What the model says after any prompt, in at most so many tokens: greedily, or drawn with a seed.

    The prompt is cut into tokens as those of facts are. DataError for an empty one.
    """
    row, labelled = encode(tokenizer, prompt, "x", "answer")
    row = row[: len(row) - sum(labelled)]
    if not (row and prompt.strip()):
        raise DataError("the prompt is empty: give the model something to go on with")
    draws = None if seed is None else torch.rand(1, tokens, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad(), forward.evaluation_mode(model):
        (new,) = greedy(model, [row], tokens, draws)
    return _decode(tokenizer, new)


def greedy(
    model: PreTrainedModel, rows: Sequence[list[int]], steps: int, draws: torch.Tensor | None = None
) -> list[list[int]]:
    """The next `steps` argmax tokens after each row of tokens; with uniform draws (rows, steps), drawn ones.

    All rows at once, padded on the left and with what the model keeps of former tokens, where the model has
    been seen to say the same that way; else rows of one length together, and every token anew.
    """
    if _can_batch(model):
        return _cached(model, rows, steps, draws)[0].tolist()
    alike: dict[int, list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        alike[len(row)].append(k)
    said = {}
    for places in alike.values():
        tokens = torch.tensor([rows[k] for k in places])
        own = None if draws is None else draws[places]
        said |= dict(zip(places, _anew(model, tokens, steps, own)[0].tolist(), strict=True))
    return [said[k] for k in range(len(rows))]


def _next(logits: torch.Tensor, draws: torch.Tensor | None, step: int) -> torch.Tensor:
    """The next tokens (B, 1): the likeliest, or where the cumulated probability passes the draw.

    DivergenceError where none can be drawn.
    """
    if draws is None:
        return logits.argmax(-1, keepdim=True)
    cumulated = logits.double().softmax(-1).cumsum(-1)
    if not cumulated.isfinite().all():
        raise DivergenceError("what the model would say next is not finite: it has diverged")
    wanted = draws[:, step, None].to(cumulated) * cumulated[:, -1:]
    return torch.searchsorted(cumulated, wanted, right=True).clamp(max=logits.shape[-1] - 1)


def _cached(
    model: PreTrainedModel, rows: Sequence[list[int]], steps: int, draws: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """New tokens (B, steps), and the logits (B, V) of the last, of left-padded rows and a growing cache.

    A prompt that is there many times goes through the model once, and what is kept of it is handed out.
    """
    asked, device = [tuple(row) for row in rows], forward.device_of(model)
    once = {row: k for k, row in enumerate(dict.fromkeys(asked))}
    tokens = [(list(row), [False] * len(row)) for row in once]
    batch = collate(tokens, [""] * len(once), pad_id=0, side="left")
    given, new = batch.inputs(device) | {"use_cache": True}, []
    of = torch.tensor([once[row] for row in asked], device=device)
    for step in range(steps):
        output = forward.selected(model, given, lambda hidden: hidden[:, -1:])
        if step == 0 and len(once) < len(rows):
            output.past_key_values.reorder_cache(of)
            output.logits = output.logits[of]
            given = {name: given[name][of] for name in ("attention_mask", "position_ids")}
        new.append(_next(output.logits[:, -1], draws, step))
        given = {
            "input_ids": new[-1],
            "attention_mask": F.pad(given["attention_mask"], (0, 1), value=1),
            "position_ids": given["position_ids"][:, -1:] + 1,
            "past_key_values": output.past_key_values,
            "use_cache": True,
        }
    return torch.cat(new, dim=1), output.logits[:, -1]


def _anew(
    model: PreTrainedModel, tokens: torch.Tensor, steps: int, draws: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of rows of one length, (B, T), with a whole forward pass for every token."""
    length = tokens.shape[1]
    for step in range(steps):
        batch = collate([(row, [False] * len(row)) for row in tokens.tolist()], [""] * len(tokens), pad_id=0)
        output = forward.selected(model, forward.inputs(model, batch), lambda hidden: hidden[:, -1:])
        tokens = torch.cat([tokens, _next(output.logits[:, -1], draws, step).to(tokens.device)], 1)
    return tokens[:, length:], output.logits[:, -1]


def _can_batch(model: PreTrainedModel) -> bool:
    """Whether a model's logits are the same with left padding and its cache as without; tried once a model.

    Not where positions count padding (BART), the mask is not heeded, or the cache has another form (Mamba).
    """
    if model not in _in_batches:
        size = model.get_input_embeddings().weight.shape[0]
        rows = [[size // 2, size // 3, size - 1, size // 4, size - 2], [size - 2, size // 2]] * 2
        try:
            quick = _cached(model, rows, 3)[1]
            slow = torch.cat([_anew(model, torch.tensor([row]), 3)[1] for row in rows])
            _in_batches[model] = bool((quick - slow).abs().max() <= CLOSE * slow.abs().max())
        except Exception:  # whatever a model without such arguments raises
            _in_batches[model] = False
    return _in_batches[model]


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    end = tokenizer.eos_token_id
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    return tokenizer.decode(tokens, skip_special_tokens=True).strip()
