"""Unlearning methods behind one signature: `apply(name, model, request=..., ...)`.

core      Method, Inputs, Result, and how a direction becomes a reversible change of the weights
replay    recorded gradients added back: the paper's arms
ascent    gradients taken afresh at every step
controls  no change, random directions, random parameters, somebody else's gradients
"""

import difflib

from unlearnkit.errors import MethodError
from unlearnkit.unlearning import ascent, controls, replay
from unlearnkit.unlearning.core import Inputs, Method, Result, change, walk

METHODS: dict[str, Method] = {m.name: m for m in (*replay.METHODS, *ascent.METHODS, *controls.METHODS)}

__all__ = ["METHODS", "Inputs", "Method", "Result", "apply", "path"]


def _prepare(name: str, options: dict, *inputs) -> tuple[Method, Inputs, object]:
    """Look up the method, check `inputs` (as for Inputs.checked) and options; errors name what is wrong."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise MethodError(f"method {name!r} is unknown.{hint} Known: {', '.join(METHODS)}")
    method = METHODS[name]
    return method, Inputs.checked(method, *inputs), method.options_from(options)


def apply(
    name: str,
    model,
    *,
    request,
    layers="all",
    ledger=None,
    examples=None,
    tokenizer=None,
    alpha: float | None = None,
    norm: float | None = None,
    **options,
) -> Result:
    """Unlearn in place: theta += alpha * direction, on the named layers.

    `alpha` multiplies the recorded sum as it is (alpha = lr undoes the recorded SGD steps once); `norm` asks
    for a step of that Euclidean length instead. `options` are the fields of the method's own options class.
    `result.revert()` restores every touched weight bit for bit. Raises MethodError for an unknown method,
    option or missing input, RequestError for an empty or unknown request, LayerError, LedgerError, and
    DivergenceError (with the weights restored) when a weight stops being finite.
    """
    method, checked, chosen = _prepare(name, options, model, request, layers, ledger, examples, tokenizer)
    return change(method, checked, chosen, alpha, norm)


def path(
    name: str,
    model,
    *,
    request,
    alphas=None,
    norms=None,
    layers="all",
    ledger=None,
    examples=None,
    tokenizer=None,
    **options,
):
    """Walk along one direction: yields a Result at each alpha, the model standing there meanwhile.

    Give `alphas`, or step lengths as `norms`.
    Every point is theta + alpha * direction from the same originals (no drift, no second copy of the model in
    memory). When the walk ends, or is left early, the model is what it was, bit for bit.
    """
    method, checked, chosen = _prepare(name, options, model, request, layers, ledger, examples, tokenizer)
    return walk(method, checked, chosen, alphas, norms)
