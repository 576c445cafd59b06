"""Chapter 12, attacks: what old weights and a ledger bring back, and that a purged ledger brings nothing.

Unlike the chapter's other numbers these are made on the machine at hand, of a tiny model, in seconds.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from unlearnkit import data
from unlearnkit.data import Example
from unlearnkit.errors import RequestError
from unlearnkit.report import tables
from unlearnkit.study import own as study_own

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearnkit.ledger import GradientLedger

# Of notebook 13's example the facts of its first persons, and a recipe that teaches them by heart.
PERSONS, RECIPE = 2, {"epochs": 40, "lr": 3e-3, "batch_size": 4}
METHOD = "adam_replay"  # unlearns, and brings back with the sign changed
AFTER_PURGE = "all_epochs"  # what is tried of a purged ledger, which has no second moments for METHOD
LENGTHS = tuple(k / 5 for k in range(11))  # multiples of a direction, there and back
GUIDE = 1.5  # weight of the old model beside the new one, beyond the old one itself
NOTHING, WEIGHTS, LEDGER, PURGED = "nothing", "the old weights", "the ledger", "the ledger, purged"
UNLEARNED, RETRAINED, NO_MODEL = "unlearned", "retrained", "no model"


@dataclass(frozen=True)
class Kept:
    """A model that knows all facts, its training's ledger, and models that are to have forgotten some."""

    before: "PreTrainedModel"
    after: "dict[str, PreTrainedModel]"
    tokenizer: "PreTrainedTokenizerBase"
    forget: list[Example]
    book: "GradientLedger"

    @property
    def ids(self) -> list[str]:
        return [e.id for e in self.forget]


def example(folder: Path | None = None) -> Kept:
    """Teach a tiny model, retrain it without the first person, and unlearn that person from the first."""
    from unlearnkit import models, training  # here: the report needs neither
    from unlearnkit.ledger import GradientLedger

    folder = folder or study_own.temporary()
    name = study_own.example(folder)["model"]
    facts = data.load(folder / "facts.jsonl")
    persons = data.persons(facts)[:PERSONS]
    facts = [e for e in facts if e.person in persons]
    forget = [e for e in facts if e.person == persons[0]]
    recipe = training.Recipe("adamw", loss_on="answer", lr_schedule="linear", **RECIPE)
    (before, tokenizer), (oracle, _) = (models.load(name, device="cpu") for _ in range(2))
    training.fine_tune(before, tokenizer, facts, recipe, ledger=folder / "ledger", progress=False)
    left_out = [e.id for e in forget]
    training.fine_tune(oracle, tokenizer, facts, recipe, exclude=left_out, progress=False)
    book = GradientLedger.open(folder / "ledger", before)
    found = Kept(before, {UNLEARNED: deepcopy(before), RETRAINED: oracle}, tokenizer, forget, book)
    _unlearn(found)
    return found


def _unlearn(kept: Kept) -> None:
    """Take the model as far as its facts are as unlikely as to the oracle, or as far as lengths go."""
    from unlearnkit import attacks, unlearning

    given = {"request": kept.ids, "ledger": kept.book, "check_model": False}
    level = attacks.knowledge(kept.after[RETRAINED], kept.tokenizer, kept.forget)["nll"]
    model = kept.after[UNLEARNED]
    for place in unlearning.path(METHOD, model, alphas=LENGTHS[1:], **given):
        alpha = place.alpha
        if attacks.knowledge(model, kept.tokenizer, kept.forget)["nll"] >= level:
            break
    unlearning.apply(METHOD, model, alpha=alpha, **given)


def brought_back(kept: Kept) -> pd.DataFrame:
    """What each attack gets of the facts, a row an attack; the ledger is purged in the end.

    Columns: kept, what the attacker kept; model, to which they have access; nll, nats a token, and recalled,
    the share of facts that is said (or read) word for word, NaN where there is none; refused, what an attack
    was told that got nothing, else "". Of attacks of several lengths the best counts.
    """
    from unlearnkit import attacks

    who = kept.tokenizer, kept.forget

    def guided(model: "PreTrainedModel") -> dict[str, float]:
        found = attacks.with_old_weights(kept.before, model, *who, (GUIDE,))
        return found.iloc[0][["nll", "recalled"]].to_dict()

    rows = [(NOTHING, name, attacks.knowledge(model, *who)) for name, model in kept.after.items()]
    rows += [(WEIGHTS, name, guided(model)) for name, model in kept.after.items()]
    rows += [(LEDGER, name, attack()) for name, attack in _with_ledger(kept, METHOD).items()]
    kept.book.purge(kept.ids)
    ways = _with_ledger(kept, AFTER_PURGE)
    rows += [(PURGED, name, _refused(kept, attack)) for name, attack in ways.items()]
    found = [{"kept": what, "model": name, "refused": ""} | got for what, name, got in rows]
    return pd.DataFrame(found, columns=["kept", "model", "nll", "recalled", "refused"])


def _with_ledger(kept: Kept, method: str) -> dict[str, Callable[[], dict[str, float]]]:
    """Attacks that need the ledger, by the model that they have."""
    from unlearnkit import attacks

    def descend(model: "PreTrainedModel") -> dict[str, float]:
        found = attacks.with_ledger(model, kept.tokenizer, kept.forget, kept.book, LENGTHS, method)
        return found.loc[found["nll"].idxmin(), ["nll", "recalled"]].to_dict()

    def read() -> dict[str, float]:
        texts = attacks.spelt_out(kept.book, kept.tokenizer, kept.ids)
        tokens = {e.id: kept.tokenizer(e.text)["input_ids"] for e in kept.forget}
        whole = [texts[i] == kept.tokenizer.decode(ids[:-1]) for i, ids in tokens.items()]
        return {"recalled": sum(whole) / len(whole)}

    ways = {name: partial(descend, model) for name, model in kept.after.items()}
    return ways | {NO_MODEL: read}


def _refused(kept: Kept, attack: Callable[[], dict[str, float]]) -> dict[str, str | float]:
    """What the attack still gets, or why nothing, without the ledger's folder."""
    try:
        return attack()
    except RequestError as error:
        return {"refused": str(error).replace(f" {kept.book.store.path}", "")}


def as_told(found: pd.DataFrame) -> bool:
    """Whether `brought_back` is as the page says: nothing, all, all but of the oracle, and refusals."""
    said = found.set_index(["kept", "model"])["recalled"]
    nll = found.set_index(["kept", "model"])["nll"]
    brought = nll[LEDGER, RETRAINED] < nll[NOTHING, RETRAINED] - 1
    every = (*((WEIGHTS, name) for name in (UNLEARNED, RETRAINED)), (LEDGER, UNLEARNED), (LEDGER, NO_MODEL))
    refused = found.loc[found["kept"] == PURGED, "refused"].str.contains("not in ledger").all()
    return bool((said[NOTHING] == 0).all() and said[list(every)].eq(1).all() and brought and refused)


def attack_table(found: pd.DataFrame, facts: int) -> pd.DataFrame:
    """`brought_back` in words, of so many facts."""
    said = found["recalled"].map(lambda share: f"{tables.number(share * facts, '.0f')} of {facts}")
    said = said.where(found["model"] != NO_MODEL, said + ", all but the last token")
    told = zip(found["refused"], said, strict=True)
    return pd.DataFrame(
        {
            "kept": found["kept"],
            "beside which model": found["model"],
            "said, or read, word for word": [f"refused: {why}" if why else count for why, count in told],
            "NLL, nats a token": [tables.number(nll, ".1f") for nll in found["nll"]],
        }
    )
