"""What a request comes to, found out before anything is done: whom it means, with which model and method."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import data, manifest, models, requests, training
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError, LedgerError, MethodError, RequestError
from unlearnkit.ledger import GradientLedger, identity
from unlearnkit.ledger.locking import alone
from unlearnkit.ledger.store import Store
from unlearnkit.models.fitting import require_causal, require_fit, require_room
from unlearnkit.publishing import delivery, offered
from unlearnkit.publishing.estimate import Estimate, estimate
from unlearnkit.publishing.gauge import Groups
from unlearnkit.publishing.job import Job
from unlearnkit.study import parameters, plan, twins
from unlearnkit.study.config import HOLDOUT, OWN_RECIPE
from unlearnkit.training import replaying
from unlearnkit.unlearning import Method

TRAINING = "train."  # before the name of a parameter of the training, among `-p`


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
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    book: GradientLedger | None = None
    place: str = ""  # where the model stands, as the ledger calls it
    earlier: list[Example] = field(default_factory=list)  # what it forgot by requests before this one
    history: training.History | None = None

    @classmethod
    def of(cls, job: Job) -> "Case":
        """Everything that can be refused is refused here. Reads the model, and writes nothing.

        Raises UnlearnkitError. A model that is not a folder is fetched or built first, into the user's cache.
        """
        job.require()
        delivery.require_free(job.out)
        method = offered.require(job.method, job.ledger, job.history, job.train)
        if job.purge and not job.ledger:
            raise ConfigError(
                "--purge needs --ledger DIR: that of which the request's records are to be removed"
            )
        options, recipe = _settings(job, method)
        facts = data.load(job.data)
        holdout = [e for e in facts if e.split == HOLDOUT]
        taught = [e for e in facts if e.split != HOLDOUT]
        twins.refuse_taught(taught, holdout)
        request = _request(job, taught)
        method.require_fields(e for e in taught if e.id in set(request))
        model, tokenizer = models.load(job.model, device=job.device)
        require_fit(model.config, tokenizer, facts)
        require_causal(model, job.model)
        found = cls(job, method, options, recipe, taught, holdout, request, model, tokenizer)
        if not (recipe and recipe.lora):  # whose adapters are the layers then
            method.check(model, "all", {**method.options, **options})
        if job.ledger:
            found._open_ledger()
        if job.history:
            found.history = training.History.open(job.history)
            found.history.require_end(model)
            offered.require_way(method, options, found.history.recipe.optimizer, found.history.recipe.epochs)
            replaying.of_training(taught, found.history)
        groups = found.groups
        require_room(model.config, tokenizer, groups.measured)
        return found

    def _open_ledger(self) -> None:
        """Open the ledger that is given, of this model and these facts, as far as none was forgotten yet."""
        job, method = self.job, self.method
        self.book = book = GradientLedger.open(job.ledger, self.model)
        identity.require_texts(book.store, self.taught)
        identity.require_strangers(book.store, self.holdout, self.taught)
        book.known(self.request)
        if book.store.epochs < book.recipe.get("epochs", 1):
            raise LedgerError(
                f"the training of ledger {job.ledger} is not finished: call it again, it resumes"
            )
        self._find_place(book.store)
        offered.require_way(method, self.options, book.recipe.get("optimizer", ""), book.store.epochs)
        if "others" in method.reads and not set(book.example_ids) - set(self.request):
            raise MethodError(
                f"method {method.name!r} reads others' records, and ledger {job.ledger} holds the request's "
                "only: give another --method, or record everybody, fine_tune(..., ledger=)"
            )
        if "moments" in method.reads and book.recipe.get("optimizer") == "adamw" and not book.store.moments:
            raise MethodError(
                f"method {method.name!r} reads AdamW's second moments, and ledger {job.ledger} has none: the "
                "first purge deletes them, since they hold traces of everybody. Give a --method that does "
                f"without: {', '.join(offered.after_a_purge())}"
            )

    def _find_place(self, store: Store) -> None:
        """Where the model stands, as its ledger has it, and what it has forgotten on the way there."""
        job, ids = self.job, [e.id for e in self.taught]
        self.place = identity.place_of(store, self.model) or identity.START
        if self.place == identity.START:
            raise RequestError(
                f"{job.model} stands where the training of ledger {job.ledger} began, and has learnt nothing "
                "of it: give the model that the training ended in"
            )
        if self.place == identity.END and (left := identity.purged(store, ids)):
            raise RequestError(
                f"{job.model} stands where the training of ledger {job.ledger} ended, and knows {len(left)} "
                f"facts, {left[0]!r} first, that the ledger was purged of: they cannot be forgotten through "
                "it. Give the model that the request left which they were purged for, or leave them out of "
                "the data if they are to stay"
            )
        gone = identity.forgotten(store, self.place, ids)
        if again := [i for i in self.request if i in gone]:
            raise RequestError(f"{job.model} has forgotten {again[0]!r} already, by an earlier request")
        self.earlier = [e for e in self.taught if e.id in gone]
        self.taught = [e for e in self.taught if e.id not in gone]

    @cached_property
    def groups(self) -> Groups:
        """The facts that are measured."""
        return Groups.of(self.taught, self.request, self.earlier)

    @cached_property
    def takes(self) -> Estimate:
        """About what it takes."""
        how = self.method, {**self.method.options, **self.options}, self.recipe
        return estimate(self.model, self.tokenizer, self.taught, self.groups, *how)

    def note(self) -> None:
        """Tell the ledger where the request left the model, so that a later one can go on from there."""
        with alone(self.book.store.path):
            store = Store.load(self.book.store.path)  # another request may have been served meanwhile
            identity.note_request(store, self.model, self.place, self.request)

    def teach(self, folder: Path) -> None:
        """Fine-tune the model on the facts, and keep of it in a folder what the method needs."""
        needs, kept = self.method.needs, {}
        if "ledger" in needs:
            kept |= {"ledger": folder / "ledger", "ledger_factors": "factors" in self.method.reads}
        if "checkpoints" in needs:
            kept |= {"history": folder / "history"}
            kept |= {"updates": self.request, "summed": True} if "updates" in self.method.reads else {}
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
            "model": f"{job.model}, {size / 1e6:.3g} million parameters, read and written in float32",
            "before": f"{len(self.earlier)} facts were forgotten by earlier requests" if self.earlier else "",
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
        for text in (twins.warning(self.taught, self.request), twins.naming(self.taught, self.request)):
            if text:
                print(f"warning: {text}", file=sys.stderr, flush=True)
        if absent := self._absent():
            print(f"warning: {absent}", file=sys.stderr, flush=True)

    def _absent(self) -> str:
        """A warning of facts that the ledger does not hold; "" where it has all."""
        known = set(self.book.example_ids) if self.book else {e.id for e in self.taught}
        if not (absent := [e.id for e in self.taught if e.id not in known]):
            return ""
        return (
            f"{len(absent)} facts are not in the ledger, {absent[0]!r} first, and count as facts to be kept"
        )


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


def _settings(job: Job, method: Method) -> tuple[dict[str, Any], training.Recipe | None]:
    """The method's options that are given, and the recipe of a training that is to come first."""
    own = [text for text in job.options if not text.startswith(TRAINING)]
    theirs = [text.removeprefix(TRAINING) for text in job.options if text.startswith(TRAINING)]
    known = {name: v for name, v in method.options.items() if name not in offered.FILLED}
    # of any type, which the method judges: "all" may be numbers, too, and a range one number
    loose = {
        n: None if method.requires(n) or v == "all" or isinstance(v, range) else v for n, v in known.items()
    }
    options = parameters.parse_overrides(loose, own)
    if missing := [n for n in known if method.requires(n) and n not in options]:
        raise MethodError(f"method {method.name!r} needs {missing[0]}: add -p {missing[0]}=...")
    method.judge(options)
    if theirs and not job.train:
        raise ConfigError(f"-p {TRAINING}{theirs[0]} is about a training, and there is none without --train")
    changed = parameters.parse_overrides(dict.fromkeys((*OWN_RECIPE, "seed")), theirs)
    parameters.require_allowed(changed)
    recipe = training.Recipe(**plan.recipe(job.model, changed.get("optimizer", "adamw")) | changed)
    if job.train:
        offered.require_way(method, options, recipe.optimizer, recipe.epochs)
    return options, recipe if job.train else None
