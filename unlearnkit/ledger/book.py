"""`GradientLedger`: what a fine-tuning recorded, to be summed, compared, checked and purged."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from unlearnkit.errors import LedgerError, RequestError
from unlearnkit.forward import device_of
from unlearnkit.layers import Layers, Slot, select, tags
from unlearnkit.ledger import identity, purging, wholeness
from unlearnkit.ledger.algebra import weight_dot
from unlearnkit.ledger.locking import alone
from unlearnkit.ledger.reader import Key, Reader
from unlearnkit.ledger.store import Store


class GradientLedger:
    """Per-example, per-epoch gradients: each example's term of the loss as the step used it (1/B included).

    With plain SGD theta_T + lr * sum(all ids, "all") is theta_0 to rounding. With AdamW the records are the
    raw gradients too, not the update that the optimizer made. Gradients are made, and left, on the `device`;
    dot products come back to the processor.
    """

    def __init__(self, store: Store, device: torch.device | str = "cpu"):
        self.store, self.device = store, torch.device(device)
        self.tags = {Slot(p, r): frozenset(names) for p, r, names, _ in store.head["slots"]}
        self.shapes = {p: tuple(shape) for p, _, _, shape in store.head["slots"]}
        self.reader = Reader(store, device)

    @classmethod
    def open(
        cls, path: str | Path, model: PreTrainedModel | None = None, check_model: bool = True
    ) -> "GradientLedger":
        """Open a ledger. LedgerError if it is damaged, or if `model` is given and is not the one it is about.

        That is a model at theta_0 or theta_T, or where `unlearning` brought it from there. With
        `check_model=False` any model with the recorded parameters will do. The model's device is the book's.
        """
        book = cls(Store.load(Path(path)), "cpu" if model is None else device_of(model))
        if model is not None:
            book.require_model(model, check_model)
        return book

    # -- what is there ----------------------------------------------------------------------------------

    @property
    def example_ids(self) -> list[str]:
        """Ids of the recorded examples, in the order of the data."""
        return list(self.store.head["expected"])

    @property
    def epochs(self) -> list[int]:
        """The finished epochs, counted from 1."""
        return list(range(1, self.store.epochs + 1))

    @property
    def where(self) -> dict[Key, tuple[int, int]]:
        """Shard number and place of each record, by (example id, epoch)."""
        return self.reader.where

    @property
    def recipe(self) -> dict:
        """The training recipe, as fine_tune wrote it."""
        return self.store.head["recipe"]

    def rates(self, ids: Iterable[str], epochs: Sequence[int] | int | str) -> torch.Tensor:
        """The learning rate of the step that each record is of, in the order of `keys`, which refuses."""
        where = [self.where[key] for key in self.keys(ids, epochs)]
        return torch.tensor([self.store.shards[shard]["rates"][place] for shard, place in where])

    def info(self) -> dict:
        """Examples, epochs, bytes, bytes an example and epoch, dtype, model and recipe."""
        total = sum(s["bytes"] for s in self.store.shards)
        return {
            "path": str(self.store.path),
            "examples": len(self.example_ids),
            "epochs": self.store.epochs,
            "shards": len(self.store.shards),
            "bytes": total,
            "bytes_per_record": total / max(len(self.where), 1),
            "dtype": self.store.dtype,
            "model": self.store.head["model"],
            "recipe": self.recipe,
        }

    def bytes_by_site(self) -> dict[str, int]:
        """Bytes stored for each tensor name ("module/x", "module/d", ...), over all shards."""
        return self.reader.bytes_by_site()

    def parameter_sizes(self) -> dict[str, int]:
        """Number of weights of each recorded parameter."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}

    def require_model(self, model: PreTrainedModel, check_model: bool = True) -> None:
        """LedgerError unless the model fits and, with `check_model`, has this ledger's own weights."""
        self.require_fits(model)
        if check_model:
            identity.require_known(self.store, model)

    def require_fits(self, model: PreTrainedModel) -> None:
        """LedgerError unless the model's trainable parameters are those that were recorded."""
        named = dict(model.named_parameters())
        recorded = {slot.parameter: self.shapes[slot.parameter] for slot in self.tags}
        own = {slot.parameter: tuple(named[slot.parameter].shape) for slot in tags(model)}
        for name in {**recorded, **own}:
            if recorded.get(name) != own.get(name):
                raise LedgerError(
                    f"ledger {self.store.path} was recorded for {self.store.head['model']['name']}; this "
                    f"model differs at parameter {name!r}: {own.get(name, 'absent or frozen')} instead of "
                    f"{recorded.get(name, 'none')}. Open the ledger that belongs to this model, with "
                    "weights frozen, or adapters added, as then"
                )

    def verify(self) -> None:
        """Read everything, second moments and the checkpoint too: all bits as written, every record there.

        Raises LedgerError naming the file, or the example, that is not.
        """
        self.reader = Reader(self.store, self.device)  # opens every shard anew
        wholeness.require(self.reader)

    def purge(self, ids: Iterable[str]) -> int:
        """Remove every record of these examples from disk; returns the bytes freed. See `purging`."""
        ids = self.known(ids)
        with alone(self.store.path):
            store = Store.load(self.store.path)  # a copy: after a failure this book still reads the old one
            freed = purging.purge(store, ids)
        self.store, self.reader = store, Reader(store, self.device)  # parameters and layers stay
        return freed

    # -- replay -----------------------------------------------------------------------------------------

    def gradient(self, example_id: str, epoch: int, layers: Layers = "all") -> dict[str, torch.Tensor]:
        """The exact dense gradient of one example's loss term in one epoch, by parameter name."""
        return self.sum([example_id], (epoch,), layers)

    def sum(
        self, ids: Iterable[str], epochs: Sequence[int] | int | str = (1,), layers: Layers = "all"
    ) -> dict[str, torch.Tensor]:
        """Sum of the recorded gradients, dense, by parameter name. `stream` holds one at a time instead."""
        return dict(self.stream(ids, epochs, layers))

    def stream(
        self, ids: Iterable[str], epochs: Sequence[int] | int | str = (1,), layers: Layers = "all"
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """(parameter name, summed gradient) pairs, in model order; of epochs "first", each id's own first."""
        _, keys = self.reader.as_stored(self.keys(ids, epochs))
        chosen = select(self.tags, layers)
        for parameter in dict.fromkeys(slot.parameter for slot in chosen):
            total = torch.zeros(self.shapes[parameter], device=self.device)
            for site, weight in self.reader.sites_of(chosen, parameter):
                for factors in self.reader.read(site, keys, bias_only=not weight):
                    (factors.add_weight if weight else factors.add_bias)(total)
            yield parameter, total

    def dot(
        self,
        ids_a: Iterable[str],
        ids_b: Iterable[str],
        epoch_a: int = 1,
        epoch_b: int = 1,
        layers: Layers = "all",
        other: "GradientLedger | None" = None,
    ) -> torch.Tensor:
        """Dot products of recorded gradients, shape (len(a), len(b)); no dense gradient is built.

        `other` is the ledger of the b side, this one by default; it is read on this one's device.
        """
        other = other or self
        if other.device != self.device:
            other = GradientLedger(other.store, self.device)
        keys_a, keys_b = self.keys(ids_a, (epoch_a,)), other.keys(ids_b, (epoch_b,))
        chosen = select(self.tags, layers)
        order_a, keys_a = self.reader.as_stored(keys_a)
        order_b, keys_b = other.reader.as_stored(keys_b)
        out = torch.zeros(len(keys_a), len(keys_b), device=self.device)
        for parameter in dict.fromkeys(slot.parameter for slot in chosen):
            parts = self.reader.sites_of(chosen, parameter)
            for site_a, weight in parts:
                for at, a in self.reader.placed(site_a, keys_a, not weight):
                    for site_b, _ in parts:
                        for bt, b in other.reader.placed(site_b, keys_b, not weight):
                            value = weight_dot(a, b) if weight else a.bias_vectors() @ b.bias_vectors().T
                            out[at : at + a.n, bt : bt + b.n] += value
        return out.cpu()[order_a.argsort()][:, order_b.argsort()]

    def norms(self, ids: Iterable[str], epoch: int = 1, layers: Layers = "all") -> torch.Tensor:
        """Euclidean norms of recorded gradients, shape (len(ids),)."""
        squares = [self.dot([i], [i], epoch, epoch, layers)[0, 0] for i in self.known(ids)]
        return torch.stack(squares).clamp(min=0).sqrt()

    def second_moment(self, epoch: int, layers: Layers = "all") -> Iterator[tuple[str, torch.Tensor]]:
        """(parameter name, AdamW's v_hat at the epoch's end) pairs, a float32 tensor at a time; bf16 on disk.

        Its update was rate * m_hat / (sqrt(v_hat) + eps). The roles of a tied matrix share one. LedgerError
        for an unknown epoch, and where none are kept: of SGD, after a purge, in ledgers made before.
        """
        self.store.require_moments()
        (epoch,) = self.chosen_epochs(epoch)
        names = dict.fromkeys(slot.parameter for slot in select(self.tags, layers))
        kept = self.store.read_moments(epoch, names)
        return ((name, moment.to(self.device).float()) for name, moment in kept)

    def mean_rate(self, epoch: int) -> float:
        """The mean learning rate of an epoch's steps. LedgerError as for `second_moment`."""
        self.store.require_moments()
        (epoch,) = self.chosen_epochs(epoch)
        return self.store.moments[epoch - 1]["rate"]

    # -- reading ----------------------------------------------------------------------------------------

    def known(self, ids: Iterable[str]) -> list[str]:
        """These ids, or this one. RequestError for none, and for one that is not in the ledger."""
        ids = [ids] if isinstance(ids, str) else list(ids)
        if not ids:
            raise RequestError("the request is empty: name at least one example")
        known = set(self.example_ids)
        if unknown := [i for i in ids if i not in known]:
            raise RequestError(
                f"{len(unknown)} ids are not in ledger {self.store.path}: {', '.join(map(repr, unknown[:5]))}"
            )
        return ids

    def chosen_epochs(self, epochs: Sequence[int] | int | str) -> list[int]:
        """The epochs that a number, numbers or "all" stand for. LedgerError names one that is not there."""
        if isinstance(epochs, str) and epochs != "all":
            raise LedgerError(f"epochs={epochs!r}: give numbers from 1, or 'all', or 'first'")
        wanted = self.epochs if epochs == "all" else [*epochs] if isinstance(epochs, Iterable) else [epochs]
        if not wanted:
            raise LedgerError(f"epochs={epochs!r} names no epoch of ledger {self.store.path}")
        if unknown := [e for e in wanted if e not in self.epochs]:
            raise LedgerError(
                f"epoch {unknown[0]} is not in ledger {self.store.path}, of epochs 1 to {self.store.epochs}"
            )
        return wanted

    def keys(self, ids: Iterable[str], epochs: Sequence[int] | int | str) -> list[Key]:
        """(id, epoch) pairs, by epoch: "all" that an id has, or its "first"; of numbers every id has each."""
        wanted, ids = self.chosen_epochs("all" if epochs == "first" else epochs), self.known(ids)
        keys = [(i, e) for e in wanted for i in self.reader.asked(ids, e, epochs)]
        if missing := [k for k in keys if k not in self.where]:
            hint = ': staged, it has epochs of its own, which "all" or "first" name' * self.reader.is_staged
            raise LedgerError(
                f"ledger {self.store.path} lacks example {missing[0][0]!r} in epoch {missing[0][1]}{hint}"
            )
        return keys
