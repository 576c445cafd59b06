"""Whether a model, and texts, are those that a ledger is about.

Shapes do not tell two models of one kind apart. So the index keeps the digests of the weights before the
first step and of those after the last commit, and a model that stands at neither is refused: one bit is
enough. Unlearning moves weights on purpose: it notes each place it leaves a model at, and where that model
came from; in the index too where a request is served for good. Ids do not tell two texts apart, and so it
keeps digests of these as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from torch import nn

from unlearnkit import weights
from unlearnkit.data import Example, digest
from unlearnkit.errors import LedgerError
from unlearnkit.ledger.store import Store

START, END = "theta_0", "theta_T"
Digests = dict[str, str]  # by parameter name

_came_from: WeakKeyDictionary[nn.Module, dict[int, int]] = WeakKeyDictionary()  # place -> place before it


def digests(model: nn.Module) -> Digests:
    """The digest of every parameter: all of its bits, which takes 0.1 s at 135M parameters."""
    return {name: weights.digest(parameter) for name, parameter in model.named_parameters()}


def place(model: nn.Module) -> int:
    """A number for where the model stands, of meaning in this process only."""
    return _number(digests(model))


def note_change(model: nn.Module, before: int) -> int:
    """Remember that unlearning brought this model from the place `before`; returns where it stands now."""
    here = place(model)
    _came_from.setdefault(model, {}).setdefault(here, before)
    return here


def note_end(store: Store, model: nn.Module) -> None:
    """Put theta_T into the index, which the caller publishes. What is not trained is as it was at theta_0."""
    before: Digests = store.head["weights"][START]
    store.head["weights"][END] = {
        name: weights.digest(p) if p.requires_grad else before[name] for name, p in model.named_parameters()
    }


def note_request(store: Store, model: nn.Module, before: str, ids: Sequence[str]) -> None:
    """Publish the place that a request took the model to from the noted one `before`: more is asked there."""
    places, forgotten = store.head["weights"], store.head.setdefault("forgotten", {})
    place = f"request {len(places) - 1}"
    places[place] = digests(model)
    forgotten[place] = [*forgotten.get(before, ()), *ids]
    store.publish(store.epochs, **store.progress)


def place_of(store: Store, model: nn.Module) -> str | None:
    """The noted place that a model stands at: theta_0, theta_T or a request's; None where there is none."""
    here = digests(model)
    return next((place for place, there in store.head["weights"].items() if there == here), None)


def forgotten(store: Store, place: str, ids: Iterable[str]) -> set[str]:
    """Of these ids those that requests took out of the model at a noted place, and whoever was purged.

    At theta_T none: what was purged since, the model still knows there.
    """
    gone = set(store.head.get("forgotten", {}).get(place, ()))
    return gone if place == END else gone | set(purged(store, ids))


def purged(store: Store, ids: Iterable[str]) -> list[str]:
    """Of these ids those that the ledger does not hold, if anybody was purged from it: it tells not who."""
    held = set(store.head["expected"])
    return [i for i in ids if i not in held] if store.head.get("purged") else []


def require_strangers(store: Store, strangers: Sequence[Example], others: Iterable[Example]) -> None:
    """LedgerError where one of the strangers, which no training met, has a recorded id or text.

    `others` are facts whose texts are told from theirs already. A text that was purged is not known here.
    """
    expected, told = store.head["expected"], store.head.get("texts", {})
    rest = set(expected) - {e.id for e in others}  # recorded, and nothing else of this data
    met = [
        e.id
        for e in strangers
        if e.id in expected or any(told.get(i) == digest([replace(e, id=i)]) for i in rest)
    ]
    if met:
        raise LedgerError(
            f"{len(met)} facts of the hold-out stand in ledger {store.path} by id or text, {met[0]!r} first: "
            "the model was taught them, and they cannot say how unlikely a fact is that it never met. Give "
            "the hold-out facts, and ids, that were never in the training"
        )


def require_texts(store: Store, examples: Iterable[Example]) -> None:
    """LedgerError where one of the examples has a recorded one's id, and is another text."""
    told = store.head.get("texts", {})
    known = [e for e in examples if e.id in store.head["expected"]]
    if bare := [e.id for e in known if not told.get(e.id)]:
        raise LedgerError(
            f"ledger {store.path} does not say which text {bare[0]!r} was: it was made before ledgers did, "
            "or without a training. Train again into another folder"
        )
    if other := [e.id for e in known if told[e.id] != digest([e])]:
        raise LedgerError(
            f"{len(other)} facts are not what ledger {store.path} recorded under their ids, {other[0]!r} "
            "first: give the file of the training as it was. Ids that count lines (line-1, ...) change with "
            "the lines: with an `id` of its own each fact keeps it"
        )


def require_known(store: Store, model: nn.Module) -> None:
    """LedgerError unless the model came from theta_0, theta_T or a request's end.

    Nothing is asked of a ledger without a commit, which holds no gradients.
    """
    known: dict[str, Digests] = store.head["weights"]
    here = digests(model)
    if END not in known or {_number(there) for there in known.values()} & _line(model, _number(here)):
        return
    differing = {label: [n for n in here if here[n] != there.get(n)] for label, there in known.items()}
    label, names = min(differing.items(), key=lambda item: len(item[1]))
    raise LedgerError(
        f"ledger {store.path} is about another {store.head['model']['name']}: this one's weights are neither "
        f"those before the recorded training nor those after it ({len(names)} of {len(here)} parameters "
        f"differ from {label}'s, {names[0]!r} first). Give the model that was trained with this ledger, or "
        "check_model=False if it is to be used for another one"
    )


def _line(model: nn.Module, here: int) -> set[int]:
    """The place `here` and all those that unlearning brought the model from."""
    before, line = _came_from.get(model, {}), set()
    while here is not None and here not in line:  # a step back leads to an earlier place
        line.add(here)
        here = before.get(here)
    return line


def _number(found: Digests) -> int:
    return hash(tuple(found.items()))
