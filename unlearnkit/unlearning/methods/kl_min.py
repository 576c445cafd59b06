"""KL minimisation (Maini et al. 2024): ascent, with outputs on what is retained held where they were."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0


@trained(
    title="ascent, KL retained",
    family="ascent",
    source="Maini et al. 2024 (locuslab/tofu, locuslab/open-unlearning)",
    needs=("examples", "retain", "tokenizer"),
    lr=1e-5,
    steps=30,
)
def kl_min(inputs, *, gamma: From0 = 1.0, alpha_retain: From0 = 1.0):
    """L = -gamma NLL_F + alpha_retain KL(pi_ref || pi_theta)_R, pi_ref the model as it was.

    The KL is at the positions that predict a labelled token of R; theirs takes every position, prompts and
    padding among them. Weights and rate as in open-unlearning; 30 steps are ours. In memory beside the model:
    the touched weights once more.
    """
    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import averaged, kl, log_probabilities, mean_nll

    reference = Teacher(inputs)

    def loss(forget, retain):
        there = reference.logits(retain).log_softmax(-1)
        here, counts = log_probabilities(inputs.model, retain)
        return alpha_retain * averaged(kl(there, here), counts) - gamma * mean_nll(inputs.model, forget)

    return loss
