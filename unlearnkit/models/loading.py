"""Loading a model ready for measurement: evaluation mode, no dropout, and a tokenizer that can pad."""

import contextlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import __version__ as transformers_version
from transformers import logging as transformers_logging
from transformers.models.auto import configuration_auto, modeling_auto

from unlearnkit import devices
from unlearnkit.errors import ModelError
from unlearnkit.models.fitting import require_rows
from unlearnkit.models.registry import DEFAULT, REGISTRY, fetch

TOKENIZER = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")  # files of which a tokenizer has one or more
ADAPTERS = "adapter_config.json"  # as peft names it
LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load(
    name: str = DEFAULT,
    *,
    attn_implementation: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = devices.AUTO,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode, with no dropout in either mode, and its tokenizer.

    `name` is as for `fetch`. The tokenizer pads on the right, with its end-of-text token where it has no
    padding token. `attn_implementation` ("eager", "sdpa") goes to transformers. `device` is "cpu", "cuda" or
    "auto", the GPU where there is one; everything that is done with the model is done there, in its `dtype`.
    Raises ModelError as `fetch` does, when transformers cannot read the folder, where weights are missing,
    and for a tokenizer that is larger than the model; ConfigError for a device that is not there, or not
    proven.
    """
    place, folder = devices.resolved(device), fetch(name)
    _require_readable(name, folder)
    transformers_logging.disable_progress_bar()  # reading takes a second: its bars only clutter notebooks
    with _told(name, folder):
        given = {"dtype": dtype, "attn_implementation": attn_implementation, "output_loading_info": True}
        model, told = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **given, **LOCAL)
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    _require_same_weights(folder, model, told["missing_keys"], told["unexpected_keys"])
    _set_padding(tokenizer, name)
    require_rows(tokenizer, model.get_input_embeddings().weight.shape[0], name)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    _disable_dropout(model)
    return model.eval().to(place), tokenizer


def load_tokenizer(name: str) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """A model's configuration and tokenizer as `load` reads them, without its weights; the same errors."""
    folder = fetch(name)
    _require_readable(name, folder)
    with _told(name, folder):
        config = AutoConfig.from_pretrained(folder, **LOCAL)
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    _set_padding(tokenizer, name)
    return config, tokenizer


def _require_readable(name: str, folder: Path) -> None:
    """ModelError where transformers has no language model of this architecture, or there is no tokenizer.

    And for adapters, which are no model. Where the configuration cannot be read, transformers says so.
    """
    if (folder / ADAPTERS).exists():
        raise ModelError(
            f"{folder} holds adapters ({ADAPTERS}) and not a whole model: load them on their base model with "
            "peft, and save what merge_and_unload() returns, with the tokenizer"
        )
    kind = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind and kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        known = kind in configuration_auto.CONFIG_MAPPING_NAMES
        raise ModelError(
            f"{name} is of the type {kind!r}, "
            + (
                "which predicts no next token: "
                if known
                else f"unknown to transformers {transformers_version}: "
            )
            + "take a causal language model"
            + ("" if known else ", or a newer transformers if that knows it")
        )
    if not any(path for pattern in TOKENIZER for path in folder.glob(pattern)):
        raise ModelError(
            f"{folder} has no tokenizer: save it beside the model, tokenizer.save_pretrained(folder)"
        )


@contextlib.contextmanager
def _told(name: str, folder: Path) -> Iterator[None]:
    """What transformers raises, as a ModelError with a remedy."""
    try:
        yield
    except Exception as error:  # transformers lets many kinds through
        raise ModelError(f"cannot load {name} from {folder}: {error}{_remedy(name, folder)}") from error


def _remedy(name: str, folder: Path) -> str:
    built = name in REGISTRY and REGISTRY[name].build
    return f". If the folder is damaged, delete {folder} and run `make models`" if built else ""


def _require_same_weights(
    folder: Path, model: PreTrainedModel, missing: Collection[str], unexpected: Collection[str]
) -> None:
    """ModelError for a file without some of the model's weights, or with those of further layers.

    transformers goes on with either: it draws the former at random, and leaves the latter.
    """
    kind = type(model).__name__
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the weights of {kind}, {min(missing)!r} first: "
            "copy it whole, or take the class of model that was saved"
        )
    alike = {_in_its_layer(name) for name in model.state_dict()} - {""}
    if further := [name for name in unexpected if _in_its_layer(name) in alike]:
        raise ModelError(
            f"{folder} has {len(further)} weights of further layers, {min(further)!r} first, than its "
            f"config.json gives {kind}: set its number of layers to that of the file"
        )


def _in_its_layer(name: str) -> str:
    """A weight's name from its list of layers on, the same for each of them; "" where it is in none."""
    found = re.search(r"\w+\.\d+\..*", name)
    return re.sub(r"\.\d+\.", ".N.", found[0]) if found else ""


def _set_padding(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    if len(tokenizer) == 0 or tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {name} is empty or has no eos_token: save one with the model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"


def _disable_dropout(model: PreTrainedModel) -> None:
    """Set every dropout rate to 0: in the modules that exist, and in the config that functions read."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for holder in (model.config, *model.modules()):
        for attribute, value in vars(holder).items():
            if isinstance(value, float) and ("drop" in attribute):
                setattr(holder, attribute, 0.0)
