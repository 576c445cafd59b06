"""Weighted gradient ascent (Wang et al. 2025): tokens that are hardly known any more are left alone."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0


@trained(
    title="weighted ascent",
    family="ascent",
    source="Wang et al. 2025 (locuslab/open-unlearning)",
    wants={"alpha_retain": "retain"},
    lr=1e-5,
    steps=30,
)
def wga(inputs, *, beta: From0 = 1.0, gamma: From0 = 1.0, alpha_retain: From0 = 1.0):
    """L = gamma mean_t p_t^beta log p_t on F + alpha_retain NLL_R; the weight p_t^beta has no gradient.

    beta = 0 is gradient difference. Defaults: open-unlearning's; 30 steps are ours.
    """
    import torch.nn.functional as F

    from unlearnkit.forward import target_logits
    from unlearnkit.unlearning.terms import averaged, retained

    def loss(forget, retain):
        logits, tokens, counts = target_logits(inputs.model, forget)
        log_p = -F.cross_entropy(logits, tokens, reduction="none")
        weighted = (beta * log_p).exp().detach() * log_p
        return gamma * averaged(weighted, counts) + retained(inputs, retain, alpha_retain)

    return loss
