"""A second device for machines that have none: tensors that refuse to meet those of the processor.

Their values lie in memory, and every operation is the processor's; but what mixes the two raises, as with a
GPU, and so does what needs a copy first. It does what our own code and tiny models ask for, and no more.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")  # a type that torch knows and that nothing is computed on
aten = torch.ops.aten


class Elsewhere(torch.Tensor):
    """A tensor whose values are `inner`'s, and whose device is another."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner, requires_grad=False):
        size = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        told = {"dtype": inner.dtype, "device": ELSEWHERE, "requires_grad": requires_grad}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, **size, **told)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} outside of `Somewhere`")

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        self.inner = other.inner

    def data_ptr(self):
        return self.inner.data_ptr()

    def tolist(self):
        return self.inner.tolist()

    def numpy(self):
        raise TypeError("a tensor of another device is no array: use Tensor.cpu() first")

    def __deepcopy__(self, memo):
        copy = Elsewhere(self.inner.detach().clone(), self.requires_grad)
        copy._is_param = getattr(self, "_is_param", False)
        return memo.setdefault(id(self), copy)

    def __repr__(self):
        return f"Elsewhere({self.inner})"


class Somewhere(TorchDispatchMode):
    """While entered, that device is there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, packet = dict(kwargs or {}), func._overloadpacket
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        there = [t for t in tensors if isinstance(t, Elsewhere)]
        moves = packet in (aten._to_copy, aten.copy_)
        if there and not moves:
            _require_together(func, tensors)
        asked = kwargs.get("device")
        lands = bool(there)
        if asked is not None:
            lands, kwargs["device"] = asked == ELSEWHERE, torch.device("cpu")
        elif packet is aten.copy_:
            lands = isinstance(args[0], Elsewhere)
        given, (args, kwargs) = (args, kwargs), tree_map(_inner, (args, kwargs))
        known = {id(own): t for own, t in zip(*map(tree_leaves, ((args, kwargs), given)), strict=True)}
        result = func(*args, **kwargs)
        if packet is aten._to_copy and id(result) in known:
            result = result.clone()  # of the same dtype and, to torch, the same device
        return tree_map(lambda value: _placed(value, known, lands), result)


def _require_together(func, tensors):
    """Numbers of no dimension go anywhere; what holds nothing is nowhere."""
    if any(not isinstance(t, Elsewhere) and t.dim() and t.numel() for t in tensors):
        raise RuntimeError(f"{func}: tensors are on two devices")


def _inner(value):
    if isinstance(value, Elsewhere):
        return value.inner
    if isinstance(value, torch.Tensor) and value.device == ELSEWHERE:  # torch.tensor([], device=) made it
        return torch.empty(value.shape, dtype=value.dtype, device="cpu")
    return value


def _placed(value, known, lands):
    """A result where it belongs; an argument that was changed in place is itself."""
    if not isinstance(value, torch.Tensor) or id(value) in known:
        return known.get(id(value), value)
    return Elsewhere(value) if lands else value


def moved(model):
    """The model with its parameters and buffers there, in place; tied ones stay tied."""
    known = {}
    for module in model.modules():
        for name, own in module._parameters.items():
            if own is not None and own not in known:
                known[own] = torch.nn.Parameter(Elsewhere(own.detach()), own.requires_grad)
            module._parameters[name] = known.get(own)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else Elsewhere(buffer)
    return model
