"""Forward passes without dropout, with logits only where they are needed, and the training loss from them.

With a large vocabulary the output head is a good part of a small model's time. A fact has a handful of
positions that predict something which counts, so the head is given those only.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from unlearnkit.batching import IGNORED, Batch
from unlearnkit.errors import DataError


def device_of(model: nn.Module) -> torch.device:
    """Where the model is, and with it all that is done with it."""
    return next(model.parameters()).device


def position_limit(config: PretrainedConfig) -> tuple[str, int] | None:
    """What the most tokens that a model can take at once are called, and how many; None without a limit."""
    limits = ((name, getattr(config, name, None)) for name in ("max_position_embeddings", "max_seq_len"))
    return next(((name, n) for name, n in limits if isinstance(n, int) and n > 0), None)


def positions_of(config: PretrainedConfig) -> int | None:
    """The most tokens that a model can take at once; None where it sets no limit."""
    found = position_limit(config)
    return found and found[1]


def inputs(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """The batch as keyword arguments of the model's forward, where the model is; not all take positions."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # within adapters
    taken = inspect.signature(base.forward).parameters
    given = batch.inputs(device_of(model))
    return {name: value for name, value in given.items() if name in taken}


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Dropout off inside, every module's own mode restored after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def selected(
    model: nn.Module, given: Mapping[str, Any], select: Callable[[torch.Tensor], torch.Tensor]
) -> Any:
    """The model's output with `logits` computed only for `select(hidden)`.

    `select` maps a (B, T, D) tensor to a (1, N, D) or (B, N, D) one and must not depend on D. It is applied
    to what enters the output head; where that is not one plain linear module (none, or one with adapters
    inside), it is applied to the logits instead, with the same result.
    """
    reached = False

    def keep(_module: nn.Module, args: tuple) -> tuple:
        nonlocal reached
        reached = True
        return (select(args[0]), *args[1:])

    head = model.get_output_embeddings()
    plain = isinstance(head, nn.Linear) and not list(head.children())
    hook = head.register_forward_pre_hook(keep) if plain else None
    try:
        output = model(**given)
    finally:
        if hook is not None:
            hook.remove()
    if not reached:
        output.logits = select(output.logits)
    return output


def target_logits(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Logits (N, V) of every position that predicts a target, those targets (N,), and how many each example
    has; in the batch's order. DataError for more tokens than a model takes that has a table of positions."""
    targets = batch.labels[:, 1:]
    wanted = targets != IGNORED
    predicting = F.pad(wanted, (0, 1)).nonzero(as_tuple=True)  # the last position predicts nothing
    places = tuple(numbers.to(device_of(model)) for numbers in predicting)
    try:
        logits = selected(model, inputs(model, batch), lambda hidden: hidden[places][None]).logits[0].float()
    except (IndexError, RuntimeError) as error:
        limit, longest = positions_of(model.config), batch.input_ids.shape[1]
        if not limit or longest <= limit:
            raise
        name = batch.ids[int(batch.attention_mask.sum(1).argmax())]
        raise DataError(
            f"example {name!r} has {longest} tokens, and the model {limit} positions: shorten it, cut it in "
            "two, or take a model with more positions"
        ) from error
    return logits, targets[wanted].to(logits.device), wanted.sum(1).tolist()


def losses(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Mean NLL over each example's labelled tokens, shape (B,): the l_i of the training loss."""
    logits, tokens, counts = target_logits(model, batch)
    nll = F.cross_entropy(logits, tokens, reduction="none")
    return torch.stack([part.mean() for part in nll.split(counts)])
