"""False answers to what is to be forgotten, and true ones to others, before every prompt (ICUL)."""

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import wrapped
from unlearnkit.unlearning.limits import Whole

NEEDS = ("examples", "retain", "tokenizer")


@wrapped(title="in-context unlearning", family="prompt", source="Pawelczyk et al. 2024", needs=NEEDS)
def in_context(inputs, *, false: Whole = 4, true: Whole = 4):
    """The first `false` facts of the request with wrong answers, then `true` retained ones as they are.

    The paper flips the label of the one input to forget and adds s in {2, 4, 6} correct ones (R); false
    answers (`Example.contradiction`) for labels and one context for all queries are our adaptation.
    """
    from dataclasses import replace

    from unlearnkit.unlearning.prefix import install

    shown = inputs.forget[:false]
    if told := [e.id for e in shown if not e.contradiction]:
        raise MethodError(f"method 'in_context' needs a wrong answer for each it shows: {told[0]!r} has none")
    wrong = [replace(e, answer=e.contradiction).text for e in shown]
    return install(inputs, ". ".join([*wrong, *(e.text for e in inputs.retain[:true])]) + ". ")
