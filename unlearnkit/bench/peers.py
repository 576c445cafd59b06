"""Per-example gradients and influence as other packages do them; each is optional (`make peers`).

What a peer cannot do for a model is told with its version (`timing.reason`) and never skipped in silence.
"""

import copy
import logging
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from unlearnkit.batching import IGNORED, Batch, example_loss
from unlearnkit.bench.setting import Setting
from unlearnkit.bench.timing import Turns, Unavailable
from unlearnkit.devices import CPU


@contextmanager
def opacus(setting: Setting) -> Turns:
    """A step with Opacus' GradSampleModule, which keeps `grad_sample` of every parameter in memory."""
    from opacus import GradSampleModule

    _require_processor(setting)
    sampled = GradSampleModule(setting.model, loss_reduction="sum", strict=False)
    sampled.train()  # it keeps nothing in evaluation mode; the models here have no dropout in either

    def turn(number: int) -> dict[str, torch.Tensor]:
        batch = setting.examples(number)
        sampled.zero_grad(set_to_none=False)
        losses = example_loss(sampled(**batch.inputs()).logits, batch.labels)
        (losses.sum() / setting.batch).backward()
        found = {n: p.grad_sample for n, p in setting.model.named_parameters()}
        if lacking := [n for n, g in found.items() if g is None]:
            others = len(lacking) - 1
            raise Unavailable(f"no per-example gradient of {lacking[0]!r} and {others} other parameters")
        setting.step()
        sampled.set_grad_sample_to_none()
        return found

    try:
        yield turn
    finally:
        sampled.set_grad_sample_to_none()
        sampled.to_standard_module().eval()


@contextmanager
def bergson(setting: Setting, folder: Path) -> Turns:
    """A step with bergson's unprojected gradients of the block linears, in a 16-bit memory map."""
    _require_processor(setting)
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
        setting.step()

    yield turn
    collector.builder.grad_buffer.flush()
    shutil.rmtree(folder, ignore_errors=True)


def bergson_collector(setting: Setting, folder: Path):
    """A gradient collector for one batch, its memory map in 16 bits as our ledger's default is."""
    from bergson import Builder, GradientCollector, GradientProcessor, IndexConfig
    from datasets import Dataset

    rows = Dataset.from_dict({"input_ids": setting.examples(0).input_ids.tolist()})
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"cfg": IndexConfig(run_path=str(folder)), "processor": GradientProcessor(projection_dim=None)}
    # Without the head: dense, its gradient alone is as large as the rest.
    collector = GradientCollector(
        model=setting.model, data=rows, filter_modules="lm_head", skip_index=True, **whole
    )
    sizes = {name: shape.numel() for name, shape in collector.shapes().items()}
    collector.save_dtype = torch.float16
    collector.lo, collector.hi = torch.finfo(torch.float16).min, torch.finfo(torch.float16).max
    collector.builder = Builder(rows, sizes, torch.float16, collector.preprocess_cfg, path=folder)
    collector.save_index = True
    return collector


@contextmanager
def kronfluence(setting: Setting, train: Batch, queries: Batch, folder: Path, strategy: str) -> Turns:
    """Factors of a strategy, where it has any, and pairwise scores: a turn returns (examples, queries)."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments

    _require_processor(setting)
    task = _task(setting, block_linears(setting.model))
    model = prepare_model(copy.deepcopy(setting.model), task)
    quiet = {"log_level": logging.ERROR, "disable_tqdm": True}
    analyzer = Analyzer("bench", model, task, cpu=True, output_dir=str(folder), **quiet)
    asked, given = (
        [{"input_ids": i, "labels": k} for i, k in zip(b.input_ids, b.labels, strict=True)]
        for b in (queries, train)
    )

    def turn(_number: int) -> torch.Tensor:
        factors = {"per_device_batch_size": setting.batch, "factor_args": FactorArguments(strategy=strategy)}
        analyzer.fit_all_factors(strategy, given, overwrite_output_dir=True, **factors)
        sizes = dict.fromkeys(("per_device_query_batch_size", "per_device_train_batch_size"), setting.batch)
        analyzer.compute_pairwise_scores(strategy, strategy, asked, given, overwrite_output_dir=True, **sizes)
        return analyzer.load_pairwise_scores(strategy)["all_modules"].T

    yield turn
    shutil.rmtree(folder, ignore_errors=True)


def _require_processor(setting: Setting) -> None:
    if setting.model.device.type != CPU:
        raise Unavailable("it is set up for the processor here, as the bars are")


def block_linears(model: nn.Module) -> list[str]:
    """What kronfluence tracks: linear layers but the output head; Unavailable where there are none.

    The eigenvectors of a matrix as wide as the vocabulary are out of reach.
    """
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
    if not names:
        raise Unavailable("it tracks nn.Linear only, and this model's blocks have none (GPT-2's Conv1D)")
    return names


def _task(setting: Setting, names: list[str]):
    """The study's loss, in kronfluence's terms."""
    from kronfluence.task import Task

    class Scored(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits = model(input_ids=batch["input_ids"], use_cache=False).logits
            labels = batch["labels"]
            if sample:  # the true Fisher: labels drawn from the model
                labels = labels.clone()
                labels[:, 1:] = torch.distributions.Categorical(logits=logits[:, :-1].detach()).sample()
            return example_loss(logits, labels).sum() / setting.batch

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self):
            return names

    return Scored()
