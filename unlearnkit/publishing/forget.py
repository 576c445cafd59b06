"""`python -m unlearnkit forget`: from a request to a folder with the unlearned model and a signed account.

The model is taken as it is. Methods that go by the ledger or the history of its training need those given;
or, with --train, the model is taught the facts first, which leaves both for as long as it takes.
"""

import datetime
import math
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unlearnkit import files, manifest, metrics, paths, signing, weights
from unlearnkit.errors import ConfigError, LedgerError, RequestError
from unlearnkit.ledger import traces
from unlearnkit.ledger.store import INDEX
from unlearnkit.packages import file_sha256
from unlearnkit.publishing import delivery, gauge, leaflet, offered
from unlearnkit.publishing.case import Case, words
from unlearnkit.publishing.job import Job
from unlearnkit.publishing.level import KNOWN, Level, carry_out, invented, level_of
from unlearnkit.study import machine
from unlearnkit.training import adapters

PAGE = "report.html"
WEIGHTS, ADAPTERS = "weights", "weights of the adapters, before these were merged,"  # what a norm is of
NOT_SHOWN = (
    "That nobody could tell this model from one that was never taught the facts: no such model was trained.",
    "That the facts stay away: further training, sampling many answers, rounding the weights, other wordings "
    "and other languages were not tried.",
    "That no copy is left: of the old weights, with which and these ones the facts can be read out "
    "(arXiv:2505.24379), of the training data, or of a ledger.",
    "That the numbers are true: they are those of whoever signs, and nobody else repeated them.",
)


def forget(job: Job, dry_run: bool = False) -> dict[str, Any] | None:
    """Carry a request out and write it to `job.out`; returns what the manifest tells, `verdict` above all.

    A dry run only prints the plan, and returns None. A given ledger is told where a request that passed left
    the model, so that the next one can begin there. Raises UnlearnkitError for whatever cannot be done;
    nothing is left of it then.
    """
    case = Case.of(job)
    case.tell()
    if dry_run:
        return None
    delivery.require_room(job.out, case.takes.disk)
    key, salt = signing.private_key(job.key), manifest.salt()
    now = datetime.datetime.now(datetime.UTC)
    told = {
        "when": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        **({"asked_by": job.asked_by} if job.asked_by else {}),
        "facts": manifest.facts_of(case.groups.forget, salt),
        "software": {"unlearnkit": version("unlearnkit"), **machine.describe(case.model.device.type)},
        "not_shown": list(NOT_SHOWN),
    }
    with delivery.staged(job.out) as (folder, scratch):
        with paths.runs_below(scratch):  # weights of the start and on the way go with it
            told |= _unlearn(case, folder, scratch)
        passed = told["verdict"] == gauge.PASSED
        told["ledger"] = _ledger(case)
        if job.purge and passed:  # true of whatever comes in between
            told["ledger"] |= {"to_purge": True}
        _write(folder, told, salt, key)
    try:
        if passed:  # without a request's records no second attempt could be made
            _settle(case, told, salt, key)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{job.out} is delivered, but the ledger is perhaps not told of it") from None
    print(gauge.words(told["tests"]), flush=True)
    print(f"{told['verdict']}: {job.out / PAGE}", flush=True)
    if job.purge and not passed:
        print(f"the ledger {job.ledger} was not purged, so that another method can be tried", flush=True)
    return told


def _settle(case: Case, told: dict[str, Any], salt: str, key: Ed25519PrivateKey) -> None:
    """What follows a delivery that passed: the given ledger is told of it, and purged if that was asked for.

    Not before it: a call that is killed in between leaves a model that the ledger does not know, which a
    later request refuses. The other way round the ledger would tell of a model that nobody got.
    """
    job = case.job
    if case.book and not case.recipe:
        _note(case)
    if not job.purge:
        return
    try:
        told["ledger"] = _purged(case)
    except (LedgerError, OSError) as error:
        raise LedgerError(
            f"{error}. {job.out} is delivered, and says that the ledger is yet to be purged. To purge it: "
            f"GradientLedger.open({job.ledger!r}).purge({case.request!r})"
        ) from error
    _write(job.out, told, salt, key)


def _note(case: Case) -> None:
    """Tell the ledger of the request; say so where it cannot be written to."""
    try:
        case.note()
    except (LedgerError, OSError) as error:
        print(
            f"warning: {error}. A later request cannot go on from this model with that ledger",
            file=sys.stderr,
            flush=True,
        )


def _unlearn(case: Case, folder: Path, scratch: Path) -> dict[str, Any]:
    """Teach if asked to, unlearn, save, and measure what was saved; returns what the manifest tells of it."""
    model, tokenizer, untaught = case.model, case.tokenizer, None
    if case.recipe:
        untaught = _nll(case)
        if not case.holdout:
            _require_new(case)
        case.teach(scratch)
    level = level_of(model, tokenizer, case.holdout, untaught)
    before = gauge.look(model, tokenizer, case.groups)
    _require_known(case, before["forget"]["nll"], level)
    digest, size = manifest.weights_digest(model), _size(model)
    given, seen_too = _given(case, level)
    result, path = carry_out(
        case.method.name, model, case.request, given, level.nll, lambda: _nll(case), size
    )
    if case.recipe and case.recipe.lora:
        adapters.merge(model)
    delivered = delivery.save(model, case.job.model, folder)
    tests = gauge.compared(before, gauge.look(delivered, tokenizer, case.groups), level.nll)
    tests["forget"]["level_is"] = level.words
    method = {name: getattr(case.method, name) for name in ("name", "title", "source", "version")}
    options = {k: v for k, v in given.items() if k in case.method.options}
    method |= {"options": case.method.options_from(options), "layers": result.layers, "alpha": result.alpha}
    method |= {"moved": ADAPTERS if case.recipe and case.recipe.lora else WEIGHTS}
    method |= {"norm": result.norm, "share": result.norm / size, "path": sorted(path.items())}
    return {
        "method": method | {"retain_seen": seen_too},
        "model": {"before": digest, "after": manifest.weights_digest(delivered)},
        "tests": tests,
        "verdict": gauge.verdict(tests),
        **({"training": words(case.recipe)} if case.recipe else {}),
    }


def _nll(case: Case) -> float:
    """The forget facts' mean NLL, as the model stands."""
    return float(metrics.score(case.model, case.tokenizer, case.groups.forget)["nll"].mean())


def _size(model) -> float:
    return math.sqrt(sum(weights.squared_length(p.detach()) for p in model.parameters()))


def _require_new(case: Case) -> None:
    """Refuse facts that a model says before it is taught them: how unlikely they are then is no level."""
    said = metrics.recalls(case.model, case.tokenizer, case.groups.forget)
    if known := [e.id for e, is_said in zip(case.groups.forget, said, strict=True) if is_said]:
        raise RequestError(
            f"the model says {len(known)} of the facts word for word before it is taught them, {known[0]!r} "
            "first: what it knew before is no level to bring it back to. Add never-trained facts of the same "
            "kind to the data, with the split holdout: theirs is then the one to reach"
        )


def _require_known(case: Case, nll: float, level: Level) -> None:
    """Refuse facts that the model hardly knows better than those of the level, or than a guess of any token.

    A pass would say nothing.
    """
    guess = math.log(case.model.get_input_embeddings().weight.shape[0])
    if nll <= min(level.nll, guess) - KNOWN:
        return
    known = (
        f"to it they are {nll:.2f} nats a token unlikely, {level.words} {level.nll:.2f} and a blind guess "
        f"{guess:.2f}, where {KNOWN} nats less are asked for"
    )
    if case.recipe:
        raise ConfigError(
            f"the training ({words(case.recipe)}) did not teach the model the facts: {known}. Give it more, "
            "-p train.epochs=... or -p train.lr=...; `make recipe` looks for a rate"
        )
    raise RequestError(
        f"the model has nothing to forget: {known}. If it is to be taught them first, add --train; if these "
        "are of another kind or language, add never-trained facts to the data, with the split holdout"
    )


def _given(case: Case, level: Level) -> tuple[dict[str, Any], bool]:
    """What the method is given, and whether it sees others' facts that are measured too."""
    by_id = {e.id: e for e in case.groups.forget}

    def known(example_id: str) -> bool:
        return metrics.score(case.model, case.tokenizer, [by_id[example_id]])["nll"].iloc[0] < level.nll

    values = (lambda: _nll(case) >= level.nll, known, case.holdout or invented())
    filled = dict(zip(offered.FILLED, values, strict=True))
    others = [e for e in case.taught if e.id not in by_id]
    measured = {e.id for e in (*case.groups.retain, *case.groups.neighbours)}
    spared = [e for e in others if e.id not in measured]
    given = {name: value for name, value in filled.items() if name in case.method.options}
    given |= {"examples": case.taught, "tokenizer": case.tokenizer, "retain": spared or others}
    given |= {"ledger": case.book, "checkpoints": case.history} | case.options
    sees_measured = "retain" in case.method.needed(case.options) and not spared
    return {k: v for k, v in given.items() if v is not None}, sees_measured


def _ledger(case: Case) -> dict[str, Any] | None:
    """What became of the ledger until now, and the digest of its index; None where none was given."""
    if case.recipe:
        return {"from": "this request's training", "purged": True}
    if case.book is None:
        return None
    return {"from": "given", "purged": False, "index": file_sha256(case.book.store.path / INDEX)}


def _purged(case: Case) -> dict[str, Any]:
    """Purge the given ledger, and look for what is left: digests of its index, bytes found."""
    path, before = case.book.store.path, _ledger(case)
    wanted = traces.fingerprints(path, case.request)
    case.book.purge(case.request)
    left = sum(trace.length for trace in traces.find(path, wanted))
    return _ledger(case) | {"purged": True, "index_before": before["index"], "traces": left}


def _write(folder: Path, told: Mapping[str, Any], salt: str, key: Ed25519PrivateKey) -> None:
    """The page, then the manifest, which holds its digest."""
    files.write_text(folder / PAGE, leaflet.page(told, signing.as_hex(key.public_key())))
    manifest.write(folder, told, salt, key)
