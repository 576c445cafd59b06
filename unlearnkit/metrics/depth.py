"""White-box measures: how deep in a model an answer is still known.

The logit lens reads the answer off each block's output (nostalgebraist 2020). The unlearning depth score puts
another model's states into the original, block by block, and asks how much of the answer that takes away,
against an oracle's states (UDS, arXiv:2605.24614).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import forward
from unlearnkit.batching import IGNORED, Batch, batch_of
from unlearnkit.data import Example
from unlearnkit.errors import ModelError
from unlearnkit.layers import blocks
from unlearnkit.metrics.activation import Output, block_outputs, states
from unlearnkit.metrics.forward import by_length, require_finite

KNOWN = 0.05  # nats a token: a block knows an answer if the oracle's states there cost more than that


@torch.no_grad()
def logit_lens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 8,
) -> pd.DataFrame:
    """Mean NLL of each answer's tokens, read off each block's output: columns id, block (from 0), nll.

    The block's output takes the place of the last block's, so that what the model does after it (final norm,
    head, scaling) is done in the model's own way: the last block's NLL is the model's.
    Raises DataError for no examples or one without a target, DivergenceError.
    """
    rows: dict[int, list[tuple]] = {}
    with forward.evaluation_mode(model):
        for indices in by_length(examples, batch_size):
            batch = batch_of(tokenizer, [examples[i] for i in indices])
            own, _ = _outputs_of(model, batch)
            nll = torch.stack([_patched(model, batch, own, -1, states(output)) for output in own])
            require_finite(nll.sum(0), batch.ids, "NLL off a block's output")
            for i, values in zip(indices, nll.T.tolist(), strict=True):
                rows[i] = [(examples[i].id, block, value) for block, value in enumerate(values)]
    return _table(rows, "nll")


@torch.no_grad()
def patched_drops(
    original: PreTrainedModel,
    oracle: PreTrainedModel,
    unlearned: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 8,
) -> pd.DataFrame:
    """What other models' states at a block take from the original's answers.

    Columns id, block (from 0), and `oracle` and `unlearned`: the fall of the answer tokens' mean log
    probability in nats, teacher-forced, with the block's output replaced by that model's at the places that
    predict the answer, and nowhere else. ModelError for models of unlike shape; else as `logit_lens`.
    """
    shapes = {(len(blocks(m)[1]), m.config.hidden_size) for m in (original, oracle, unlearned)}
    if len(shapes) > 1:
        raise ModelError("the three models differ in blocks or width: their states cannot be exchanged")
    rows: dict[int, list[tuple]] = {}
    with (
        forward.evaluation_mode(original),
        forward.evaluation_mode(oracle),
        forward.evaluation_mode(unlearned),
    ):
        for indices in by_length(examples, batch_size):
            batch = batch_of(tokenizer, [examples[i] for i in indices])
            own, before = _outputs_of(original, batch)
            after = [
                [
                    _patched(original, batch, own, k, states(output))
                    for k, output in enumerate(_outputs_of(source, batch)[0])
                ]
                for source in (oracle, unlearned)
            ]
            both = torch.stack([torch.stack(nll) for nll in after]) - before
            require_finite(both.sum((0, 1)), batch.ids, "NLL under other states")
            for k, i in enumerate(indices):
                told = zip(*both[..., k].tolist(), strict=True)
                rows[i] = [(examples[i].id, block, *pair) for block, pair in enumerate(told)]
    return _table(rows, "oracle", "unlearned")


def depth_score(drops: pd.DataFrame, known: float = KNOWN) -> pd.DataFrame:
    """UDS of each example of `patched_drops`, in order: columns id, uds, blocks.

    Over the `blocks` that know the answer (oracle's drop above `known`), the mean of unlearned / oracle, cut
    to [0, 1] and weighted by the oracle's drop: 1 is as deep as the oracle, 0 is not at all. NaN without such
    a block.
    """
    rows = []
    for name, own in drops.groupby("id", sort=False):
        there = own[own["oracle"] > known]
        share = (there["unlearned"] / there["oracle"]).clip(0, 1)
        weight = there["oracle"].sum()
        score = (share * there["oracle"]).sum() / weight if len(there) else float("nan")
        rows.append({"id": name, "uds": score, "blocks": len(there)})
    return pd.DataFrame(rows, columns=["id", "uds", "blocks"])


def _outputs_of(model: PreTrainedModel, batch: Batch) -> tuple[list[Output], torch.Tensor]:
    """What each block gives out, and the mean NLL of each answer, (B,)."""
    with block_outputs(model) as outputs:
        nll = forward.losses(model, batch)
    return outputs, nll


def _patched(
    model: PreTrainedModel, batch: Batch, own: Sequence[Output], block: int, state: torch.Tensor
) -> torch.Tensor:
    """Mean NLL of each answer, (B,), with a state (B, T, D) at the block's output where it is predicted.

    Up to there the blocks are not run again: they give out what they gave, `own`.
    """
    places = F.pad(batch.labels[:, 1:] != IGNORED, (0, 1))[..., None].to(state.device)
    mixed = torch.where(places, state, states(own[block]))
    with _giving_out(blocks(model)[1], [*own[:block], _with(own[block], mixed)]):
        return forward.losses(model, batch)


@contextmanager
def _giving_out(stack: nn.ModuleList, outputs: Sequence[Output]) -> Iterator[None]:
    """Inside, the first blocks give out these, whatever they are given."""
    some = stack[: len(outputs)]
    kept = [vars(block).get("forward") for block in some]  # a library may have put its own there
    for block, output in zip(some, outputs, strict=True):
        block.forward = lambda *_, output=output, **__: output
    try:
        yield
    finally:
        for block, own in zip(some, kept, strict=True):
            del block.forward
            if own is not None:
                block.forward = own


def _with(output: Output, hidden: torch.Tensor) -> Output:
    """A block's output with other hidden states."""
    return hidden if isinstance(output, torch.Tensor) else type(output)([hidden, *output[1:]])


def _table(rows: dict[int, list[tuple]], *values: str) -> pd.DataFrame:
    """Rows of examples by their number, in order."""
    every = [row for number in sorted(rows) for row in rows[number]]
    return pd.DataFrame(every, columns=["id", "block", *values])
