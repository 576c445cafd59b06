"""Which parameters of a model the ledger records, and what it keeps of each.

A *site* is one operation with trainable parameters. Its kind says how the gradient of one example follows
from what passes through it:

    linear     y = W x + b      dW = d^T x,  db = sum_t d      (torch's linear)
    conv1d     y = x W + b      dW = x^T d,  db = sum_t d      (addmm: GPT-2's Conv1D, stored in x out)
    embedding  y = W[ids]       dW = rows of d added at ids
    norm       y = w * x_hat    dw = sum_t d * x_hat,  db = sum_t d
    autograd   anything else    a backward pass for each example: exact for all, and as slow

with x what enters the operation and d the gradient of the loss at its output, a row per token. What of a
model fits the first four is found by running it once; `proof` holds the result against autograd.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from unlearnkit import forward
from unlearnkit.batching import Batch
from unlearnkit.errors import LedgerError
from unlearnkit.layers import Slot, is_norm, tags
from unlearnkit.ledger.listening import Listener, Use, listen_to


@dataclass(frozen=True)
class Site:
    """One recorded operation, named by its module; `group` is the site whose stored input it shares.

    A site of kind autograd is one parameter, named by it.
    """

    module: str
    kind: str  # linear | conv1d | embedding | norm | autograd
    weight: Slot | None  # None where frozen or absent
    bias: Slot | None
    width_in: int
    width_out: int
    group: str = ""

    @property
    def factored(self) -> bool:
        """Whether the gradient is kept as factors, rather than reduced to a vector per example."""
        return self.kind in ("linear", "conv1d") and self.weight is not None

    @property
    def on_targets(self) -> bool:
        """The output head gets a gradient at predicting positions only."""
        return self.weight is not None and self.weight.role == "output"

    def slots(self) -> list[Slot]:
        return [slot for slot in (self.weight, self.bias) if slot is not None]

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> "Site":
        weight, bias = (Slot(*data[k]) if data[k] else None for k in ("weight", "bias"))
        return cls(**{**data, "weight": weight, "bias": bias})


def discover(model: PreTrainedModel, batch: Batch, apart: Collection[str] = ()) -> list[Site]:
    """Every site of the model, in module order, as a forward pass of the batch shows it.

    Parameters named in `apart`, and what no other kind fits, become sites of kind autograd. LedgerError for a
    tied token matrix whose two roles cannot be told apart.
    """
    names, uses = {p: n for n, p in model.named_parameters()}, _uses(model, batch)
    slots, sites, owner, taken = tags(model), [], {}, set()
    token_in, token_out = model.get_input_embeddings(), model.get_output_embeddings()
    for module_name, module in model.named_modules():
        role = "input" if module is token_in else "output" if module is token_out else ""
        own = {k: Slot(names[p], role) for k, p in module.named_parameters(recurse=False)}
        own = {k: slot for k, slot in own.items() if slot in slots and slot not in taken}
        if not own:
            continue
        taken |= set(own.values())
        known = not any(slot.parameter in apart for slot in own.values())
        found = _explained(module_name, module, own, uses) if known else None
        if found is None:
            sites += [_by_autograd(model, slot, slots) for slot in own.values()]
            continue
        site, use = found
        if site.factored:
            key = use.x.data_ptr(), use.x.shape, site.on_targets
            site = replace(site, group=owner.setdefault(key, module_name))
        sites.append(site)
    return sites


def _uses(model: PreTrainedModel, batch: Batch) -> dict[torch.Tensor, list[Use]]:
    """What one forward pass does with each parameter, as a weight or bias; of norms, their modules' calls."""
    found: dict[torch.Tensor, list[Use]] = defaultdict(list)

    def told(use: Use, output: torch.Tensor) -> torch.Tensor:
        use = use if _by_token(use, batch.input_ids.shape) else use._replace(kind="scattered")
        for parameter in (use.weight, use.bias):
            if isinstance(parameter, nn.Parameter):
                found[parameter].append(use)
        return output

    def told_norm(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        told(Use("norm", inputs[0], module.weight, getattr(module, "bias", None)), output)

    norms = [m for m in model.modules() if is_norm(m)]
    handles = [m.register_forward_hook(told_norm) for m in norms]
    handles += listen_to(model, Listener(told, len(batch.ids)))
    try:
        with torch.no_grad():
            model(**forward.inputs(model, batch))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _by_token(use: Use, tokens: torch.Size) -> bool:
    """Whether what enters an operation has a row for each token, in the batch's order."""
    if use.kind == "norm" and use.x.dim() > 2:
        return use.x.shape[0] == tokens[0]
    shape = use.x.shape if use.kind == "embedding" else use.x.shape[:-1]
    return tuple(shape) in (tuple(tokens), (tokens.numel(),))


def _explained(
    name: str, module: nn.Module, own: dict[str, Slot], uses: dict[torch.Tensor, list[Use]]
) -> tuple[Site, Use] | None:
    """The site of a module's own parameters and its one use, or None where they call for autograd."""
    role = next(iter(own.values())).role
    calls = [
        [
            u
            for u in uses.get(getattr(module, key), ())
            if not role or (u.kind == "embedding") == (role == "input")
        ]
        for key in own
    ]
    if set(own) - {"weight", "bias"} or any(len(c) != 1 or c[0] is not calls[0][0] for c in calls):
        return None  # never called, or more than once, or weight and bias apart
    use = calls[0][0]
    if use.kind == "scattered" or (use.kind == "norm" and about_mean(module) is None):
        return None
    if use.kind == "norm":
        width_in = width_out = use.weight.numel()
    else:
        width_in, width_out = use.weight.shape[::-1] if use.kind == "linear" else use.weight.shape
    return Site(name, use.kind, own.get("weight"), own.get("bias"), width_in, width_out, name), use


def _by_autograd(model: PreTrainedModel, slot: Slot, slots: Collection[Slot]) -> Site:
    shape = dict(model.named_parameters())[slot.parameter].shape
    if sum(other.parameter == slot.parameter for other in slots) > 1:
        raise LedgerError(
            f"the ledger cannot tell the two roles of {slot.parameter!r} apart, which is the token "
            "embedding and the output head of this model: untie them (tie_word_embeddings=False), or "
            "freeze the matrix (requires_grad_(False))"
        )
    first = shape[0] if shape else 1
    return Site(slot.parameter, "autograd", slot, None, first, shape.numel() // max(first, 1), slot.parameter)


def normalised(module: nn.Module, x: torch.Tensor, centred: bool) -> torch.Tensor:
    """x_hat of a norm module: its input before the learned scale, in float32; `centred`: less its mean."""
    eps = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None) or 0.0
    x = x.float()
    if centred:
        return F.layer_norm(x, x.shape[-1:], eps=eps)
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def about_mean(module: nn.Module) -> bool | None:
    """Whether a norm is taken about the mean, tried on random numbers; None where neither is its gradient."""
    generator = torch.Generator().manual_seed(0)
    weight, likely = module.weight, isinstance(module, nn.LayerNorm)
    x, d = (torch.randn(3, 4, *weight.shape, generator=generator).to(weight) for _ in range(2))
    with torch.enable_grad():
        try:
            (expected,) = torch.autograd.grad(module(x), weight, d)
        except (RuntimeError, TypeError):  # its weight is frozen, or it takes more than x
            return None
    tolerance = 1e-5 if weight.dtype == torch.float32 else 5e-2
    for centred in (likely, not likely):
        ours = (d.float() * normalised(module, x, centred)).sum((0, 1))
        if torch.allclose(ours, expected.float(), rtol=tolerance, atol=tolerance * 10):
            return centred
    return None
