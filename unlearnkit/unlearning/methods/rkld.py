"""RKLD (Wang et al. 2024, arXiv:2406.01983): reverse KL to a teacher that lacks what F raises."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Count, From0, LossOn, Seed


@trained(title="RKLD", family="distillation", source="Wang et al. 2024", lr=1e-5, steps=30)
def rkld(
    inputs,
    *,
    penalty: From0 = 5.0,
    taught_lr: From0 = 1e-5,
    taught_steps: Count = 30,
    batch_size: Count | None,
    loss_on: LossOn,
    seed: Seed,
):
    """L = KL(pi_theta || softmax(l_o - penalty ReLU(l_strong - l_o))) on F.

    l_o are the logits of the model as it was, l_strong those of a copy that was taught F further; logits that
    this does not raise stay as they are. That the teacher is so made and the KL reversed is in the abstract;
    the ReLU is recalled (M), and no code was found: the penalty (Who's Harry Potter's), the rates and the
    steps are ours. In memory beside the model: the touched weights twice more, and what training takes while
    the copy is taught.
    """
    from unlearnkit.unlearning.teacher import Teacher, taught
    from unlearnkit.unlearning.terms import averaged, kl, log_probabilities, lowered

    how = {"lr": taught_lr, "steps": taught_steps, "batch_size": batch_size, "loss_on": loss_on, "seed": seed}
    original, strong = Teacher(inputs), taught(inputs, inputs.forget, **how)

    def loss(forget, _retain):
        target = lowered(original.logits(forget), strong.logits(forget), penalty).log_softmax(-1)
        here, counts = log_probabilities(inputs.model, forget)
        return averaged(kl(here, target), counts)

    return loss
