"""From examples to padded batches, and from logits to per-example losses.

Padding never changes a loss: the first real token of a sequence is never a target (there is nothing to
predict it from), and position ids count real tokens only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerBase

from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, DataError

IGNORED = -100  # label of a position that is not a target, as in torch's cross_entropy
LOSS_ON = ("text", "answer")


@dataclass(frozen=True)
class Batch:
    """Padded examples, tensors of shape (B, T). `labels` holds the token to be predicted at each place."""

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor

    @property
    def position_ids(self) -> torch.Tensor:
        """Positions counted from the first real token, so that left padding changes nothing."""
        return (self.attention_mask.cumsum(1) - 1).clamp(min=0)

    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments for the model's forward."""
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "position_ids": self.position_ids,
            "use_cache": False,
        }


def encode(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, loss_on: str
) -> tuple[list[int], list[bool]]:
    """Token ids of "prompt answer" and, for each, whether the loss counts it.

    Prompt and answer are tokenised apart, so that the boundary between them is exact. `loss_on` is "text"
    (every token but the first) or "answer".
    """
    if loss_on not in LOSS_ON:
        raise ConfigError(f"loss_on={loss_on!r} is unknown: use one of {', '.join(LOSS_ON)}")
    head = tokenizer(prompt)["input_ids"] if prompt else []
    if head and head[-1] == tokenizer.eos_token_id and len(head) > 1:
        head = head[:-1]  # some tokenizers close every text
    tail = tokenizer(f" {answer}" if prompt else answer, add_special_tokens=False)["input_ids"]
    labelled = [loss_on == "text"] * len(head) + [True] * len(tail)
    labelled[:1] = [False]
    return head + tail, labelled


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
    side: str = "right",
) -> Iterator[Batch]:
    """Consecutive batches in the order given."""
    for start in range(0, len(examples), batch_size):
        yield batch_of(tokenizer, examples[start : start + batch_size], loss_on, side)


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
