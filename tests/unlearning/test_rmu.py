"""RMU: its formula in float64, where it reads, and what it refuses."""

import pytest
import torch
from reference_losses import FORGET, RETAIN, SHAPES, World, agree, mean
from unlearning_helpers import same

from unlearnkit.errors import LayerError, MethodError


def states(world, model, example, block):
    """Outputs (T, D) of a block, which is not the last, at every token."""
    tokens, _ = world.tokens(example)
    return model(input_ids=torch.tensor([tokens]), output_hidden_states=True).hidden_states[block + 1][0]


@SHAPES
@pytest.mark.parametrize("block", [None, 0])
def test_rmu(arch, tied, block, tiny_model, tiny_tokenizer):
    world = World(tiny_model(arch, tied), tiny_tokenizer)
    u = torch.rand(16, generator=torch.Generator().manual_seed(5)).double()
    target = 3.0 * u / u.square().sum().sqrt()
    read = 1 if block is None else block  # a third of the way up three blocks

    def formula(now, then):
        steered = mean(((states(world, now, e, read) - target) ** 2).sum(1).mean() for e in FORGET)
        held = mean(
            ((states(world, now, e, read) - states(world, then, e, read)) ** 2).sum(1).mean() for e in RETAIN
        )
        return steered + 4.0 * held

    agree(world, "rmu", formula, block=block, steering=3.0, alpha_retain=4.0, seed=5)


@SHAPES
def test_rmu_holds_what_it_has_not_moved(arch, tied, tiny_model, tiny_tokenizer):
    """The retain term is 0 at the start, whatever its weight."""
    world = World(tiny_model(arch, tied), tiny_tokenizer)
    one, other = (world.loss_of("rmu", alpha_retain=a)(*world.batches()) for a in (0.0, 1e3))
    assert torch.equal(one, other)
    assert one > 0


def test_rmu_drives_the_states_to_the_vector(trained):
    options = {"steps": [1, 20], "lr": 3e-3, "steering": 3.0, "alpha_retain": 0.1}
    losses = [s.told["loss"] for s in trained.path("rmu", **options)]
    assert losses[1] < 0.7 * losses[0]


def test_the_block_follows_the_selection(trained):
    """Nothing after the block that is read moves; a selection of later blocks is read at its first."""
    start = trained.weights()
    for layers, moved in (
        ("last2", "transformer.h.1."),
        ("block.2", "transformer.h.2."),
        (["block.2", "position"], "transformer.wpe."),
    ):
        result = trained.apply("rmu", steps=1, layers=layers)
        names = {n for n, t in trained.weights().items() if not torch.equal(t, start[n])}
        assert names
        assert all(n.startswith(moved) for n in names), layers
        result.revert()


def test_what_rmu_refuses(trained):
    start = trained.weights()
    with pytest.raises(MethodError, match="'rmu': no weight of layers 'norm.final' has a part in its loss"):
        trained.apply("rmu", layers="norm.final")
    with pytest.raises(LayerError, match="block=3: this model has blocks 0 to 2"):
        trained.apply("rmu", block=3)
    assert same(trained.weights(), start)
