"""Whether a model is the one that a ledger is about: at theta_0, at theta_T, or brought from there.

Shapes do not tell two models of one kind apart. So the index keeps a sketch of the weights before the first
step and one of those after the last commit, and a model that stands at neither is refused. Unlearning moves
weights on purpose: it notes each place it leaves a model at, and where that model came from.
"""

from weakref import WeakKeyDictionary

import torch
import xxhash
from torch import nn

from unlearnkit.errors import LedgerError
from unlearnkit.ledger.store import Store

SAMPLES = 256  # values of each parameter in a sketch
START, END = "theta_0", "theta_T"
Sketch = dict[str, str]  # parameter name -> hexadecimal xxh3-64

_came_from: WeakKeyDictionary[nn.Module, dict[int, int]] = WeakKeyDictionary()  # place -> place before it


def sketch(model: nn.Module) -> Sketch:
    """A hash of each parameter's dtype and of up to SAMPLES of its values, evenly spread.

    Milliseconds at 135M parameters, because it reads 70,000 of them: it tells trained models apart, and may
    miss a change of a few rows. `models.fingerprint` reads every bit.
    """
    found = {}
    for name, parameter in model.named_parameters():
        flat = parameter.detach().reshape(-1)
        stride = max(1, len(flat) // SAMPLES) | 1  # odd: not the same column of each row of a matrix
        sample = flat[::stride].cpu().contiguous().view(torch.uint8).numpy().tobytes()
        found[name] = xxhash.xxh3_64_hexdigest(f"{parameter.dtype};".encode() + sample)
    return found


def place(model: nn.Module) -> int:
    """A number for where the model stands, of meaning in this process only."""
    return _number(sketch(model))


def note_change(model: nn.Module, before: int) -> None:
    """Remember that unlearning brought this model from the place `before` to where it stands now."""
    _came_from.setdefault(model, {}).setdefault(place(model), before)


def note_end(store: Store, model: nn.Module) -> None:
    """Put theta_T into the index, which the caller publishes; one of an older version stays without."""
    if "weights" in store.head:
        store.head["weights"][END] = sketch(model)


def require_known(store: Store, model: nn.Module) -> None:
    """LedgerError unless the model came from theta_0 or theta_T.

    Nothing is asked of a ledger without a commit, which holds no gradients, nor of an older version's index,
    which knows no weights.
    """
    known: dict[str, Sketch] = store.head.get("weights", {})
    here = sketch(model)
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


def _number(found: Sketch) -> int:
    return hash(tuple(found.items()))
