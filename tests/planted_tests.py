"""Worlds in which it is known who has forgotten: rows of verification of planted models."""

import numpy as np
import pandas as pd

from unlearnkit.claims.verification import MODELS
from unlearnkit.study.config import COIN_PERSONS, VERIFIED
from unlearnkit.study.judged import Observed
from unlearnkit.study.verified import ATTACKS

FACTS, STRANGERS, WORLDS = 20, 40, 24
BEFORE = 0.4  # nats: what the original knows of each fact


def rows(seed, metric, values, split="forget", **more):
    told = {"seed": seed, "split": split, "metric": metric, "value": values}
    return pd.DataFrame(told | {"example": [f"{seed}/{split}/{k}" for k in range(len(values))]} | more)


class World:
    """Facts of some difficulty to whom they are new; a model's rows follow from the NLL it gives them."""

    def __init__(self, seed):
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.difficulty = self.rng.normal(4, 0.5, FACTS)
        self.strangers = self.rng.normal(4, 0.5, STRANGERS)

    def oracle(self):
        return self.difficulty + self.rng.normal(0, 0.03) + self.rng.normal(0, 0.2, FACTS)

    def observed(self, nll, hidden=False, **labels):
        """A model's rows; what is hidden comes back as soon as somebody looks."""
        seed, back = self.seed, 0.5 if hidden else 0.0
        strangers = self.strangers + self.rng.normal(0, 0.05, STRANGERS)
        parts = [rows(seed, "nll", nll)]
        for attack in ATTACKS:
            parts += [rows(seed, f"mia_{attack}", -nll), rows(seed, f"mia_{attack}", -strangers, "holdout")]
        for bits in VERIFIED["bits"]:
            noise = self.rng.normal(0, 0.01, FACTS)
            parts.append(rows(seed, f"nll_int{bits}", nll - back * (nll - BEFORE) + noise))
        known = nll.mean() < 1 or hidden
        for k in VERIFIED["leaks"]:
            parts.append(rows(seed, f"leak_{k}", self.rng.uniform(0, 0.02, FACTS) + 0.4 * known))
        depth = np.clip((nll - BEFORE) / (self.difficulty - BEFORE), 0, 1) * (1 - back)
        parts.append(rows(seed, "uds", depth))
        for block in range(12):  # hidden in the middle blocks, where nobody who asks for words looks
            waits = hidden and 3 <= block < 9
            parts.append(rows(seed, "nll_lens", [BEFORE if waits else nll.mean()], f"block.{block}"))
        for step in VERIFIED["relearn"]:
            level = nll.mean() * (0.5 if hidden and step else 1.0) * 0.8 ** (step / 4)
            for taught in ("half", "others"):
                near = [level + self.rng.normal(0, 0.05)]
                parts.append(rows(seed, f"relearnt_{taught}", near, "held", step=float(step)))
        for way in ("paraphrase", "two-hop", "alias", "beside", "worst"):
            parts.append(rows(seed, "nll_asked", [nll.mean() - 0.1 - hidden], way))
        return pd.concat(parts).assign(**labels)


def study(worlds=WORLDS, good="good", hiding="hiding"):
    """Worlds of a method that forgets as an oracle and of one that only hides, with the controls."""
    methods, oracles = [], []
    for seed in range(worlds):
        world = World(seed)
        first = world.oracle()
        oracles += [world.observed(first, order=1), world.observed(world.oracle(), order=2)]
        original = np.full(FACTS, BEFORE)
        models = {"noop": original, "wrong_person": original + world.rng.normal(0.3, 0.05, FACTS)}
        for name, nll in (models | {good: world.oracle()}).items():
            methods.append(world.observed(nll, method=name, reached=name == good))
        methods.append(world.observed(world.oracle(), hidden=True, method=hiding, reached=True))
        oracles.append(world.observed(world.oracle(), order=3))  # in an unlearned model's place
    return Observed(pd.concat(methods), pd.concat(oracles))


def population(shift=0.0, models=MODELS, seed=0, good="good"):
    rng = np.random.default_rng(seed)
    centre = rng.normal(3, 0.5, FACTS)

    def some(count, shift):
        # facts of one world: the same ids whatever the order of training
        found = [
            rows(0, "nll", centre + shift + rng.normal(0, 0.2, FACTS)).assign(seed=k) for k in range(count)
        ]
        return pd.concat(found)

    unlearned = some(models, shift).assign(method=good)
    return Observed(unlearned, some(2 * models, 0.0).assign(order=1))


def thrown(seeds=WORLDS, good="good", hiding="hiding"):
    """Before unlearning heads are likelier; after it nothing tells them."""
    parts, oracles = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        heads = np.where(rng.random(COIN_PERSONS) < 0.5, "forget", "holdout")
        for name, effect in {"noop": 3.0, good: 0.0, hiding: 1.5}.items():
            value = rng.normal(0, 1, COIN_PERSONS) + effect * (heads == "forget")
            parts.append(rows(seed, "mia_reference", value).assign(split=heads, method=name))
        value = rng.normal(0, 1, COIN_PERSONS)
        oracles.append(rows(seed, "mia_reference", value).assign(split=heads, order=1))
    return Observed(pd.concat(parts), pd.concat(oracles))
