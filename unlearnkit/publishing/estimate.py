"""About how long a request takes, and how much memory and disk: told before anything is done."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import metrics
from unlearnkit.data import Example
from unlearnkit.models.fitting import lengths
from unlearnkit.publishing.gauge import Groups
from unlearnkit.study.config import UTILITY_TOKENS
from unlearnkit.study.scheduler import duration
from unlearnkit.training import Recipe
from unlearnkit.unlearning import Method

TIMED = 8  # facts in the forward pass that is timed
BACKWARD = 3.3  # forward and backward, the ledger listening, for each forward pass
STOPS = 12  # of a walk to the level, about
DISK_SPEED = 3e8  # bytes a second, written or read
PROGRAM = 0.7e9  # bytes of memory without a model
TEACHERS = ("preference", "distillation")  # families that keep a second model beside
STATES = {"sgd": 1, "adamw": 3}  # sizes of the weights that gradients and the optimizer's state take


@dataclass(frozen=True)
class Estimate:
    """Seconds, bytes of memory at the peak, and bytes of disk at the peak; rough."""

    seconds: float
    memory: float
    disk: float

    def __str__(self) -> str:
        return (
            f"about {duration(self.seconds)}, {self.memory / 1e9:.1f} GB of memory and {self.disk / 1e9:.2f} "
            "GB of disk meanwhile"
        )


def estimate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[Example],
    groups: Groups,
    method: Method,
    options: Mapping[str, Any],
    recipe: Recipe | None,
) -> Estimate:
    """By the model's size and one timed forward pass.

    `options` are all of the method's; `recipe` is that of a training to come first.
    """
    timed, size = groups.forget[:TIMED], sum(p.nbytes for p in model.parameters())
    metrics.score(model, tokenizer, timed[:1])  # the first pass of a process is slower
    began = time.perf_counter()
    metrics.score(model, tokenizer, timed)
    fact_s = (time.perf_counter() - began) / len(timed)
    rows = [total for total, _ in lengths(tokenizer, facts)]
    measured = groups.measured
    answers = max(answer for _, answer in lengths(tokenizer, measured))
    a_look = fact_s * (len(measured) * (1 + answers) + UTILITY_TOKENS * len(facts) / sum(rows))
    seconds = 2 * a_look + 6 * size / DISK_SPEED
    if recipe:
        seconds += recipe.epochs * len(facts) * BACKWARD * fact_s
    if method.stops:
        seconds += STOPS * (len(groups.forget) * fact_s + size / DISK_SPEED)
    elif steps := options.get("steps"):
        batch = options.get("batch_size") or len(groups.forget)
        last = steps if isinstance(steps, Integral) else max(steps)
        seconds += last * (2 * batch * BACKWARD + len(groups.forget)) * fact_s
    moves = STATES["adamw"] if not method.goes_back else 0
    moves = max(moves, STATES[recipe.optimizer] if recipe else 0) * _trained(model, recipe)
    memory = PROGRAM + max(2 * size, size + moves + size * (method.family in TEACHERS))
    disk = 3 * size + (_training_bytes(model, rows, method, recipe) if recipe else 0)
    return Estimate(seconds, memory, disk)


def _trained(model: PreTrainedModel, recipe: Recipe | None) -> int:
    """Bytes of the weights that are moved: all, or those of the adapters that a recipe asks for."""
    if recipe and recipe.lora:
        return recipe.lora * model.dtype.itemsize * _widths(model)
    return sum(p.nbytes for p in model.parameters())


def _widths(model: PreTrainedModel) -> int:
    return sum(sum(m.weight.shape) for m in model.modules() if _has_matrix(m))


def _training_bytes(model: PreTrainedModel, rows: Sequence[int], method: Method, recipe: Recipe) -> float:
    """What a training on texts of so many tokens leaves: ledger in 16 bits, moments, checkpoints, history."""
    size, states = _trained(model, recipe), STATES[recipe.optimizer]
    found = states * size
    if "ledger" in method.needs:
        found += recipe.epochs * (2 * _recorded(model, rows) + (size / 2 if states > 1 else 0))
    if "checkpoints" in method.needs:
        found += states * size * (recipe.epochs + 1)
    return found


def _recorded(model: PreTrainedModel, rows: Sequence[int]) -> int:
    """Numbers in an epoch's records: of each text and matrix the factors, or the gradient if that is less."""
    shapes = Counter(tuple(m.weight.shape) for m in model.modules() if _has_matrix(m))
    return sum(many * min(n * (a + b), a * b) for (a, b), many in shapes.items() for n in rows)


def _has_matrix(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.dim() == 2 and not isinstance(module, nn.Embedding)
