"""What a fine-tuning keeps of its way, and going on from there."""

import dataclasses
import shutil

import pytest
import torch
from worlds import FACTS, IDS, flip, same, weights_of

from unlearnkit import training
from unlearnkit.errors import ConfigError, DataError, ModelError, RequestError
from unlearnkit.training import replaying

RECIPE = training.Recipe("adamw", epochs=3, lr=1e-3, batch_size=3, lr_schedule="linear")
QUIET = {"progress": False}


@pytest.fixture
def kept(tiny_model, tiny_tokenizer, tmp_path):
    """(model at theta_T, its history, weights at each epoch's end)"""
    model, there = tiny_model("gpt2"), {}

    def look(epoch, current):
        there[epoch] = weights_of(current)

    there[0] = weights_of(model)
    training.fine_tune(
        model, tiny_tokenizer, FACTS, RECIPE, history=tmp_path / "h", updates=IDS[:2], on_epoch=look, **QUIET
    )
    return model, training.History.open(tmp_path / "h"), there


def rest(model, tokenizer, history, after, exclude=(), examples=FACTS, **more):
    moving = dict(model.named_parameters())
    return replaying.rest(
        model, tokenizer, examples, history, after=after, exclude=exclude, moving=moving, **more
    )


def test_epochs_and_updates_are_those_that_were(kept):
    model, history, there = kept
    assert list(history) == [0, 1, 2, 3]
    for epoch, expected in there.items():
        assert same(dict(history.read(epoch, expected)), expected)
    order = training.schedule(IDS, RECIPE)
    held = [set(ids) & set(IDS[:2]) for epoch in order for ids in epoch]
    assert sorted(history.updates) == [k for k, found in enumerate(held) if found]
    assert all(set(IDS[:2]) & set(ids) for ids in history.updates.values())
    assert history.updates_of == set(IDS[:2])


def test_all_updates_add_up_to_the_way(tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model("llama", tied=False)
    start = weights_of(model)
    training.fine_tune(model, tiny_tokenizer, FACTS, RECIPE, history=tmp_path / "h", updates=IDS, **QUIET)
    history = training.History.open(tmp_path / "h")
    for name, end in weights_of(model).items():
        added = sum(dict(history.read_update(step, [name]))[name] for step in history.updates)
        assert torch.allclose(start[name] + added, end, atol=1e-6)


@pytest.mark.parametrize("more", [{}, {"order": "last", "staged": tuple(IDS[:4]), "epochs": 4}])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_going_on_is_having_gone_on(optimizer, more, tiny_model, tiny_tokenizer, tmp_path):
    """Bit for bit: the recorded training from any epoch, and without some, the oracle from the first."""
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, lr=1e-2, **more)
    model, oracle = tiny_model("gpt2"), tiny_model("gpt2")
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, history=tmp_path / "h", **QUIET)
    training.fine_tune(oracle, tiny_tokenizer, FACTS, recipe, exclude=IDS[:3], **QUIET)
    history, end = training.History.open(tmp_path / "h"), weights_of(model)
    for epoch in (0, 1, 2):
        rest(model, tiny_tokenizer, history, epoch)
        assert same(weights_of(model), end), epoch
    rest(model, tiny_tokenizer, history, 1, moments=False)
    assert same(weights_of(model), end) == (optimizer == "sgd")
    steps = [ids for epoch in training.schedule(IDS, recipe, IDS[:3]) for ids in epoch if ids]
    assert rest(model, tiny_tokenizer, history, 0, IDS[:3]) == len(steps)
    assert same(weights_of(model), weights_of(oracle))
    assert all(p.grad is None for p in model.parameters())


def test_a_training_is_the_same_whether_its_history_is_kept_or_not(kept, tiny_model, tiny_tokenizer):
    model = tiny_model("gpt2")
    training.fine_tune(model, tiny_tokenizer, FACTS, RECIPE, **QUIET)
    assert same(weights_of(model), weights_of(kept[0]))


def test_what_is_refused(kept, tiny_model, tiny_tokenizer, tmp_path):
    model, history, _ = kept
    with pytest.raises(ConfigError, match=r"epoch=3: .* keeps 0, 1, 2 to go on from"):
        rest(model, tiny_tokenizer, history, 3)
    with pytest.raises(DataError, match="lacks 'f6'"):
        rest(model, tiny_tokenizer, history, 0, examples=FACTS[:-1])
    changed = [dataclasses.replace(FACTS[0], answer="elsewhere"), *FACTS[1:]]
    with pytest.raises(DataError, match="a text differs"):
        rest(model, tiny_tokenizer, history, 0, examples=changed)
    with pytest.raises(ModelError, match="other trainable weights"):
        rest(tiny_model("llama"), tiny_tokenizer, history, 0)
    other = dataclasses.replace(RECIPE, seed=1)
    with pytest.raises(ModelError, match="holds the history of another training: its recipe differs"):
        training.fine_tune(tiny_model("gpt2"), tiny_tokenizer, FACTS, other, history=history.path, **QUIET)
    with pytest.raises(RequestError, match="updates= names unknown examples: 'nobody'"):
        training.fine_tune(model, tiny_tokenizer, FACTS, history=tmp_path / "x", updates=["nobody"], **QUIET)
    one = dataclasses.replace(RECIPE, layers=("embedding",))
    with pytest.raises(ConfigError, match=r"leave history= or Recipe\.layers out"):
        training.fine_tune(tiny_model("gpt2"), tiny_tokenizer, FACTS, one, history=tmp_path / "y", **QUIET)
    with pytest.raises(ModelError, match="holds no history of a training"):
        training.History.open(tmp_path)
    flip(history[1], history[1].stat().st_size // 2)
    with pytest.raises(ModelError, match="is damaged"):
        rest(model, tiny_tokenizer, history, 1)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("last", [1, 2])
def test_an_interrupted_sum_goes_on_where_it_was(last, tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """Bit for bit; one whose ids have their turn after the interruption begins anew."""
    monkeypatch.setattr(training.session, "CHECKPOINT_SECONDS", 0.0)

    def stop(epoch, _model):
        if epoch == last:
            raise Stopped

    def train(folder, ids, **more):
        where = {"ledger": tmp_path / folder / "l", "history": tmp_path / folder / "h", **QUIET}
        kept = {"updates": ids, "summed": True}
        training.fine_tune(tiny_model("gpt2"), tiny_tokenizer, FACTS, recipe, **where, **kept, **more)
        history = training.History.open(tmp_path / folder / "h")
        return dict(history.read_update(*history.steps_of(ids), history.trainable))

    recipe = dataclasses.replace(RECIPE, order="last", staged=tuple(IDS[:4]), epochs=2)
    for ids in (IDS[4:5], IDS[:1]):
        with pytest.raises(Stopped):
            train(f"stopped {ids[0]}", ids, on_epoch=stop)
        assert same(train(f"stopped {ids[0]}", ids), train(f"whole {ids[0]}", ids))


def test_an_interrupted_training_goes_on_with_its_history(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(training.session, "CHECKPOINT_SECONDS", 0.0)

    def stop(epoch, _model):
        if epoch == 3:
            raise Stopped

    where = {"ledger": tmp_path / "l", "history": tmp_path / "h", "updates": IDS[:1], **QUIET}
    with pytest.raises(Stopped):
        training.fine_tune(tiny_model("gpt2"), tiny_tokenizer, FACTS, RECIPE, on_epoch=stop, **where)
    model = tiny_model("gpt2")
    training.fine_tune(model, tiny_tokenizer, FACTS, RECIPE, **where)
    history = training.History.open(tmp_path / "h")
    assert list(history) == [0, 1, 2, 3]
    assert same(dict(history.read(3, weights_of(model))), weights_of(model))
    shutil.rmtree(tmp_path / "h")
    with pytest.raises(ModelError, match="lacks epoch 0 of a training that resumes after epoch 3"):
        training.fine_tune(tiny_model("gpt2"), tiny_tokenizer, FACTS, RECIPE, **where)
