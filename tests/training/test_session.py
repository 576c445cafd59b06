"""Exact resumption."""

import pytest
from worlds import FACTS, TWO_EPOCHS, same

from unlearnkit import ledger, training
from unlearnkit.errors import LedgerError
from unlearnkit.training import Recipe, session


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_it_resumes_exactly(optimizer, stop, train, tmp_path, monkeypatch):
    """Weights, moments of AdamW, losses and notes, whichever epoch it stopped in."""
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
    recipe = Recipe(optimizer, epochs=3, lr=0.01, batch_size=3)

    def note(epoch, model):
        return [epoch, next(model.parameters()).sum().item()]

    def interrupted(epoch, model):
        if epoch == stop:
            raise KeyboardInterrupt
        return note(epoch, model)

    weights, run = train(recipe, ledger=tmp_path / "whole", on_epoch=note)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, ledger=tmp_path / "l", on_epoch=interrupted)
    assert ledger.GradientLedger.open(tmp_path / "l").epochs == list(range(1, stop))
    resumed, rerun = train(recipe, ledger=tmp_path / "l", on_epoch=note)
    assert same(weights, resumed)
    assert (rerun.losses, rerun.notes) == (run.losses, run.notes)
    assert len(list((tmp_path / "l").glob("training-*"))) == 1
    moments = sorted((tmp_path / "whole").glob("moments-*"))
    assert len(moments) == (3 if optimizer == "adamw" else 0)
    assert all(p.read_bytes() == (tmp_path / "l" / p.name).read_bytes() for p in moments)


def test_a_model_that_would_be_recorded_in_another_way_is_refused(
    train, tiny_model, tiny_tokenizer, tmp_path
):
    """The same weights and recipe, but a layer is wrapped since, so that other things would be kept."""
    train(ledger=tmp_path / "l")
    model = tiny_model("gpt2")
    norm = model.transformer.ln_f
    norm.register_forward_hook(lambda module, _inputs, output: output * module.weight)
    with pytest.raises(LedgerError, match="in another way"):
        training.fine_tune(model, tiny_tokenizer, FACTS, TWO_EPOCHS, ledger=tmp_path / "l", progress=False)


def test_a_ledger_of_factors_is_another_than_one_of_what_is_smaller(train, tmp_path):
    train(ledger=tmp_path / "l", ledger_factors=True)
    train(ledger=tmp_path / "l", ledger_factors=True)
    with pytest.raises(LedgerError, match="ledger_factors is True there and False here"):
        train(ledger=tmp_path / "l")
