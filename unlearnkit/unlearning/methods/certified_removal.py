"""Certified removal from a convex head over frozen features, by Newton's step (Guo et al. 2020).

Certified is the head's W and nothing else: (epsilon, delta) against retraining it on what is left with fresh
noise of sigma. That covers the whole model because theta_0 never saw the facts; it says nothing of theta_T,
whose way is thrown away, nor of a backbone that was trained on them. The paper's head is logistic and takes
one step (R: sigma 10, lam 1e-3 for 12,000 examples); softmax, several steps and the numbers are ours.
"""

import math
from collections.abc import Iterator

from unlearnkit.errors import BudgetError, MethodError
from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.limits import Above0, Chance, Count, Seed

NEEDS = ("checkpoints", "examples", "tokenizer")


@free(
    title="certified removal",
    family="retraining",
    source="Guo et al. 2020",
    needs=NEEDS,
    stops=(),
    installs=True,
)
def certified_removal(
    inputs,
    _stops,
    *,
    epsilon: Above0 = 1.0,
    delta: Chance = 1e-4,
    sigma: Above0 = 0.01,
    lam: Above0 = 0.1,
    newton: Count = 4,
    seed: Seed = 0,
) -> Iterator[dict]:
    """theta_0, and a head beside it that learned the facts (`convex.Head`) and has the request removed.

    W* minimises L over all examples; W <- W - H^-1 grad L(W; D'), D' without the request, up to `newton`
    times, until the residual r = |grad L(W; D')|, measured and not bounded, is in the budget sigma * epsilon
    / c, with c = sqrt(2 ln(1.5 / delta)). Certified is `epsilon`, against whoever does not know `seed`, which
    draws the noise; the epsilon that is told, to which r comes, certifies nothing. `bound` is what r is at
    most, after the last step alone. BudgetError beyond the budget: retrain, as Guo et al.
    """
    from unlearnkit.training.replaying import of_training
    from unlearnkit.unlearning.convex import Head, minimum, noise_like, removed
    from unlearnkit.unlearning.past import history_to_go_back_in

    history, model = history_to_go_back_in(inputs), inputs.model
    if inputs.layers != "all":
        raise MethodError("method 'certified_removal' certifies nothing but layers='all' at theta_0")
    learnt = [e for i, e in of_training(inputs.examples, history).items() if i not in set(history.exclude)]
    kept = [e for e in learnt if e.id not in set(inputs.request)]
    history.restore(0, inputs.touched)
    output = model.get_output_embeddings()
    given = lam, sigma * noise_like(output.weight, seed), history.recipe.loss_on
    whole, left = (Head.of(model, inputs.tokenizer, part, *given) for part in (learnt, kept))
    budget = sigma * epsilon / (c := math.sqrt(2 * math.log(1.5 / delta)))
    start = minimum(whole, 0 * whole.noise, tolerance=1e-3 * budget)
    w, bound, taken = removed(left, start, budget, newton)
    if (residual := left.gradient(w).norm().item()) > budget:
        raise BudgetError(
            f"method 'certified_removal': after {taken} steps the residual is {residual:.2g}, beyond "
            f"the budget of {budget:.2g}: retrain, or allow more steps or a larger epsilon"
        )
    addition = w.to(output.weight)
    hook = output.register_forward_hook(lambda _m, args, logits: logits + args[0] @ addition.T)
    inputs.originals.installed.append(hook.remove)
    yield {"newton": taken, "residual": residual, "bound": bound, "epsilon": c * residual / sigma}
