"""Cells that unlearn and measure: the paths, and close-ups of the models that the report compares."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pandas as pd
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import files, metrics, unlearning
from unlearnkit.data import Example
from unlearnkit.errors import BudgetError, DivergenceError
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure, portrait, ways
from unlearnkit.study.experiments.line import Line
from unlearnkit.study.experiments.setting import displacement_of, fine_tuned, groups_of
from unlearnkit.study.experiments.train import loaded
from unlearnkit.study.readings import crossing, curve, damages, oracle_level, start
from unlearnkit.study.route import Route
from unlearnkit.study.tables import read as read_table

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
        return start(read_table(self.train.observations), ids)


def path(cell: Cell) -> pd.DataFrame:
    """Forget and retain facts along one path on one layer selection; needs the training, then its oracles.

    Utility and ROUGE, where asked for, are measured at every second step of the grid, the last among them,
    and at those that a reading is near. Step lengths are shares of ||theta_T - theta_0||. Only steps are
    rows: the start is `readings.start`.
    """
    config = cell.config

    def beside(*what) -> pd.DataFrame:
        return measure.beside(*what, config["tokens"], config["rouge"])

    return pd.concat(walked(cell, beside))


def walked(cell: Cell, beside: Callable[..., pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """A path's rows, step by step; `beside(model, tokenizer, groups)` is measured at some of them only."""
    config, walk, (spec,) = cell.config, Walk.from_cell(cell), cell.config["paths"]
    _, *oracles = cell.needs
    target, goes_back = oracle_level(oracles), unlearning.METHODS[spec["method"]].goes_back
    stop, readings = spec.get("stop", math.inf), config["readings"]
    divides = spec.get("divided", False)
    route = Route(spec["steps"], stop, config["retain"], target, readings, goes_back, divides)
    bar = tqdm(desc=f"{spec['label']} on {config['layers']}", unit="point")
    what = walk.model, walk.tokenizer, walk.groups

    def look() -> pd.DataFrame:
        bar.update()
        rows = measure.point(*what)
        if route.here in spec["steps"][::-2] or route.is_near(rows):
            rows = pd.concat([rows, beside(*what)])
        return rows

    with bar:
        yield from points(walk, spec, walk.start(), route, look)


def points(
    walk: Walk, spec: dict, begin: pd.DataFrame, route: Route, look: Callable[[], pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    """What `look()` sees after each step of a route, with where that is; theta_T at the end.

    `begin` holds observations of theta_T.
    """
    route.tell(begin)
    has_lengths = unlearning.METHODS[spec["method"]].stops
    for step in _walked(walk, spec, route):
        rows = look()
        route.tell(rows)
        share = route.here if has_lengths else step.norm / walk.moved
        told = {"alpha": step.alpha, "norm": step.norm, "seconds": step.seconds}
        told |= {k: len(v) if k == "removed" else v for k, v in step.told.items()}
        yield rows.assign(method=spec["label"], layers=walk.config["layers"], share=share, **told)


def until_it_ends(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """A path's parts up to where it diverges, or where its certificate ends it."""
    try:
        yield from parts
    except (DivergenceError, BudgetError):
        return


def mean_nll(rows: pd.DataFrame, ids: list[str]) -> float:
    return rows.loc[(rows["metric"] == "nll") & rows["example"].isin(ids), "value"].mean()


def _walked(walk: Walk, spec: dict, route: Route) -> Iterator[unlearning.Result]:
    """The path's stops, as the route asks for them: lengths, or the optimizer steps of a trained method.

    The model is theta_T again after the last, or when it is closed.
    """
    method = unlearning.METHODS[spec["method"]]
    given = given_to(walk, spec)
    if method.stops:
        norms = (share * walk.moved for share in route)
        yield from unlearning.path(method.name, walk.model, norms=norms, **given)
        return
    steps = {"steps": spec["steps"]} if "steps" in method.options else {}
    with closing(unlearning.path(method.name, walk.model, **steps, **given)) as places:
        line = None
        for here in route:
            if here in spec["steps"]:
                if line:
                    line.to(1.0)
                if not (place := next(places, None)):  # a stopping rule may end it earlier
                    return
                line = None
                yield place
            else:
                line = line or Line(place)
                yield line.to(here)


def given_to(walk: Walk, spec: dict) -> dict:
    """What the path's method is given: inputs, its own options, and those that only the study can fill in."""
    config, method = walk.config, unlearning.METHODS[spec["method"]]
    request = spec.get("ids") or config[spec.get("request", "forget")]
    offered = {
        "others": tuple(config["control"]),
        "divisor": config["recipe"]["batch_size"],
        "known": _still_known(walk) if "known" in method.options else None,
        "fresh": walk.groups["holdout"],
    }
    given = {name: value for name, value in offered.items() if name in method.options}
    if method.requires("until"):
        what = walk.model, walk.tokenizer, walk.groups["forget"], walk.groups["holdout"]
        given["until"] = metrics.as_unknown(*what)
    if "retain" in method.needed(spec.get("options", {})):
        given["retain"] = _retained(walk, set(request))
    if "checkpoints" in method.needs:
        given["checkpoints"] = ways.history(walk.train, request if "updates" in method.reads else ())
    if "shards" in method.needs:
        given["shards"] = ways.shards(walk.train)
    return given | {
        "request": request[::-1] if spec.get("reverse") else request,
        "ledger": walk.book,
        "examples": walk.groups["facts"],
        "tokenizer": walk.tokenizer,
        "layers": spec.get("parts", config["layers"]),
        **spec.get("options", {}),
    }


def _retained(walk: Walk, request: set[str]) -> list[Example]:
    """Facts that a method may see again: those not asked to be forgotten, without those that paths score.

    All not asked to be forgotten, where that leaves none.
    """
    others = [e for e in walk.groups["facts"] if e.id not in request]
    scored = {e.id for e in walk.groups["retain"]}
    return [e for e in others if e.id not in scored] or others


def _still_known(walk: Walk) -> Callable[[str], bool]:
    """Whether a forget fact is better known than the never-trained facts are."""
    level, by_id = _stranger_level(walk), {e.id: e for e in walk.groups["forget"]}

    def known(example_id: str) -> bool:
        return metrics.score(walk.model, walk.tokenizer, [by_id[example_id]])["nll"].iloc[0] < level

    return known


def _stranger_level(walk: Walk) -> float:
    """Mean NLL of facts the model never met; without such facts, of the forget facts before training."""
    if walk.groups["holdout"]:
        return metrics.score(walk.model, walk.tokenizer, walk.groups["holdout"])["nll"].mean()
    told = read_table(walk.train.observations)
    return mean_nll(told[told["epoch"] == 0], walk.config["forget"])


def portraits(cell: Cell) -> pd.DataFrame:
    """Close-ups of pretrained, fine-tuned and unlearned models, with influence before and after.

    A close-up of `close_ups` (name: method, reading) stands where its path first costs the retain facts
    `damage` nats, or where the forget facts first are what they are to the oracles; `crossed` where it does.
    """
    config, walk = cell.config, Walk.from_cell(cell)
    of = {stage: [c for c in cell.needs if c.stage == stage] for stage in ("oracle", "path")}
    paths = pd.concat([walk.start(), *(read_table(c.observations) for c in of["path"])])
    level, found, said = oracle_level(of["oracle"]).mean(), [], {}

    def look(method: str, book=walk.book, **where) -> None:
        what = walk.model, walk.tokenizer, config, walk.groups, book
        rows, said[method] = portrait.portrait(*what)
        if method in BEFORE_AND_AFTER:
            rows = pd.concat([rows, portrait.curvature(*what)])
        found.append(rows.assign(method=method, **where))

    look("finetuned", layers="all", norm=0.0, alpha=0.0)
    for name, (method, reading) in config["close_ups"].items():
        curves = {
            "damage": damages(paths, method, "all"),
            "forgetting": curve(paths, method, "all", "forget"),
        }
        norm, crossed = crossing(curves[reading], config["damage"] if reading == "damage" else level)
        result = unlearning.apply(method, walk.model, request=config["forget"], ledger=walk.book, norm=norm)
        where = {"layers": "all", "norm": result.norm, "alpha": result.alpha, "seconds": result.seconds}
        look(name, crossed=crossed, **where)
        result.revert()
    if config["pretrained"]:
        walk.model = None  # no two models at once
        walk.model, _ = loaded(config)
        look("pretrained", book=None)
    files.write_text(cell.folder / "continuations.json", json.dumps({"ids": config["forget"], "said": said}))
    return pd.concat(found)
