"""Unlearning methods behind one signature: `apply(name, model, request=..., ...)`.

core      Method, Inputs, Result, and how a direction becomes a reversible change of the weights
replay    recorded gradients added back: the paper's arms
ascent    gradients taken afresh at every step
iterative one example at a time, re-checked before each step
controls  no change, random directions, random parameters, somebody else's gradients
"""

import difflib

from unlearnkit.errors import MethodError
from unlearnkit.unlearning import ascent, controls, replay
from unlearnkit.unlearning.core import Inputs, Method, Result, change, walk
from unlearnkit.unlearning.iterative import Round, iterate

METHODS: dict[str, Method] = {m.name: m for m in (*replay.METHODS, *ascent.METHODS, *controls.METHODS)}

__all__ = ["METHODS", "Inputs", "Method", "Result", "Round", "apply", "iterate", "path"]


def _prepare(name: str, inputs: tuple, options: dict) -> tuple[Method, Inputs, object]:
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
    check_model: bool = True,
    alpha: float | None = None,
    norm: float | None = None,
    **options,
) -> Result:
    """Unlearn in place: theta += alpha * direction, on the named layers.

    `alpha` multiplies the recorded sum as it is (alpha = lr undoes the recorded SGD steps once); `norm` asks
    for a step of that Euclidean length instead. `options` are the fields of the method's own options class.
    `result.revert()` restores every touched weight bit for bit. A ledger serves the model that it is about,
    at theta_0 or theta_T or where earlier calls left it; `check_model=False` lets it serve any that it fits.
    Raises MethodError for an unknown method, option or missing input, RequestError for an empty or unknown
    request, LayerError, LedgerError (another model among them), and DivergenceError (with the weights
    restored) when a weight stops being finite.
    """
    inputs = (model, request, layers, ledger, examples, tokenizer, check_model)
    method, checked, chosen = _prepare(name, inputs, options)
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
    check_model: bool = True,
    **options,
):
    """Walk along one direction: yields a Result at each alpha, the model standing there meanwhile.

    Give `alphas`, or step lengths as `norms`.
    Every point is theta + alpha * direction from the same originals (no drift, no second copy of the model in
    memory). When the walk ends, or is left early, the model is what it was, bit for bit.
    """
    inputs = (model, request, layers, ledger, examples, tokenizer, check_model)
    method, checked, chosen = _prepare(name, inputs, options)
    return walk(method, checked, chosen, alphas, norms)
