"""Which modules of a model the ledger listens to, and what it keeps of each.

A *site* is one module with trainable parameters of its own. Its kind says how the gradient of one example
follows from what passes through it:

    linear     y = W x + b      dW = d^T x,  db = sum_t d      (torch.nn.Linear)
    conv1d     y = x W + b      dW = x^T d,  db = sum_t d      (GPT-2's Conv1D, weight stored in x out)
    embedding  y = W[ids]       dW = rows of d added at ids
    norm       y = w * x_hat    dw = sum_t d * x_hat,  db = sum_t d

with x the module's input and d the gradient of the loss at its output, a row per token. A module that none
of these explains makes `discover` fail before training starts, naming it.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from unlearnkit.errors import LedgerError
from unlearnkit.layers import Slot, is_norm, tags


@dataclass(frozen=True)
class Site:
    """One recorded module. `group` is the site whose stored input this one shares (often itself)."""

    module: str
    kind: str  # linear | conv1d | embedding | norm
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


def discover(model: PreTrainedModel) -> list[Site]:
    """Every site of the model, in module order, after a probe has shown that the ledger explains them all.

    Raises LedgerError for gradient checkpointing, for a module of an unknown kind, and for a module that a
    forward pass does not call exactly once.
    """
    if any(getattr(m, "gradient_checkpointing", False) for m in model.modules()):
        raise LedgerError(
            "gradient checkpointing is on, and would run the ledger's hooks twice: "
            "call model.gradient_checkpointing_disable() first"
        )
    names = {p: n for n, p in model.named_parameters()}
    roles = {slot.parameter for slot in tags(model) if slot.role}
    token_in, token_out = model.get_input_embeddings(), model.get_output_embeddings()
    sites = []
    for module_name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not any(p.requires_grad for p in own.values()):
            continue
        role = "input" if module is token_in else "output" if module is token_out else ""
        slots = {k: Slot(names[p], role) for k, p in own.items() if p.requires_grad}
        if unknown := set(own) - {"weight", "bias"}:
            raise LedgerError(_unexplained(module_name, module, f"it has parameters {sorted(unknown)}"))
        assert not role or all(s.parameter in roles for s in slots.values())
        kind, width_in, width_out = _kind(module_name, module)
        sites.append(
            Site(module_name, kind, slots.get("weight"), slots.get("bias"), width_in, width_out, module_name)
        )
    return _with_groups(model, sites)


def _unexplained(name: str, module: nn.Module, why: str) -> str:
    return (
        f"the ledger cannot explain the gradient of module {name!r} ({type(module).__name__}): {why}. "
        "Freeze its parameters (requires_grad_(False)) or teach unlearnkit/ledger/sites.py its kind"
    )


def _kind(name: str, module: nn.Module) -> tuple[str, int, int]:
    """Kind and widths of a module; LedgerError where there is none."""
    if isinstance(module, nn.Linear):
        return "linear", module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return "conv1d", *module.weight.shape
    if isinstance(module, nn.Embedding):
        if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
            raise LedgerError(_unexplained(name, module, "max_norm, scale_grad_by_freq and sparse change it"))
        return "embedding", *module.weight.shape
    if is_norm(module):
        _probe_norm(name, module)
        return "norm", module.weight.numel(), module.weight.numel()
    raise LedgerError(_unexplained(name, module, "its kind is unknown"))


def normalised(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """x_hat of a norm module: its input before the learned scale, in float32."""
    x = x.float()
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(x, module.normalized_shape, eps=module.eps)
    eps = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None) or 0.0
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def _probe_norm(name: str, module: nn.Module) -> None:
    """Check on random numbers that the module's weight gradient is sum d * x_hat."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, module.weight.numel())
    x, d = (torch.randn(shape, generator=generator).to(module.weight) for _ in range(2))
    with torch.enable_grad():
        (expected,) = torch.autograd.grad(module(x), module.weight, d)
    ours = (d.float() * normalised(module, x)).sum(0)
    tolerance = 1e-5 if module.weight.dtype == torch.float32 else 5e-2
    if not torch.allclose(ours, expected.float(), rtol=tolerance, atol=tolerance * 10):
        raise LedgerError(_unexplained(name, module, "its weight's gradient is not sum_t d * x_hat"))


def _with_groups(model: PreTrainedModel, sites: list[Site]) -> list[Site]:
    """Run one tiny forward pass: every site must be called once, and those with one input share it."""
    modules = dict(model.named_modules())
    seen: dict[str, list[torch.Tensor]] = {site.module: [] for site in sites}
    handles = [
        modules[name].register_forward_hook(lambda _m, inputs, _o, calls=calls: calls.append(inputs[0]))
        for name, calls in seen.items()
    ]
    try:
        ids = torch.zeros(1, 2, dtype=torch.long, device=model.device)
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    grouped, owner = [], {}
    for site in sites:
        calls = seen[site.module]
        if len(calls) != 1:
            why = f"a forward pass calls it {len(calls)} times, and the ledger needs exactly one"
            raise LedgerError(_unexplained(site.module, modules[site.module], why))
        key = (calls[0].data_ptr(), site.on_targets) if site.factored else site.module
        group = owner.setdefault(key, site.module)
        grouped.append(Site(**{**site.__dict__, "group": group}))
    return grouped
