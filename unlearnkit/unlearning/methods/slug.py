"""One gradient, one layer: where forgetting weighs most and pulls least at what is retained (SLUG)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import line
from unlearnkit.unlearning.limits import LossOn

if TYPE_CHECKING:
    import torch

NEEDS = ("examples", "retain", "tokenizer")


def has_layer(model, layers, options: Mapping[str, Any]) -> None:
    """MethodError where `layer` is none of the parameters that the method may move."""
    from unlearnkit.layers import parameters

    if (layer := options["layer"]) and layer not in parameters(model, layers):
        raise MethodError(f"method 'slug': layer={layer!r} is none of the parameters of layers {layers!r}")


@line(
    title="single layer",
    family="weights",
    source="Cai et al. 2025, 2407.11867",
    needs=NEEDS,
    check=has_layer,
    version=2,
)
def slug(inputs, *, layer: str = "", loss_on: LossOn = "answer") -> "Iterator[tuple[str, torch.Tensor]]":
    """grad of the request's summed loss, on one parameter of the Pareto front; the step is its strength.

    The front is over importance |g_F| / |theta| (high) and alignment |cos(g_F, g_R)| (low), a parameter each;
    biases, positions and vocabularies take no part (R), unless `layers` are nothing else. The authors try
    every layer of the front and keep the best by their metrics; a method measures nothing here, so it is
    `layer`, or the one of the front with the largest importance * (1 - alignment), a rule of ours.
    """
    from unlearnkit.unlearning.fresh import gradient

    def of(examples):
        return gradient(inputs.model, inputs.tokenizer, examples, inputs.layers, loss_on=loss_on)

    scores, chosen, competing = {}, None, [layer] if layer else _competing(inputs)
    for (name, forget), (_, retain) in zip(of(inputs.forget), of(inputs.retain), strict=True):
        if name not in competing:
            continue
        lengths = forget.norm() * retain.norm()
        cosine = (forget * retain).sum() / lengths if lengths > 0 else 0 * lengths
        size = inputs.touched[name].norm()
        scores[name] = (forget.norm() / size if size > 0 else size).item(), abs(cosine.item())
        if name == (layer or best(scores)):
            chosen = name, forget
    yield chosen


def _competing(inputs) -> list[str]:
    """The touched parameters among which the front is looked for."""
    from unlearnkit.layers import tags

    left_out = {"embedding.input", "embedding.output", "position"}
    others = {slot.parameter for slot, names in tags(inputs.model).items() if names & left_out}
    found = [name for name in inputs.touched if name not in others and not name.endswith("bias")]
    return found or list(inputs.touched)


def best(scores: Mapping[str, tuple[float, float]]) -> str:
    """The name with the largest importance * (1 - alignment), which no other beats in both: on the front."""
    return max(scores, key=lambda name: scores[name][0] * (1 - scores[name][1]))
