"""IdkDPO (Rafailov et al. 2023; Maini et al. 2024): not knowing is preferred to the forget set's answers."""

from dataclasses import replace

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Above0, From0, LossOn, Texts

REFUSALS = (
    "something that I do not know",
    "nothing that I could tell you",
    "a thing I have no information about",
    "unknown to me",
)


@trained(
    title="DPO, I don't know",
    family="preference",
    source="Maini et al. 2024 (locuslab/tofu, locuslab/open-unlearning)",
    wants={"alpha_retain": "retain"},
    lr=1e-5,
    steps=30,
)
def dpo(
    inputs, *, beta: Above0 = 0.1, alpha_retain: From0 = 1.0, refusals: Texts = REFUSALS, loss_on: LossOn
):
    """L = -(2/beta) mean_F log sigmoid(beta (log r_win - log r_lose)) + alpha_retain NLL_R.

    r = pi_theta / pi_ref of a whole answer, pi_ref the model as it was. Lose is the forget set's answer and
    win a refusal, one of `refusals` in turn for each example. Defaults: beta, weight and rate of
    open-unlearning; 30 steps and the refusals, which go on where these prompts end, are ours. In memory
    beside the model: the touched weights once more.
    """
    import torch.nn.functional as F

    from unlearnkit.batching import batch_of
    from unlearnkit.unlearning.teacher import Teacher
    from unlearnkit.unlearning.terms import retained, summed_nll

    reference = Teacher(inputs)
    win = {e.id: replace(e, answer=refusals[k % len(refusals)]) for k, e in enumerate(inputs.forget)}

    def log_ratio(batch):
        with reference.standing() as then:
            before = summed_nll(then, batch)
        return before - summed_nll(inputs.model, batch)

    def loss(forget, retain):
        refused = batch_of(inputs.tokenizer, [win[i] for i in forget.ids], loss_on)
        preferred = F.logsigmoid(beta * (log_ratio(refused) - log_ratio(forget))).mean()
        return -2 / beta * preferred + retained(inputs, retain, alpha_retain)

    return loss
