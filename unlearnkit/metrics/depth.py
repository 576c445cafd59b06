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
from unlearnkit.metrics.activation import block_outputs
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

    What the model does after its last block (final norm, head, scaling) is done to the output of every block,
    in one pass: the last block's NLL is the model's own. Logits of all blocks at once are in memory. Raises
    DataError for no examples or one without a target, DivergenceError.
    """
    names = [e.id for e in examples]
    rows: dict[int, list[float]] = {}
    with forward.evaluation_mode(model):
        count = len(blocks(model)[1])
        for indices in by_length(examples, batch_size):
            batch = batch_of(tokenizer, [examples[i] for i in indices])
            with _every_block_last(model):
                nll = _answer_nll(model, batch, count)
            require_finite(nll.sum(0), batch.ids, "NLL off a block's output")
            rows |= dict(zip(indices, nll.T.tolist(), strict=True))
    told = [(names[i], block, rows[i][block]) for i in range(len(names)) for block in range(count)]
    return pd.DataFrame(told, columns=["id", "block", "nll"])


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
    layers = {id(model): blocks(model)[1] for model in (original, oracle, unlearned)}
    if len({(len(layers[id(m)]), m.config.hidden_size) for m in (original, oracle, unlearned)}) > 1:
        raise ModelError("the three models differ in blocks or width: their states cannot be exchanged")
    rows: dict[int, list[tuple]] = {}
    with (
        forward.evaluation_mode(original),
        forward.evaluation_mode(oracle),
        forward.evaluation_mode(unlearned),
    ):
        for indices in by_length(examples, batch_size):
            batch = batch_of(tokenizer, [examples[i] for i in indices])
            before, falls = _answer_nll(original, batch)[0], []
            for source in (oracle, unlearned):
                with block_outputs(source) as states:
                    _answer_nll(source, batch)
                patched = [_patched(original, batch, block, state) for block, state in enumerate(states)]
                falls.append(torch.stack(patched) - before)
            both = torch.stack(falls)  # (2, blocks, B)
            require_finite(both.sum((0, 1)), batch.ids, "NLL under other states")
            for k, i in enumerate(indices):
                told = zip(*both[..., k].tolist(), strict=True)
                rows[i] = [(examples[i].id, block, *pair) for block, pair in enumerate(told)]
    every = [row for i in range(len(examples)) for row in rows[i]]
    return pd.DataFrame(every, columns=["id", "block", "oracle", "unlearned"])


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


def _places(batch: Batch) -> torch.Tensor:
    """Where a token of the answer is predicted, (B, T)."""
    return F.pad(batch.labels[:, 1:] != IGNORED, (0, 1))


def _answer_nll(model: PreTrainedModel, batch: Batch, copies: int = 1) -> torch.Tensor:
    """Mean NLL of each answer, (copies, B), of a model whose pass holds the batch so many times."""
    targets, places = batch.labels[:, 1:], _places(batch).repeat(copies, 1)
    wanted = targets != IGNORED
    given = forward.inputs(model, batch)
    logits = forward.selected(model, given, lambda hidden: hidden[places][None]).logits[0].float()
    nll = F.cross_entropy(logits, targets[wanted].repeat(copies), reduction="none").view(copies, -1)
    return torch.stack([part.mean(1) for part in nll.split(wanted.sum(1).tolist(), dim=1)], dim=1)


@contextmanager
def _every_block_last(model: nn.Module) -> Iterator[None]:
    """Inside, the last block gives out the outputs of all blocks, first block first, as one larger batch."""
    with block_outputs(model) as outputs:  # its hook on the last block runs before this one
        hook = blocks(model)[1][-1].register_forward_hook(
            lambda _module, _args, output: _with(output, torch.cat(outputs))
        )
        try:
            yield
        finally:
            hook.remove()


def _patched(model: PreTrainedModel, batch: Batch, block: int, state: torch.Tensor) -> torch.Tensor:
    """Mean NLL of each answer, (B,), with a state (B, T, D) at the block's output where it is predicted."""
    places = _places(batch)[..., None]

    def put(_module: nn.Module, _args: tuple, output: torch.Tensor | tuple) -> torch.Tensor | tuple:
        hidden = output[0] if isinstance(output, tuple) else output
        return _with(output, torch.where(places, state.to(hidden), hidden))

    hook = blocks(model)[1][block].register_forward_hook(put)
    try:
        return _answer_nll(model, batch)[0]
    finally:
        hook.remove()


def _with(output: torch.Tensor | tuple, hidden: torch.Tensor) -> torch.Tensor | tuple:
    """A block's output with other hidden states."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden
