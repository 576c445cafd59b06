"""What a model says after a prompt when it draws its words: seeded, and the same for whatever batch."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from unlearnkit import forward
from unlearnkit.batching import collate


@torch.no_grad()
def sample(
    model: PreTrainedModel, prompt: Sequence[int], length: int, count: int, generator: torch.Generator
) -> list[list[int]]:
    """`count` continuations of `length` tokens each, drawn at temperature 1, by whole passes of the model."""
    rows = torch.tensor([list(prompt)] * count)
    for _ in range(length):
        batch = collate([(row, [False] * len(row)) for row in rows.tolist()], [""] * count, pad_id=0)
        output = forward.selected(model, forward.inputs(model, batch), lambda state: state[:, -1:])
        probabilities = output.logits[:, -1].float().softmax(-1).cpu()
        rows = torch.cat([rows, torch.multinomial(probabilities, 1, generator=generator)], 1)
    return rows[:, len(prompt) :].tolist()
