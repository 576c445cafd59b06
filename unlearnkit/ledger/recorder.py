"""Capture of every example's gradient during an ordinary batched backward pass.

Forward hooks keep each site's input, tensor hooks take the gradient of its output, and both are cast
straight into one preallocated slab of memory; a full slab is written by a background thread while the
optimizer steps and the next forward pass runs. There is one slab: memory is bounded by construction.
"""

import math
import threading
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from unlearnkit.batching import IGNORED, Batch
from unlearnkit.errors import LedgerError
from unlearnkit.ledger.shard import Piece
from unlearnkit.ledger.sites import Site, discover, normalised
from unlearnkit.ledger.store import Store

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SHARD_BYTES = 64 << 20  # a shard is written once it holds this much (one step is never split)
CHUNK = 1 << 18  # numbers cast at a time: stays in the processor's cache
FP16_TOP = 14  # the largest stored half is below 2^14, far from overflow and with all small values normal


def scale_exponent(values: torch.Tensor, dtype: torch.dtype) -> int:
    """e such that values * 2^e use float16's range; 0 for types with a float32 exponent."""
    if dtype != torch.float16:
        return 0
    low, high = torch.aminmax(values)
    top = max(-low.item(), high.item())
    if not 0 < top < float("inf"):
        return 0
    return max(-100, min(100, FP16_TOP - math.frexp(top)[1]))


class Recorder:
    """Context manager that records the gradients of chosen examples into a store.

    Per step: `expect(batch, keep)` before the forward pass, any number of times backward through it, then
    `finish(...)`. The loss must be a sum of per-example terms; what is recorded is each term's gradient as
    the backward pass sees it, so every constant factor (1/B) is in it.
    """

    def __init__(self, model: PreTrainedModel, store: Store):
        self.sites: list[Site] = discover(model)
        self.store, self.model = store, model
        self.dtype = DTYPES[store.dtype]
        self.modules = dict(model.named_modules())
        self.active = False
        self.checked = False  # dropped rows are verified to be zero in the first step
        self.slab = torch.empty(0, dtype=torch.uint8)
        self.scratch = torch.empty(CHUNK)
        self.dense_sites: set[str] = set()
        self.writer: threading.Thread | None = None
        self.failure: BaseException | None = None
        self._empty()

    def _empty(self) -> None:
        self.used, self.pieces = 0, {}
        self.ids, self.steps, self.lengths = [], [], []

    def __enter__(self) -> "Recorder":
        self.handles = []
        for site in self.sites:
            module = self.modules[site.module]
            if site.kind == "embedding":  # GPT-2's position ids may have batch size 1
                self.handles.append(module.register_forward_pre_hook(self._expand_ids))
            self.handles.append(module.register_forward_hook(partial(self._on_forward, site)))
        return self

    def __exit__(self, kind, *_):
        for handle in self.handles:
            handle.remove()
        self._join(quiet=kind is not None)

    # -- one step ---------------------------------------------------------------------------------------

    def expect(self, batch: Batch, keep: Sequence[int]) -> None:
        """Announce the next forward pass; `keep` are the batch places of the examples to record."""
        self.active = bool(keep)
        if not self.active:
            return
        self.batch_size = len(batch.ids)
        targets = batch.labels != IGNORED
        predicts = torch.zeros_like(targets)
        predicts[:, :-1] = targets[:, 1:]
        # A token has a gradient only if a later-or-same position predicts a target, and padding has none.
        live = predicts.flip(1).cummax(1).values.flip(1) & batch.attention_mask.bool()
        kept = torch.zeros(self.batch_size, 1, dtype=torch.bool)
        kept[list(keep)] = True
        self.rows = {"live": self._index(live & kept), "targets": self._index(predicts & kept)}
        self.dropped = {"live": self._index(~live), "targets": self._index(~predicts)}
        self.keep = torch.tensor(list(keep))
        counts = torch.stack([live.sum(1), predicts.sum(1)], 1)[self.keep].tolist()
        dense = {s.module for s in self.sites if s.factored and self._dense_is_smaller(s, counts)}
        if dense != self.dense_sites:
            self.flush()  # a shard has one layout
        self.dense_sites = dense
        self.stored_inputs: dict[str, int] = {}
        self._reserve(counts)
        self.lengths += counts
        self.step_ids = [batch.ids[k] for k in keep]

    def finish(self, epoch: int, step: int, lr: float) -> None:
        """Close the step after its backward pass."""
        if not self.active:
            return
        self.active, self.checked = False, True
        self.ids += self.step_ids
        self.steps += [step] * len(self.step_ids)
        self.epoch, self.lr = epoch, lr
        for piece in self.pieces.values():
            if len(piece.exponents) != len(self.ids):
                raise LedgerError(
                    f"no gradient reached {piece.name!r} in step {step}: is the module still used?"
                )
        if self.used >= SHARD_BYTES:
            self.flush()

    def commit(self, epoch: int, **progress) -> None:
        """End of an epoch: everything is on disk and the index says so."""
        self.flush()
        self._join()
        self.store.publish(epoch, **progress)

    # -- hooks ------------------------------------------------------------------------------------------

    def _expand_ids(self, _module, inputs):
        ids = inputs[0]
        if self.active and ids.dim() == 2 and ids.shape[0] == 1 < self.batch_size:
            return (ids.expand(self.batch_size, -1), *inputs[1:])
        return None

    def _on_forward(self, site: Site, _module: nn.Module, inputs, output) -> None:
        if self.active and output.requires_grad:
            output.register_hook(partial(self._on_backward, site, inputs[0].detach()))

    @torch.no_grad()
    def _on_backward(self, site: Site, x: torch.Tensor, d: torch.Tensor) -> None:
        rows = "targets" if site.on_targets else "live"
        d = d.detach()
        if not self.checked and d.flatten(0, 1)[self.dropped[rows]].any():
            raise LedgerError(
                f"module {site.module!r} has gradients at tokens that predict nothing: the ledger needs a "
                "causal model and a loss on the labelled tokens only"
            )
        if site.kind == "norm":
            self._reduced(site.weight, f"{site.module}/weight", d.float() * normalised(self._module(site), x))
            self._reduced(site.bias, f"{site.module}/bias", d)
        elif site.kind == "embedding":
            padding = self._module(site).padding_idx
            if padding is not None:  # torch gives that row no gradient, whoever uses it
                d = d.masked_fill((x == padding).unsqueeze(-1), 0.0)
            self._ids(f"{site.module}/ids", x.flatten()[self.rows["live"]])
            self._store(f"{site.module}/d", "live", d, "live")
        elif not site.factored:
            self._reduced(site.bias, f"{site.module}/bias", d)
        elif site.module in self.dense_sites:
            self._dense(site, x, d)
        else:
            self._store(f"{site.module}/d", rows, d, rows)
            self._input(site, x, rows)

    def _module(self, site: Site) -> nn.Module:
        return self.modules[site.module]

    def _input(self, site: Site, x: torch.Tensor, rows: str) -> None:
        """Store a shared input once (q, k, v; gate, up)."""
        if site.group not in self.stored_inputs:
            self.stored_inputs[site.group] = x.data_ptr()
            self._store(f"{site.group}/x", rows, x, rows)
        elif self.stored_inputs[site.group] != x.data_ptr():
            raise LedgerError(f"module {site.module!r} does not share its input with {site.group!r} any more")

    def _dense(self, site: Site, x: torch.Tensor, d: torch.Tensor) -> None:
        """Long texts: the whole gradient of a site is smaller than its factors."""
        x, d = x[self.keep], d[self.keep]
        left, right = (d, x) if site.kind == "linear" else (x, d)
        self._store(f"{site.module}/g", "one", torch.bmm(left.transpose(1, 2), right).flatten(1).unsqueeze(0))
        if site.bias is not None:
            self._reduced(site.bias, f"{site.module}/bias", d, kept=True)

    def _reduced(self, slot, name: str, values: torch.Tensor, kept: bool = False) -> None:
        """Keep the sum over tokens, a vector per example, in float32."""
        if slot is not None:
            summed = values.float().sum(1) if kept else values.float().sum(1)[self.keep]
            self._store(name, "one", summed.unsqueeze(0), dtype=torch.float32)

    # -- memory -----------------------------------------------------------------------------------------

    @staticmethod
    def _index(mask: torch.Tensor) -> torch.Tensor:
        return mask.flatten().nonzero().flatten()

    @staticmethod
    def _dense_is_smaller(site: Site, counts: Sequence[Sequence[int]]) -> bool:
        rows = sum(c[1 if site.on_targets else 0] for c in counts)
        return rows * (site.width_in + site.width_out) > len(counts) * site.width_in * site.width_out

    def _reserve(self, counts: Sequence[Sequence[int]]) -> None:
        """Room in the slab for this step: an upper bound from its row counts."""
        live, targets = (sum(c[i] for c in counts) for i in (0, 1))
        need = 0
        for site in self.sites:
            rows = targets if site.on_targets else live
            factors = rows * (site.width_in + site.width_out)
            if site.module in self.dense_sites:
                factors = len(counts) * site.width_in * site.width_out + rows * site.width_in
            if site.kind == "embedding":
                factors = rows * (site.width_out + 2)
            need += factors * self.dtype.itemsize + len(counts) * 8 * site.width_out + 64
        if self.used + need > self.slab.numel():
            self.flush()
            self._join()
            if need > self.slab.numel():
                self.slab = torch.empty(max(need, SHARD_BYTES + need), dtype=torch.uint8)

    def _room(self, name: str, rows: str, dtype: torch.dtype, shape: tuple[int, int]) -> torch.Tensor:
        """A view of the slab for one tensor of this step, registered under its name."""
        if self.used == 0:
            self._join()  # the slab may still be on its way to disk
        nbytes = shape[0] * shape[1] * dtype.itemsize
        view = self.slab[self.used : self.used + nbytes]
        self.used += -(-nbytes // 8) * 8
        piece = self.pieces.setdefault(name, Piece(name, rows, dtype, shape[1]))
        if (piece.rows, piece.dtype, piece.width) != (rows, dtype, shape[1]):
            raise LedgerError(f"record {name!r} changed its layout between two steps")
        piece.views.append(memoryview(view.numpy()))
        return view.view(dtype).view(shape)

    def _ids(self, name: str, ids: torch.Tensor) -> None:
        self._room(name, "live", torch.int32, (len(ids), 1)).copy_(ids[:, None])
        self.pieces[name].exponents += [0] * len(self.keep)

    def _store(self, name: str, rows: str, values: torch.Tensor, select: str = "", dtype=None) -> None:
        """Cast the selected rows of (B, T, width) values into the slab, a cache-sized chunk at a time."""
        dtype = dtype or self.dtype
        values = values.flatten(0, 1)
        index = self.rows[select] if select and len(self.rows[select]) < len(values) else None
        count, width = len(values) if index is None else len(index), values.shape[1]
        out = self._room(name, rows, dtype, (count, width))
        exponent = scale_exponent(values, dtype)
        self.pieces[name].exponents += [exponent] * len(self.keep)
        if values.dtype != torch.float32 or width > len(self.scratch):
            chosen = values if index is None else values[index]
            out.copy_(chosen.float() * 2.0**exponent)
            return
        step = len(self.scratch) // width
        for start in range(0, count, step):
            stop = min(start + step, count)
            part = self.scratch[: (stop - start) * width].view(-1, width)
            if index is not None:
                torch.index_select(values, 0, index[start:stop], out=part)
                part.mul_(2.0**exponent)
            else:
                torch.mul(values[start:stop], 2.0**exponent, out=part)
            out[start:stop].copy_(part)

    # -- writing ----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand the slab to the writer; it may be reused once `_join` has returned."""
        if not self.ids:
            return
        self._join()
        work = (list(self.pieces.values()), self.lengths, self.ids, self.steps, self.epoch, self.lr)
        self.writer = threading.Thread(target=self._write, args=work, daemon=True)
        self.writer.start()
        self._empty()

    def _write(self, *work) -> None:
        try:
            self.store.append(*work)
        except BaseException as error:
            self.failure = error

    def _join(self, quiet: bool = False) -> None:
        if self.writer is not None:
            self.writer.join()
            self.writer = None
        if self.failure is not None and not quiet:
            failure, self.failure = self.failure, None
            if isinstance(failure, OSError):
                raise LedgerError(
                    f"the ledger could not be written to {self.store.path}: {failure.strerror or failure}. "
                    "Free space there, or choose another folder, and call again: it resumes after the last "
                    "finished epoch"
                ) from failure
            raise failure
