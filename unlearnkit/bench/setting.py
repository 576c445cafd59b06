"""What all benchmarks share: a model, batches of random tokens, and interleaved timing."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from unlearnkit import models
from unlearnkit.batching import Batch, example_loss
from unlearnkit.errors import ConfigError

LEARNING_RATE = 1e-6  # small: the weights must stay where they are, the work must not


def parts(batch: Batch, size: int) -> Iterator[Batch]:
    """A batch cut into consecutive ones of `size` examples."""
    for start in range(0, len(batch.ids), size):
        rows = slice(start, start + size)
        yield Batch(batch.ids[rows], batch.input_ids[rows], batch.attention_mask[rows], batch.labels[rows])


@dataclass
class Setting:
    """A model and how to make batches for it."""

    model: PreTrainedModel
    batch: int
    tokens: int

    @classmethod
    def make(cls, name: str, batch: int, tokens: int) -> "Setting":
        """`gpt2-shape` is GPT-2 124M with random weights; any other name is loaded."""
        torch.manual_seed(0)
        if name == "gpt2-shape":
            rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
            return cls(GPT2LMHeadModel(GPT2Config(**rates)).eval(), batch, tokens)
        return cls(models.load(name)[0], batch, tokens)

    def examples(self, seed: int, count: int | None = None, prefix: str = "x") -> Batch:
        """A batch of random tokens, all of them targets."""
        generator = torch.Generator().manual_seed(seed)
        shape = (count or self.batch, self.tokens)
        ids = torch.randint(0, self.model.config.vocab_size, shape, generator=generator)
        labels = ids.clone()
        labels[:, 0] = -100
        names = tuple(f"{prefix}{seed}-{k}" for k in range(shape[0]))
        return Batch(names, ids, torch.ones_like(ids), labels)

    def backward(self, batch: Batch) -> None:
        """Forward and backward of (1/B) sum_i l_i into `.grad`."""
        losses = example_loss(self.model(**batch.inputs()).logits, batch.labels)
        (losses.sum() / self.batch).backward()

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """A plain training step."""
        self.model.zero_grad(set_to_none=False)
        self.backward(batch)
        optimizer.step()

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)


def interleaved(
    sides: dict[str, Callable[[int], object]], rounds: int, only: list[str] | None = None
) -> dict[str, list[float]]:
    """Seconds of each side, a value per round; in every round all sides run once, in turn.

    A first round warms up and does not count. `only` picks sides; ConfigError for an unknown one.
    """
    if unknown := set(only or ()) - set(sides):
        raise ConfigError(f"unknown side {sorted(unknown)[0]!r}; known: {', '.join(sides)}")
    chosen = {name: side for name, side in sides.items() if not only or name in only}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for number in tqdm(range(rounds + 1), desc="rounds"):
        for name, side in chosen.items():
            started = time.perf_counter()
            side(number)
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def report(seconds: dict[str, list[float]], baseline: str) -> dict:
    """Medians, and the median over rounds of each side's ratio to the baseline of the same round."""
    base = seconds[baseline]
    return {
        "baseline": baseline,
        "median_seconds": {n: statistics.median(s) for n, s in seconds.items()},
        "ratio": {
            n: statistics.median(a / b for a, b in zip(s, base, strict=True)) for n, s in seconds.items()
        },
    }
