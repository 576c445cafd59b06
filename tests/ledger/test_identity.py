"""A ledger knows its own model."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from worlds import DAVE as FACTS
from worlds import DAVE_IDS as IDS
from worlds import (
    RECIPE,
    same,
    weights_of,
)

from unlearnkit import ledger, unlearning, weights
from unlearnkit.data import digest
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import identity


def test_other_weights_of_the_same_shapes_are_refused(train, trained, tiny_model):
    """Another start, another end, one bit of a small parameter: named, unless the caller means it."""
    book = ledger.GradientLedger.open(trained)
    other_end, _ = train("other", recipe=dataclasses.replace(RECIPE, seed=1))
    halved, nudged = tiny_model("gpt2").bfloat16(), tiny_model("gpt2")
    nudged.transformer.ln_f.bias.data.view(torch.int32)[3] ^= 1
    for model, match in (
        (tiny_model("gpt2", seed=1), "40 of 40 parameters differ from theta_0's"),
        (other_end, "40 of 40 parameters differ"),
        (halved, "40 of 40 parameters differ"),
        (
            nudged,
            "1 of 40 parameters differ from theta_0's, 'transformer.ln_f.bias' first.*check_model=False",
        ),
    ):
        request = {"request": IDS[:1], "ledger": book}
        before = weights_of(model)
        for act in (
            lambda m=model: ledger.GradientLedger.open(trained, m),
            lambda m=model, r=request: unlearning.apply("first_epoch", m, **r, alpha=0.1),
            lambda m=model, r=request: list(unlearning.path("first_epoch", m, **r, alphas=[0.1])),
        ):
            with pytest.raises(LedgerError, match=match):
                act()
        assert same(weights_of(model), before)
        ledger.GradientLedger.open(trained, model, check_model=False)
        unlearning.apply("first_epoch", model, **request, alpha=0.1, check_model=False)


def test_the_ledgers_own_model_is_accepted_wherever_unlearning_took_it(
    train, tmp_path, tiny_model, tiny_tokenizer
):
    """theta_0, theta_T, points of a path and results on results; not where something else took it."""
    model, _ = train()
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    ledger.GradientLedger.open(tmp_path / "l", tiny_model("gpt2"))
    request = {"request": IDS[:2], "ledger": book}
    for _ in unlearning.path("first_epoch", model, **request, alphas=[0.1, 0.2]):
        ledger.GradientLedger.open(tmp_path / "l", model)
        unlearning.apply("all_epochs", model, **request, alpha=0.1).revert()
    results = [unlearning.apply(name, model, **request, alpha=0.1) for name in ("first_epoch", "all_epochs")]
    results.pop().revert()
    unlearning.apply("random_direction", model, **request, alpha=0.1)
    between = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "between")
    for one in (book, between):  # the later ledger's start is a place on the way from the earlier one's
        unlearning.apply("all_epochs", model, **request | {"ledger": one}, alpha=0.1)
    moved = weights_of(model)
    with torch.no_grad():
        model.transformer.ln_f.bias.add_(1)
    with pytest.raises(LedgerError, match="another GPT2LMHeadModel"):
        unlearning.apply("first_epoch", model, **request, alpha=0.1)
    foreign = tiny_model("gpt2")  # an object that unlearning never saw
    foreign.load_state_dict(moved, strict=False)
    with pytest.raises(LedgerError, match="40 of 40 parameters differ"):
        ledger.GradientLedger.open(tmp_path / "l", foreign)


def test_one_changed_token_row_is_seen_and_its_tensor_named(trained, tiny_model):
    """One bit of one weight, in whichever row: no sample of the weights would do."""
    name = "transformer.wte.weight"
    for row in (0, 7, 100, 319):
        model = tiny_model("gpt2")
        model.get_parameter(name).data.view(torch.int32)[row, row % 16] ^= 1
        with pytest.raises(LedgerError, match=f"1 of 40 parameters differ from theta_0's, '{name}' first"):
            ledger.GradientLedger.open(trained, model)


def test_an_unfinished_ledger_knows_the_weights_of_its_last_commit(train, tmp_path):
    kept = {}

    def die(epoch, model):
        kept[epoch] = weights_of(model)
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(on_epoch=die)
    model, _ = train("whole")
    for epoch, accepted in ((1, False), (2, True), (3, False)):
        model.load_state_dict(kept[epoch], strict=False)
        if accepted:
            ledger.GradientLedger.open(tmp_path / "l", model)
        else:
            with pytest.raises(LedgerError, match="neither"):
                ledger.GradientLedger.open(tmp_path / "l", model)


def test_at_an_epoch_s_end_only_what_is_trained_is_looked_at(train, tmp_path, monkeypatch):
    """Beside adapters on a billion parameters, a look at all of them is many steps' work."""
    looked, whole = [], weights.digest
    recipe = dataclasses.replace(RECIPE, lora=2)

    def go(epoch, _model):
        if epoch == 1:  # before its commit; all were looked at as the ledger began
            seen = SimpleNamespace(digest=lambda p: looked.append(p.numel()) or whole(p))
            monkeypatch.setattr(identity, "weights", seen)

    model, _ = train(recipe=recipe, on_epoch=go)
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    assert looked == trained * recipe.epochs
    assert 0 < sum(trained) < sum(p.numel() for p in model.parameters()) / 2
    monkeypatch.undo()
    known = ledger.GradientLedger.open(tmp_path / "l", model).store.head["weights"]
    assert known["theta_T"] == identity.digests(model)


def test_who_was_purged_is_forgotten_after_a_request_and_known_where_the_training_ended():
    head = {"expected": ["a", "b"], "forgotten": {"request 1": ["b"]}}
    store = SimpleNamespace(head=head)
    assert identity.purged(store, ["a", "b", "c"]) == []
    head["purged"] = True
    assert identity.purged(store, ["a", "b", "c"]) == ["c"]
    assert identity.forgotten(store, "request 1", ["a", "b", "c"]) == {"b", "c"}
    assert identity.forgotten(store, identity.END, ["a", "b", "c"]) == set()


def test_strangers_are_told_from_the_recorded_by_id_and_by_text():
    taught, other = FACTS[:2]
    texts = {e.id: digest([e]) for e in (taught, other)}
    store = SimpleNamespace(path="l", head={"expected": [*texts], "texts": texts})
    strangers = [dataclasses.replace(FACTS[2], id="new"), dataclasses.replace(other, id="new", answer="x")]
    identity.require_strangers(store, strangers, [taught])
    for met in (dataclasses.replace(strangers[0], id=other.id), dataclasses.replace(other, id="new")):
        with pytest.raises(
            LedgerError, match=f"1 facts of the hold-out stand in ledger l .* '{met.id}' first"
        ):
            identity.require_strangers(store, [*strangers, met], [taught])
