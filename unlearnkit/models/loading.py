"""Loading a model ready for measurement: evaluation mode, no dropout, and a tokenizer that can pad."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers import logging as transformers_logging

from unlearnkit.errors import ModelError
from unlearnkit.models.registry import DEFAULT, REGISTRY, fetch


def load(
    name: str = DEFAULT, *, attn_implementation: str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode, with no dropout in either mode, and its tokenizer.

    `name` is as for `fetch`. The tokenizer pads on the right, with its end-of-text token where it has no
    padding token. `attn_implementation` ("eager", "sdpa") goes to transformers. Raises ModelError as
    `fetch` does, and when transformers cannot read the folder.
    """
    folder = fetch(name)
    transformers_logging.disable_progress_bar()  # reading takes a second: its bars only clutter notebooks
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=attn_implementation, use_safetensors=True, **local
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    except Exception as error:  # transformers lets many kinds through
        raise ModelError(f"cannot load {name} from {folder}: {error}{_remedy(name, folder)}") from error
    _set_padding(model, tokenizer, name)
    _disable_dropout(model)
    return model.eval(), tokenizer


def _remedy(name: str, folder: Path) -> str:
    built = name in REGISTRY and REGISTRY[name].build
    return f". If the folder is damaged, delete {folder} and run `make models`" if built else ""


def _set_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    if len(tokenizer) == 0 or tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {name} is empty or has no eos_token: save one with the model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    model.generation_config.pad_token_id = tokenizer.pad_token_id


def _disable_dropout(model: PreTrainedModel) -> None:
    """Set every dropout rate to 0: in the modules that exist, and in the config that functions read."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for holder in (model.config, *model.modules()):
        for attribute, value in vars(holder).items():
            if isinstance(value, float) and ("drop" in attribute):
                setattr(holder, attribute, 0.0)
