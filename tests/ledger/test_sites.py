"""What fits no rule is recorded by autograd, and what cannot be exact is refused before training, by name."""

import pytest
import torch
from architectures import architecture
from worlds import FACTS, IDS, autograd_gradient, relative_error

from unlearnkit import ledger
from unlearnkit.batching import batch_of
from unlearnkit.ledger import proof, recording
from unlearnkit.ledger.recorder import Recorder


def kinds(model):
    return {site.module: site.kind for site in proof.proven(model)}


def require_exact(model, tokenizer, folder):
    book = recording.record(model, tokenizer, FACTS, folder)
    for example in FACTS[:3]:
        theirs = autograd_gradient(model, tokenizer, example, "answer")
        assert relative_error(book.gradient(example.id, 1), theirs) <= 1e-5


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Squared(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight**2, self.bias)


class SquaredRMSNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((16,), 2.0))

    def forward(self, x):
        return x * self.weight**2


class Twice(torch.nn.Bilinear):
    def forward(self, x):
        return super().forward(x, x)


class TestUnusualModules:
    """Each gives exact gradients, though its type, arguments or output promise something else."""

    def test_a_subclass_that_scales_its_output(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.gate_proj = Doubled(16, 24, bias=False)
        require_exact(model, tiny_tokenizer, tmp_path / "l")
        assert kinds(model)["model.layers.1.mlp.gate_proj"] == "linear"

    @pytest.mark.parametrize("where", ["model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.norm"])
    def test_a_hook_that_scales_an_output(self, where, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.get_submodule(where).register_forward_hook(lambda _m, _i, output: 3 * output)
        require_exact(model, tiny_tokenizer, tmp_path / "l")

    def test_a_function_of_the_weight(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.gate_proj = Squared(16, 24)
        require_exact(model, tiny_tokenizer, tmp_path / "l")
        assert kinds(model)["model.layers.1.mlp.gate_proj.weight"] == "autograd"

    def test_a_norm_with_another_rule(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.norm = SquaredRMSNorm()
        require_exact(model, tiny_tokenizer, tmp_path / "l")
        assert kinds(model)["model.norm.weight"] == "autograd"

    def test_an_unknown_module(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.gate_proj = Twice(16, 16, 24)
        require_exact(model, tiny_tokenizer, tmp_path / "l")

    def test_a_module_used_twice(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.up_proj = model.model.layers[0].mlp.up_proj
        require_exact(model, tiny_tokenizer, tmp_path / "l")
        assert kinds(model)["model.layers.0.mlp.up_proj.weight"] == "autograd"


class TestRefusals:
    """What cannot be exact is an error before training starts, that names the module; no folder is left."""

    def refused(self, model, tokenizer, tmp_path, match):
        with pytest.raises(ledger.LedgerError, match=match):
            recording.record(model, tokenizer, FACTS, tmp_path / "l")
        assert not (tmp_path / "l").exists()

    def test_a_tied_matrix_used_in_another_way(self, tiny_model, tiny_tokenizer, tmp_path):
        """By autograd alone the shares of its two roles cannot be told. Another model's proof is none."""
        proof.proven(tiny_model("llama", True))
        model = tiny_model("llama", True)
        embed = model.model.embed_tokens
        embed.forward = lambda ids: embed.weight[ids]
        self.refused(model, tiny_tokenizer, tmp_path, "embed_tokens.*untie")

    def test_a_model_that_looks_at_its_neighbours(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.norm.register_forward_hook(lambda _m, _i, output: output - output.mean((0, 1)))
        self.refused(model, tiny_tokenizer, tmp_path, "alone")

    def test_a_model_that_cannot_be_run(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.gate_proj = torch.nn.Bilinear(16, 16, 24)
        self.refused(model, tiny_tokenizer, tmp_path, "TypeError.*input2")

    def test_no_room_for_gradients_that_are_kept_whole(self, tiny_tokenizer, tmp_path, monkeypatch):
        usage = type("usage", (), {"free": 1000})
        monkeypatch.setattr(recording.shutil, "disk_usage", lambda _path: usage)
        self.refused(architecture("mixtral"), tiny_tokenizer, tmp_path, "experts.*free|experts.*GB")

    def test_gradient_checkpointing(self, tiny_model, tiny_tokenizer, tmp_path):
        proof.proven(tiny_model("llama", True))
        model = tiny_model("llama", True)
        for module in model.modules():  # as transformers marks them, without the hook that it adds
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = True
        self.refused(model, tiny_tokenizer, tmp_path, "gradient_checkpointing_disable")

    def test_loss_where_nothing_is_labelled(self, tiny_model, tiny_tokenizer, tmp_path):
        """A loss that the labels do not describe would lose rows: it is an error, not a wrong gradient."""
        model = tiny_model("llama", True)
        store = ledger.create(tmp_path / "l", model, IDS, {"epochs": 1}, "float32")
        batch = batch_of(tiny_tokenizer, FACTS, "answer")
        with Recorder(model, store) as recorder:
            recorder.expect(batch, range(len(FACTS)))
            loss = model(**batch.inputs()).logits.square().mean()
            with pytest.raises(ledger.LedgerError, match="predict nothing"):
                loss.backward()


def test_the_proof_leaves_the_model_as_it_was(tiny_model):
    """Weights, gradients, mode, hooks and the state of random numbers."""
    model = tiny_model("gpt2", True).train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    state = torch.get_rng_state()
    proof.proven(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[n]) and (p.grad == 1).all() for n, p in model.named_parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_wrong_capture_is_found(tiny_model, monkeypatch):
    """A ledger that doubles some gradients falls back to autograd for those, and only those."""
    true = Recorder._on_backward

    def doubled(self, site, x, padding, d):
        true(self, site, x, padding, 2 * d if site.module.endswith("q_proj") else d)

    monkeypatch.setattr(Recorder, "_on_backward", doubled)
    proof._proven.clear()
    sites = {site.module: site.kind for site in proof.proven(tiny_model("llama", True))}
    proof._proven.clear()
    assert sites["model.layers.0.self_attn.q_proj.weight"] == "autograd"
    assert sites["model.layers.0.self_attn.k_proj"] == "linear"
