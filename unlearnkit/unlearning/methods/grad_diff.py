"""Gradient difference: up on the forget set, down on what is retained (Liu et al. 2022)."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0


@trained(
    title="gradient difference",
    family="ascent",
    source="Liu et al. 2022 (locuslab/open-unlearning)",
    wants={"alpha_retain": "retain"},
    lr=1e-5,
    steps=30,
)
def grad_diff(inputs, *, gamma: From0 = 1.0, alpha_retain: From0 = 1.0):
    """L = -gamma NLL_F + alpha_retain NLL_R.

    Defaults: both weights 1 and the rate are open-unlearning's; 30 steps are ours (about 10 epochs of a
    score of facts, which is as many as there).
    """
    from unlearnkit.unlearning.terms import mean_nll, retained

    def loss(forget, retain):
        return retained(inputs, retain, alpha_retain) - gamma * mean_nll(inputs.model, forget)

    return loss
