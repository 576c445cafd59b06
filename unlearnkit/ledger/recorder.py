"""Capture of every example's gradient during an ordinary batched backward pass.

What enters a site is seen in the forward pass, a tensor hook takes the gradient of its output, and both are
cast straight into the slab of memory that is written while the optimizer steps and the next batch is read.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from unlearnkit import forward
from unlearnkit.batching import IGNORED, Batch
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import identity
from unlearnkit.ledger.layout import layout_of, smaller_whole
from unlearnkit.ledger.listening import Listener, Use, listen_to
from unlearnkit.ledger.rows import rows_of
from unlearnkit.ledger.sites import Site, about_mean, normalised
from unlearnkit.ledger.slab import Slab
from unlearnkit.ledger.staging import StagingSlab
from unlearnkit.ledger.store import Store


class Recorder:
    """Context manager that records the gradients of chosen examples into a store.

    Per step: `expect(batch, keep)` before the forward pass, `terms(...)` after it, any number of times
    backward through it, then `finish(...)`. The loss must be a sum of per-example terms; what is recorded is
    each term's gradient as the backward pass sees it, so every constant factor (1/B) is in it.
    """

    def __init__(self, model: PreTrainedModel, store: Store):
        self.sites = sites = [Site.from_json(told) for told in store.head["sites"]]
        self.store, self.model = store, model
        self.device = forward.device_of(model)
        self.slab = Slab(store) if self.device.type == "cpu" else StagingSlab(store, self.device)
        self.modules = dict(model.named_modules())
        named = dict(model.named_parameters())
        self.operations = {  # by the parameter that an operation is known by, and whether it looks ids up
            (named[slot.parameter], site.kind == "embedding"): site
            for site in sites
            if site.kind not in ("norm", "autograd")
            for slot in site.slots()[:1]
        }
        self.centred = {s.module: about_mean(self.modules[s.module]) for s in sites if s.kind == "norm"}
        self.by_autograd = {s.module: named[s.module] for s in sites if s.kind == "autograd"}
        self.listener = Listener(self._on_operation)
        self.active = False
        self.checked = False  # dropped rows are verified to be zero in the first step
        self.dense_sites: set[str] = set()
        self.layout = layout_of(self.sites, self.dense_sites, self.slab.dtype)

    def __enter__(self) -> "Recorder":
        self.handles = listen_to(self.model, self.listener)
        for site in self.sites:
            if site.kind == "norm":
                hook = partial(self._on_norm, site)
                self.handles.append(self.modules[site.module].register_forward_hook(hook))
        return self

    def __exit__(self, kind, *_):
        for handle in self.handles:
            handle.remove()
        self.slab.join(quiet=kind is not None)

    # -- one step ---------------------------------------------------------------------------------------

    def expect(self, batch: Batch, keep: Sequence[int]) -> None:
        """Announce the next forward pass; `keep` are the batch places of the examples to record."""
        self.active = bool(keep)
        self.listener.rows = len(batch.ids) if keep else 0
        if not self.active:
            return
        self.shape = tuple(batch.input_ids.shape)
        self.met: set[str] = set()  # the sites that this forward pass has come by
        targets = batch.labels != IGNORED
        predicts = torch.zeros_like(targets)
        predicts[:, :-1] = targets[:, 1:]
        # A token has a gradient only if a later-or-same position predicts a target, and padding has none.
        live = predicts.flip(1).cummax(1).values.flip(1) & batch.attention_mask.bool()
        kept = torch.zeros(self.shape[0], 1, dtype=torch.bool)
        kept[list(keep)] = True
        # The head may be given its predicting positions only, as one row of them (`forward.target_logits`).
        masks = {"live": live & kept, "targets": predicts & kept}
        masks["picked"] = kept.expand_as(predicts)[predicts][None]
        self.rows = {name: rows_of(mask, self.device) for name, mask in masks.items()}
        self.dropped, self.predicting = {"live": ~live, "targets": ~predicts}, predicts
        self.keep = torch.tensor(list(keep)).to(self.device)
        counts = torch.stack([live.sum(1), predicts.sum(1)], 1)[list(keep)].tolist()
        dense = set() if self.store.head.get("factors") else smaller_whole(self.sites, counts)
        if dense != self.dense_sites:
            self.dense_sites = dense
            self.layout = layout_of(self.sites, self.dense_sites, self.slab.dtype)
        self.stored_inputs: dict[str, int] = {}
        self.slab.begin([batch.ids[k] for k in keep], counts, self.layout)

    def terms(self, losses: torch.Tensor) -> None:
        """The loss's terms (B,) before they go backward as one: each alone, for sites of kind autograd."""
        if not (self.active and self.by_autograd):
            return
        self.active, rows = False, []  # these passes are not the one to listen to
        for k in self.keep.tolist():
            found = torch.autograd.grad(
                losses[k], list(self.by_autograd.values()), retain_graph=True, allow_unused=True
            )
            rows.append(found)
        self.active = True
        for (name, parameter), parts in zip(self.by_autograd.items(), zip(*rows, strict=True), strict=True):
            whole = [torch.zeros_like(parameter) if part is None else part for part in parts]
            self.slab.put(f"{name}/g", torch.stack(whole).flatten(1).unsqueeze(0))

    def finish(self, epoch: int, step: int, lr: float) -> None:
        """Close the step after its backward pass."""
        if not self.active:
            return
        self.active, self.checked, self.listener.rows = False, True, 0
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

    def _on_operation(self, use: Use, output: torch.Tensor) -> torch.Tensor:
        leaf = not output.requires_grad  # an embedding, while only activations are followed
        for parameter in (use.weight, use.bias):  # of two modules, where either is shared
            site = self.operations.get((parameter, use.kind == "embedding"))
            if site is not None:
                self._await(site, output.requires_grad_(), use.x.detach(), use.padding)
        return output.clone() if leaf and output.requires_grad else output  # some models change it in place

    def _on_norm(self, site: Site, _module: nn.Module, inputs, output: torch.Tensor) -> torch.Tensor:
        leaf = self.active and not output.requires_grad  # the first one's above embeddings that are frozen
        if self.active:
            self._await(site, output.requires_grad_(), inputs[0].detach())
        return output.clone() if leaf else output

    def _await(self, site: Site, output: torch.Tensor, x: torch.Tensor, padding: int | None = None) -> None:
        if site.module in self.met:
            raise LedgerError(
                f"module {site.module!r} is used a second time in one forward pass, and was not before"
            )
        self.met.add(site.module)
        output.register_hook(partial(self._on_backward, site, x, padding))

    def _on_backward(self, site: Site, x: torch.Tensor, padding: int | None, d: torch.Tensor) -> None:
        if not self.active:
            return
        d = d.detach()
        if site.kind == "norm":
            self._norm(site, x, d)
            return
        rows = "targets" if site.on_targets else "live"
        x = self._by_token(site, x.unsqueeze(-1) if site.kind == "embedding" else x)
        d = self._by_token(site, d)
        picked = tuple(d.shape[:2]) != self.shape
        if picked and (not site.on_targets or site.module in self.dense_sites):  # wanted example by example
            x, d, picked = self._in_place(x), self._in_place(d), False
        if not (self.checked or picked):
            self._require_dropped(site, d, rows)
        if site.kind == "embedding":
            x = x.squeeze(-1)
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

    def _by_token(self, site: Site, values: torch.Tensor) -> torch.Tensor:
        """(B, T, width) of what came as (B T, width); the head's picked positions stay as they are."""
        if values.dim() == 2:
            if len(values) != self.shape[0] * self.shape[1]:
                raise LedgerError(
                    f"module {site.module!r} got {len(values)} rows, not one for each of "
                    f"{self.shape[0]} x {self.shape[1]} tokens"
                )
            return values.unflatten(0, self.shape)
        return values

    def _norm(self, site: Site, x: torch.Tensor, d: torch.Tensor) -> None:
        """Sums over an example's tokens, and heads where they share the norm."""
        if d.dim() == 2:
            x, d = self._by_token(site, x), self._by_token(site, d)
        if not self.checked and tuple(d.shape[:2]) == self.shape:
            self._require_dropped(site, d, "live")
        module, whole = self.modules[site.module], (len(d), -1, site.width_out)
        if site.weight is not None:
            scaled = normalised(module, x, self.centred[site.module]).mul_(d)
            self._reduced(site.weight, f"{site.module}/weight", scaled.reshape(whole))
        self._reduced(site.bias, f"{site.module}/bias", d.reshape(whole))

    def _require_dropped(self, site: Site, d: torch.Tensor, rows: str) -> None:
        if d[self.dropped[rows].to(d.device)].any():
            raise LedgerError(
                f"module {site.module!r} has gradients at tokens that predict nothing: the ledger needs a "
                "causal model and a loss on the labelled tokens only"
            )

    def _put(self, name: str, rows: str, values: torch.Tensor, picked: bool = False) -> None:
        self.slab.put(name, values, self.rows["picked" if picked else rows])

    def _in_place(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the predicting positions, back in a tensor of the whole batch."""
        whole = values.new_zeros(*self.shape, values.shape[-1])
        whole[self.predicting.to(values.device)] = values[0]
        return whole

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
