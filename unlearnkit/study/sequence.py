"""Requests in sequence: one person after another is forgotten, from a world of ten. Imports no torch.

batch        the reset: every time anew from theta_T, all that were asked for so far at once
carry on     from where the last request left the model, the new one alone
interleaved  the same, with some training on what is retained after each request

Each request goes to where its facts' mean NLL is what it is to the oracle of the most facts that saw nobody
asked for by then, or as far as its path goes; one whose facts are as unlikely already does nothing. After the
last but one of `config.SEQUENCE_COUNTS` the second request is withdrawn: its change is taken off, the others'
stay. Two persons are never asked for: half of their facts and of the neighbours' are scored, and no method
sees these; nor does it see, as others', who was asked for before.

A method that reads the others' records carries on with a ledger that is purged of each request. Other methods
read an unpurged one: a purge deletes the second moments for everybody (`ledger.purging`), and `adam_replay`,
which reads them, could not carry on after it.
"""

from dataclasses import dataclass
from functools import cached_property

from unlearnkit import data
from unlearnkit.study import config, plan, trials
from unlearnkit.study.cells import Cell
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm, Setting
from unlearnkit.study.walks import path

SEQUENCE = "requests in sequence"  # the variant's name
MODES = ("batch", "carry on", "interleaved")


def setting(seed: int) -> Setting:
    """A larger world; `requests` are its persons, whom to forget first in front, each with its facts' ids."""
    facts = data.world(seed, beside=config.SEQUENCE_PERSONS - 2)
    target = next(e.person for e in facts if e.split == "forget")
    order = [target, *(p for p in data.persons(facts) if p != target)]
    asked = tuple((person, tuple(e.id for e in facts if e.person == person)) for person in order)
    ids = dict(asked)
    return Setting(seed, tuple(facts), ids[target], target, control=ids[order[-1]], fuzzy=(), requests=asked)


@dataclass(frozen=True)
class Sequences(Seed):
    """A seed whose scored facts are those of persons who are never asked for."""

    @cached_property
    def groups(self) -> dict:
        asked = {i for _, ids in self.setting.requests[: config.SEQUENCE_COUNTS[-1]] for i in ids}
        scored = [e.id for e in self.setting.facts if e.id not in asked][::2]
        record = [e.id for e in self.setting.facts if e.id not in set(scored)]
        control = [i for i in self.setting.control if i not in set(scored)]
        return super().groups | {"retain": scored, "record": record, "control": control}


def cells(arm: Arm, setting: Setting) -> list[Cell]:
    """The training, an oracle a count, and the sequences."""
    seed = Sequences(arm, setting)
    step_s, point_s = seed.seconds
    persons = [list(ids) for _, ids in setting.requests]
    oracles = []
    for count in config.SEQUENCE_COUNTS:
        gone = [i for ids in persons[:count] for i in ids]
        given = seed.groups | {"forget": gone, "asked": count}
        oracles.append(
            seed.cell("sequence_oracle", "sequence", given, step_s, (seed.train,), f"{count} gone")
        )
    found = [seed.train, *oracles]
    for name in config.SEQUENCE_METHODS:
        options = trials.chosen(plan.family(arm.model), name, arm.recipe)
        spec = path(name, name, trials.path_steps(name), options=options)
        for mode in MODES:
            given = seed.groups | {"paths": [spec], "mode": mode, "layers": "all", "requests": persons}
            given |= {"counts": list(config.SEQUENCE_COUNTS), "tokens": config.UTILITY_TOKENS}
            given |= {"near": config.VERIFIED_NEAR}
            if mode == "interleaved":
                rate = arm.recipe["lr"] * config.FURTHER_RATE
                given["further"] = {"lr": rate, "steps": config.FURTHER_STEPS}
            seconds = point_s * 12 * config.SEQUENCE_COUNTS[-1]
            needs = (seed.train, *oracles)
            found.append(seed.cell("sequence", "sequence", given, seconds, needs, f"{name}, {mode}"))
    return found
