"""The ledger's folder: shards and one small index, which alone says what counts.

    index.json         what is recorded, for which model and recipe; replaced atomically at each epoch's end
    e001-000000.safetensors  shards (epoch, number in the ledger); one that the index does not name was left
                             by an interruption
    training-001.safetensors what the training resumes from, if it keeps that: the weights after the last
                             published epoch, and the optimizer's state
    moments-001.safetensors  AdamW's second moments at an epoch's end

Whatever happens between two publications of the index, the ledger on disk is the last published one.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from unlearnkit import files, weights
from unlearnkit.errors import LedgerError, ModelError
from unlearnkit.ledger.shard import Piece, digest, write

FORMAT = 3
INDEX = "index.json"
# Files of a ledger's own, whole or half-written; a purged shard has a p more. None else is ever deleted.
OWN = re.compile(r"(index|e\d{3,}-\d{6,}p*|(training|moments)-\d{3,})\.(safetensors|(.+\.)?partial)")
log = logging.getLogger("unlearnkit.ledger")


def _sealed(body: dict) -> str:
    """An index as written: what it says, and a checksum of that."""
    return json.dumps({**body, "seal": digest(json.dumps(body).encode())})


class Store:
    """The index in memory, and the shards it names.

    `head` describes the ledger (model, weights, recipe, sites, slots, dtype, expected examples and digests of
    their texts); it never changes but for weights that the training, and requests after it, end in, and for
    purged examples. `epochs` counts the finished epochs;
    `progress` is the trainer's own note of them, and `checkpoint` the name and seal of its file, or empty.
    `moments` has an entry an epoch (file, seal, and the epoch's mean learning rate), or none at all.
    """

    def __init__(
        self,
        path: Path,
        head: dict,
        shards: list[dict],
        epochs: int,
        progress: dict,
        checkpoint: list,
        moments: list[dict],
    ):
        self.path, self.head, self.shards, self.moments = Path(path), head, shards, moments
        self.epochs, self.progress, self.checkpoint = epochs, progress, checkpoint

    @property
    def dtype(self) -> str:
        return self.head["dtype"]

    @classmethod
    def create(cls, path: Path, head: dict) -> "Store":
        """A new, empty ledger folder."""
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"ledger folder {path} cannot be made: {error.strerror}") from None
        found = list(path.iterdir())
        if not all(OWN.fullmatch(p.name) for p in found):
            raise LedgerError(f"ledger folder {path} is not empty and holds no ledger: choose another folder")
        for partial in found:  # a killed creation left it
            partial.unlink()
        store = cls(path, {"format": FORMAT, **head}, [], 0, {}, [], [])
        store._save()
        return store

    @classmethod
    def load(cls, path: Path) -> "Store":
        """Read an index. LedgerError where there is none, or it is damaged."""
        path = Path(path)
        try:
            text = (path / INDEX).read_text()
            data = json.loads(text)
            # to the letter: a changed digit may leave a number's value, and so a checksum of values, as it is
            intact = text == _sealed({key: value for key, value in data.items() if key != "seal"})
        except (FileNotFoundError, NotADirectoryError):
            raise LedgerError(
                f"{path} holds no ledger (no {INDEX}): record one with fine_tune(..., ledger=)"
            ) from None
        except (ValueError, KeyError, AttributeError):
            intact = False
        if not intact:
            raise LedgerError(
                f"{path / INDEX} is damaged: restore it from a copy, or delete the folder and train again"
            )
        if data["head"]["format"] != FORMAT:
            raise LedgerError(
                f"{path} has ledger format {data['head']['format']}; this version reads {FORMAT}"
            )
        moments = data.get("moments", [])  # ledgers made before these were kept have none
        told = (data[name] for name in ("head", "shards", "epochs", "progress", "checkpoint"))
        return cls(path, *told, moments)

    @classmethod
    def exists(cls, path: Path) -> bool:
        return (Path(path) / INDEX).exists()

    def unnamed(self) -> list[Path]:
        """Files that an interrupted epoch or purge left: half-written ones, and those not in the index."""
        named = {s["file"] for s in (*self.shards, *self.moments)} | set(self.checkpoint[:1])
        return sorted(p for p in self.path.iterdir() if OWN.fullmatch(p.name) and p.name not in named)

    def drop_torn_tail(self) -> None:
        """Delete, and say so, files that an interrupted epoch left behind."""
        torn = self.unnamed()
        for path in torn:
            path.unlink()
        if torn:
            log.warning(
                "ledger %s: dropped %d files of an unfinished epoch %d; it is recorded again",
                self.path,
                len(torn),
                self.epochs + 1,
            )

    def append(
        self,
        pieces: Sequence[Piece],
        lengths: Sequence[Sequence[int]],
        ids: Sequence[str],
        steps: Sequence[int],
        rates: Sequence[float],
        epoch: int,
    ) -> None:
        """Write one shard: each example's record, with its step and the learning rate there.

        It counts once the index is published.
        """
        name = f"e{epoch:03d}-{len(self.shards):06d}.safetensors"
        entry = write(self.path / name, pieces, lengths)
        told = {"examples": list(ids), "steps": list(steps), "rates": list(rates)}
        self.shards.append({"file": name, "epoch": epoch, **told, **entry})

    def save_checkpoint(self, epoch: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write what the training resumes from after this epoch. It counts once the index is published."""
        self.checkpoint = self._save_tensors(f"training-{epoch:03d}.safetensors", epoch, tensors)

    def save_moments(self, epoch: int, tensors: Mapping[str, torch.Tensor], rate: float) -> None:
        """Write the second moments at the end of the next epoch, and its mean learning rate. They count once
        the index is published.
        """
        name, seal = self._save_tensors(f"moments-{epoch:03d}.safetensors", epoch, tensors)
        self.moments.append({"file": name, "seal": seal, "rate": rate})

    def require_moments(self) -> None:
        """LedgerError that says why, where no second moments are kept."""
        if self.moments:
            return
        optimizer = self.head["recipe"].get("optimizer", "no optimizer")  # gradients without a training
        why = (
            "made before they were kept, or purged since: train again into another folder"
            if optimizer == "adamw"
            else f"made with {optimizer}, and only AdamW has them"
        )
        raise LedgerError(f"ledger {self.path} keeps no second moments: it was {why}")

    def read_moments(self, epoch: int, names: Iterable[str] | None = None) -> Iterator[tuple]:
        """(parameter name, second moment as kept) of the names, or all. LedgerError if damaged or gone."""
        entry = self.moments[epoch - 1]
        try:
            yield from weights.read(self.path / entry["file"], names, entry["seal"])
        except ModelError as error:
            raise LedgerError(str(error)) from error

    def _save_tensors(self, name: str, epoch: int, tensors: Mapping[str, torch.Tensor]) -> list:
        """Write a file beside the shards; returns its name and seal."""
        try:
            path = weights.save(self.path / name, tensors)
        except ModelError as error:
            raise LedgerError(f"epoch {epoch} of ledger {self.path} is not kept: {error}") from error
        return [name, weights.seal(path)]

    def read_checkpoint(self, into: Mapping[str, torch.Tensor] | None = None) -> None:
        """Read the checkpoint through, or `into` tensors in place. LedgerError if it is damaged or gone."""
        if not self.checkpoint:
            raise LedgerError(
                f"ledger {self.path} keeps no checkpoint to resume from: delete it and train again"
            )
        name, seal = self.checkpoint
        try:
            if into is not None:
                weights.copy_into(self.path / name, into, seal)
            else:
                for _ in weights.read(self.path / name, sealed=seal):
                    pass
        except ModelError as error:
            raise LedgerError(str(error)) from error

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint of a training that need not be resumed any more."""
        self.checkpoint = []
        self._save()
        for path in self.unnamed():
            path.unlink()

    def publish(self, epoch: int, **progress) -> None:
        """Make everything appended so far count."""
        self.epochs, self.progress = epoch, progress
        self._save()

    def _save(self) -> None:
        names = ("head", "shards", "epochs", "progress", "checkpoint", "moments")
        body = {name: getattr(self, name) for name in names}
        try:
            files.write_text(self.path / INDEX, _sealed(body))
        except OSError as error:
            raise LedgerError(
                f"the index of {self.path} could not be written: {error.strerror}. Free space there"
            ) from error
