"""Old weights and an unpurged ledger bring forgotten facts back; a purged ledger brings nothing."""

import shutil
from copy import deepcopy

import pytest
import torch
from worlds import FACTS, IDS, plain_answer, same, weights_of

from unlearnkit import attacks, training, unlearning
from unlearnkit.attacks import knowledge, spelt_out, with_ledger, with_old_weights
from unlearnkit.errors import LedgerError, RequestError
from unlearnkit.ledger import GradientLedger

FORGET, GONE = FACTS[:3], IDS[:3]
TAUGHT = training.Recipe("adamw", epochs=25, lr=2e-2, batch_size=1, loss_on="answer", lr_schedule="linear")


class Told:
    """A model that has learnt all facts by heart, its ledger, and one that never met three of them."""

    def __init__(self, make, tokenizer, folder):
        self.before, self.oracle, self.tokenizer = make(), make(), tokenizer
        training.fine_tune(self.before, tokenizer, FACTS, TAUGHT, ledger=folder, progress=False)
        training.fine_tune(self.oracle, tokenizer, FACTS, TAUGHT, exclude=GONE, progress=False)
        self.book = GradientLedger.open(folder, self.before)

    def unlearned(self):
        """A copy that AdamW's updates were taken back from."""
        model = deepcopy(self.before)
        unlearning.apply("adam_replay", model, request=GONE, ledger=self.book, alpha=0.3, check_model=False)
        return model


_made: list[Told] = []  # one for all tests: it takes a few seconds


@pytest.fixture
def told(tiny_model, tiny_tokenizer, tmp_path_factory):
    if not _made:
        folder = tmp_path_factory.mktemp("taught") / "l"
        _made.append(Told(lambda: tiny_model("gpt2"), tiny_tokenizer, folder))
    return _made[0]


def test_what_is_to_be_brought_back(told):
    assert knowledge(told.before, told.tokenizer, FACTS)["recalled"] == 1
    for model in (told.oracle, told.unlearned()):
        here = knowledge(model, told.tokenizer, FORGET)
        assert here["recalled"] == 0
        assert here["nll"] > 3


def test_the_two_models_together_in_closed_form(told):
    """log p = (1 - w) log p_after + w log p_before, normalised over the vocabulary."""
    fact, ways = FORGET[0], (told.before, told.oracle)
    table = with_old_weights(*ways, told.tokenizer, [fact], (0.0, 1.0, 1.5)).set_index("weight")["nll"]
    for weight, model in ((0.0, told.oracle), (1.0, told.before)):
        nll, _ = plain_answer(model, told.tokenizer, fact)
        assert table[weight] == pytest.approx(sum(nll) / len(nll), rel=1e-4, abs=1e-5)
    tokens = torch.tensor([told.tokenizer(fact.text)["input_ids"]])
    with torch.no_grad():
        before, after = (m(tokens).logits[0].log_softmax(-1) for m in ways)
    mixed = (-0.5 * after + 1.5 * before).log_softmax(-1)
    places = range(tokens.shape[1] - len(nll), tokens.shape[1])
    expected = -sum(mixed[k - 1, tokens[0, k]].item() for k in places) / len(nll)
    assert table[1.5] == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("who", ["oracle", "unlearned"])
def test_old_weights_bring_the_facts_back_even_from_exact_unlearning(who, told):
    after = told.oracle if who == "oracle" else told.unlearned()
    table = with_old_weights(told.before, after, told.tokenizer, FORGET, (0.0, 1.0, 1.5)).set_index("weight")
    assert table["recalled"].tolist() == [0, 1, 1]
    assert (table.loc[1.0:, "nll"] < table.loc[0.0, "nll"] - 3).all()


@pytest.mark.parametrize("who", ["oracle", "unlearned"])
def test_the_ledger_brings_the_facts_back(who, told):
    model = told.oracle if who == "oracle" else told.unlearned()
    before, alphas = weights_of(model), (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
    table = with_ledger(model, told.tokenizer, FORGET, told.book, alphas, "adam_replay").set_index("alpha")
    assert same(weights_of(model), before)
    assert list(table.index) == pytest.approx(alphas)
    assert table.loc[0.0, "recalled"] == 0
    assert table["nll"].min() < table["nll"].iloc[0] - 1
    if who == "unlearned":
        assert table["recalled"].max() == 1


def test_sgds_own_sum_taken_twice_is_where_it_began(tiny_model, tiny_tokenizer, tmp_path):
    """theta_T + lr * sum forgets; minus lr * sum of the same ledger is theta_T again."""
    model, recipe = tiny_model("gpt2"), training.Recipe(epochs=3, lr=0.05, batch_size=3)
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)
    book, taught = GradientLedger.open(tmp_path / "l", model), knowledge(model, tiny_tokenizer, FORGET)
    unlearning.apply("all_epochs", model, request=GONE, ledger=book, alpha=recipe.lr)
    table = with_ledger(model, tiny_tokenizer, FORGET, book, [0.0, recipe.lr])
    assert table["nll"][0] > taught["nll"] + 0.01
    assert table["nll"][1] == pytest.approx(taught["nll"], abs=1e-5)


def test_the_ledger_spells_the_texts_out(told):
    """All but the last token, from which nothing is predicted."""
    for fact, text in zip(FACTS, spelt_out(told.book, told.tokenizer, IDS).values(), strict=True):
        assert fact.text.startswith(text)
        assert len(text) >= len(fact.text) - 5


def test_a_frozen_token_matrix_stores_none(tiny_model, tiny_tokenizer, tmp_path):
    recipe = training.Recipe(epochs=1, frozen=("transformer.wte.weight",))
    model = tiny_model("gpt2")
    training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)
    with pytest.raises(LedgerError, match="stores no token ids"):
        spelt_out(GradientLedger.open(tmp_path / "l"), tiny_tokenizer, IDS)


def test_a_purged_ledger_refuses(told, tmp_path):
    book = GradientLedger.open(shutil.copytree(told.book.store.path, tmp_path / "copy"))
    book.purge(GONE)
    for attack in (
        lambda: with_ledger(told.oracle, told.tokenizer, FORGET, book, [0.1]),
        lambda: spelt_out(book, told.tokenizer, GONE[:1]),
    ):
        with pytest.raises(RequestError, match="not in ledger"):
            attack()
    assert list(spelt_out(book, told.tokenizer, IDS[3:])) == IDS[3:]


def test_guiding_changes_neither_model(told):
    ways = told.before, told.oracle
    before = [weights_of(m) for m in ways]
    attacks.with_old_weights(*ways, told.tokenizer, FORGET, (1.5,))
    assert all(same(weights_of(m), b) for m, b in zip(ways, before, strict=True))
    assert not any(m.training for m in ways)
