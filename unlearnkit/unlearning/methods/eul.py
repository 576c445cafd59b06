"""Efficient unlearning (Chen & Yang 2023): away from the old outputs on F, near them elsewhere."""

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import From0


@trained(
    title="EUL",
    family="distillation",
    source="Chen & Yang 2023",
    needs=("examples", "retain", "tokenizer"),
    lr=5e-5,
    steps=30,
    lora=8,
)
def eul(inputs, *, alpha_retain: From0 = 0.8, task: From0 = 1.0, gamma: From0 = 0.2):
    """L = alpha_retain KL(o || f)_R - KL(o || f)_F + task NLL_R - gamma NLL_F.

    f is the model, and o what it was. They train small layers put after each block's MLP, with the rest
    frozen; here these are a change of low rank (`lora`) of the selected layers, and rank 8 is ours. The two
    KL's are unbounded apart. Recalled (M): the weights and the rate, for T5; their repository has no
    unlearning loss. 30 steps are ours. Fusing the layers of several requests is left out. In memory beside
    the model: the touched weights twice more.
    """
    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import averaged, kl, log_probabilities, mean_nll

    original = Teacher(inputs)

    def distance(batch):
        here, counts = log_probabilities(inputs.model, batch)
        return averaged(kl(original.logits(batch).log_softmax(-1), here), counts)

    def loss(forget, retain):
        apart = alpha_retain * distance(retain) - distance(forget)
        return apart + task * mean_nll(inputs.model, retain) - gamma * mean_nll(inputs.model, forget)

    return loss
