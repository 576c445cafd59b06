"""RMU (Li et al. 2024): hidden states of F are driven to one random vector, those of R held."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0, Seed, Whole

if TYPE_CHECKING:
    import torch

    from unlearnkit.batching import Batch
    from unlearnkit.unlearning.inputs import Inputs


def has_block(model, _layers, options: Mapping[str, Any]) -> None:
    """LayerError for a block that the model does not have."""
    from unlearnkit.errors import LayerError
    from unlearnkit.layers import blocks

    block, many = options["block"], len(blocks(model)[1])
    if block is not None and block >= many:
        raise LayerError(f"block={block}: this model has blocks 0 to {many - 1} (counted from 0)")


@trained(
    title="RMU",
    family="representation",
    source="Li et al. 2024 (WMDP)",
    needs=("examples", "retain", "tokenizer"),
    lr=5e-5,
    steps=80,
    batch_size=4,
    check=has_block,
)
def rmu(
    inputs,
    *,
    block: Whole | None = None,
    steering: From0 = 20.0,
    alpha_retain: From0 = 100.0,
    seed: Seed = 0,
):
    """L = ||h_F - steering u||^2 + alpha_retain ||h_R - h_R,ref||^2, means over tokens, then examples.

    h are the outputs of a block, of the model as it is and as it was; u is uniform on [0, 1)^d, brought to
    length 1. `block` counts from 0; by default a third of the way up, or the first that a selection of later
    blocks has. Defaults: the WMDP script's (its published run took 6.5 and 1,200, and moved the down
    projections of blocks 5 to 7 of 32, read at 7): lengths are those of a model's own hidden states, so that
    `steering` must be tuned to it. Theirs is a mean over dimensions as well, to which AdamW is indifferent.
    All tokens of a text count, so that `loss_on` changes nothing.
    In memory beside the model: the touched weights once more.
    """
    import torch

    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import averaged

    number, reference = _lowest(inputs) if block is None else block, Teacher(inputs)
    drawn = torch.rand(inputs.model.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    target = steering * drawn / drawn.norm()

    def loss(forget, retain):
        with reference.standing():
            before = hidden(inputs, retain, number)[0]
        steered, kept = hidden(inputs, forget, number), hidden(inputs, retain, number)
        to_target = averaged((steered[0] - target.to(steered[0])).square().sum(-1), steered[1])
        return to_target + alpha_retain * averaged((kept[0] - before).square().sum(-1), kept[1])

    return loss


def hidden(inputs: "Inputs", batch: "Batch", block: int) -> "tuple[torch.Tensor, list[int]]":
    """Outputs (N, D) of a block at every token but padding, and how many each example has."""
    from unlearnkit import forward
    from unlearnkit.layers import blocks

    there, seen = blocks(inputs.model)[1], []
    hook = there[block].register_forward_hook(
        lambda _module, _args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    try:  # logits of one place: none of them is needed
        forward.selected(inputs.model, forward.inputs(inputs.model, batch), lambda state: state[:, :1])
    finally:
        hook.remove()
    real = batch.attention_mask.bool()
    return seen[0][real.to(seen[0].device)].float(), real.sum(1).tolist()


def _lowest(inputs: "Inputs") -> int:
    from unlearnkit.layers import blocks, select, tags

    tagged = tags(inputs.model)
    names = set().union(*(tagged[slot] for slot in select(tagged, inputs.layers)))
    numbers = [int(name.removeprefix("block.")) for name in names if name.startswith("block.")]
    later = numbers and not names & {"embedding.input", "position"}
    return max(len(blocks(inputs.model)[1]) // 3, min(numbers) if later else 0)
