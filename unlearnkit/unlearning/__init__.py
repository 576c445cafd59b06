"""Unlearning methods behind one signature: `apply(name, model, request=..., ...)`.

methods    a module a method
frame      what every method shares: METHODS, the checks, the walk, results
inputs     what a method is given; limits: what strengths and options can be
kinds      line, trained, wrapped, free: what makes a function a method and registers it
originals  the weights as they were, and directions, on disk; delta: changes that add up and come off
descent    a loss brought down, by an optimizer; lowrank: within a low rank; masters: of weights in bfloat16
terms      what such losses are made of
teacher    the model as it was, or taught something, beside the one that moves; sampling: what it says
fresh      gradients of a model as it stands
past       the history of a training, and models that learn something else from there
prefix     a text that the model reads first; convex: a head on frozen features
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from unlearnkit.unlearning import methods
from unlearnkit.unlearning.frame import METHODS, Method, Result, prepare, walk
from unlearnkit.unlearning.inputs import Inputs, Stops
from unlearnkit.unlearning.kinds import free, line, trained, wrapped

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearnkit.layers import Layers

__all__ = ["METHODS", "Inputs", "Method", "Result", "Stops"]
__all__ += ["apply", "free", "line", "methods", "path", "trained", "wrapped"]


def apply(
    name: str,
    model: "PreTrainedModel",
    *,
    request: str | Iterable[str],
    layers: "Layers" = "all",
    alpha: float | None = None,
    norm: float | None = None,
    check_model: bool = True,
    **given,
) -> Result:
    """Unlearn in place, on the named layers; `result.revert()` restores every touched weight bit for bit.

    `alpha` multiplies the method's direction as it is (alpha = lr undoes recorded SGD steps once); `norm`
    asks for a step of that Euclidean length instead; a method without a direction takes neither. `given` are
    further inputs (those of inputs.INPUTS: ledger, examples, retain, ...) and the method's own options.
    A ledger serves the model that it is about, at theta_0 or theta_T or where earlier calls left it;
    `check_model=False` lets it serve any that it fits.
    Raises MethodError for an unknown method, option or missing input, RequestError for an empty or unknown
    request, LayerError, LedgerError (another model among them), and DivergenceError; the model is then as
    it was.
    """
    strengths = {"alpha": None if alpha is None else [alpha], "norm": None if norm is None else [norm]}
    *_, result = walk(*prepare(name, model, request, layers, check_model, given, strengths), keep=True)
    return result


def path(
    name: str,
    model: "PreTrainedModel",
    *,
    request: str | Iterable[str],
    layers: "Layers" = "all",
    alphas: Iterable[float] | None = None,
    norms: Iterable[float] | None = None,
    check_model: bool = True,
    keep: bool = False,
    **given,
) -> Iterator[Result]:
    """Yield a Result at every stop of one walk, the model standing there meanwhile.

    Give `alphas`, or how far to go as `norms`, counted from the start; a trained method takes its stops as
    `steps`. An iterator is asked for the next stop after you have looked at the one before, so that it can
    choose; backwards too with a method that `goes_back`. Inputs and errors as for `apply`. When the walk
    ends, or is left early, the model is what it was, bit for bit; with `keep`, it stays at the last stop of a
    walk that ends.
    """
    strengths = {"alphas": alphas, "norms": norms}
    return walk(*prepare(name, model, request, layers, check_model, given, strengths), keep)
