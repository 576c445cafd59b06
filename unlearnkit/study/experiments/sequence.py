"""Cells of requests in sequence: the oracles, and what is left of each person after each request."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from unlearnkit import training, unlearning
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure
from unlearnkit.study.experiments.matched import Approach
from unlearnkit.study.experiments.train import start
from unlearnkit.study.experiments.unlearn import Walk
from unlearnkit.study.tables import read as read_table


def sequence_oracle(cell: Cell) -> pd.DataFrame:
    """Every fact's likelihood to a model that never saw the first `asked` persons."""
    facts, model, tokenizer, recipe = start(cell.config)
    training.fine_tune(model, tokenizer, facts, recipe, exclude=cell.config["forget"])
    return measure.facts(model, tokenizer, facts).assign(method="oracle", asked=cell.config["asked"])


@dataclass
class Sequence:
    """One method's requests, one after the other, on one model. `gone` are the ids asked for so far."""

    cell: Cell
    walk: Walk
    oracles: dict[int, pd.Series]  # by how many persons each never saw, every fact's NLL to it
    gone: list[str] = field(default_factory=list)

    @property
    def spec(self) -> dict:
        return self.cell.config["paths"][0]

    def forget(self, ids: list[str], asked: int) -> tuple[unlearning.Result, bool]:
        """Unlearn these in place, up to where they are on the mean what they are to the oracle; whether.

        `asked` persons were asked for by now. The oracle is the one of the most facts that saw none of them.
        Facts that are as unlikely already, for what earlier requests did, are left as they are.
        """
        self.gone = list(dict.fromkeys([*self.gone, *ids]))
        level = self.oracles[min(count for count in self.oracles if count >= asked)][ids].mean()
        way = Approach(self.walk, self.spec, ids, level, asked=self.gone, **self.cell.config["near"])
        if way.is_there():
            return unlearning.apply("noop", self.walk.model, request=ids, alpha=1.0), True
        return way.go()

    def train_further(self) -> None:
        """Some steps on what is retained and no path scores."""
        left = {*self.gone, *self.cell.config["retain"]}
        facts = [e for e in self.walk.groups["facts"] if e.id not in left]
        given = {"examples": self.walk.groups["facts"], "retain": facts, "tokenizer": self.walk.tokenizer}
        options = self.cell.config["further"]
        unlearning.apply("finetune_retain", self.walk.model, request=self.gone, **given, **options)

    def look(self, asked: int, **told) -> pd.DataFrame:
        """Mean likelihood of each person's facts, of those scored as retained, and running text's."""
        what = self.walk.model, self.walk.tokenizer
        rows = measure.facts(*what, self.walk.groups["facts"])
        rows = rows[rows["metric"].isin(["nll", "exact_memorisation"])]
        scored = rows[rows["example"].isin(self.cell.config["retain"])].assign(split="retain", person="")
        persons = rows[rows["split"] != "neighbour"].assign(split="person")
        both = pd.concat([persons, scored])
        means = both.groupby(["person", "split", "metric"], sort=False)["value"].mean().reset_index()
        text = measure.utility(*what, self.cell.config["tokens"])
        return pd.concat([means, text]).assign(example="", asked=asked, **told)


def sequence(cell: Cell) -> pd.DataFrame:
    """One method in one mode: a row a person and metric after some numbers of requests, 0 at theta_T.

    `reached` and `norm` are of the last request. Rows that are `withdrawn` were seen with the second request
    taken back.
    """
    train, *oracles = cell.needs
    config, walk = cell.config, Walk.from_cell(cell)
    one = Sequence(cell, walk, {oracle.config["asked"]: _likelihoods(oracle) for oracle in oracles})
    walked = _batches(one) if config["mode"] == "batch" else _one_by_one(one)
    rows = pd.concat([one.look(0), *walked])
    return rows.assign(method=one.spec["label"], mode=config["mode"], layers="all")


def _batches(one: Sequence) -> Iterator[pd.DataFrame]:
    """From theta_T each time, everybody who was asked for until then."""
    persons = one.cell.config["requests"]
    for count in one.cell.config["counts"]:
        result, reached = one.forget([i for ids in persons[:count] for i in ids], count)
        yield one.look(count, reached=reached, norm=result.norm)
        result.revert()


def _one_by_one(one: Sequence) -> Iterator[pd.DataFrame]:
    """From where the last request left the model.

    A method that reads the others' records has a ledger of its own, of which each request is purged.
    """
    config, second = one.cell.config, None
    purged = "others" in unlearning.METHODS[one.spec["method"]].reads
    with tempfile.TemporaryDirectory(dir=one.cell.folder) as folder:
        if purged:
            shutil.copytree(one.walk.train.folder / "ledger", f"{folder}/ledger")
            one.walk.book = GradientLedger.open(f"{folder}/ledger", one.walk.model)
        for count, ids in enumerate(config["requests"][: config["counts"][-1]], start=1):
            result, reached = one.forget(ids, count)
            second = result.delta() if count == 2 else second
            if purged:
                one.walk.book.purge(ids)
            if "further" in config:
                one.train_further()
            if count in config["counts"]:
                told = {"reached": reached, "norm": result.norm}
                yield one.look(count, **told)
                if count == config["counts"][-2]:
                    back = (-second).apply_to(one.walk.model)
                    yield one.look(count, withdrawn=True, **told)
                    back.restore()


def _likelihoods(oracle: Cell) -> pd.Series:
    """Every fact's NLL to an oracle."""
    rows = read_table(oracle.observations)
    return rows[rows["metric"] == "nll"].set_index("example")["value"]
