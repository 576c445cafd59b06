"""What a request comes to, found out before anything is done: whom it means, with which model and method."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import data, devices, manifest, models, requests, training
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, MethodError, RequestError
from unlearnkit.ledger import GradientLedger
from unlearnkit.models.fitting import require_fit, require_room
from unlearnkit.publishing import delivery
from unlearnkit.publishing.estimate import Estimate, estimate
from unlearnkit.publishing.gauge import Groups
from unlearnkit.study import parameters, plan, twins
from unlearnkit.study.config import DEFAULT_METHOD, HOLDOUT, OWN_RECIPE
from unlearnkit.unlearning import METHODS, Method

TRAINING = "train."  # before the name of a parameter of the training, among `-p`
FILLED = ("until", "known", "fresh")  # options that the command fills in
KEPT = {"ledger": "--ledger DIR", "checkpoints": "--history DIR"}  # what a training leaves, if asked to


@dataclass(frozen=True)
class Job:
    """What is asked for, as on the command line. Without a `key` the user's own signs."""

    model: str
    data: str
    who: str
    out: Path
    method: str = DEFAULT_METHOD
    ledger: str = ""
    history: str = ""
    key: str = ""
    device: str = devices.AUTO
    asked_by: str = ""
    train: bool = False
    purge: bool = False
    options: Sequence[str] = ()  # texts of the form name=value


@dataclass
class Case:
    """A job that has been found possible: what the request means, the model, and what the method is given."""

    job: Job
    method: Method
    options: dict[str, Any]
    recipe: training.Recipe | None  # of a training to come first
    taught: list[Example]  # the facts of the data that the model has, or is to have, learnt
    holdout: list[Example]
    request: list[str]
    groups: Groups
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    book: GradientLedger | None = None
    history: training.History | None = None

    @classmethod
    def of(cls, job: Job) -> "Case":
        """Everything that can be refused is refused here. Reads the model, and writes nothing.

        Raises UnlearnkitError. A model that is not a folder is fetched or built first, into the user's cache.
        """
        delivery.require_free(job.out)
        method = _method(job)
        options, recipe = _settings(job, method)
        facts = data.load(job.data)
        holdout = [e for e in facts if e.split == HOLDOUT]
        taught = [e for e in facts if e.split != HOLDOUT]
        request = _request(job, taught)
        groups = Groups.of(taught, request)
        model, tokenizer = models.load(job.model, device=job.device)
        require_fit(model.config, tokenizer, facts)
        require_room(model.config, tokenizer, [*groups.forget, *groups.retain, *groups.neighbours])
        found = cls(job, method, options, recipe, taught, holdout, request, groups, model, tokenizer)
        if job.ledger:
            found.book = GradientLedger.open(job.ledger, model)
            found.book.known(request)
        if job.history:
            found.history = training.History.open(job.history)
        return found

    @cached_property
    def takes(self) -> Estimate:
        """About what it takes."""
        return estimate(self.model, self.tokenizer, self.taught, self.groups, self.method, self.recipe)

    def teach(self, folder: Path) -> None:
        """Fine-tune the model on the facts, and keep of it in a folder what the method needs."""
        needs, kept = self.method.needs, {}
        if "ledger" in needs:
            kept["ledger"] = folder / "ledger"
        if "checkpoints" in needs:
            kept |= {"history": folder / "history"}
            kept |= {"updates": self.request} if "updates" in self.method.reads else {}
        training.fine_tune(self.model, self.tokenizer, self.taught, self.recipe, **kept)
        if "ledger" in needs:
            self.book = GradientLedger.open(kept["ledger"], self.model)
        if "checkpoints" in needs:
            self.history = training.History.open(kept["history"])

    def tell(self) -> None:
        """Print what will be done, and about what it takes; warn of facts that may be one."""
        job, method, size = self.job, self.method, sum(p.numel() for p in self.model.parameters())
        ids = ", ".join(self.request[:5]) + (", ..." if len(self.request) > 5 else "")
        options = ", ".join(f"{k}={manifest.plain(v)}" for k, v in self.options.items()) or "as usual"
        lines = {
            "forget": f"{len(self.request)} of {len(self.taught)} facts: {ids}",
            "model": f"{job.model}, {size / 1e6:.3g} million parameters",
            "first": f"it is taught the facts: {words(self.recipe)}" if self.recipe else "",
            "method": f"{method.title} ({method.name}), options {options}",
            "ledger": f"{job.ledger}, {'then purged' if job.purge else 'left as it is'}"
            if job.ledger
            else "",
            "takes": self.takes,
            "writes": f"{job.out}: the model, its manifest with signature and salt, a report",
        }
        for name, text in lines.items():
            if text:
                print(f"{name:>8}  {text}", flush=True)
        if text := twins.warning(self.taught, self.request):
            print(f"warning: {text}", file=sys.stderr, flush=True)


def words(recipe: training.Recipe) -> str:
    """A recipe in a line."""
    adapters = f", lora={recipe.lora}" if recipe.lora else ""
    sizes = f"epochs={recipe.epochs}, batch_size={recipe.batch_size}{adapters}"
    return f"{recipe.optimizer}, lr={recipe.lr:g}, {sizes}"


def _request(job: Job, taught: Sequence[Example]) -> list[str]:
    found = requests.parse(taught, job.who)
    if len(found) == len(taught):
        raise RequestError(
            f"the request names all {len(taught)} facts: one or more must be left, to see what others lose"
        )
    twins.refuse(taught, found)
    return found


def _method(job: Job) -> Method:
    """The method asked for. MethodError or ConfigError where the job lacks what it needs."""
    if job.method not in METHODS:
        raise MethodError(parameters.unknown_name("method", job.method, METHODS))
    method = METHODS[job.method]
    if not method.moves:
        raise MethodError(
            f"method {method.name!r} moves no weight: a folder with a model cannot hold its result"
        )
    if method.installs:
        raise MethodError(
            f"method {method.name!r} puts something beside the weights, and a folder with a model would hold "
            "these alone: use unlearning.apply in Python, and keep the model in memory"
        )
    given = {"ledger": job.ledger, "checkpoints": job.history}
    if job.train and any(given.values()):
        raise ConfigError(
            "--train makes a ledger and a history of its own: leave it, or --ledger and --history"
        )
    if job.purge and not job.ledger:
        raise ConfigError("--purge needs --ledger DIR: that of which the request's records are to be removed")
    if lacking := [n for n in method.needs if n in KEPT and not (given[n] or job.train)]:
        what, others = KEPT[lacking[0]], ", ".join(_without_any())
        raise MethodError(
            f"method {method.name!r} needs {what}, kept by the training that taught it the facts; else "
            f"give a --method that needs none ({others}), or --train, which teaches the model first"
        )
    return method


def _without_any() -> list[str]:
    """Names of the methods that go by nothing of a training, controls apart."""
    found = [m for m in METHODS.values() if m.moves and m.family != "control"]
    return sorted(m.name for m in found if not {*KEPT, "shards"} & set(m.needs))


def _settings(job: Job, method: Method) -> tuple[dict[str, Any], training.Recipe | None]:
    """The method's options that are given, and the recipe of a training that is to come first."""
    own = [text for text in job.options if not text.startswith(TRAINING)]
    theirs = [text.removeprefix(TRAINING) for text in job.options if text.startswith(TRAINING)]
    known = {name: None if method.requires(name) else default for name, default in method.options.items()}
    options = parameters.parse_overrides(known, own)
    if missing := [n for n in known if method.requires(n) and n not in (*options, *FILLED)]:
        raise MethodError(f"method {method.name!r} needs {missing[0]}: add -p {missing[0]}=...")
    if theirs and not job.train:
        raise ConfigError(f"-p {TRAINING}{theirs[0]} is about a training, and there is none without --train")
    changed = parameters.parse_overrides(dict.fromkeys((*OWN_RECIPE, "seed")), theirs)
    parameters.require_allowed(changed)
    recipe = plan.recipe(job.model, changed.get("optimizer", "adamw")) | changed
    return options, training.Recipe(**recipe) if job.train else None
