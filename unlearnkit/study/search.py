"""Which learning rate makes a model learn its facts: a training at each of a few, gentlest first."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from unlearnkit.errors import DivergenceError
from unlearnkit.study import grid, plan, scheduler
from unlearnkit.study.cells import OBSERVATIONS, Cell
from unlearnkit.study.config import KNOWN, SEARCHED
from unlearnkit.study.profiles import Profile


@dataclass(frozen=True)
class Tried:
    """One learning rate: share of the answers' tokens known before and after, and running text's change.

    `text` is the rise of the encyclopedia's NLL in nats a token; NaN, like `after`, where training diverged.
    """

    lr: float
    before: float
    after: float
    text: float

    @property
    def enough(self) -> bool:
        return self.after >= KNOWN


def search(profile: Profile) -> Iterator[Tried]:
    """Train the run's first arm with one learning rate after another until the answers are known.

    Every training is a cell, so that a second call takes the first's. Ends with the first rate that is enough
    or diverges: a larger one costs running text more.
    """
    arm = plan.arms(profile)[0]
    for cell, rate in zip(cells_of(profile), SEARCHED[arm.optimizer], strict=True):
        try:
            cell.run()
        except DivergenceError:
            yield Tried(rate, float("nan"), float("nan"), float("nan"))
            return
        yield (tried := _tried(rate, pd.read_csv(cell.folder / OBSERVATIONS)))
        if tried.enough:
            return


def cells_of(profile: Profile) -> list[Cell]:
    """The trainings that `search` may make."""
    arm = plan.arms(profile)[0]
    seed = grid.Seed(arm, arm.settings[0])
    training_s, point_s = seed.seconds
    seconds = training_s + point_s * arm.recipe["epochs"]
    return [
        seed.cell(
            "recipe",
            "train",
            seed.base | {"recipe": seed.base["recipe"] | {"lr": rate}, "record": []},
            seconds,
            (),
            f"lr={rate:g}",
        )
        for rate in SEARCHED[arm.optimizer]
    ]


def _tried(rate: float, rows: pd.DataFrame) -> Tried:
    known = rows[rows["metric"] == "exact_memorisation"].groupby("epoch")["value"].mean()
    text = rows[rows["split"] == "utility"].groupby("epoch")["value"].mean()
    return Tried(rate, known.iloc[0], known.iloc[-1], text.iloc[-1] - text.iloc[0])


def advice(found: list[Tried], epochs: int) -> str:
    """What to do next, in a sentence."""
    last = found[-1]
    if last.enough:
        return (
            f"lr={last.lr:g} is the gentlest that learns {last.after:.0%} of the answers: P='lr={last.lr:g}'"
        )
    if last.after != last.after:
        return (
            f"training diverges at lr={last.lr:g}, and less is not enough: more epochs (epochs={2 * epochs})"
        )
    more = f"more epochs (epochs={2 * epochs}) or a larger model"
    return f"none is enough, the last knows {last.after:.0%}: {more}"


def tell(profile: Profile) -> None:
    """Try learning rates on the run's first arm, print what each does, and which to take."""
    waiting = [cell for cell in cells_of(profile) if not cell.done()]
    most = scheduler.duration(sum(cell.estimate_s for cell in waiting))
    print(f"Up to {len(waiting)} trainings, gentlest first, at most about {most}")
    print("learning rate   answers known before and after   encyclopedia NLL", flush=True)
    found = []
    for tried in search(profile):
        found.append(tried)
        print(
            f"{tried.lr:<16g}{tried.before:>8.0%}  {tried.after:>8.0%}{tried.text:>+26.3f} nats", flush=True
        )
    print(advice(found, plan.arms(profile)[0].recipe["epochs"]))
