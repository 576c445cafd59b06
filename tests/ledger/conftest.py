"""A tiny model's fine-tuning into a ledger that is committed after every epoch."""

from pathlib import Path

import pytest
from worlds import DAVE, FACTS, RECIPE

from unlearnkit import training
from unlearnkit.ledger import GradientLedger
from unlearnkit.training import session


@pytest.fixture(autouse=True)
def commit_every_epoch(monkeypatch):
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def train(tiny_model, tiny_tokenizer, tmp_path):
    """`train(**changes)`: fine-tune a new tiny GPT-2 into tmp_path/"l"; returns (model, run)."""

    def go(folder="l", arch="gpt2", seed=0, examples=DAVE, recipe=RECIPE, **options):
        model = tiny_model(arch, seed=seed)
        options = {"ledger": tmp_path / folder, "progress": False, **options}
        return model, training.fine_tune(model, tiny_tokenizer, examples, recipe, **options)

    return go


@pytest.fixture
def trained(train, tmp_path) -> Path:
    """Folder of a finished ledger of three epochs."""
    train()
    return tmp_path / "l"


@pytest.fixture(params=["gpt2", "llama"])
def book(request, tiny_model, tiny_tokenizer, tmp_path):
    """All facts' gradients of two epochs in full precision, of a tied and of an untied model."""
    model = tiny_model(request.param, tied=request.param == "gpt2")
    recipe = training.Recipe(epochs=2, lr=0.05, batch_size=3)
    where = {"ledger": tmp_path / "l", "ledger_dtype": "float32", "progress": False}
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, **where)
    return GradientLedger.open(tmp_path / "l", model)
