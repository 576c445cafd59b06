"""Who's Harry Potter (Eldan & Russinovich 2023): learn what a model says that does not know the text."""

from collections.abc import Mapping
from dataclasses import replace

from unlearnkit.errors import MethodError
from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Count, From0, LossOn, Seed


@trained(
    title="Who's Harry Potter", family="distillation", source="Eldan & Russinovich 2023", lr=1e-6, steps=30
)
def whp(
    inputs,
    *,
    penalty: From0 = 5.0,
    anchors: Mapping[str, str] | None = None,
    taught_lr: From0 = 3e-6,
    taught_steps: Count = 30,
    batch_size: Count | None,
    loss_on: LossOn,
    seed: Seed,
):
    """L = cross-entropy on F to argmax(v - penalty ReLU(v_reinforced - v)).

    v are the logits of the model as it was, v_reinforced those of a copy that was taught F further. `anchors`
    are words of F's prompts and what to put in their place where v is read; without any it is F itself (as in
    muse_bench). Recalled (M): the penalty of 5, the rates, and that labels are the argmax; they train 3
    epochs, then 2; steps are ours. In memory beside the model: the touched weights twice more, and what
    training takes while the copy is taught.
    """
    import torch.nn.functional as F

    from unlearnkit.batching import batch_of
    from unlearnkit.forward import target_logits
    from unlearnkit.unlearning.teacher import Teacher, taught
    from unlearnkit.unlearning.terms import averaged, lowered

    how = {"lr": taught_lr, "steps": taught_steps, "batch_size": batch_size, "loss_on": loss_on, "seed": seed}
    original, reinforced = Teacher(inputs), taught(inputs, inputs.forget, **how)
    plain = {e.id: replace(e, prompt=_replaced(e.prompt, anchors or {})) for e in inputs.forget}
    _require_same_targets(inputs, plain, loss_on)

    def loss(forget, _retain):
        generic = batch_of(inputs.tokenizer, [plain[i] for i in forget.ids], loss_on)
        labels = lowered(original.logits(generic), reinforced.logits(forget), penalty).argmax(-1)
        logits, _, counts = target_logits(inputs.model, forget)
        return averaged(F.cross_entropy(logits, labels, reduction="none"), counts)

    return loss


def _replaced(text: str, anchors: Mapping[str, str]) -> str:
    import re

    words = "|".join(re.escape(word) for word in sorted(anchors, key=len, reverse=True))
    return re.sub(rf"\b(?:{words})\b", lambda found: anchors[found.group()], text) if anchors else text


def _require_same_targets(inputs, plain: dict, loss_on: str) -> None:
    """Logits are matched place by place: anchors may stand in prompts only, and these not be labelled."""
    from unlearnkit.batching import IGNORED, batch_of

    for example in inputs.forget:
        one, other = (batch_of(inputs.tokenizer, [e], loss_on).labels for e in (example, plain[example.id]))
        if one[one != IGNORED].tolist() != other[other != IGNORED].tolist():
            raise MethodError(
                f"method {inputs.method!r}: anchors= change the labelled tokens of example {example.id!r}; "
                "replace words of prompts only, with loss_on='answer'"
            )
