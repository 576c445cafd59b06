"""Per-example gradients and influence as other packages do them; each is optional (`make peers`).

What a peer cannot do for a model is told with its version (`timing.reason`) and never skipped in silence.
"""

import copy
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from unlearnkit.batching import IGNORED, Batch, example_loss
from unlearnkit.bench.setting import Setting
from unlearnkit.bench.timing import Side, Unavailable

IDENTITY, EKFAC = "kronfluence identity", "kronfluence EK-FAC"


def opacus(setting: Setting) -> Side:
    """A step with Opacus' GradSampleModule, which keeps `grad_sample` of every parameter in memory."""
    optimizer = setting.optimizer()

    @contextmanager
    def opened() -> Iterator[Callable[[int], None]]:
        with opacus_model(setting) as sampled:

            def turn(number: int) -> None:
                opacus_gradients(setting, sampled, setting.examples(number))
                optimizer.step()
                sampled.set_grad_sample_to_none()

            yield turn

    return Side(opened, peer="opacus")


@contextmanager
def opacus_model(setting: Setting):
    """The model wrapped by Opacus; its hooks go afterwards."""
    from opacus import GradSampleModule

    sampled = GradSampleModule(setting.model, loss_reduction="sum", strict=False)
    sampled.train()  # it keeps nothing in evaluation mode; the models here have no dropout in either
    try:
        yield sampled
    finally:
        sampled.set_grad_sample_to_none()
        sampled.to_standard_module().eval()


def opacus_gradients(setting: Setting, sampled: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """`grad_sample` of every parameter, (B, *shape), after a backward pass; Unavailable if one lacks it."""
    sampled.zero_grad(set_to_none=False)
    losses = example_loss(sampled(**batch.inputs()).logits, batch.labels)
    (losses.sum() / setting.batch).backward()
    found = {n: p.grad_sample for n, p in setting.model.named_parameters()}
    if lacking := [n for n, g in found.items() if g is None]:
        raise Unavailable(
            f"no per-example gradient of {lacking[0]!r} and {len(lacking) - 1} other parameters"
        )
    return found


def bergson(setting: Setting, folder: Path) -> Side:
    """A step with bergson's unprojected gradients of the block linears, in a 16-bit memory map."""
    optimizer = setting.optimizer()

    @contextmanager
    def opened() -> Iterator[Callable[[int], None]]:
        collector = bergson_collector(setting, folder)

        def turn(number: int) -> None:
            batch = setting.examples(number)
            setting.model.zero_grad(set_to_none=False)
            mask = torch.zeros_like(batch.labels, dtype=torch.bool)
            mask[:, :-1] = batch.labels[:, 1:] != IGNORED
            with collector.with_batch(mask):
                losses = setting.losses(batch)
                (losses.sum() / setting.batch).backward()
            collector.process_batch(list(range(len(batch.ids))), losses=losses)
            optimizer.step()

        yield turn
        collector.builder.grad_buffer.flush()
        shutil.rmtree(folder, ignore_errors=True)

    return Side(opened, peer="bergson")


def bergson_collector(setting: Setting, folder: Path):
    """A gradient collector for one batch, its memory map in 16 bits as our ledger's default is."""
    from bergson import Builder, GradientCollector, GradientProcessor, IndexConfig
    from datasets import Dataset

    rows = Dataset.from_dict({"input_ids": setting.examples(0).input_ids.tolist()})
    collector = GradientCollector(
        model=setting.model,
        data=rows,
        cfg=IndexConfig(run_path=str(folder)),
        processor=GradientProcessor(projection_dim=None),
        filter_modules="lm_head",  # dense, its gradient alone is as large as the rest
        skip_index=True,
    )
    sizes = {name: shape.numel() for name, shape in collector.shapes().items()}
    collector.save_dtype = torch.float16
    collector.lo, collector.hi = torch.finfo(torch.float16).min, torch.finfo(torch.float16).max
    folder.mkdir(parents=True, exist_ok=True)
    collector.builder = Builder(rows, sizes, torch.float16, collector.preprocess_cfg, path=folder)
    collector.save_index = True
    return collector


class Kronfluence:
    """kronfluence's scores between two batches, on a copy of the model; block linears only.

    The output head is left out: the eigenvectors of a matrix as wide as the vocabulary are out of reach.
    """

    def __init__(self, setting: Setting, train: Batch, queries: Batch, folder: Path):
        from kronfluence.analyzer import Analyzer, prepare_model
        from kronfluence.task import Task

        model = copy.deepcopy(setting.model)
        names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
        if not names:
            raise Unavailable("it tracks nn.Linear only, and this model's blocks have none (GPT-2's Conv1D)")

        class Scored(Task):
            def compute_train_loss(self, batch, model, sample=False):
                logits = model(input_ids=batch["input_ids"], use_cache=False).logits
                labels = batch["labels"]
                if sample:  # the true Fisher: labels drawn from the model
                    drawn = torch.distributions.Categorical(logits=logits[:, :-1].detach()).sample()
                    labels = labels.clone()
                    labels[:, 1:] = drawn
                return example_loss(logits, labels).sum() / setting.batch

            def compute_measurement(self, batch, model):
                return self.compute_train_loss(batch, model)

            def get_influence_tracked_modules(self):
                return names

        task = Scored()
        self.names, self.batch, self.folder = names, setting.batch, folder
        self.train, self.queries = _rows(train), _rows(queries)
        model = prepare_model(model, task)
        self.analyzer = Analyzer(
            "bench", model, task, cpu=True, log_level=logging.ERROR, disable_tqdm=True, output_dir=str(folder)
        )

    def scores(self, strategy: str) -> torch.Tensor:
        """Factors, where the strategy has any, and pairwise scores: (examples, queries)."""
        from kronfluence.arguments import FactorArguments

        shutil.rmtree(self.folder, ignore_errors=True)
        self.analyzer.fit_all_factors(
            strategy,
            self.train,
            per_device_batch_size=self.batch,
            factor_args=FactorArguments(strategy=strategy),
            overwrite_output_dir=True,
        )
        self.analyzer.compute_pairwise_scores(
            strategy,
            strategy,
            self.queries,
            self.train,
            per_device_query_batch_size=self.batch,
            per_device_train_batch_size=self.batch,
            overwrite_output_dir=True,
        )
        return self.analyzer.load_pairwise_scores(strategy)["all_modules"].T


def _rows(batch: Batch) -> list[dict[str, torch.Tensor]]:
    pairs = zip(batch.input_ids, batch.labels, strict=True)
    return [{"input_ids": ids, "labels": labels} for ids, labels in pairs]


def kronfluence(setting: Setting, train: Batch, queries: Batch, folder: Path) -> dict[str, Side]:
    """Both kinds of scores, with their own passes. EK-FAC is too slow to repeat."""
    made: list[Kronfluence] = []
    found: dict[str, torch.Tensor] = {}

    def side(name: str, strategy: str, rounds: int | None) -> Side:
        @contextmanager
        def opened() -> Iterator[Callable[[int], None]]:
            if not made:
                made.append(Kronfluence(setting, train, queries, folder))

            def turn(_number: int) -> None:
                found[name] = made[0].scores(strategy)

            yield turn

        return Side(opened, peer="kronfluence", rounds=rounds)

    return {IDENTITY: side(IDENTITY, "identity", None), EKFAC: side(EKFAC, "ekfac", 1)}
