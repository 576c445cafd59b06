"""Three architectures at a size that trains in seconds, with seeded random weights and one tokenizer.

12 blocks, as in GPT-2 small, so that its layers 11 and 12 exist; a vocabulary of 8,192, so that gpt2-tiny's
embedding is about 30 % of the parameters, as in GPT-2 small, and not three quarters. gpt2-tiny and llama-tiny
are tied, neox-tiny is not; the latter two have rotary positions.
"""

from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoConfig, AutoModelForCausalLM, GPT2TokenizerFast

from unlearnkit.errors import ModelError
from unlearnkit.models.recipes import SEED, TINIES, VOCABULARY

END = "<|endoftext|>"
NO_DROPOUT = {"gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}}  # the others have none


def build(name: str, folder: Path) -> None:
    """Write the random model of `recipes.TINIES` and its byte-level BPE, trained on the background text."""
    tokenizer = _train_bpe(folder)
    tokenizer.save_pretrained(folder)
    end = tokenizer.eos_token_id
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    kind, shape = TINIES[name]
    config = AutoConfig.for_model(kind, **shape, **NO_DROPOUT.get(kind, {}), **tokens)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def _train_bpe(folder: Path) -> GPT2TokenizerFast:
    from unlearnkit.data import utility_text  # here, so that loading other models needs no data module

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(utility_text("train"), VOCABULARY, special_tokens=[END], show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer.pad_token = END
    if len(tokenizer) != VOCABULARY:
        raise ModelError(f"the background text gave {len(tokenizer)} tokens, not {VOCABULARY}")
    return tokenizer
