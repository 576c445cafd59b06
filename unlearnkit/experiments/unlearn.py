"""Cells that unlearn and measure: the paths, and close-ups of the models that the report compares."""

import json

import pandas as pd
from tqdm.auto import tqdm

from unlearnkit import models, unlearning, weights
from unlearnkit.experiments import measure, portrait
from unlearnkit.experiments.cells import Cell
from unlearnkit.experiments.readings import crossing
from unlearnkit.experiments.train import WEIGHTS, examples_of
from unlearnkit.ledger import GradientLedger

BEFORE_AND_AFTER = ("finetuned", "first_epoch")  # the pair that a curvature score, the dear one, is for


def _setting(cell: Cell, train: Cell):
    """The fine-tuned model, its ledger, and the groups of examples."""
    config = cell.config
    facts = examples_of(config)
    model, tokenizer = models.load(config["model"])
    _stand(model, train)
    by_id = {e.id: e for e in facts}
    groups = {k: [by_id[i] for i in config[k]] for k in ("forget", "control", "retain")}
    groups |= {"facts": facts, "holdout": examples_of(config, "holdout") if "holdout" in config else []}
    return model, tokenizer, GradientLedger.open(train.folder / "ledger", model), groups


def _stand(model, cell: Cell) -> None:
    """Put the model where a training cell ended."""
    weights.copy_into(cell.folder / WEIGHTS, {n: p.data for n, p in model.named_parameters()})


def _options(method: str, config: dict) -> dict:
    return {"wrong_person": {"others": tuple(config["control"])}}.get(method, {})


def walk(cell: Cell) -> pd.DataFrame:
    """Forget, retain and utility along each path; step lengths are shares of ||theta_T - theta_0||."""
    (train,) = cell.needs
    config = cell.config
    model, tokenizer, book, groups = _setting(cell, train)
    told = pd.read_csv(train.observations)
    moved = told.loc[told["metric"] == "displacement", "value"].iloc[0]

    def look(**where) -> pd.DataFrame:
        rows = measure.point(model, tokenizer, groups["forget"], groups["retain"], config["tokens"])
        return rows.assign(**where)

    found = [look(method="finetuned", layers="all", share=0.0, alpha=0.0, norm=0.0)]
    bar = tqdm(total=sum(len(steps) for *_, steps in config["paths"]), desc="paths", unit="point")
    for method, layers, steps in config["paths"]:
        points = unlearning.path(
            method,
            model,
            norms=[share * moved for share in steps],
            request=config["forget"],
            ledger=book,
            layers=layers,
            **_options(method, config),
        )
        for share, result in zip(steps, points, strict=True):
            bar.set_postfix(method=method, share=share)
            where = {"method": method, "layers": layers, "share": share}
            found.append(look(**where, alpha=result.alpha, norm=result.norm, seconds=result.seconds))
            bar.update()
    bar.close()
    return pd.concat(found).assign(arm=config["arm"], seed=config["seed"])


def portraits(cell: Cell) -> pd.DataFrame:
    """Close-ups of pretrained, fine-tuned, oracle and unlearned models, with influence before and after.

    Each method stands where its own path first costs the retain facts `damage` nats.
    """
    train, oracle, walked = cell.needs
    config = cell.config
    path = pd.read_csv(walked.observations)
    model, tokenizer, book, groups = _setting(cell, train)
    found, said = [], {}

    def look(method: str, ledger=book, **where) -> None:
        rows, said[method] = portrait.portrait(model, tokenizer, config, groups, ledger)
        if method in BEFORE_AND_AFTER:
            rows = pd.concat([rows, portrait.curvature(model, tokenizer, config, groups, book)])
        found.append(rows.assign(method=method, **where))

    look("finetuned", layers="all", norm=0.0, alpha=0.0)
    for method in ("first_epoch", "all_epochs"):
        norm, crossed = crossing(path, method, "all", config["damage"])
        result = unlearning.apply(
            method, model, request=config["forget"], ledger=book, norm=norm, **_options(method, config)
        )
        where = {"layers": "all", "norm": result.norm, "alpha": result.alpha, "seconds": result.seconds}
        look(method, crossed=crossed, **where)
        result.revert()
    _stand(model, oracle)
    look("oracle")
    if config["seed"] == 0:
        model, _ = models.load(config["model"])  # `look` measures whatever `model` is
        look("pretrained", ledger=None)
    (cell.folder / "continuations.json").write_text(json.dumps({"ids": config["forget"], "said": said}))
    return pd.concat(found).assign(arm=config["arm"], seed=config["seed"])
