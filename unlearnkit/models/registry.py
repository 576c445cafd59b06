"""Models by name: where each comes from, and loading one ready for measurement.

Every model comes from a local folder of safetensors: built once in the user's cache, given by the user,
or a snapshot of a hub repository. So loading needs no network once `fetch` has succeeded.
"""

import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers import logging as transformers_logging

from unlearnkit.errors import ModelError
from unlearnkit.models import pretraining, smollm2, tiny, untied
from unlearnkit.models.building import built_once

DEFAULT = "smollm2-135m"
PICKLED = (".bin", ".pt", ".pth")
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")  # never pickled weights


@dataclass(frozen=True)
class Entry:
    """One registered model: how to make its folder, and what it is in a line."""

    about: str
    build: Callable[[Path], None] | None = None
    hub_id: str = ""
    recipe: str = ""  # digest of what `build` depends on, where a change of it must build the folder anew


REGISTRY: dict[str, Entry] = {
    "smollm2-135m": Entry(
        "SmolLM2-135M-Instruct: Llama-type, tied, instruct-tuned, dequantised from 4 bits", smollm2.build
    ),
    "gpt2-tiny": Entry(
        "GPT-2's architecture, 12 blocks of width 128, seeded random weights",
        tiny.build,
        recipe=tiny.RECIPE,
    ),
    "gpt2-tiny-pretrained": Entry(
        "gpt2-tiny after a short pretraining on encyclopedia text and background facts "
        "(2 minutes on 2 cores, once)",
        partial(pretraining.build, pretraining.FULL),
        recipe=pretraining.FULL.digest,
    ),
    "gpt2-tiny-pretrained-quick": Entry(
        "gpt2-tiny after about a quarter of that pretraining",
        partial(pretraining.build, pretraining.QUICK),
        recipe=pretraining.QUICK.digest,
    ),
    "gpt2-tiny-pretrained-untied": Entry(
        "gpt2-tiny-pretrained with a copy of its token matrix as an output head of its own",
        untied.build,
        recipe=pretraining.FULL.digest,
    ),
    "gpt2": Entry("GPT-2 small, the paper's model, from the model hub", hub_id="openai-community/gpt2"),
}


def fetch(name: str) -> Path:
    """The local folder of a model: a registry name, an existing folder, or a hub id ("owner/model").

    Downloads or builds what is missing, with progress on stderr. Raises ModelError for an unknown name,
    an unreachable or missing hub repository, and a folder without safetensors weights.
    """
    entry = REGISTRY.get(name)
    if entry and entry.build:
        folder = built_once(name, entry.build, entry.recipe)
    elif entry:
        folder = _snapshot(entry.hub_id)
    elif name and Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    elif _looks_like_hub_id(name):
        folder = _snapshot(name)
    else:
        raise ModelError(_unknown(name))
    _require_safetensors(folder)
    return folder


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


def _looks_like_hub_id(name: str) -> bool:
    owner, slash, model = name.partition("/")
    return bool(owner and slash and model) and "/" not in model and owner not in (".", "..", "~")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, REGISTRY, n=1)
    guess = f" Did you mean {close[0]}?" if close else ""
    return (
        f"unknown model {name!r}.{guess} Registered: {', '.join(REGISTRY)}. Anything else must be an "
        "existing folder or a hub id written owner/model"
    )


def _snapshot(hub_id: str) -> Path:
    """The hub repository's safetensors, config and tokenizer files in the hub's own cache."""
    print(f"fetching {hub_id} from the model hub, unless cached ...", file=sys.stderr, flush=True)
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(HUB_FILES), ignore_patterns="*/*"))
    except Exception as error:  # of the hub client, its HTTP library, or the socket
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot fetch {hub_id} from the model hub ({first_line}). If the id is right, connect to the "
            "hub once (for a gated model: `hf auth login`), or download its safetensors, config and "
            "tokenizer files elsewhere and give that folder as the model"
        ) from error


def _require_safetensors(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise ModelError(
            f"{folder} has only pickled weights ({', '.join(pickled)}), which can run code when loaded: "
            "convert them to safetensors with model.save_pretrained(folder)"
        )
    raise ModelError(f"{folder} has no *.safetensors file: it is not a saved model")
