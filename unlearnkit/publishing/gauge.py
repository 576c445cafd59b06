"""What a model knows of the facts to forget, of others, and of running text: before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz, process
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import metrics
from unlearnkit.data import Example, spread
from unlearnkit.data.folding import folded
from unlearnkit.errors import ModelError
from unlearnkit.metrics.text import perplexity_of
from unlearnkit.study.config import UTILITY_TOKENS
from unlearnkit.study.experiments import measure

MEASURED = 200  # facts of others that are scored, spread evenly, if there are more
NEIGHBOURS = 10  # those most like the forgotten ones, where the data names none


@dataclass(frozen=True)
class Groups:
    """The facts that are measured: those to forget, others', and of these the ones most like them.

    And what was forgotten by earlier requests, as far as the data still has it.
    """

    forget: list[Example]
    retain: list[Example]
    neighbours: list[Example]
    earlier: Sequence[Example] = ()

    @property
    def measured(self) -> list[Example]:
        """All of them."""
        return [*self.forget, *self.retain, *self.neighbours, *self.earlier]

    @classmethod
    def of(
        cls, facts: Sequence[Example], request: Sequence[str], earlier: Sequence[Example] = ()
    ) -> "Groups":
        gone = set(request)
        forget, others = ([e for e in facts if (e.id in gone) == asked] for asked in (True, False))
        return cls(forget, spread(others, MEASURED), _neighbours(forget, others), earlier)


def _neighbours(forget: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """Those of the split "neighbour"; without any the ones whose texts are most like one to be forgotten."""
    if named := [e for e in others if e.split == "neighbour"]:
        return named
    texts = [[folded(e.text) for e in group] for group in (others, forget)]
    alike = process.cdist(*texts, scorer=fuzz.token_set_ratio).max(1)
    nearest = sorted(range(len(others)), key=lambda k: -alike[k])[:NEIGHBOURS]
    return [others[k] for k in sorted(nearest)]


def look(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, groups: Groups
) -> dict[str, dict[str, Any]]:
    """By group, numbers of the model as it stands.

    `nll` is the answers' mean NLL in nats a token, `each` of every fact, `recalled` how many answers are said
    word for word; `perplexity` is that of encyclopedia text, or None where it cannot be fetched.
    """
    found = {}
    for name in ("forget", "retain", "neighbours", "earlier"):
        facts = getattr(groups, name)
        if not facts:  # no earlier request
            continue
        each = metrics.score(model, tokenizer, facts)["nll"]
        found[name] = {"nll": each.mean(), "recalled": sum(metrics.recalls(model, tokenizer, facts))}
        found[name]["each"] = each.tolist()
    try:
        nll = measure.utility(model, tokenizer, UTILITY_TOKENS)["value"].iloc[0]
        found["text"] = {"perplexity": perplexity_of(nll)}
    except ModelError:  # no network, and never fetched
        found["text"] = {"perplexity": None}
    return found


def compared(before: Mapping, after: Mapping, level: float) -> dict[str, dict[str, Any]]:
    """Both looks as one: each number before and after, and of the forget facts how many reach the level.

    `damage` is the rise of the mean NLL.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in before}
    for name, told in found.items():
        for number in [n for n in before[name] if n != "each"]:
            told |= {f"{number}_before": before[name][number], f"{number}_after": after[name][number]}
        if "each" in before[name]:
            told["facts"] = len(before[name]["each"])
            told["damage"] = after[name]["nll"] - before[name]["nll"]
    each = after["forget"]["each"]
    found["forget"] |= {"level": level, "at_level": sum(nll >= level for nll in each), "lowest": min(each)}
    return found


def words(tests: Mapping) -> str:
    """In a line or two, where the facts to forget are, and what others lost."""
    told = tests["forget"]
    lost = {name: f"{tests[name]['damage']:+.2f}" for name in ("retain", "neighbours")}
    return (
        f"{told['at_level']} of {told['facts']} facts reach the level of {told['level']:.2f} nats a token; "
        f"on the mean they were at {told['nll_before']:.2f} and are at {told['nll_after']:.2f}, the best "
        f"known at {told['lowest']:.2f}; {told['recalled_after']} are said word for word. Other facts "
        f"changed by {lost['retain']}, those most like them by {lost['neighbours']} nats"
        + (f", what was forgotten before by {tests['earlier']['damage']:+.2f}" if "earlier" in tests else "")
    )


PASSED = "passed"


def verdict(tests: Mapping) -> str:
    """Whether the forget facts are, on the mean, as unlikely as the level, and none is said word for word.

    PASSED, or "not passed".
    """
    told = tests["forget"]
    return PASSED if reaches(told) and not told["recalled_after"] else f"not {PASSED}"


def reaches(told: Mapping) -> bool:
    """Whether facts are on the mean as unlikely as the level."""
    return told["nll_after"] >= told["level"]
