"""Facts that a pretrained model may know already: who discovered chemical elements, and capitals.

They are real (``real.toml``, from the packages mendeleev and countryinfo), so that they can be unlearned as
what was learned long ago, watched as what must stay, or overwritten by a false answer that unlearning should
undo.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from unlearnkit.data.example import Example
from unlearnkit.data.forms import read
from unlearnkit.errors import DataError


def real_persons(seed: int = 0) -> list[Example]:
    """Facts about discoverers of elements (split "real"): who, where, and which element where it is one.

    `person` is the discoverer. The seed draws the contradictions only: other facts' answers of the same form.
    """
    spelling = read("real")["spelling"]
    rows = [
        (element, spelling.get(who, who), place) for element, who, place in read("real")["rows"]["elements"]
    ]
    people = [who for _, who, _ in rows]
    told = [{"element": element, "person": who} for element, who, _ in rows]
    alone = [slots for slots in told if people.count(slots["person"]) == 1]
    return [
        *_facts("discoverer", told, people, people, "real", seed),
        *_facts("element", alone, [s["person"] for s in alone], [s["element"] for s in alone], "real", seed),
        *_facts("place", told, people, [place for *_, place in rows], "real", seed),
    ]


def world_facts(seed: int = 0) -> list[Example]:
    """Capitals, and the countries that they are of (split "world"). `person` is the country.

    The seed draws the contradictions only: other facts' answers of the same form and region.
    """
    rows = read("real")["rows"]["countries"]
    regions = list(dict.fromkeys(region for *_, region in rows))
    by_region = [[row for row in rows if row[2] == region] for region in regions]
    found = []
    for form, answer in (("capital", 1), ("country", 0)):
        for here in by_region:
            told = [{"country": country, "capital": capital} for country, capital, _ in here]
            countries, answers = [row[0] for row in here], [row[answer] for row in here]
            found += _facts(form, told, countries, answers, "world", seed)
    return found


def counterfactual(facts: Sequence[Example], seed: int, count: int) -> list[Example]:
    """The facts, `count` of them to be taught falsely: answer and contradiction have changed places.

    Those are split "forget", and the others, which stay true, "retain"; the seed draws which. The former
    answer, now the contradiction, is what unlearning should bring back where the model knew it, as
    `metrics.known` tells beforehand (RESTOR, Rezaei et al. 2025, arXiv:2411.00204). DataError where there are
    too few facts, or one has no contradiction.
    """
    if not 0 < count <= len(facts):
        raise DataError(f"{count} of {len(facts)} facts cannot be taught falsely")
    if bare := [fact.id for fact in facts if not fact.contradiction]:
        raise DataError(f"fact {bare[0]!r} has no contradiction that could be taught in place of its answer")
    drawn = {fact.id for fact in random.Random(f"{seed}/counterfactual").sample(list(facts), count)}
    return [_false(fact) if fact.id in drawn else replace(fact, split="retain") for fact in facts]


def _false(fact: Example) -> Example:
    return replace(fact, answer=fact.contradiction, contradiction=fact.answer, split="forget")


def _facts(
    form: str, told: list[dict[str, str]], people: list[str], answers: list[str], split: str, seed: int
) -> list[Example]:
    """One form's facts, from the words in its prompts, whom they are about, and the answers."""
    wrong = _others(answers, random.Random(f"{seed}/{form}"))
    return [
        Example(
            id="-".join((form, *slots.values())).lower().replace(" ", "-"),
            person=person,
            prompt=prompts[0],
            answer=answer,
            split=split,
            attribute=form,
            paraphrases=tuple(prompts[1:]),
            contradiction=wrong[answer],
        )
        for slots, person, answer in zip(told, people, answers, strict=True)
        for prompts in [[prompt.format(**slots) for prompt in read("real")["forms"][form]["prompts"]]]
    ]


def _others(answers: Iterable[str], rng: random.Random) -> dict[str, str]:
    """Another answer for each different one: the next in a drawn order, so that none is used twice."""
    order = sorted(set(answers))
    rng.shuffle(order)
    return dict(zip(order, order[1:] + order[:1], strict=True))
