"""gpt2-tiny-pretrained, untied: the same function with two token matrices that training can move apart."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearnkit.models.registry import fetch


def build(folder: Path) -> None:
    """Write the copy to `folder`."""
    start = fetch("gpt2-tiny-pretrained")
    tied = AutoModelForCausalLM.from_pretrained(start, local_files_only=True)
    tied.config.tie_word_embeddings = False
    head = tied.get_output_embeddings()
    head.weight = torch.nn.Parameter(tied.get_input_embeddings().weight.detach().clone())
    tied.save_pretrained(folder)
    AutoTokenizer.from_pretrained(start, local_files_only=True).save_pretrained(folder)
