"""Negative preference optimisation (Zhang et al. 2024): ascent that fades as an answer becomes unlikely."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Above0, From0


@trained(
    title="NPO",
    family="preference",
    source="Zhang et al. 2024 (licong-lin/negative-preference-optimization)",
    wants={"alpha_retain": "retain"},
    lr=1e-5,
    steps=30,
)
def npo(inputs, *, beta: Above0 = 0.1, alpha_retain: From0 = 1.0):
    """L = (2/beta) mean_F log(1 + (pi_theta / pi_ref)^beta) + alpha_retain NLL_R, pi of whole answers.

    pi_ref is the model as it was. As beta -> 0 the gradient is that of ascent on the answers' summed NLL.
    Defaults: beta, weight and rate of open-unlearning; 30 steps are ours. In memory beside the model: the
    touched weights once more.
    """
    import torch.nn.functional as F

    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import retained, summed_nll

    reference = Teacher(inputs)

    def loss(forget, retain):
        with reference.standing() as then:
            before = summed_nll(then, forget)
        log_ratio = before - summed_nll(inputs.model, forget)  # log pi_theta / pi_ref
        return 2 / beta * F.softplus(beta * log_ratio).mean() + retained(inputs, retain, alpha_retain)

    return loss
