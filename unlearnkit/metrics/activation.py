"""Influence by activations: <a_l, dL/da_l> summed over the blocks (paper section "influence tracking").

Which tensors the paper dots is not stated; this is the candidate whose two sides it names. Since
dL/da_l . a_l is the first-order effect of scaling a block's output, it is large where the example's loss
leans on the block, and 0 where the loss is flat. The last block adds next to nothing, whatever the model
knows: the final norm undoes any scale of its output.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.errors import ModelError
from unlearnkit.forward import evaluation_mode
from unlearnkit.layers import blocks
from unlearnkit.metrics.forward import by_length, require_finite
from unlearnkit.metrics.likelihood import answer_tokens

Output = torch.Tensor | tuple | list


def activation_gradient(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    batch_size: int = 8,
) -> pd.DataFrame:
    """Per example, in input order: `id` and `influence` = sum over blocks l of <a_l, dL/da_l>.

    a_l is the output of block l (before the final norm), L the example's own mean answer NLL in nats. One
    forward and one backward pass a batch; weights get no gradient.
    """
    influence: dict[int, float] = {}
    with evaluation_mode(model):
        for indices in by_length(examples, batch_size):
            batch = batch_of(tokenizer, [examples[i] for i in indices])
            with torch.enable_grad(), block_outputs(model) as outputs:
                nll, _ = answer_tokens(model, batch)
            loss = torch.stack([tokens.mean() for tokens in nll]).sum()
            activations = [states(output) for output in outputs]
            gradients = torch.autograd.grad(loss, activations)
            # Examples do not interact, so the gradient of the summed loss is each example's own.
            values = sum(
                (a.detach().double() * g.double()).flatten(1).sum(1)
                for a, g in zip(activations, gradients, strict=True)
            )
            require_finite(values, batch.ids, "influence")
            influence |= dict(zip(indices, values.tolist(), strict=True))
    ids = [e.id for e in examples]
    return pd.DataFrame({"id": ids, "influence": [influence[i] for i in range(len(ids))]})


def states(output: Output) -> torch.Tensor:
    """The hidden states (B, T, D) of what a block gives out, which may be the first of several things."""
    return output if isinstance(output, torch.Tensor) else output[0]


@contextmanager
def block_outputs(model: nn.Module) -> Iterator[list[Output]]:
    """A list that a forward pass inside fills with what each block gives out, first block first.

    ModelError where the model answers for several (SISA), of which each has outputs of its own.
    """
    if "forward" in vars(model):
        raise ModelError("the model answers for several (SISA): look at one without them, after `revert`")
    outputs: list[Output] = []

    def keep(_module: nn.Module, _args: tuple, output: Output) -> None:
        states(output).requires_grad_()  # with frozen weights nothing else asks for a graph
        outputs.append(output)

    hooks = [block.register_forward_hook(keep) for block in blocks(model)[1]]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
