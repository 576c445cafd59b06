"""UNDIAL (Dong et al. 2025): distil the model as it was, with the true token's logit lowered."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0


@trained(
    title="UNDIAL",
    family="distillation",
    source="Dong et al. 2025 (locuslab/open-unlearning)",
    wants={"alpha_retain": "retain"},
    lr=1e-4,
    steps=30,
)
def undial(inputs, *, beta: From0 = 10.0, alpha_retain: From0 = 0.0):
    """L = cross-entropy on F to softmax(logits_ref - beta onehot(label)) + alpha_retain NLL_R.

    logits_ref are the model's as it was; beta = 0 holds it there. Defaults: open-unlearning's, which takes
    its rate and no retain text from the paper (there with LoRA of rank 8 and scale 2, and beta of 3, 10 and
    30); 30 steps are ours, and so is the mean: theirs is over all positions, prompt and padding among them.
    In memory beside the model: the touched weights once more.
    """
    import torch.nn.functional as F

    from unlearnkit.forward import target_logits
    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import averaged, retained

    reference = Teacher(inputs)

    def loss(forget, retain):
        logits, tokens, counts = target_logits(inputs.model, forget)
        there = reference.logits(forget)
        target = (there - beta * F.one_hot(tokens, there.shape[-1])).softmax(-1)
        entropy = F.cross_entropy(logits, target, reduction="none")
        return averaged(entropy, counts) + retained(inputs, retain, alpha_retain)

    return loss
