"""Models by name: where each comes from, and the folder it is loaded from.

Every model comes from a local folder of safetensors: built once in the user's cache, given by the user,
or a snapshot of a hub repository. So loading needs no network once `fetch` has succeeded.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from unlearnkit.errors import ModelError, unknown
from unlearnkit.models import recipes
from unlearnkit.models.building import built_once

DEFAULT = "smollm2-135m"
PICKLED = (".bin", ".pt", ".pth")
READ = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")  # files of a model; never pickled weights


@dataclass(frozen=True)
class Entry:
    """One registered model: how to make its folder, and what it is in a line."""

    about: str
    build: Callable[[Path], None] | None = None
    hub_id: str = ""
    recipe: str = ""  # digest of what `build` depends on, where a change of it must build the folder anew
    source: str = ""  # pinned weights that `build` converts


def _by(module: str, *given: str | recipes.Pretraining) -> Callable[[Path], None]:
    """`build` of a module beside this one, imported when it is called: it brings torch."""
    return lambda folder: import_module(f"unlearnkit.models.{module}").build(*given, folder)


def _tiny(name: str, about: str) -> dict[str, Entry]:
    """A tiny model of another architecture, and what gpt2-tiny's pretraining makes of it."""
    untrained = Entry(
        f"{about}, as deep and as wide as gpt2-tiny, seeded random weights",
        _by("tiny", name),
        recipe=recipes.tiny(name),
    )
    pretrained = Entry(
        f"{name} after the pretraining of gpt2-tiny-pretrained",
        _by("pretraining", name, recipes.FULL),
        recipe=recipes.tiny(name, recipes.FULL),
    )
    return {name: untrained, f"{name}-pretrained": pretrained}


REGISTRY: dict[str, Entry] = {
    "smollm2-135m": Entry(
        "SmolLM2-135M-Instruct: Llama-type, tied, instruct-tuned, dequantised from 4 bits",
        _by("smollm2"),
        source=f"{recipes.SMOLLM2} {recipes.SMOLLM2_SHA256}",
    ),
    "gpt2-tiny": Entry(
        "GPT-2's architecture, 12 blocks of width 128, seeded random weights",
        _by("tiny", "gpt2-tiny"),
        recipe=recipes.TINY,
    ),
    "gpt2-tiny-pretrained": Entry(
        "gpt2-tiny after a short pretraining on encyclopedia text and background facts "
        "(2 minutes on 2 cores, once)",
        _by("pretraining", "gpt2-tiny", recipes.FULL),
        recipe=recipes.FULL.digest,
    ),
    "gpt2-tiny-pretrained-quick": Entry(
        "gpt2-tiny after about a quarter of that pretraining",
        _by("pretraining", "gpt2-tiny", recipes.QUICK),
        recipe=recipes.QUICK.digest,
    ),
    "gpt2-tiny-pretrained-untied": Entry(
        "gpt2-tiny-pretrained with a copy of its token matrix as an output head of its own",
        _by("untied"),
        recipe=recipes.FULL.digest,
    ),
    **_tiny("neox-tiny", "GPT-NeoX's architecture (untied, rotary, parallel residual)"),
    **_tiny("llama-tiny", "Llama's architecture (tied, rotary, RMSNorm, SwiGLU, grouped heads)"),
    "gpt2": Entry("GPT-2 small, the paper's model, from the model hub", hub_id="openai-community/gpt2"),
}


def entry_of(name: str) -> Entry | Path:
    """What a name stands for: a registry entry, an existing folder, or an entry of a hub id "owner/model".

    ModelError for any other name.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if _looks_like_hub_id(name):
        return Entry(name, hub_id=name)
    told = unknown("model", name, REGISTRY)
    raise ModelError(f"{told}. Anything else must be an existing folder or a hub id written owner/model")


def fetch(name: str) -> Path:
    """The local folder of a model: a registry name, an existing folder, or a hub id ("owner/model").

    Downloads or builds what is missing, with progress on stderr. Raises ModelError for an unknown name,
    an unreachable or missing hub repository, and a folder without safetensors weights.
    """
    found = entry_of(name)
    if isinstance(found, Path):
        folder = found
    elif found.build:
        folder = built_once(name, found.build, found.recipe)
    else:
        folder = _snapshot(found.hub_id)
    require_safetensors(folder)
    return folder


def _looks_like_hub_id(name: str) -> bool:
    owner, slash, model = name.partition("/")
    return bool(owner and slash and model) and "/" not in model and owner not in (".", "..", "~")


def _snapshot(hub_id: str) -> Path:
    """The hub repository's safetensors, config and tokenizer files in the hub's own cache."""
    from huggingface_hub import snapshot_download  # here: half a second that only these models need

    print(f"fetching {hub_id} from the model hub, unless cached ...", file=sys.stderr, flush=True)
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(READ), ignore_patterns="*/*"))
    except Exception as error:  # of the hub client, its HTTP library, or the socket
        first_line = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot fetch {hub_id} from the model hub ({first_line}). If the id is right, connect to the "
            "hub once (for a gated model: `hf auth login`), or download its safetensors, config and "
            "tokenizer files elsewhere and give that folder as the model"
        ) from error


def require_safetensors(folder: Path) -> None:
    """ModelError unless the folder holds weights that can be read without running code."""
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled:
        raise ModelError(
            f"{folder} has only pickled weights ({', '.join(pickled)}), which can run code when loaded: "
            "convert them to safetensors with model.save_pretrained(folder)"
        )
    raise ModelError(
        f"{folder} has no *.safetensors file: save the model there, model.save_pretrained(folder)"
    )
