"""Layer names and the parameters behind them: found by structure, never by substring, never empty.

A *slot* is a parameter or one role of it: a token matrix that is tied to the output head has two slots
("input" and "output"), since its gradient is a sum of two parts that the study keeps apart.

Names: all, embedding, embedding.input, embedding.output, position, block.0 ..., first2, last2, norm.final,
norms, all-but-embedding; a list of names is their union.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from unlearnkit.errors import LayerError, nearest

Layers = str | Iterable[str]


class Slot(NamedTuple):
    """A parameter by name; `role` is "input" or "output" for token matrices, else ""."""

    parameter: str
    role: str = ""


def blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Name and list of the decoder blocks: the longest ModuleList that is not within another's items.

    Experts and heads may be lists too, and longer ones.
    """
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList)]
    within = tuple(f"{name}." for name, _ in lists)
    lists = [(name, m) for name, m in lists if not name.startswith(within)]
    if not lists:
        raise LayerError(f"{type(model).__name__} has no list of blocks, so its layers have no names")
    return max(lists, key=lambda pair: len(pair[1]))


def turned(model: nn.Module) -> set[str]:
    """Names of matrices that are stored in x out (GPT-2's Conv1D): a column feeds an output, not a row."""
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}


def is_norm(module: nn.Module) -> bool:
    """LayerNorm, or any of the classes like RMSNorm that model libraries define for themselves."""
    learned = isinstance(getattr(module, "weight", None), nn.Parameter)
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or learned and type(module).__name__.endswith("Norm")


def tags(model: PreTrainedModel, trainable_only: bool = True) -> dict[Slot, frozenset[str]]:
    """The elementary layer names that each slot of the model carries, in the model's own order.

    A tied matrix gives two slots. Frozen parameters are left out unless `trainable_only` is False.
    """
    names = {p: name for name, p in model.named_parameters()}  # a tied parameter appears once
    block_prefix, block_list = blocks(model)
    token_in, token_out = model.get_input_embeddings(), model.get_output_embeddings()
    found: dict[Slot, set[str]] = {}
    for module_name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if trainable_only and not parameter.requires_grad:
                continue
            name = names[parameter]
            role, layer = "", "other"
            if module is token_in:
                role, layer = "input", "embedding.input"
            elif module is token_out:
                role, layer = "output", "embedding.output"
            elif module_name.startswith(block_prefix + "."):
                layer = f"block.{module_name[len(block_prefix) + 1 :].split('.')[0]}"
            elif isinstance(module, nn.Embedding):
                layer = "position"
            elif is_norm(module):
                layer = "norm.final"
            if any(slot.parameter == name and {slot.role, role} != {"input", "output"} for slot in found):
                role = next(slot.role for slot in found if slot.parameter == name)  # shared, but not tied
            here = found.setdefault(Slot(name, role), set())
            here.add(layer)
            if is_norm(module):
                here.add("norms")
    if not found:
        raise LayerError("the model has no trainable parameter")
    return {slot: frozenset(names) for slot, names in found.items()}


def _expand(name: str, n_blocks: int) -> set[str] | None:
    """Elementary names of a composite one; None for `all`-like names, which are handled by exclusion."""
    composites = {
        "embedding": {"embedding.input", "embedding.output"},
        "first2": {"block.0", "block.1"},
        "last2": {f"block.{n_blocks - 2}", f"block.{n_blocks - 1}"},
    }
    return composites.get(name, {name})


def known_names(tagged: Mapping[Slot, frozenset[str]]) -> list[str]:
    """Every name that `select` accepts for this model."""
    elementary = set().union(*tagged.values()) - {"other"}
    order = ["embedding.input", "embedding.output", "position", "norm.final", "norms"]
    block_names = sorted((n for n in elementary if n.startswith("block.")), key=lambda n: int(n[6:]))
    simple = [n for n in order if n in elementary]
    return ["all", "all-but-embedding", "embedding", *simple, "first2", "last2", *block_names]


def select(tagged: Mapping[Slot, frozenset[str]], layers: Layers = "all") -> list[Slot]:
    """The slots that a name or a list of names stands for, in model order.

    Raises LayerError for an unknown name (with the nearest known one) and for one that matches nothing,
    such as `position` in a model with rotary positions.
    """
    wanted = [layers] if isinstance(layers, str) else list(layers) if isinstance(layers, Iterable) else None
    if wanted is None or not all(isinstance(name, str) for name in wanted):
        raise LayerError(f"layers={layers!r}: give a name, such as 'all', or names, ['block.0', 'norms']")
    if not wanted:
        raise LayerError("the layer selection is empty: name at least one layer, for example 'all'")
    n_blocks = len({t for names in tagged.values() for t in names if t.startswith("block.")})
    chosen: set[Slot] = set()
    for name in wanted:
        if name == "all":
            chosen |= set(tagged)
            continue
        if name == "all-but-embedding":
            matched = {s for s, t in tagged.items() if not t & {"embedding.input", "embedding.output"}}
        else:
            elementary = _expand(name, n_blocks)
            matched = {s for s, t in tagged.items() if t & elementary}
        if not matched:
            raise LayerError(_unknown(name, tagged, n_blocks))
        chosen |= matched
    return [slot for slot in tagged if slot in chosen]


def _unknown(name: str, tagged: Mapping[Slot, frozenset[str]], n_blocks: int) -> str:
    if name == "position":
        return "layer 'position': this model has no position embedding (rotary positions have no parameters)"
    if name.startswith("block.") and name[6:].isdigit():
        return f"layer {name!r}: this model has blocks 0 to {n_blocks - 1} (counted from 0)"
    known = known_names(tagged)
    told = f"layer {name!r} matches no trainable parameter{nearest(name, known)}"
    return f"{told} (known: {', '.join(known)})"


def parameters(model: PreTrainedModel, layers: Layers = "all") -> dict[str, nn.Parameter]:
    """The parameters behind a selection, by name. A role of a tied matrix gives the whole matrix."""
    named = dict(model.named_parameters())
    return {slot.parameter: named[slot.parameter] for slot in select(tags(model), layers)}
