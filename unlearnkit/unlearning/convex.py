"""A convex head on frozen features: an addition to the logits, trained with noise, and Newton's step on it.

    L(W) = sum_i l_i(z_i + W h_i) + (lam n / 2) |W|^2 + <B, W>,    B ~ N(0, sigma^2)

h are what enters the output head at the labelled tokens and z the logits there, both of a model that stays as
it is; l_i is the mean NLL over example i's labelled tokens, as in training. In float64, but for the way to a
Newton step, in float32 (half the time): what a step leaves of its system is measured in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit.batching import batch_of
from unlearnkit.data import Example
from unlearnkit.forward import target_logits
from unlearnkit.influence import conjugate_gradient

LIPSCHITZ = 2**0.5 / 27**0.5  # of softmax's Hessian: (sqrt 2)^3 / (6 sqrt 3), from a third central moment
ROUGH, FINE = 0.03, 0.03  # Newton's systems are solved to this of the gradient; of what it may be in the end
CURVED = 0.01  # a word is solved for if a token's curvature along it is more than this of the ridge's
ROUNDS = 10  # at most, in which what the other words leave is solved for again
TOKENS = 128  # at once, in the Hessian's product: (tokens, V) is read three times, near the processor


@dataclass
class Head:
    """Features (N, width), logits (N, V), targets (N,), and each token's share 1/|y_i|, of `n` examples."""

    features: torch.Tensor
    logits: torch.Tensor
    targets: torch.Tensor
    shares: torch.Tensor
    n: int
    lam: float
    noise: torch.Tensor  # B

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Example],
        lam: float,
        noise: torch.Tensor,
        loss_on: str,
    ) -> "Head":
        """The head's problem over these examples, on the model as it stands."""
        seen: list[torch.Tensor] = []
        hook = model.get_output_embeddings().register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
        try:
            with torch.no_grad():
                told = [target_logits(model, batch_of(tokenizer, [e], loss_on)) for e in examples]
        finally:
            hook.remove()
        features = torch.cat([h.flatten(0, 1) for h in seen]).double()
        logits, targets = (torch.cat([t[k] for t in told]) for k in (0, 1))
        shares = torch.cat([torch.full((count,), 1 / count) for t in told for count in t[2]])
        shares = shares.to(features)[:, None]
        return cls(features, logits.double(), targets, shares, len(examples), lam, noise.to(features))

    def gradient(self, w: torch.Tensor) -> torch.Tensor:
        """dL/dW, (V, width)."""
        error = self.likely(w)
        error[torch.arange(len(error), device=error.device), self.targets] -= 1
        return (self.shares * error).T @ self.features + self.lam * self.n * w + self.noise

    def likely(self, w: torch.Tensor) -> torch.Tensor:
        """The probabilities of all words at each token, (N, V)."""
        return (self.logits + self.features @ w.T).softmax(-1)

    def curved(self, p: torch.Tensor) -> torch.Tensor:
        """The words, of V, whose curvature at some token is more than CURVED of the ridge's."""
        heights = (self.shares * self.features.square().sum(1, keepdim=True) * p).amax(0)
        return (heights > CURVED * self.lam * self.n).nonzero()[:, 0]

    def product(
        self, p: torch.Tensor, dtype: torch.dtype = torch.float64
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """U -> the Hessian of L where words are as `likely` as `p`, times U, which comes in `dtype`, too.

        Of some columns of p: that part of the Hessian which has these words' rows and columns.
        """
        terms = (t.to(dtype).split(TOKENS) for t in (self.features, p, self.shares * p))
        parts = list(zip(*terms, strict=True))

        def times(u: torch.Tensor) -> torch.Tensor:
            found = self.lam * self.n * u
            for features, likely, shared in parts:
                ahead = features @ u.T
                ahead -= torch.linalg.vecdot(likely, ahead)[:, None]
                found.addmm_(ahead.mul_(shared).T, features)
            return found

        return times

    def bound(self, step: torch.Tensor) -> float:
        """What |dL/dW| is at most after an exact Newton step, from the step and the features alone.

        |h|_2 * (gamma / 2) * sqrt(sum_t (share_t |step h_t|^2)^2), after Guo et al. 2020 (logistic loss).
        """
        along = self.shares[:, 0] * (self.features @ step.T).square().sum(1)
        return (torch.linalg.matrix_norm(self.features, 2) * LIPSCHITZ / 2 * along.norm()).item()


def noise_like(weight: torch.Tensor, seed: int) -> torch.Tensor:
    """B for sigma = 1, in the weight's shape and float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(weight.shape, generator=generator, dtype=torch.float64)


def newton(
    gradient: torch.Tensor,
    product: Callable[[torch.Tensor], torch.Tensor],
    iterations: int = 1000,
    tolerance: float = 1e-10,
) -> torch.Tensor:
    """-H^-1 gradient, by conjugate gradients: the step after which a quadratic loss is at its minimum."""
    solved = conjugate_gradient(lambda v: {"": product(v[""])}, {"": gradient}, 0.0, iterations, tolerance)
    return -solved[""]


def minimum(head: Head, w: torch.Tensor, tolerance: float, steps: int = 50) -> torch.Tensor:
    """Where the gradient is at most `tolerance` long, by Newton steps that are halved until it shrinks."""
    found = head.gradient(w)
    for _ in range(steps):
        if found.norm() <= tolerance:
            break
        loose = max(ROUGH, tolerance / (2 * found.norm().item()))
        step, share = _rough_step(head, head.likely(w), found, loose), 1.0
        while (after := head.gradient(w + share * step)).norm() > found.norm() and share > 1e-6:
            share /= 2
        w, found = w + share * step, after
    return w


def _rough_step(head: Head, p: torch.Tensor, gradient: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Newton's step where words are as `likely` as `p`, by float32, which leaves `tolerance` of the gradient.

    Along a word that no token expects there is next to no curvature but the ridge's. Conjugate gradients
    solve for the others, on the real model half of them, later an eighth, and again for what is left of all.
    """
    words, left = head.curved(p), gradient.float()
    goal, step = tolerance * left.norm().item(), torch.zeros_like(left)
    whole, part = (head.product(of, torch.float32) for of in (p, p[:, words]))
    for _ in range(ROUNDS):
        more = -left / (head.lam * head.n)
        if len(words):
            share = goal / (2 * left[words].norm().item())
            more[words] = newton(left[words], part, tolerance=share)
        step, left = step + more, left + whole(more)
        if left.norm().item() <= goal:
            break
    return step.double()


def removed(left: Head, w: torch.Tensor, budget: float, steps: int) -> tuple[torch.Tensor, float, int]:
    """W after Newton steps towards what is left's minimum, until its gradient is within the budget; what that
    is at most after the last step, and how many were taken.

    At most is the bound after an exact step, and what this one left of its linear system.
    """
    taken, residual = 0, left.gradient(w)
    while taken < steps and (not taken or residual.norm() > budget):
        p = left.likely(w)
        step = _rough_step(left, p, residual, min(ROUGH, FINE * budget / residual.norm().item()))
        bound = left.bound(step) + (left.product(p)(step) + residual).norm().item()
        w, taken = w + step, taken + 1
        residual = left.gradient(w)
    return w, bound, taken
