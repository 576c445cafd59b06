"""A planted run that compares methods: what each of them costs is written down here."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from planted_run import PERSONS_SHARE, World, planted

from unlearnkit.report import Run
from unlearnkit.study import trials

SEEDS, FEW = 4, 2  # of the headline's principal methods; of its others, and of the second arm
COMPARED = {"model": "smollm2-135m", "seeds_adamw": SEEDS, "seeds_principal": SEEDS, "seeds_others": FEW}
COMPARED |= {"seeds_tiny_adamw": FEW, "seeds_methods": FEW}
# How far a method moves the coordinate that all share for a step of 1 on the person's own; None: neither.
DEARNESS: Mapping[str, float | None] = {
    **{"first_epoch": 0.65, "adam_replay": 0.1, "kfac_replay": 0.11, "all_epochs": 0.5, "thudi": 0.4},
    **{"gradient_ascent": 0.6, "grad_diff": 0.62, "npo": 0.3, "dpo": 0.31, "rmu": None, "msa": 0.2},
    **{"rewind": 0.05, "retrain": 0.0, "exact_replay": 0.0, "sisa": 0.05, "prompt_guard": None},
    **{"random_direction": 0.64},
}


@dataclass(frozen=True)
class Priced(World):
    spread: float = 0.01

    def direction(self, method: str, layers: str) -> tuple[float, float, float]:
        dear = DEARNESS.get(method, 1.0)
        return (0.0, 0.0, 0.0) if dear is None else (1.0, dear, 0.0)


def price(method: str) -> float:
    """What others lose where a method has undone all that was learnt of the person, of facts of mean size."""
    world = Priced()
    (a, _), (s, _) = world.learned(world.own, PERSONS_SHARE), world.learned(world.shared, 1.0)
    return world.shared * ((1 - s + DEARNESS[method] * a) ** 2 - (1 - s) ** 2) / 2


@cache
def _folder(base: Path) -> Path:
    """Where the run stands, planted once a session."""
    folder = base / "compared"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_BUILD", str(folder))
        patch.setattr(trials, "names", lambda: [name for name in trials.METHODS if name in DEARNESS])
        planted(folder, Priced(), **COMPARED)
    return folder


@contextmanager
def compared(factory: pytest.TempPathFactory, **options) -> Iterator[Run]:
    """The run, which UNLEARNKIT_BUILD names meanwhile; `options` are those of `Run`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNKIT_BUILD", str(_folder(factory.getbasetemp())))
        yield Run("planted", **options)
