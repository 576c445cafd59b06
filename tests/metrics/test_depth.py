"""Logit lens and unlearning depth: identities on every architecture, formulas by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from architectures import EXACT, architecture
from worlds import ANSWERS as FACTS
from worlds import plain_answer

from unlearnkit import forward, metrics
from unlearnkit.batching import IGNORED, batch_of
from unlearnkit.errors import DataError, ModelError
from unlearnkit.layers import blocks
from unlearnkit.metrics import depth
from unlearnkit.metrics.activation import states

SOME = FACTS[:3]


@pytest.mark.parametrize("name", EXACT)
def test_the_last_blocks_lens_is_the_model_on_every_architecture(name, tiny_tokenizer):
    model = architecture(name)
    lens, own = metrics.logit_lens(model, tiny_tokenizer, SOME), metrics.score(model, tiny_tokenizer, SOME)
    last = lens[lens["block"] == 1]
    assert last["id"].tolist() == own["id"].tolist()
    np.testing.assert_allclose(last["nll"], own["nll"], rtol=1e-4)
    assert (lens.loc[lens["block"] == 0, "nll"].to_numpy() != last["nll"].to_numpy()).all()


@pytest.mark.parametrize("name", EXACT)
def test_a_models_own_states_take_nothing_and_the_oracles_all_on_every_architecture(name, tiny_tokenizer):
    original, oracle = architecture(name), architecture(name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in oracle.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    for unlearned, score in ((original, 0), (oracle, 1)):
        drops = metrics.patched_drops(original, oracle, unlearned, tiny_tokenizer, SOME)
        assert drops["oracle"].abs().max() > 0
        everywhere = drops.assign(oracle=drops["oracle"].abs(), unlearned=drops["unlearned"].abs())
        found = metrics.depth_score(everywhere, known=0.0)
        np.testing.assert_allclose(found["uds"], score, atol=1e-6)


def test_the_lens_is_norm_and_head_on_a_blocks_output(tiny_model, tiny_tokenizer):
    model = tiny_model("llama", False)
    lens = metrics.logit_lens(model, tiny_tokenizer, FACTS)
    stack = blocks(model)[1]
    for block in range(3):
        short = tiny_model("llama", False)
        short.model.layers = torch.nn.ModuleList(stack[: block + 1])
        short.config.num_hidden_layers = block + 1
        expected = [np.mean(plain_answer(short, tiny_tokenizer, e)[0]) for e in FACTS]
        np.testing.assert_allclose(lens.loc[lens["block"] == block, "nll"], expected, rtol=1e-4)


def test_a_patch_of_the_last_block_is_the_other_model_with_this_head(tiny_model, tiny_tokenizer):
    """Models that differ in blocks alone: all that the last block gives is the other's, so its NLL is too."""
    original, other = tiny_model("gpt2", False), tiny_model("gpt2", False)
    with torch.no_grad():
        blocks(other)[1][0].mlp.c_fc.weight.mul_(1.5)
    drops = metrics.patched_drops(original, other, original, tiny_tokenizer, FACTS)
    before, after = (metrics.score(m, tiny_tokenizer, FACTS)["nll"] for m in (original, other))
    last = drops[drops["block"] == 2]
    np.testing.assert_allclose(last["oracle"], after - before, atol=1e-5)
    assert (drops["unlearned"] == 0).all()


@pytest.mark.parametrize("name", EXACT)
def test_blocks_that_are_not_run_again_change_nothing_on_every_architecture(name, tiny_tokenizer):
    """Against whole passes, in which a hook puts the state into what the block has computed anew."""
    model, other = architecture(name), architecture(name)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    batch = batch_of(tiny_tokenizer, SOME)
    places = torch.cat([batch.labels[:, 1:] != IGNORED, torch.zeros(len(SOME), 1, dtype=torch.bool)], 1)
    both = {
        id(m): [states(output).clone() for output in depth._outputs_of(m, batch)[0]] for m in (model, other)
    }

    @torch.no_grad()
    def whole(block, state):
        def put(_module, _args, output):
            mixed = torch.where(places[..., None], state, states(output))
            return mixed if isinstance(output, torch.Tensor) else type(output)([mixed, *output[1:]])

        hook = blocks(model)[1][block].register_forward_hook(put)
        found = forward.losses(model, batch)
        hook.remove()
        return found

    lens = metrics.logit_lens(model, tiny_tokenizer, SOME).pivot_table(
        index="block", columns="id", values="nll"
    )
    drops = metrics.patched_drops(model.eval(), other, other, tiny_tokenizer, SOME)
    drops = drops.pivot_table(index="block", columns="id", values="oracle")
    before, order = forward.losses(model, batch).detach(), [e.id for e in SOME]
    for block in (0, 1):
        expected = whole(-1, both[id(model)][block])
        np.testing.assert_allclose(lens.loc[block, order], expected, rtol=1e-5)
        expected = whole(block, both[id(other)][block]) - before
        np.testing.assert_allclose(drops.loc[block, order], expected, rtol=1e-4, atol=1e-6)


def test_what_a_library_put_on_a_block_is_there_again(tiny_model, tiny_tokenizer):
    model = tiny_model("llama")
    block = blocks(model)[1][0]
    before = metrics.logit_lens(model, tiny_tokenizer, SOME)
    block.forward = own = block.forward
    pd.testing.assert_frame_equal(metrics.logit_lens(model, tiny_tokenizer, SOME), before)
    assert vars(block)["forward"] is own
    assert "forward" not in vars(blocks(model)[1][1])


def test_padding_changes_neither(model, tiny_model, tiny_tokenizer):
    kind = model.config.model_type
    other = tiny_model(kind, seed=1)
    lens = [metrics.logit_lens(model, tiny_tokenizer, FACTS, size) for size in (1, 5)]
    pd.testing.assert_frame_equal(*lens, rtol=1e-4)
    drops = [metrics.patched_drops(model, other, model, tiny_tokenizer, FACTS, size) for size in (1, 5)]
    pd.testing.assert_frame_equal(*drops, rtol=1e-3, atol=1e-4)


def test_nothing_stays_hooked(model, tiny_tokenizer):
    metrics.logit_lens(model.train(), tiny_tokenizer, SOME)
    metrics.patched_drops(model, model, model, tiny_tokenizer, SOME)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any("forward" in vars(m) for m in model.modules())


def test_depth_score_by_hand():
    drops = pd.DataFrame(
        {
            "id": ["a"] * 4 + ["b"] * 2,
            "block": [0, 1, 2, 3, 0, 1],
            "oracle": [0.04, 1.0, 2.0, 1.0, 0.0, 0.05],
            "unlearned": [9.0, 0.5, 3.0, -1.0, 1.0, 1.0],
        }
    )
    found = metrics.depth_score(drops)
    assert found["blocks"].tolist() == [3, 0]
    assert found["uds"].iloc[0] == pytest.approx((0.5 + 2.0 + 0.0) / 4)
    assert np.isnan(found["uds"].iloc[1])


def test_bad_input_is_named(tiny_model, tiny_tokenizer):
    model = tiny_model("llama")
    with pytest.raises(DataError, match="empty"):
        metrics.logit_lens(model, tiny_tokenizer, [])
    with pytest.raises(ModelError, match="blocks or width"):
        metrics.patched_drops(model, architecture("llama"), model, tiny_tokenizer, SOME)
