"""Readings off a compared method's path: what it costs where it has forgotten, and how close it comes.

A path is one of steps, from theta_T at place 0; what lies between two of them is a line, D_F fact by fact
(`readings`). A method that goes to one place has no path and is read there (`claims.methods`). All numbers
are nats a token. Imports no torch.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from unlearnkit.claims.methods import NEAR
from unlearnkit.study.readings import closest, crossing, distances
from unlearnkit.study.trials import path_steps
from unlearnkit.unlearning import METHODS

READ = ("damage", "bystander_damage", "neighbour_damage", "utility_rise", "paraphrase_nll")
READ += ("exact_memorisation", "seconds")


@dataclass(frozen=True)
class World:
    """What a seed's paths are held against: theta_T, theta_0 and the oracles.

    trained  observations of the fine-tuning: every fact at its first and last epoch, running text
    target   each forget fact's mean NLL over the oracles
    retain   ids of the facts that paths score; control: those of them that are somebody else's, or others
    """

    trained: pd.DataFrame
    target: pd.Series
    retain: Collection[str]
    control: Collection[str]

    @cached_property
    def facts(self) -> pd.DataFrame:
        """NLL of every fact by epoch, the first and the last."""
        rows = self.trained[(self.trained["metric"] == "nll") & (self.trained["split"] != "utility")]
        epoch = pd.to_numeric(rows["epoch"], errors="coerce")
        wide = rows.assign(epoch=epoch).pivot_table("value", "example", "epoch")
        return wide[[wide.columns.min(), wide.columns.max()]].set_axis(["first", "last"], axis=1)

    @cached_property
    def start(self) -> pd.Series:
        """The splits' mean NLL at theta_T."""
        rows = self.trained[(self.trained["metric"] == "nll") & (self.trained["split"] == "utility")]
        epoch = pd.to_numeric(rows["epoch"], errors="coerce")
        last = self.facts["last"]
        groups = {"retain": self.retain, "bystander": [i for i in self.retain if i not in self.control]}
        means = {name: last.reindex(list(ids)).mean() for name, ids in groups.items()}
        near = set(self.trained.loc[self.trained["split"] == "neighbour", "example"])
        means["neighbour"] = last.reindex([i for i in self.retain if i in near]).mean()
        return pd.Series(means | {"utility": rows.loc[epoch == epoch.max(), "value"].mean()})

    @cached_property
    def thrown_away(self) -> float:
        """What the retain facts lose by going back to theta_0."""
        return self.facts["first"].sub(self.facts["last"]).reindex(list(self.retain)).mean()


class Path:
    """One method's path in one world.

    steps  a row a place, theta_T first: forget_nll, gap (to the oracles' mean), and the columns of READ
    facts  places x forget facts: NLL
    """

    def __init__(self, method: str, rows: pd.DataFrame, world: World):
        self.method, self.world, self.is_one = method, world, len(path_steps(method)) == 1
        nll = rows[rows["metric"] == "nll"]
        of = nll[nll["split"] == "forget"]
        begin = world.facts["last"].reindex(world.target.index)
        walked = of.pivot_table("value", "place", "example").reindex(columns=world.target.index)
        if self.is_one:  # beyond the start, which it need not differ from in length
            walked = walked.set_axis([1.0] * len(walked))
        first = pd.DataFrame([begin.to_numpy()], [0.0], walked.columns)
        self.facts = pd.concat([first, walked]) if len(walked) else first
        self.steps = self._steps(rows)

    def _steps(self, rows: pd.DataFrame) -> pd.DataFrame:
        def mean(split: str, metric: str = "nll") -> np.ndarray:
            here = rows[(rows["split"] == split) & (rows["metric"] == metric)]
            found = here.groupby("place")["value"].mean().reindex(places)
            return found.to_numpy()

        places, start = sorted(rows["place"].unique()), self.world.start
        spent = rows.drop_duplicates("place").set_index("place").get("seconds", pd.Series(dtype=float))
        columns = {
            "damage": [0.0, *(mean("retain") - start["retain"])],
            "bystander_damage": [0.0, *(mean("bystander") - start["bystander"])],
            "neighbour_damage": [0.0, *(mean("neighbour") - start["neighbour"])],
            "utility_rise": [0.0, *(mean("utility") - start["utility"])],
            "paraphrase_nll": [np.nan, *mean("paraphrase")],
            "exact_memorisation": [np.nan, *mean("forget", "exact_memorisation")],
            "seconds": [0.0, *self._seconds(spent)],
        }
        table = pd.DataFrame(columns, index=self.facts.index, dtype=float)
        level = self.facts.mean(axis=1)
        return table.assign(forget_nll=level, gap=level - self.world.target.mean())

    def _seconds(self, spent: pd.Series) -> np.ndarray:
        """What it takes to get to each place, of the seconds up to each stop in the order of the looks.

        A method that goes along a line makes its direction before the first look, and is anywhere at once;
        another has to go from step to step, and takes all of its first one to be on the line to it.
        """
        first, ordered = spent.head(1), spent.sort_index()
        if METHODS[self.method].goes_back:
            return np.full(len(spent), first)
        return (
            ordered.where(ordered.index >= first.index.max(), 0.0).cumsum().clip(lower=first.max()).to_numpy()
        )

    def read(self, kind: str, level: float = 0.0) -> dict:
        """A reading: place, reached, distance (D_F), the columns of READ, and `price` at matched forgetting.

        Where a path never gets there it is read where it costs most, for its forgetting; at its end, for
        its damage. A method of one place has no matched damage: its numbers are NaN.
        """
        place, reached = self._place(kind, level)
        found = {column: self._at(column, place) for column in READ}
        found |= {"place": place, "reached": reached, "distance": self._distance(place)}
        lost = found["damage"] if reached else np.inf
        return found | {"price": min(lost, self.world.thrown_away) if kind == "forgetting" else np.nan}

    def _place(self, kind: str, level: float) -> tuple[float, bool]:
        end = float(self.steps.index[-1])
        if self.is_one:
            has_forgotten = end > 0 and bool(self.steps["gap"].iloc[-1] >= -NEAR)
            return (end, has_forgotten) if kind != "damage" else (np.nan, False)
        if kind == "closest":
            near = closest(self.facts, self.world.target)
            return near, near < end
        if kind == "damage":
            return crossing(self.steps["damage"], level)
        place, reached = crossing(self.steps["gap"], 0.0)
        return place if reached else float(self.steps["damage"].idxmax()), reached

    def _distance(self, place: float) -> float:
        return distances(self.facts, self.world.target, np.array([place]))[0]

    def _at(self, column: str, place: float) -> float:
        values = self.steps[column].dropna()
        if column == "seconds":  # one is at the next place that can be gone to
            return float(values.iloc[min(values.index.searchsorted(place), len(values) - 1)])
        return float(np.interp(place, values.index, values)) if len(values) else np.nan
