"""Capture of every example's gradient during an ordinary batched backward pass.

Forward hooks keep each site's input, tensor hooks take the gradient of its output, and both are cast
straight into the slab of memory that is written while the optimizer steps and the next forward pass runs.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from unlearnkit.batching import IGNORED, Batch
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import identity
from unlearnkit.ledger.rows import rows_of
from unlearnkit.ledger.sites import Site, discover, normalised
from unlearnkit.ledger.slab import Layout, Shape, Slab
from unlearnkit.ledger.store import Store


class Recorder:
    """Context manager that records the gradients of chosen examples into a store.

    Per step: `expect(batch, keep)` before the forward pass, any number of times backward through it, then
    `finish(...)`. The loss must be a sum of per-example terms; what is recorded is each term's gradient as
    the backward pass sees it, so every constant factor (1/B) is in it.
    """

    def __init__(self, model: PreTrainedModel, store: Store):
        self.sites: list[Site] = discover(model)
        self.store, self.model = store, model
        self.slab = Slab(store)
        self.modules = dict(model.named_modules())
        self.active = False
        self.checked = False  # dropped rows are verified to be zero in the first step
        self.dense_sites: set[str] = set()
        self.layout = self._layout()

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
        self.slab.join(quiet=kind is not None)

    # -- one step ---------------------------------------------------------------------------------------

    def expect(self, batch: Batch, keep: Sequence[int]) -> None:
        """Announce the next forward pass; `keep` are the batch places of the examples to record."""
        self.active = bool(keep)
        if not self.active:
            return
        self.shape = tuple(batch.input_ids.shape)
        targets = batch.labels != IGNORED
        predicts = torch.zeros_like(targets)
        predicts[:, :-1] = targets[:, 1:]
        # A token has a gradient only if a later-or-same position predicts a target, and padding has none.
        live = predicts.flip(1).cummax(1).values.flip(1) & batch.attention_mask.bool()
        kept = torch.zeros(self.shape[0], 1, dtype=torch.bool)
        kept[list(keep)] = True
        self.rows = {"live": rows_of(live & kept), "targets": rows_of(predicts & kept)}
        self.dropped = {"live": ~live, "targets": ~predicts}
        # The head may be given its predicting positions only, as one row of them (`forward.target_logits`).
        self.predicting = predicts
        self.rows["picked"] = rows_of(kept.expand_as(predicts)[predicts][None])
        self.keep = torch.tensor(list(keep))
        counts = torch.stack([live.sum(1), predicts.sum(1)], 1)[self.keep].tolist()
        dense = {s.module for s in self.sites if s.factored and self._dense_is_smaller(s, counts)}
        if dense != self.dense_sites:
            self.dense_sites = dense
            self.layout = self._layout()
        self.stored_inputs: dict[str, int] = {}
        self.slab.begin([batch.ids[k] for k in keep], counts, self.layout)

    def finish(self, epoch: int, step: int, lr: float) -> None:
        """Close the step after its backward pass."""
        if not self.active:
            return
        self.active, self.checked = False, True
        self.slab.end(epoch, step, lr)

    def flush(self) -> None:
        """Hand the finished steps to the writer as a shard."""
        self.slab.flush()

    def end_epoch(self) -> None:
        """Start a new shard, and scales anew: an epoch's records do not depend on those before."""
        self.flush()
        self.slab.guesses.clear()

    def commit(self, epoch: int, **progress) -> None:
        """End of an epoch: everything is on disk and the index says so."""
        self.end_epoch()
        self.slab.join()
        identity.note_end(self.store, self.model)
        self.store.publish(epoch, **progress)

    # -- hooks ------------------------------------------------------------------------------------------

    def _expand_ids(self, _module, inputs):
        ids = inputs[0]
        if self.active and ids.dim() == 2 and ids.shape[0] == 1 < self.shape[0]:
            return (ids.expand(self.shape[0], -1), *inputs[1:])
        return None

    def _on_forward(self, site: Site, _module: nn.Module, inputs, output) -> None:
        if self.active and output.requires_grad:
            output.register_hook(partial(self._on_backward, site, inputs[0].detach()))

    def _on_backward(self, site: Site, x: torch.Tensor, d: torch.Tensor) -> None:
        rows = "targets" if site.on_targets else "live"
        d, picked = d.detach(), tuple(d.shape[:2]) != self.shape
        if picked and (not site.on_targets or site.module in self.dense_sites):  # wanted example by example
            x, d, picked = self._in_place(x), self._in_place(d), False
        if not (self.checked or picked) and d[self.dropped[rows]].any():
            raise LedgerError(
                f"module {site.module!r} has gradients at tokens that predict nothing: the ledger needs a "
                "causal model and a loss on the labelled tokens only"
            )
        if site.kind == "norm":
            if site.weight is not None:
                scaled = normalised(self._module(site), x).mul_(d)
                self._reduced(site.weight, f"{site.module}/weight", scaled)
            self._reduced(site.bias, f"{site.module}/bias", d)
        elif site.kind == "embedding":
            padding = self._module(site).padding_idx
            if padding is not None:  # torch gives that row no gradient, whoever uses it
                d = d.masked_fill((x == padding).unsqueeze(-1), 0.0)
            self.slab.put_ids(f"{site.module}/ids", x, self.rows["live"])
            self._put(f"{site.module}/d", "live", d)
        elif not site.factored:
            self._reduced(site.bias, f"{site.module}/bias", d)
        elif site.module in self.dense_sites:
            self._dense(site, x, d)
        else:
            self._put(f"{site.module}/d", rows, d, picked)
            self._input(site, x, rows, picked)

    def _put(self, name: str, rows: str, values: torch.Tensor, picked: bool = False) -> None:
        self.slab.put(name, values, self.rows["picked" if picked else rows])

    def _in_place(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the predicting positions, back in a tensor of the whole batch."""
        whole = values.new_zeros(*self.shape, values.shape[-1])
        whole[self.predicting] = values[0]
        return whole

    def _module(self, site: Site) -> nn.Module:
        return self.modules[site.module]

    def _input(self, site: Site, x: torch.Tensor, rows: str, picked: bool) -> None:
        """Store a shared input once (q, k, v; gate, up)."""
        if site.group not in self.stored_inputs:
            self.stored_inputs[site.group] = x.data_ptr()
            self._put(f"{site.group}/x", rows, x, picked)
        elif self.stored_inputs[site.group] != x.data_ptr():
            raise LedgerError(f"module {site.module!r} does not share its input with {site.group!r} any more")

    def _dense(self, site: Site, x: torch.Tensor, d: torch.Tensor) -> None:
        """Long texts: the whole gradient of a site is smaller than its factors."""
        x, d = x[self.keep], d[self.keep]
        left, right = (d, x) if site.kind == "linear" else (x, d)
        self.slab.put(f"{site.module}/g", torch.bmm(left.transpose(1, 2), right).flatten(1).unsqueeze(0))
        if site.bias is not None:
            self._reduced(site.bias, f"{site.module}/bias", d, kept=True)

    def _reduced(self, slot, name: str, values: torch.Tensor, kept: bool = False) -> None:
        """Keep the sum over tokens, a vector per example, in float32."""
        if slot is not None:
            summed = values.float().sum(1) if kept else values.float().sum(1)[self.keep]
            self.slab.put(name, summed.unsqueeze(0))

    # -- sizes ------------------------------------------------------------------------------------------

    @staticmethod
    def _dense_is_smaller(site: Site, counts: Sequence[Sequence[int]]) -> bool:
        rows = sum(c[1 if site.on_targets else 0] for c in counts)
        return rows * (site.width_in + site.width_out) > len(counts) * site.width_in * site.width_out

    def _layout(self) -> Layout:
        """The tensors of a step, by shape; which of a site's two forms is kept depends on `dense_sites`."""
        found: dict[Shape, dict[str, None]] = defaultdict(dict)  # names, each once, in order
        kept = self.slab.dtype

        def place(name: str, rows: str, dtype: torch.dtype, width: int) -> None:
            found[Shape(rows, dtype, width)][name] = None

        for site in self.sites:
            rows = "targets" if site.on_targets else "live"
            dense = site.module in self.dense_sites
            if site.kind == "norm" and site.weight is not None:
                place(f"{site.module}/weight", "one", torch.float32, site.width_out)
            elif site.kind == "embedding":
                place(f"{site.module}/ids", "live", torch.int32, 1)
                place(f"{site.module}/d", "live", kept, site.width_out)
            elif site.factored and dense:
                place(f"{site.module}/g", "one", kept, site.width_in * site.width_out)
            elif site.factored:
                place(f"{site.module}/d", rows, kept, site.width_out)
                place(f"{site.group}/x", rows, kept, site.width_in)
            if site.bias is not None and (dense or not site.factored):
                place(f"{site.module}/bias", "one", torch.float32, site.width_out)
        return {shape: list(names) for shape, names in found.items()}
