"""Control: somebody else's gradients, so that what is particular to the forget set shows."""

from collections.abc import Sequence

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.methods.first_epoch import first_epoch


@line(title="wrong person", family="control", needs=("ledger",), reads=("first epoch", "others"))
def wrong_person(inputs, *, others: str | Sequence[str] = ()):
    """First-epoch gradients of the examples `others` (ids, or one), scaled to the length of the request's."""
    from unlearnkit.unlearning.originals import rescaled

    if not others:
        raise MethodError("method 'wrong_person' needs others=: ids of examples outside the request")
    others = inputs.ledger.known(others)
    if shared := set(others) & set(inputs.request):
        raise MethodError(
            f"others= and the request share {sorted(shared)[:5]}: name somebody else's examples"
        )

    def theirs():
        return inputs.ledger.stream(others, "first", inputs.layers)

    return rescaled(inputs, theirs, "others='s first-epoch", like=first_epoch(inputs))
