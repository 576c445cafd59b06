"""Three architectures at a size that trains in seconds, with seeded random weights and one tokenizer.

12 blocks, as in GPT-2 small, so that its layers 11 and 12 exist; a vocabulary of 8,192, so that gpt2-tiny's
embedding is about 30 % of the parameters, as in GPT-2 small, and not three quarters. gpt2-tiny and llama-tiny
are tied, neox-tiny is not; the latter two have rotary positions. And a sketch, smaller still, of any of
transformers' architectures, for examples.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoConfig, AutoModelForCausalLM, GPT2TokenizerFast

from unlearnkit.errors import ModelError
from unlearnkit.models.recipes import SEED, TINIES, VOCABULARY

END = "<|endoftext|>"
NO_DROPOUT = {"gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}}  # the others have none


# A sketch's shape, in the words of most configurations.
SKETCH = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SKETCH |= {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128}
SKETCH_VOCABULARY = 512  # at most: a few texts may not have so many pieces


def build(name: str, folder: Path) -> None:
    """Write the random model of `recipes.TINIES` and its byte-level BPE, trained on the background text."""
    from unlearnkit.data import utility_text  # here, so that loading other models needs no data module

    tokenizer = _trained_bpe(utility_text("train"), VOCABULARY, folder)
    if len(tokenizer) != VOCABULARY:
        raise ModelError(f"the background text gave {len(tokenizer)} tokens, not {VOCABULARY}")
    kind, shape = TINIES[name]
    _save_random(kind, shape, tokenizer, folder)


def sketch(folder: Path, texts: Iterable[str], kind: str = "llama") -> None:
    """Write a model of about a hundred thousand random weights and a byte-level BPE, trained on the texts.

    `kind` is a model type of transformers whose configuration calls sizes as Llama's does. Needs no network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save_random(kind, SKETCH, _trained_bpe(texts, SKETCH_VOCABULARY, folder), folder)


def _trained_bpe(texts: Iterable[str], vocabulary: int, folder: Path) -> GPT2TokenizerFast:
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocabulary, special_tokens=[END], show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer.pad_token = END
    tokenizer.save_pretrained(folder)
    return tokenizer


def _save_random(kind: str, shape: dict[str, Any], tokenizer: GPT2TokenizerFast, folder: Path) -> None:
    end = tokenizer.eos_token_id
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = AutoConfig.for_model(kind, **shape, **NO_DROPOUT.get(kind, {}), **tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
