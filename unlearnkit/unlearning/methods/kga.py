"""Knowledge gap alignment (Wang et al. 2023): as far from a model of F as a model is from one of new text."""

from collections.abc import Sequence
from typing import Annotated

from unlearnkit.data import Example
from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Count, From0, Limit, LossOn, Seed

Fresh = Annotated[Sequence[Example], Limit("one example or several, [...]", len)]


@trained(
    title="KGA",
    family="distillation",
    source="Wang et al. 2023 (Lingzhi-WANG/KGAUnlearn)",
    needs=("examples", "retain", "tokenizer"),
    lr=5e-5,
    steps=30,
)
def kga(
    inputs,
    *,
    fresh: Fresh,
    alpha_retain: From0 = 0.3,
    taught_lr: From0 = 5e-5,
    taught_steps: Count = 30,
    batch_size: Count | None,
    loss_on: LossOn,
    seed: Seed,
):
    """L = |KL(A || A_f)_F - KL(A_D || A_n)_fresh| + alpha_retain KL(A || A_D)_R, A the model that moves.

    A_D is the model as it was, A_f and A_n copies that were taught F, or `fresh` examples which no model has
    seen, as many as F at best. They begin at `reference`, the model before fine-tuning, as theirs do; without
    one, at A_D. KL as in the paper; its code turns some around. Defaults: rate and weight are the
    repository's for generation; it takes 16 a batch, warms up, draws the fresh gap anew at each step, and
    stops at one of 0.05 (its KL is a sum over tokens). Steps are ours. In memory beside the model: the
    touched weights twice more, and what training takes while copies are taught.
    """
    import torch

    from unlearnkit.batching import batches
    from unlearnkit.unlearning.teacher import Teacher, taught
    from unlearnkit.unlearning.terms import averaged, by_example, kl, log_probabilities

    how = {"lr": taught_lr, "steps": taught_steps, "batch_size": batch_size, "loss_on": loss_on, "seed": seed}
    original, gaps = Teacher(inputs), []
    of_fresh = taught(inputs, fresh, **how, start=inputs.reference)
    with torch.no_grad():
        for batch in batches(inputs.tokenizer, fresh, batch_size or len(fresh), loss_on):
            here, counts = log_probabilities(inputs.model, batch)
            gaps.append(by_example(kl(here, of_fresh.logits(batch).log_softmax(-1)), counts))
    gap = torch.cat(gaps).mean()
    del of_fresh
    of_forget = taught(inputs, inputs.forget, **how, start=inputs.reference)

    def distance(batch, other):
        here, counts = log_probabilities(inputs.model, batch)
        return averaged(kl(here, other.logits(batch).log_softmax(-1)), counts)

    def loss(forget, retain):
        return (distance(forget, of_forget) - gap).abs() + alpha_retain * distance(retain, original)

    return loss
