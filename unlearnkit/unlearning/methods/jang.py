"""Knowledge unlearning (Jang et al. 2023): ascent until F is known no better than strangers."""

from unlearnkit.unlearning.frame import REQUIRED
from unlearnkit.unlearning.kinds import trained


@trained(
    title="gradient ascent, stopped",
    family="ascent",
    source="Jang et al. 2023 (joeljang/knowledge-unlearning)",
    lr=5e-5,
    steps=range(1, 21),
    batch_size=None,
    loss_on="text",
    until=REQUIRED,
)
def jang(inputs):
    """L = -mean NLL of the forget set, all of it in every step; looked at after every step.

    `until` is their stopping rule, `metrics.as_unknown` of the forget set and unseen facts, or None to take
    all steps. Defaults (their repository's): rate 5e-5, constant; the whole forget set a batch, all of its
    tokens, no dropout, at most 20 epochs. Ours: AdamW's second beta is torch's 0.999, where theirs is 0.98.
    """
    from unlearnkit.unlearning.terms import mean_nll

    return lambda forget, _retain: -mean_nll(inputs.model, forget)
