"""A model and batches of random tokens for it: what every benchmark works on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from unlearnkit import devices, forward, ledger, models
from unlearnkit.batching import IGNORED, Batch
from unlearnkit.bench.cases import Options
from unlearnkit.devices import CPU
from unlearnkit.ledger.recording import DTYPE
from unlearnkit.models.tiny import NO_DROPOUT
from unlearnkit.training import adapters

LEARNING_RATE = 1e-6  # small: the weights must stay where they are, the work must not
GPT2_SHAPE = "gpt2-shape"  # GPT-2 124M with random weights; "gpt2-shape-BLOCKSxWIDTH" is a smaller one
LLAMA_SHAPE = "llama-shape"
LLAMA_1B = {
    **{"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"intermediate_size": 8192, "vocab_size": 128_256, "tie_word_embeddings": True},
}
SMALL_VOCABULARY = 8192  # of the smaller shapes, as gpt2-tiny's: their parameters are not all embedding


def parts(batch: Batch, size: int) -> Iterator[Batch]:
    """A batch cut into consecutive ones of `size` examples."""
    for start in range(0, len(batch.ids), size):
        rows = slice(start, start + size)
        yield Batch(batch.ids[rows], batch.input_ids[rows], batch.attention_mask[rows], batch.labels[rows])


def random_gpt2(name: str) -> GPT2LMHeadModel:
    """GPT-2 with random weights: 124M, or of the blocks and width that the name ends with."""
    shape = {}
    if small := re.fullmatch(GPT2_SHAPE + r"-(\d+)x(\d+)", name):
        blocks, width = map(int, small.groups())
        shape = {"n_layer": blocks, "n_embd": width, "n_head": max(1, width // 64)}
        shape |= {"vocab_size": SMALL_VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPT2LMHeadModel(GPT2Config(**shape, **NO_DROPOUT["gpt2"])).eval()


def random_llama(name: str) -> LlamaForCausalLM:
    """Llama with random weights: 1.2 billion, in the form of Llama 3.2 1B, or of the blocks and width named.

    The name ends with the rank of its adapters, which are all that is trained: -lora8.
    """
    size, rank = re.fullmatch(LLAMA_SHAPE + r"-(1b|\d+x\d+)-lora(\d+)", name).groups()
    shape = LLAMA_1B
    if size != "1b":
        blocks, width = map(int, size.split("x"))
        shape = LLAMA_1B | {"num_hidden_layers": blocks, "hidden_size": width, "vocab_size": SMALL_VOCABULARY}
        shape |= {"intermediate_size": 4 * width, "num_attention_heads": 4, "num_key_value_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**shape)).eval()
    adapters.add(model, int(rank))
    return model


@dataclass
class Setting:
    """A model and how to make batches for it."""

    model: PreTrainedModel
    batch: int
    tokens: int

    @classmethod
    def make(cls, options: Options) -> "Setting":
        """The model of that name (registered, a folder, or a random one), where and as the options say."""
        random = {GPT2_SHAPE: random_gpt2, LLAMA_SHAPE: random_llama}
        make = next((f for shape, f in random.items() if options.model.startswith(shape)), None)
        model = make(options.model) if make else models.load(options.model, device=CPU)[0]
        model.to(getattr(torch, options.dtype))
        place = devices.resolved(options.device)
        # A model that has no memory, which only its shape is wanted of, is on no device to be moved from.
        return cls(model if place == CPU else model.to(place), options.batch, options.tokens)

    def examples(self, seed: int, count: int | None = None, prefix: str = "x") -> Batch:
        """A batch of random tokens, all of them targets."""
        generator = torch.Generator().manual_seed(seed)
        shape = (count or self.batch, self.tokens)
        ids = torch.randint(0, self.model.config.vocab_size, shape, generator=generator)
        labels = ids.clone()
        labels[:, 0] = IGNORED
        names = tuple(f"{prefix}{seed}-{k}" for k in range(shape[0]))
        return Batch(names, ids, torch.ones_like(ids), labels)

    def losses(self, batch: Batch) -> torch.Tensor:
        """l_i of each example, shape (B,)."""
        return forward.losses(self.model, batch)

    def backward(self, batch: Batch) -> None:
        """Forward and backward of (1/B) sum_i l_i into `.grad`, which is emptied first."""
        self.model.zero_grad(set_to_none=False)
        (self.losses(batch).sum() / self.batch).backward()

    def gradient(self, one: Batch) -> dict[str, torch.Tensor]:
        """Dense gradient of the examples' terms, by parameter name: autograd, no ledger."""
        self.backward(one)
        return {n: p.grad.clone() for n, p in self.model.named_parameters() if p.requires_grad}

    def recorded(self, path: Path, dtype: str = DTYPE, batches: int = 1) -> ledger.GradientLedger:
        """A new ledger of batches of examples, their gradients as `backward` has them."""
        given = [self.examples(seed) for seed in range(batches)]
        return ledger.record_batches(self.model, given, path, divisor=self.batch, dtype=dtype)

    def step(self, gradient: dict[str, torch.Tensor] | None = None) -> None:
        """A step of plain SGD, along a given gradient or `.grad`; it moves the weights next to nothing."""
        for name, given in (gradient or {}).items():
            self.model.get_parameter(name).grad = given
        torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE).step()

    def dense_bytes(self) -> int:
        """Size of one example's whole gradient in float32."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad) * 4
