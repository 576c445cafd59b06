"""Whether a model is the one that a ledger is about: at theta_0, at theta_T, or brought from there.

Shapes do not tell two models of one kind apart. So the index keeps the digests of the weights before the
first step and of those after the last commit, and a model that stands at neither is refused: one bit is
enough. Unlearning moves weights on purpose: it notes each place it leaves a model at, and where that model
came from.
"""

from weakref import WeakKeyDictionary

from torch import nn

from unlearnkit import weights
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


def require_known(store: Store, model: nn.Module) -> None:
    """LedgerError unless the model came from theta_0 or theta_T.

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
