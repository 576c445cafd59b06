"""After Quark (Lu et al. 2022): learn from the model's own answers that give least away."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import trained
from unlearnkit.unlearning.limits import Above0, Count, From0, Seed

if TYPE_CHECKING:
    import torch

    from unlearnkit.unlearning.inputs import Inputs
    from unlearnkit.unlearning.teacher import Teacher

Said = tuple[float, list[int], list[int]]  # reward, the prompt's tokens, the tokens said after it


@trained(
    title="Quark, best quantile",
    family="reward",
    source="Lu et al. 2022 (GXimingLu/Quark)",
    lr=1e-5,
    steps=30,
)
def quark(
    inputs,
    *,
    quantiles: Count = 5,
    beta: Above0 = 0.05,
    entropy: From0 = 0.06,
    samples: Count = 10,
    resample: Count = 10,
    seed: Seed,
):
    """L = mean over tokens of NLL(y) + beta KL(pi_theta || pi_ref) - entropy H(pi_theta).

    y is said by the model: every `resample` steps it says `samples` answers to each prompt of F, as long as
    the true one; the reward is minus the share of the true one's tokens among them. y is drawn in turn from
    the best of `quantiles` parts of all that was said to a prompt so far, pi_ref is the model as it was.
    Quark learns from all parts, each after a token of its reward, and answers after the best one; a model
    that must stand without such a token learns from the best part alone (ours). Defaults: Quark's, but it
    warms up, draws 25 samples anew every 500 steps, and takes quantiles over all prompts; steps and samples
    are ours. What counts as the answer is fixed, so that `loss_on` changes nothing. In memory beside the
    model: the touched weights once more.
    """
    import torch

    from unlearnkit.unlearning.teacher import Teacher

    reference, generator = Teacher(inputs), torch.Generator().manual_seed(seed)
    said: dict[str, list[Said]] = {e.id: [] for e in inputs.forget}
    step = 0

    def loss(forget, _retain):
        nonlocal step
        if step % resample == 0:
            say_more(inputs, said, samples, generator)
        best = [_best(said[i], quantiles, step) for i in forget.ids]
        step += 1
        return _loss(inputs, reference, best, beta, entropy)

    return loss


def _loss(inputs: "Inputs", reference: "Teacher", best: "list[Said]", beta: float, entropy: float):
    from unlearnkit.batching import collate
    from unlearnkit.forward import target_logits
    from unlearnkit.unlearning.terms import averaged, kl

    rows = [(prompt + new, [False] * len(prompt) + [True] * len(new)) for _, prompt, new in best]
    batch = collate(rows, [""] * len(rows), pad_id=0)
    logits, tokens, counts = target_logits(inputs.model, batch)
    log_p = logits.log_softmax(-1)
    near = kl(log_p, reference.logits(batch).log_softmax(-1))
    spread = -(log_p.exp() * log_p).sum(-1)
    nll = -log_p.gather(1, tokens[:, None])[:, 0]
    return averaged(nll + beta * near - entropy * spread, counts)


def say_more(
    inputs: "Inputs", said: dict[str, list[Said]], samples: int, generator: "torch.Generator"
) -> None:
    """Add so many answers to each prompt of the forget set, with their rewards."""
    from unlearnkit.batching import encode
    from unlearnkit.errors import DataError
    from unlearnkit.unlearning.sampling import sample

    for example in inputs.forget:
        tokens, labelled = encode(inputs.tokenizer, example.prompt, example.answer, "answer")
        start = labelled.index(True)
        if not example.prompt:
            raise DataError(f"example {example.id!r} has no prompt, so that nothing can be said after it")
        prompt, answer = tokens[:start], tokens[start:]
        for new in sample(inputs.model, prompt, len(answer), samples, generator):
            said[example.id].append((reward(new, answer), prompt, new))


def reward(new: Sequence[int], answer: Sequence[int]) -> float:
    """Minus the share of the answer's tokens that were said: 0 gives nothing away, -1 all."""
    return -sum(token in set(new) for token in answer) / len(answer)


def _best(said: list[Said], quantiles: Count, turn: int) -> Said:
    """One of the best part, in turn; of equal ones, the earlier are better."""
    ranked = sorted(said, key=lambda one: -one[0])
    return ranked[turn % max(1, len(ranked) // quantiles)]
