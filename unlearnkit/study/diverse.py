"""Other data: do methods stand elsewhere as they do on a world's short facts? Imports no torch.

long passages      the wording of encyclopedia articles about real persons, one of five to be forgotten
authors, 5 or 10 %  a set in the shape of TOFU: questions about twenty authors, answered in whole sentences
false capitals     facts that the pretrained model may know, some of them taught falsely: forgetting these
                   should bring the former answers back (RESTOR, arXiv:2411.00204)

Methods go to matched forgetting, as they were tuned on worlds, and are held against an oracle. What training
did not teach is watched: the former answers, and real facts beside the authors'.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from unlearnkit import data
from unlearnkit.data import Example
from unlearnkit.study import config, plan
from unlearnkit.study.cells import Cell
from unlearnkit.study.plan import Arm, Setting
from unlearnkit.study.profiles import Profile, is_built_in
from unlearnkit.study.verified import CONTROLS, Verification
from unlearnkit.unlearning import METHODS

PASSAGES, FALSE = "long passages", "false capitals"
AUTHORS = {"authors, 5 %": 0.05, "authors, 10 %": 0.1}  # the share of them to be forgotten
TESTS = ("facts", "known")
FORMER = "former"  # the split of the true answers to what was taught falsely
AT_FIRST = " at first"  # after a split that is watched: how it was known before training


def arms(profile: Profile) -> list[Arm]:
    """An arm a kind of data: of gpt2-tiny, and of the run's own model where it must know something."""
    found = []
    for name, make in kinds().items() if is_built_in(profile) else ():
        model = profile["model"] if name == FALSE else config.TINY
        count = profile["seeds_authors" if name in AUTHORS else "seeds_diverse"]
        count = min(count, config.DIVERSE_OF_MAIN) if name == FALSE else count
        recipe = plan.recipe(model, "adamw") | config.DIVERSE_RECIPES.get(name, {})
        if count:
            settings = tuple(map(make, range(count)))
            found.append(Arm(model, "adamw", recipe, settings, False, name, plan.device(profile)))
    return found


def cells(arm: Arm, setting: Setting) -> list[Cell]:
    """The training, the oracle, the methods and what must fail.

    What reads factors has a training whose ledger keeps those of long passages, too.
    """
    names = [*CONTROLS, *config.DIVERSE_METHODS]
    factored = [n for n in names if arm.variant == PASSAGES and "factors" in METHODS[n].reads]
    found = Verification(arm, setting, TESTS, 1).cells(n for n in names if n not in factored)
    other = Verification(arm, setting, TESTS, 1, factors=True)
    return found + [cell for name in factored for cell in (other.train, other.at(name))]


def kinds() -> dict[str, Callable[[int], Setting]]:
    """By name, what makes a seed's setting."""
    shares = {name: lambda seed, share=share: authors(seed, share) for name, share in AUTHORS.items()}
    return {PASSAGES: passages} | shares | {FALSE: false_capitals}


def passages(seed: int) -> Setting:
    """Passages of five persons."""
    return _setting(seed, data.passages(seed))


def authors(seed: int, share: float) -> Setting:
    """Twenty authors; some real persons' and countries' facts are watched."""
    found = data.tofu_like(seed, config.AUTHORS, share)
    watched = [e for e in found if e.split in ("real", "world")]
    told = [e for e in found if e.split not in ("real", "world")]
    return _setting(seed, told, random.Random(seed).sample(watched, config.HOLDOUT_FACTS))


def false_capitals(seed: int) -> Setting:
    """Capitals, a few of them taught falsely; the true ones of these are watched."""
    capitals = [e for e in data.world_facts(seed) if e.attribute == "capital"]
    drawn = random.Random(f"{seed}/capitals").sample(capitals, config.CAPITALS)
    facts = data.counterfactual(drawn, seed, config.FALSE_CAPITALS)
    false = {e.id for e in facts if e.split == "forget"}
    former = [replace(e, id=f"{e.id}-former", split=FORMER) for e in drawn if e.id in false]
    return _setting(seed, facts, former, config.FALSE_CAPITALS)


def _setting(seed: int, facts: list[Example], watched: list[Example] = (), control: int = 0) -> Setting:
    """The control is the first person who stays, or as many facts as `control` says."""
    gone = [e for e in facts if e.split == "forget"]
    kept = [e for e in facts if e.split != "forget"]
    other = kept[:control] if control else [e for e in kept if e.person == kept[0].person]
    ids, beside = ([e.id for e in part] for part in (gone, other))
    target = ", ".join(data.persons(gone)) if len(data.persons(gone)) < 3 else "false facts"
    return Setting(seed, tuple(facts), tuple(ids), target, tuple(beside), (), tuple(watched))
