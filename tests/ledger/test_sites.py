"""What the ledger cannot explain it refuses before training starts."""

import pytest
import torch
from worlds import FACTS, IDS

from unlearnkit import ledger
from unlearnkit.batching import batch_of
from unlearnkit.ledger import recording
from unlearnkit.ledger.recorder import Recorder


class TestRefusals:
    """What the ledger cannot explain it refuses before training starts, naming the module."""

    def refused(self, model, tokenizer, tmp_path, match):
        with pytest.raises(ledger.LedgerError, match=match):
            recording.record(model, tokenizer, FACTS, tmp_path / "l")
        assert not (tmp_path / "l").exists()

    def test_unknown_module(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.gate_proj = torch.nn.Bilinear(32, 32, 64)
        self.refused(model, tiny_tokenizer, tmp_path, "gate_proj.*Bilinear")

    def test_norm_with_another_rule(self, tiny_model, tiny_tokenizer, tmp_path):
        class SquaredRMSNorm(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.full((32,), 2.0))

            def forward(self, x):
                return x * self.weight**2

        model = tiny_model("llama", True)
        model.model.norm = SquaredRMSNorm()
        self.refused(model, tiny_tokenizer, tmp_path, "model.norm.*x_hat")

    def test_module_called_twice(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.model.layers[1].mlp.up_proj = model.model.layers[0].mlp.up_proj
        self.refused(model, tiny_tokenizer, tmp_path, "up_proj.*2 times")

    def test_gradient_checkpointing(self, tiny_model, tiny_tokenizer, tmp_path):
        model = tiny_model("llama", True)
        model.gradient_checkpointing_enable()
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
