"""SimNPO (Fan et al. 2024): NPO without a reference, on each answer's NLL a token."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Above0, From0


@trained(
    title="SimNPO",
    family="preference",
    source="Fan et al. 2024 (OPTML-Group/Unlearn-Simple)",
    wants={"alpha_retain": "retain"},
    lr=1e-5,
    steps=30,
)
def simnpo(
    inputs, *, beta: Above0 = 4.5, margin: float = 0.0, gamma: From0 = 0.125, alpha_retain: From0 = 1.0
):
    """L = -gamma (2/beta) mean_F log sigmoid(beta (NLL/|y| - margin)) + alpha_retain NLL_R.

    Defaults: the repository's for TOFU forget10 (for forget05: beta 2.5, gamma 0.1375); `margin` is their
    gamma, 0. Rate as in open-unlearning; 30 steps are ours.
    """
    import torch.nn.functional as F

    from unlearnkit.forward import losses
    from unlearnkit.unlearning.terms import retained

    def loss(forget, retain):
        preferred = F.logsigmoid(beta * (losses(inputs.model, forget) - margin)).mean()
        return -gamma * 2 / beta * preferred + retained(inputs, retain, alpha_retain)

    return loss
