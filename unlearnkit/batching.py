"""From examples to padded batches, and from logits to per-example losses.

Padding never changes a loss: the first real token of a sequence is never a target (there is nothing to
predict it from), and position ids count real tokens only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerBase

from unlearnkit import writing
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError

IGNORED = -100  # label of a position that is not a target, as in torch's cross_entropy
LOSS_ON = ("text", "answer")


@dataclass(frozen=True)
class Batch:
    """Padded examples, tensors of shape (B, T). `labels` holds the token to be predicted at each place.

    On the processor, wherever the model is: which rows count is then known without waiting for a GPU.
    """

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    @property
    def position_ids(self) -> torch.Tensor:
        """Positions counted from the first real token, so that left padding changes nothing."""
        return (self.attention_mask.cumsum(1) - 1).clamp(min=0)

    def inputs(self, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """Keyword arguments for the forward of a model on that device."""
        return {
            "input_ids": self.input_ids.to(device),
            "attention_mask": self.attention_mask.to(device),
            "position_ids": self.position_ids.to(device),
            "use_cache": False,
        }


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, loss_on: str
) -> tuple[list[int], list[bool]]:
    """Token ids of "prompt answer" and, for each, whether the loss counts it.

    The two are tokenised as the one text that `writing.join` makes of them, and cut where the prompt ends. A
    token across the cut is the answer's: nothing of an answer is given away, and the loss counts all of it.
    `loss_on` is "text" (every token but the first) or "answer". DataError where a tokenizer without offsets
    does not show the cut.
    """
    if loss_on not in LOSS_ON:
        raise ConfigError(f"loss_on={loss_on!r} is unknown: use one of {', '.join(LOSS_ON)}")
    tokens, head, _ = _cut(tokenizer, prompt, answer)
    labelled = [loss_on == "text"] * head + [True] * (len(tokens) - head)
    labelled[:1] = [False]
    return tokens, labelled


def across(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> str:
    """The end of the prompt that is in the answer's first token; "" where no token lies across the cut."""
    return _cut(tokenizer, prompt, answer)[2]


def _cut(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> tuple[list[int], int, str]:
    """The tokens of the whole text, how many are the prompt's, and what of it the next one holds.

    An opening token counts as the prompt's.
    """
    if not prompt:
        return tokenizer(answer, add_special_tokens=False)["input_ids"], 0, ""
    tokens, spans = opened(tokenizer, writing.join(prompt, answer))
    if spans:
        head = next((k for k, (_, end) in enumerate(spans) if end > len(prompt)), len(tokens))
        return tokens, head, prompt[spans[head][0] :] if head < len(tokens) else ""
    alone, _ = opened(tokenizer, prompt)
    if tokens[: len(alone)] != alone:
        raise DataError(
            f"{type(tokenizer).__name__} tells no offsets, and the tokens of {prompt!r} are others once "
            f"{answer!r} follows: where the answer begins is not known. Use the tokenizer's fast version"
        )
    return tokens, len(alone), ""


def opened(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens of a text without those that close it, and their places in it; no places if it cannot tell."""
    told = tokenizer(text, return_special_tokens_mask=True, return_offsets_mapping=tokenizer.is_fast)
    length = len(told["input_ids"])
    while length and told["special_tokens_mask"][length - 1]:
        length -= 1
    return told["input_ids"][:length], list(told.get("offset_mapping", ()))[:length]


def collate(
    rows: Sequence[tuple[list[int], list[bool]]], ids: Sequence[str], pad_id: int, side: str = "right"
) -> Batch:
    """Pad encoded rows to one length on the given side ("right" or "left")."""
    length = max(len(tokens) for tokens, _ in rows)
    shape = (len(rows), length)
    input_ids = torch.full(shape, pad_id)
    labels = torch.full(shape, IGNORED)
    mask = torch.zeros(shape, dtype=torch.long)
    for i, (tokens, labelled) in enumerate(rows):
        place = slice(0, len(tokens)) if side == "right" else slice(length - len(tokens), length)
        values = torch.tensor(tokens)
        input_ids[i, place] = values
        mask[i, place] = 1
        labels[i, place] = values.masked_fill(~torch.tensor(labelled), IGNORED)
    return Batch(tuple(ids), input_ids, mask, labels)


def batch_of(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    loss_on: str = "answer",
    side: str = "right",
) -> Batch:
    """One batch of all the examples given. An example without a target token is a DataError naming it."""
    rows = [encode(tokenizer, e.prompt, e.answer, loss_on) for e in examples]
    for example, (_, labelled) in zip(examples, rows, strict=True):
        if not any(labelled):
            raise DataError(
                f"example {example.id!r} has no token to predict: give it a prompt, or a longer answer"
            )
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return collate(rows, [e.id for e in examples], pad or 0, side)


def batches(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int,
    loss_on: str = "answer",
) -> Iterator[Batch]:
    """Consecutive batches in the order given."""
    for start in range(0, len(examples), batch_size):
        yield batch_of(tokenizer, examples[start : start + batch_size], loss_on)


def token_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """NLL of each next token in nats: (B, T, V) and (B, T) give (B, T-1), 0 where there is no target."""
    targets = labels[:, 1:]
    flat = F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return flat.view_as(targets)


def example_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean NLL over each example's labelled tokens, shape (B,): the l_i of the training loss."""
    counts = (labels[:, 1:] != IGNORED).sum(1)
    return token_nll(logits, labels).sum(1) / counts
