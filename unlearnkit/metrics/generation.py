"""What a model says after a prompt: greedily, which is always the likeliest token, or drawn by chance."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward
from unlearnkit.batching import across, collate, encode
from unlearnkit.data import Example
from unlearnkit.errors import DataError, DivergenceError
from unlearnkit.metrics.forward import by_length

CLOSE = 1e-3  # of the largest logit: two ways to the same one may differ by so much
_in_batches: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


Choice = Callable[[torch.Tensor], torch.Tensor]  # from logits (B, V) to the tokens that are said, (B, 1)


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
    return _continued(model, tokenizer, examples, batch_size, greedy)


def samples(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    count: int,
    seed: int = 0,
    batch_size: int = 32,
) -> list[list[str]]:
    """The same, `count` texts (at least 1) for each example, drawn at temperature 1.

    Chance depends on the seed and the examples alone, so that two models which agree draw the same words.
    """
    draw = partial(drawn, generator=torch.Generator().manual_seed(seed))
    asked = [example for example in examples for _ in range(count)]
    said = _continued(model, tokenizer, asked, batch_size, draw)
    return [said[k : k + count] for k in range(0, len(said), count)]


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
    with torch.no_grad(), forward.evaluation_mode(model):
        if seed is None:
            (new,) = greedy(model, [row], tokens)
        else:
            (new,) = drawn(model, [row], tokens, torch.Generator().manual_seed(seed))
    return _decode(tokenizer, new)


@torch.no_grad()
def _continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int,
    say: Callable[[PreTrainedModel, list[list[int]], int], list[list[int]]],
) -> list[str]:
    """`say`'s texts after each prompt, in input order."""
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
            new = say(model, prompts, max(counts))
            for i, row, count in zip(indices, new, counts, strict=True):
                known = across(tokenizer, examples[i].prompt, examples[i].answer)
                said[i] = _decode(tokenizer, row[:count]).removeprefix(known).strip()
    return [said[i] for i in range(len(examples))]


def greedy(model: PreTrainedModel, rows: Sequence[list[int]], steps: int) -> list[list[int]]:
    """The next `steps` argmax tokens after each row of tokens."""
    return _said(model, rows, steps, _likeliest)


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(-1, keepdim=True)


def drawn(
    model: PreTrainedModel, rows: Sequence[list[int]], steps: int, generator: torch.Generator
) -> list[list[int]]:
    """The next `steps` tokens after each row, drawn at temperature 1. DivergenceError where none can be."""

    def choose(logits: torch.Tensor) -> torch.Tensor:
        weights = logits.float().softmax(-1).cpu()
        if not weights.isfinite().all():
            raise DivergenceError("what the model would say next is not finite: it has diverged")
        return torch.multinomial(weights, 1, generator=generator).to(logits.device)

    return _said(model, rows, steps, choose)


def _said(model: PreTrainedModel, rows: Sequence[list[int]], steps: int, choose: Choice) -> list[list[int]]:
    """The next `steps` tokens after each row.

    All rows at once, padded on the left and with what the model keeps of former tokens, where the model has
    been seen to say the same that way; else rows of one length together, and every token anew.
    """
    if _can_batch(model):
        return _cached(model, rows, steps, choose)[0].tolist()
    alike: dict[int, list[int]] = defaultdict(list)
    for k, row in enumerate(rows):
        alike[len(row)].append(k)
    said = {}
    for places in alike.values():
        tokens = torch.tensor([rows[k] for k in places])
        said |= dict(zip(places, _anew(model, tokens, steps, choose)[0].tolist(), strict=True))
    return [said[k] for k in range(len(rows))]


def _cached(
    model: PreTrainedModel, rows: Sequence[list[int]], steps: int, choose: Choice
) -> tuple[torch.Tensor, torch.Tensor]:
    """New tokens (B, steps), and the logits (B, V) of the last, of left-padded rows and a growing cache."""
    batch = collate([(row, [False] * len(row)) for row in rows], [""] * len(rows), pad_id=0, side="left")
    given, new = batch.inputs() | {"use_cache": True}, []
    for _ in range(steps):
        output = forward.selected(model, given, lambda hidden: hidden[:, -1:])
        new.append(choose(output.logits[:, -1]))
        given = {
            "input_ids": new[-1],
            "attention_mask": F.pad(given["attention_mask"], (0, 1), value=1),
            "position_ids": given["position_ids"][:, -1:] + 1,
            "past_key_values": output.past_key_values,
            "use_cache": True,
        }
    return torch.cat(new, dim=1), output.logits[:, -1]


def _anew(
    model: PreTrainedModel, tokens: torch.Tensor, steps: int, choose: Choice
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of rows of one length, (B, T), with a whole forward pass for every token."""
    length = tokens.shape[1]
    for _ in range(steps):
        batch = collate([(row, [False] * len(row)) for row in tokens.tolist()], [""] * len(tokens), pad_id=0)
        output = forward.selected(model, forward.inputs(model, batch), lambda hidden: hidden[:, -1:])
        tokens = torch.cat([tokens, choose(output.logits[:, -1])], 1)
    return tokens[:, length:], output.logits[:, -1]


def _can_batch(model: PreTrainedModel) -> bool:
    """Whether a model's logits are the same with left padding and its cache as without; tried once a model.

    Not where positions count padding (BART), the mask is not heeded, or the cache has another form (Mamba).
    """
    if model not in _in_batches:
        size = model.get_input_embeddings().weight.shape[0]
        rows = [[size // 2, size // 3, size - 1, size // 4, size - 2], [size - 2, size // 2]]
        try:
            quick = _cached(model, rows, 3, _likeliest)[1]
            slow = torch.cat([_anew(model, torch.tensor([row]), 3, _likeliest)[1] for row in rows])
            _in_batches[model] = bool((quick - slow).abs().max() <= CLOSE * slow.abs().max())
        except Exception:  # whatever a model without such arguments raises
            _in_batches[model] = False
    return _in_batches[model]


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    end = tokenizer.eos_token_id
    if end in tokens:
        tokens = tokens[: tokens.index(end)]
    return tokenizer.decode(tokens, skip_special_tokens=True).strip()
