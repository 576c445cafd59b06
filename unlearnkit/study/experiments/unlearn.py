"""Cells that unlearn and measure: the paths, and close-ups of the models that the report compares."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import files, metrics, models, unlearning
from unlearnkit.study.experiments import measure, portrait
from unlearnkit.study.cells import Cell
from unlearnkit.study.readings import crossing, damages, start
from unlearnkit.study.experiments.setting import displacement_of, fine_tuned, groups_of
from unlearnkit.ledger import GradientLedger

BEFORE_AND_AFTER = ("finetuned", "first_epoch")  # the pair that a curvature score, the dear one, is for


@dataclass
class Walk:
    """What a path starts from: theta_T, its ledger, the groups of examples, how far fine-tuning went."""

    config: dict
    train: Cell
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    book: GradientLedger
    groups: dict
    moved: float

    @classmethod
    def from_cell(cls, cell: Cell) -> "Walk":
        train = cell.needs[0]
        standing = fine_tuned(cell.config, train)
        return cls(cell.config, train, *standing, groups_of(cell.config), displacement_of(train))

    def start(self) -> pd.DataFrame:
        """Observations of theta_T on what a path scores."""
        ids = {*self.config["forget"], *self.config["retain"]}
        return start(pd.read_csv(self.train.observations), ids)

    def rounds(self, spec: dict) -> list[float]:
        """Each round's step length, of a path whose steps name the length of all rounds so far."""
        shares = [0.0, *spec["steps"]]
        return [(b - a) * self.moved for a, b in itertools.pairwise(shares)]


def paths(cell: Cell) -> pd.DataFrame:
    """Forget and retain facts along each path of one layer selection.

    Utility and ROUGE, where asked for, are measured at every second step, the first and a seventh among them.
    Step lengths are shares of ||theta_T - theta_0||. Only steps are rows: the start is `readings.start`.
    """
    config, walk = cell.config, Walk.from_cell(cell)
    started, found = mean_nll(walk.start(), config["retain"]), []
    bar = tqdm(total=sum(len(spec["steps"]) for spec in config["paths"]), desc=config["layers"], unit="point")

    def look(number: int) -> pd.DataFrame:
        wide = {"tokens": config["tokens"], "with_rouge": config["rouge"]} if number % 2 else {}
        return measure.point(walk.model, walk.tokenizer, walk.groups, **wide)

    for spec in config["paths"]:
        bar.set_postfix(path=spec["label"])
        for rows in points(walk, spec, started, look):
            found.append(rows)
            bar.update()
    bar.close()
    return pd.concat(found)


def points(
    walk: Walk, spec: dict, started: float, look: Callable[[int], pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    """What `look(number)` sees after each step of a path, from 1, with where that is; theta_T at the end.

    A path with a `stop` is left once the retain facts' mean NLL is that much above `started`.
    """
    steps = _KINDS[spec["kind"]](spec, walk)
    for number, (share, told) in enumerate(zip(spec["steps"], steps, strict=False), start=1):
        rows = look(number)
        yield rows.assign(method=spec["label"], layers=walk.config["layers"], share=share, **told)
        if "stop" in spec and mean_nll(rows, walk.config["retain"]) - started > spec["stop"]:
            break
    steps.close()


def mean_nll(rows: pd.DataFrame, ids: list[str]) -> float:
    return rows.loc[(rows["metric"] == "nll") & rows["example"].isin(ids), "value"].mean()


def _line(spec: dict, walk: Walk) -> Iterator[dict]:
    """Along one direction, every step from theta_T."""
    options = spec.get("options", {})
    if spec["method"] == "wrong_person":
        options = options | {"others": tuple(walk.config["control"])}
    for result in unlearning.path(
        spec["method"],
        walk.model,
        norms=[share * walk.moved for share in spec["steps"]],
        request=walk.config[spec.get("request", "forget")],
        ledger=walk.book,
        layers=walk.config["layers"],
        **options,
    ):
        yield {"alpha": result.alpha, "norm": result.norm, "seconds": result.seconds}


def _repeated(spec: dict, walk: Walk) -> Iterator[dict]:
    """Gradients taken afresh before every step, each step from where the last one ended."""
    first, alpha = None, 0.0
    try:
        for length in walk.rounds(spec):
            result = unlearning.apply(
                spec["method"],
                walk.model,
                request=walk.config["forget"],
                examples=walk.groups["facts"],
                tokenizer=walk.tokenizer,
                layers=walk.config["layers"],
                norm=length,
                divisor=walk.config["recipe"]["batch_size"],
            )
            first, alpha = first or result, alpha + result.alpha
            yield {"alpha": alpha, "norm": first.originals.distance(), "seconds": result.seconds}
    finally:
        if first:
            first.revert()


def _iterative(spec: dict, walk: Walk) -> Iterator[dict]:
    """One example at a time, each left alone once it is no better known than the never-trained facts."""
    level = _stranger_level(walk)
    by_id = {e.id: e for e in walk.groups["forget"]}

    def known(example_id: str) -> bool:
        return metrics.score(walk.model, walk.tokenizer, [by_id[example_id]])["nll"].iloc[0] < level

    order = walk.config["forget"][::-1] if spec.get("reverse") else walk.config["forget"]
    rounds = unlearning.iterate(
        walk.model,
        order=order,
        ledger=walk.book,
        known=known,
        norms=walk.rounds(spec),
        layers=walk.config["layers"],
    )
    for done in rounds:
        told = {"alpha": done.alpha, "norm": done.norm, "seconds": done.seconds}
        yield told | {"removed": len(done.removed)}


def _stranger_level(walk: Walk) -> float:
    """Mean NLL of facts the model never met; without such facts, of the forget facts before training."""
    if walk.groups["holdout"]:
        return metrics.score(walk.model, walk.tokenizer, walk.groups["holdout"])["nll"].mean()
    told = pd.read_csv(walk.train.observations)
    return mean_nll(told[told["epoch"] == 0], walk.config["forget"])


_KINDS = {"line": _line, "repeated": _repeated, "iterative": _iterative}


def portraits(cell: Cell) -> pd.DataFrame:
    """Close-ups of pretrained, fine-tuned and unlearned models, with influence before and after.

    Each method stands where its own path first costs the retain facts `damage` nats.
    """
    _, reference = cell.needs
    config, walk = cell.config, Walk.from_cell(cell)
    path = pd.concat([walk.start(), pd.read_csv(reference.observations)])
    found, said = [], {}

    def look(method: str, book=walk.book, **where) -> None:
        what = walk.model, walk.tokenizer, config, walk.groups, book
        rows, said[method] = portrait.portrait(*what)
        if method in BEFORE_AND_AFTER:
            rows = pd.concat([rows, portrait.curvature(*what)])
        found.append(rows.assign(method=method, **where))

    look("finetuned", layers="all", norm=0.0, alpha=0.0)
    for method in ("first_epoch", "all_epochs"):
        norm, crossed = crossing(damages(path, method, "all"), config["damage"])
        result = unlearning.apply(method, walk.model, request=config["forget"], ledger=walk.book, norm=norm)
        where = {"layers": "all", "norm": result.norm, "alpha": result.alpha, "seconds": result.seconds}
        look(method, crossed=crossed, **where)
        result.revert()
    if config["pretrained"]:
        walk.model = None  # no two models at once
        walk.model, _ = models.load(config["model"])
        look("pretrained", book=None)
    files.write_text(cell.folder / "continuations.json", json.dumps({"ids": config["forget"], "said": said}))
    return pd.concat(found)
