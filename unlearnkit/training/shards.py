"""Sharded, isolated, sliced and aggregated training (SISA, Bourtoule et al. 2021).

The examples are dealt to shards, one model each; each shard's to slices, over which its model learns the
first, then the first two, and so on, its weights kept after every slice. Who is deleted was
never in another shard, nor in an earlier slice of this one.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import devices, files, weights
from unlearnkit.data import Example, digest
from unlearnkit.errors import ConfigError, DataError, ModelError
from unlearnkit.models.fitting import require_fit
from unlearnkit.training import replaying
from unlearnkit.training.fine_tuning import identified
from unlearnkit.training.recipe import Recipe, freeze, frozen

INDEX = "shards.json"


class Shards:
    """The folder of one such training: `slices[k][r]` are the ids of shard k's slice r."""

    def __init__(self, path: Path, told: dict):
        self.path, self.told = Path(path), told
        self.recipe, self.slices = Recipe(**told["recipe"]), told["slices"]

    @classmethod
    def train(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Example],
        recipe: Recipe,
        path: str | Path,
        *,
        shards: int = 4,
        slices: int = 2,
    ) -> "Shards":
        """Train all shards from where the model stands, which is left as it is. One model a shard on disk and
        slice; one beside the given in memory. Dropout is off. ConfigError where there are more slices than
        examples, and for a recipe with layers, adapters or an order of its own; RequestError and DataError
        for examples as in `fine_tune`.
        """
        devices.require_proven(model)
        by_id = identified(examples, {})
        _require_plain(recipe)
        _require_counts(len(by_id), shards=shards, slices=slices)
        require_fit(model.config, tokenizer, examples, recipe.loss_on)
        frozen(model, recipe)  # refuses an unknown name before anything is written
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(recipe.seed)).tolist()
        ids = [examples[k].id for k in order]
        dealt = [[ids[k::shards][r::slices] for r in range(slices)] for k in range(shards)]
        told = {"recipe": asdict(recipe) | {"frozen": list(recipe.frozen)}, "slices": dealt}
        found = cls(Path(path), told | {"seals": {}, "data": digest(sorted(examples, key=lambda e: e.id))})
        found._keep(model, "start")
        for shard in range(shards):
            found._learn(deepcopy(model), tokenizer, by_id, shard, 0)
        return found

    @classmethod
    def open(cls, path: str | Path) -> "Shards":
        """Read what `train` kept. ModelError where that is nothing, damaged, or was interrupted."""
        try:
            found = cls(Path(path), json.loads((Path(path) / INDEX).read_text()))
            if found._names() - found.told["seals"].keys():
                raise ValueError("its training was interrupted")
            return found
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} holds no whole sharded training: Shards.train makes one") from error

    def epochs(self, slice_: int) -> int:
        """Passes over slices 0 to this: together E epochs' worth, 2E / (R + 1) each, rounded in sum."""
        share = 2 * self.recipe.epochs / (len(self.slices[0]) + 1)
        return round(share * (slice_ + 1)) - round(share * slice_)

    def constituents(self, ids: Collection[str], model: PreTrainedModel, tokenizer, examples) -> list[dict]:
        """Each shard's weights by name, those that held one of `ids` retrained without them in memory.

        DataError for examples that are not those it was trained on.
        """
        if digest(sorted(examples, key=lambda e: e.id)) != self.told["data"]:
            raise DataError(f"examples= are not those of the sharded training {self.path}")
        gone, found = set(ids), []
        kept = {e.id: e for e in examples if e.id not in gone}
        for shard, slices in enumerate(self.slices):
            first = next((r for r, part in enumerate(slices) if gone & set(part)), len(slices))
            copy = deepcopy(model)
            self._stand(copy, shard, first)
            if first < len(slices):
                self._learn(copy, tokenizer, kept, shard, first, keep=False)
            found.append({n: p.detach() for n, p in copy.named_parameters()})
        return found

    def _learn(
        self, model, tokenizer, by_id: Mapping[str, Example], shard: int, first: int, keep: bool = True
    ) -> None:
        """Slices `first` and on of a shard, in a model that stands before them: of what is not frozen."""
        freeze(model, self.recipe)
        model.eval()
        for slice_ in range(first, len(self.slices[shard])):
            ids = [i for part in self.slices[shard][: slice_ + 1] for i in part if i in by_id]
            moving = {n: p for n, p in model.named_parameters() if p.requires_grad}
            if ids and (epochs := self.epochs(slice_)):
                recipe = replace(self.recipe, epochs=epochs)
                replaying.learn(model, tokenizer, [by_id[i] for i in ids], recipe, moving)
            if keep:
                self._keep(model, f"{shard}-{slice_}")

    def _names(self) -> set[str]:
        """Of all weights that it keeps: the start's, and each shard's after each slice."""
        return {"start"} | {f"{k}-{r}" for k, parts in enumerate(self.slices) for r in range(len(parts))}

    def _keep(self, model: PreTrainedModel, name: str) -> None:
        path = weights.save(self.path / f"shard-{name}.safetensors", weights.parameters(model))
        self.told["seals"][name] = weights.seal(path)
        files.write_text(self.path / INDEX, json.dumps(self.told))

    def _stand(self, model: PreTrainedModel, shard: int, slice_: int) -> None:
        """Bring a model to where a shard stood before a slice."""
        name = f"{shard}-{slice_ - 1}" if slice_ else "start"
        into = {n: p.data for n, p in model.named_parameters()}
        weights.copy_into(self.path / f"shard-{name}.safetensors", into, self.told["seals"][name])


def _require_plain(recipe: Recipe) -> None:
    """ConfigError for what a recipe can ask of `fine_tune` alone."""
    usual = {"layers": (), "lora": 0, "order": "together"}
    if unusual := [k for k, value in usual.items() if getattr(recipe, k) != value]:
        raise ConfigError(
            f"Recipe.{unusual[0]}={getattr(recipe, unusual[0])!r}: a sharded training trains every weight "
            f"that is not frozen, on all examples alike. Leave {unusual[0]}= out, or use fine_tune"
        )


def _require_counts(examples: int, **counts: int) -> None:
    """ConfigError unless there are counts from 1, and examples for each slice of each shard."""
    for name, count in counts.items():
        if not (isinstance(count, int) and count >= 1):
            raise ConfigError(f"{name}={count!r}: use a whole number from 1")
    if math.prod(counts.values()) > examples:
        raise ConfigError(
            f"{counts['shards']} shards of {counts['slices']} slices need as many examples; there are "
            f"{examples}"
        )
