"""Exact resumption."""

import pytest
from worlds import same

from unlearnkit import ledger, training
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
