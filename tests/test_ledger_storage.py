"""The ledger on disk: killed, damaged, full, foreign, purged. It resumes or it says so; no wrong numbers."""

import dataclasses
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_ledger import FACTS, autograd_gradient, relative_error

from unlearnkit import ledger, models, training, unlearning
from unlearnkit.training import session
from unlearnkit.data import Example
from unlearnkit.errors import LedgerError, RequestError
from unlearnkit.ledger import slab
from unlearnkit.ledger.rows import rows_of
from unlearnkit.ledger.shard import Shard
from unlearnkit.ledger.store import FORMAT, Store

KILLS = 4  # random moments for each optimizer; raise it for a thorough search
FACTS = [dataclasses.replace(e, id=f"dave/{e.prompt.split()[-1]}") for e in FACTS]  # ids found in no hash
IDS = [e.id for e in FACTS]
RECIPE = training.Recipe(epochs=3, lr=0.05, batch_size=3)


@pytest.fixture(autouse=True)
def commit_every_epoch(monkeypatch):
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def train(tiny_model, tiny_tokenizer, tmp_path):
    """`train(**changes)`: fine-tune a new tiny GPT-2 into tmp_path/"l"; returns (model, run)."""

    def go(folder="l", arch="gpt2", seed=0, examples=FACTS, recipe=RECIPE, **options):
        model = tiny_model(arch, seed=seed)
        options = {"ledger": tmp_path / folder, "progress": False, **options}
        return model, training.fine_tune(model, tiny_tokenizer, examples, recipe, **options)

    return go


@pytest.fixture
def trained(train, tmp_path) -> Path:
    """Folder of a finished ledger of three epochs."""
    train()
    return tmp_path / "l"


def gradients(path: Path) -> dict[tuple[str, int], dict[str, torch.Tensor]]:
    book = ledger.GradientLedger.open(path)
    return {(i, e): book.gradient(i, e) for i in book.example_ids for e in book.epochs}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def require_same_ledgers(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    assert [k for k in a if not same(a[k], b[k])] == []


def weights_of(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def leftovers(path: Path) -> list[str]:
    return [p.name for p in path.iterdir() if p.suffix == ".partial"]


# -- killed -----------------------------------------------------------------------------------------------


def run_and_die(folder: Path, optimizer: str, moment: int | None) -> None:
    """In a child: train, and SIGKILL the process at its `moment`-th function call or return.

    Without a moment it finishes and writes how many there were.
    """
    session.CHECKPOINT_SECONDS = 0.0
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)

    def train(**options):
        model, tokenizer = models.load(str(folder / "model"))
        training.fine_tune(model, tokenizer, FACTS, recipe, progress=False, **options)

    train()  # libraries load parts of themselves at first use
    clock = itertools.count(1)

    def tick(*_):
        if next(clock) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(tick)
    sys.setprofile(tick)
    train(ledger=folder / f"killed-{moment}")
    sys.setprofile(None)
    (folder / f"moments-{optimizer}").write_text(str(next(clock)))


@pytest.fixture(scope="module")
def children():
    """Start processes from a server that has imported what they need: they begin at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["unlearnkit.training", "transformers.models.gpt2.modeling_gpt2"])

    def run(*args) -> int:
        child = context.Process(target=run_and_die, args=args)
        child.start()
        child.join()
        return child.exitcode

    return run


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_killed_at_any_moment_it_resumes_to_the_same_numbers(
    optimizer, children, train, tiny_model, tiny_tokenizer, tmp_path
):
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)
    model, reference = train("whole", recipe=recipe)
    whole = gradients(tmp_path / "whole")
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    assert children(tmp_path, optimizer, None) == 0
    moments = int((tmp_path / f"moments-{optimizer}").read_text())
    for moment in random.Random(7).sample(range(1, moments), KILLS):
        assert children(tmp_path, optimizer, moment) == -signal.SIGKILL
        resumed, run = train(f"killed-{moment}", recipe=recipe)
        assert same(weights_of(resumed), weights_of(model)), moment
        assert run.losses == reference.losses, moment
        ledger.GradientLedger.open(tmp_path / f"killed-{moment}", resumed).verify()
        require_same_ledgers(gradients(tmp_path / f"killed-{moment}"), whole)
        assert sorted(p.name for p in (tmp_path / f"killed-{moment}").iterdir()) == sorted(
            p.name for p in (tmp_path / "whole").iterdir()
        )


def test_a_torn_tail_is_dropped_and_said(train, tmp_path, caplog):
    """Half-written files, shards of an unfinished epoch and stale checkpoints do not survive a resumption."""

    def die(epoch, _model):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(on_epoch=die)
    torn = ("e003-000002.safetensors", "e003-000003.partial", "index.partial", "training-003.safetensors")
    for name in (*torn, "training-003.safetensors.partial", "training-001.safetensors"):
        (tmp_path / "l" / name).write_bytes(b"half")
    book = ledger.GradientLedger.open(tmp_path / "l")
    assert book.epochs == [1, 2]  # appended epoch by epoch, readable before the end
    assert book.gradient(IDS[0], 2)
    with pytest.raises(LedgerError, match=r"incomplete: 2 of 3 epochs.*resumes"):
        book.verify()
    model, _ = train()
    assert "dropped 4 files of an unfinished epoch 3" in caplog.text
    whole, _ = train("whole")
    assert same(weights_of(model), weights_of(whole))
    require_same_ledgers(gradients(tmp_path / "l"), gradients(tmp_path / "whole"))
    assert {p.name for p in (tmp_path / "l").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_a_creation_killed_half_way_starts_again(train, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "index.partial").write_text("{")
    train()
    ledger.GradientLedger.open(tmp_path / "l").verify()


# -- damaged ----------------------------------------------------------------------------------------------


def flip(path: Path, place: int, mask: int = 0xFF) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ mask]))


def parts_of(shard: Shard) -> list[tuple[int, int, str]]:
    """(first byte, last byte, example) of each stored part of a shard file."""
    found = []
    for name in shard.names:
        begin, end = shard.header[name]["data_offsets"]
        rows = shard.lengths(shard.rows_of[name])
        row_bytes = (end - begin) // rows.sum()
        at = shard.start + begin
        for example, count in zip(shard.examples, rows * row_bytes, strict=True):
            found.append((at, at + int(count) - 1, example))
            at += int(count)
        assert at == shard.start + end
    return found


def test_a_flipped_byte_anywhere_in_the_data_names_shard_and_example(trained):
    before = gradients(trained)
    entry = Store.load(trained).shards[1]
    file = trained / entry["file"]
    shard = Shard(file, entry)
    chosen = random.Random(3).sample(parts_of(shard), 60)
    for first, last, example in chosen:
        place = random.Random(first).randint(first, last)
        flip(file, place)
        book = ledger.GradientLedger.open(trained)
        with pytest.raises(LedgerError, match=rf"shard {file.name} .*example '{example}'"):
            book.verify()
        with pytest.raises(LedgerError, match=rf"shard {file.name} .*example '{example}'"):
            book.gradient(example, entry["epoch"])
        with pytest.raises(LedgerError, match=example):
            book.dot([example], [example], entry["epoch"], entry["epoch"])
        other = next(i for i in IDS if i != example)
        assert same(book.gradient(other, entry["epoch"]), before[other, entry["epoch"]])
        flip(file, place)
    require_same_ledgers(gradients(trained), before)


@pytest.mark.parametrize("mask", [0xFF, 0x01])
def test_a_flipped_byte_in_the_front_names_the_shard(trained, mask):
    """Header length, header, padding and tables."""
    entry = Store.load(trained).shards[0]
    file = trained / entry["file"]
    shard = Shard(file, entry)
    tables_end = shard.start + shard.header["checksums"]["data_offsets"][1]
    rest = random.Random(4).sample(range(16, tables_end), 150)
    for place in (*range(16), shard.start - 1, shard.start, tables_end - 1, *rest):
        flip(file, place, mask)
        book = ledger.GradientLedger.open(trained)
        example = entry["examples"][0]
        for act in (book.verify, lambda book=book, e=example: book.gradient(e, entry["epoch"])):
            with pytest.raises(LedgerError, match=rf"shard {file.name} has a damaged header.*{example}"):
                act()
        flip(file, place, mask)
    ledger.GradientLedger.open(trained).verify()


@pytest.mark.parametrize("mask", [0xFF, 0x01])
def test_a_flipped_byte_in_the_index(trained, mask):
    index = trained / "index.json"
    size = index.stat().st_size
    for place in (0, 1, *range(2, size, 1 + size // 400), size - 2, size - 1):
        flip(index, place, mask)
        with pytest.raises(LedgerError, match=r"index.json is damaged"):
            ledger.GradientLedger.open(trained)
        flip(index, place, mask)
    ledger.GradientLedger.open(trained).verify()


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 1.0])
def test_a_truncated_or_lengthened_shard(trained, keep):
    entry = Store.load(trained).shards[-1]
    file, example, size = trained / entry["file"], entry["examples"][0], entry["bytes"]
    os.truncate(file, size + 1 if keep == 1 else int(keep * size))
    book = ledger.GradientLedger.open(trained)
    for act in (book.verify, lambda: book.sum(IDS, "all")):
        with pytest.raises(LedgerError, match=rf"{file.name} holds .* bytes instead of {size:,}.*{example}"):
            act()
    assert book.sum(IDS, 1)  # the other shards are still good


def test_a_missing_shard(trained):
    entry = Store.load(trained).shards[1]
    file, example, epoch = trained / entry["file"], entry["examples"][0], entry["epoch"]
    file.unlink()
    book = ledger.GradientLedger.open(trained)
    for act in (book.verify, lambda: book.gradient(example, epoch)):
        with pytest.raises(LedgerError, match=rf"{file.name} cannot be opened \(No such file.*{example}"):
            act()


def test_an_exchanged_shard_is_noticed(trained):
    """A whole, valid shard in another's place is not that shard."""
    first, second = (trained / s["file"] for s in Store.load(trained).shards[:2])
    shutil.copy(second, first)
    with pytest.raises(LedgerError, match=first.name):
        ledger.GradientLedger.open(trained).verify()


def test_a_damaged_checkpoint_stops_a_resumption(train, tmp_path):
    train()
    os.truncate(tmp_path / "l" / "training-003.safetensors", 1000)
    with pytest.raises(models.registry.ModelError, match="training-003.safetensors is damaged"):
        train()


# -- full -------------------------------------------------------------------------------------------------


@contextmanager
def files_no_larger_than(size: int):
    """The kernel refuses to write more into any file of this process: a disk that fills up at this place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("size", "shard_bytes", "match"),
    [
        (3_000, 1 << 20, "index of .* could not be written"),
        (50_000, 1, "ledger could not be written .* resumes"),  # a shard, noticed at the next step
        (100_000, 1 << 20, "ledger could not be written .* resumes"),  # a shard, noticed at the epoch's end
        (50_000, 1 << 20, "epoch 1 of ledger .* weights could not be written"),  # the checkpoint beside it
    ],
)
def test_a_full_disk_leaves_nothing_half_written_and_resumes(
    size, shard_bytes, match, train, tmp_path, monkeypatch
):
    monkeypatch.setattr(slab, "SHARD_BYTES", shard_bytes)
    whole, _ = train("whole")  # theta_0 is now in the run cache
    with pytest.raises(LedgerError, match=match), files_no_larger_than(size):
        train()
    assert leftovers(tmp_path / "l") == []
    if (tmp_path / "l" / "index.json").exists():
        assert ledger.GradientLedger.open(tmp_path / "l").epochs == []
    model, _ = train()
    assert same(weights_of(model), weights_of(whole))
    require_same_ledgers(gradients(tmp_path / "l"), gradients(tmp_path / "whole"))


def test_a_disk_that_fills_in_the_last_epoch_keeps_the_others(train, tmp_path):
    def fill(epoch, _model):
        if epoch == 2:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))

    with pytest.raises(LedgerError, match="could not be written"), files_no_larger_than(1 << 30):
        train(on_epoch=fill)
    assert ledger.GradientLedger.open(tmp_path / "l").epochs == [1]
    train(on_epoch=lambda *_: None)
    train("whole")
    require_same_ledgers(gradients(tmp_path / "l"), gradients(tmp_path / "whole"))


# -- foreign ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"recipe": dataclasses.replace(RECIPE, lr=0.1)}, "lr is 0.05 there and 0.1 here"),
        ({"recipe": dataclasses.replace(RECIPE, seed=1)}, "seed is 0 there and 1 here"),
        ({"recipe": dataclasses.replace(RECIPE, optimizer="adamw")}, "optimizer is 'sgd' there"),
        ({"examples": [*FACTS[:-1], dataclasses.replace(FACTS[-1], answer="owls")]}, "data is"),
        ({"examples": FACTS[:-1]}, "data is"),
        ({"exclude": IDS[:1]}, rf"exclude is \[\] there and \['{IDS[0]}'\] here"),
        ({"record": IDS[:1]}, "recorded examples is"),
        ({"ledger_dtype": "float32"}, "dtype is 'float16' there and 'float32' here"),
        ({"seed": 1}, "model is"),
    ],
)
def test_another_run_in_the_same_folder(changes, key, train, trained):
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    with pytest.raises(LedgerError, match=rf"already holds a ledger of another run: {key}"):
        train(**changes)
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before


def test_folders_that_hold_no_ledger(train, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    with pytest.raises(LedgerError, match="not empty and holds no ledger"):
        train("full")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "precious"
    with pytest.raises(LedgerError, match="cannot be made"):
        train("full/thesis.tex")
    for path in (tmp_path / "full", tmp_path / "absent", tmp_path / "full" / "thesis.tex"):
        with pytest.raises(LedgerError, match="holds no ledger"):
            ledger.GradientLedger.open(path)


def test_a_ledger_of_a_later_format(trained):
    data = Store.load(trained)
    data.head["format"] = FORMAT + 1
    data._save()
    with pytest.raises(LedgerError, match=f"format {FORMAT + 1}; this version reads {FORMAT}"):
        ledger.GradientLedger.open(trained)


def test_the_wrong_model_is_refused(trained, tiny_model):
    book = ledger.GradientLedger.open(trained)
    untied, frozen = tiny_model("gpt2", tied=False), tiny_model("gpt2")
    frozen.transformer.h[1].mlp.c_fc.weight.requires_grad_(False)
    for model, name in (
        (tiny_model("llama"), "GPT2LMHeadModel; this model differs at parameter"),
        (untied, "'lm_head.weight'"),
        (frozen, "'transformer.h.1.mlp.c_fc.weight': absent or frozen"),
    ):
        with pytest.raises(LedgerError, match=name):
            ledger.GradientLedger.open(trained, model)
        with pytest.raises(LedgerError, match=name):
            unlearning.apply("first_epoch", model, request=IDS[:1], ledger=book, alpha=0.1)
    ledger.GradientLedger.open(trained, tiny_model("gpt2"))


def test_other_weights_of_the_same_shapes_are_refused(train, trained, tiny_model):
    """Another start, another end, one bit of a small parameter: named, unless the caller means it."""
    book = ledger.GradientLedger.open(trained)
    other_end, _ = train("other", recipe=dataclasses.replace(RECIPE, seed=1))
    halved, nudged = tiny_model("gpt2").bfloat16(), tiny_model("gpt2")
    nudged.transformer.ln_f.bias.data.view(torch.int32)[3] ^= 1
    for model, match in (
        (tiny_model("gpt2", seed=1), "40 of 40 parameters differ from theta_0's"),
        (other_end, "40 of 40 parameters differ"),
        (halved, "40 of 40 parameters differ"),
        (
            nudged,
            "1 of 40 parameters differ from theta_0's, 'transformer.ln_f.bias' first.*check_model=False",
        ),
    ):
        request = {"request": IDS[:1], "ledger": book}
        before = weights_of(model)
        for act in (
            lambda m=model: ledger.GradientLedger.open(trained, m),
            lambda m=model, r=request: unlearning.apply("first_epoch", m, **r, alpha=0.1),
            lambda m=model, r=request: list(unlearning.path("first_epoch", m, **r, alphas=[0.1])),
        ):
            with pytest.raises(LedgerError, match=match):
                act()
        assert same(weights_of(model), before)
        ledger.GradientLedger.open(trained, model, check_model=False)
        unlearning.apply("first_epoch", model, **request, alpha=0.1, check_model=False)


def test_the_ledgers_own_model_is_accepted_wherever_unlearning_took_it(
    train, tmp_path, tiny_model, tiny_tokenizer
):
    """theta_0, theta_T, points of a path and results on results; not where something else took it."""
    model, _ = train()
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    ledger.GradientLedger.open(tmp_path / "l", tiny_model("gpt2"))
    request = {"request": IDS[:2], "ledger": book}
    for _ in unlearning.path("first_epoch", model, **request, alphas=[0.1, 0.2]):
        ledger.GradientLedger.open(tmp_path / "l", model)
        unlearning.apply("all_epochs", model, **request, alpha=0.1).revert()
    results = [unlearning.apply(name, model, **request, alpha=0.1) for name in ("first_epoch", "all_epochs")]
    results.pop().revert()
    unlearning.apply("random_direction", model, **request, alpha=0.1)
    between = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "between")
    for one in (book, between):  # the later ledger's start is a place on the way from the earlier one's
        unlearning.apply("all_epochs", model, **request | {"ledger": one}, alpha=0.1)
    moved = weights_of(model)
    with torch.no_grad():
        model.transformer.ln_f.bias.add_(1)
    with pytest.raises(LedgerError, match="another GPT2LMHeadModel"):
        unlearning.apply("first_epoch", model, **request, alpha=0.1)
    foreign = tiny_model("gpt2")  # an object that unlearning never saw
    foreign.load_state_dict(moved, strict=False)
    with pytest.raises(LedgerError, match="40 of 40 parameters differ"):
        ledger.GradientLedger.open(tmp_path / "l", foreign)


def test_an_index_without_weights_takes_any_model_that_fits(trained, tiny_model):
    store = Store.load(trained)
    del store.head["weights"]
    store.publish(store.epochs, **store.progress)
    book = ledger.GradientLedger.open(trained, tiny_model("gpt2", seed=1))
    unlearning.apply("first_epoch", tiny_model("gpt2", seed=2), request=IDS[:1], ledger=book, alpha=0.1)
    with pytest.raises(LedgerError, match="differs at parameter"):
        ledger.GradientLedger.open(trained, tiny_model("llama"))


def test_an_unfinished_ledger_knows_the_weights_of_its_last_commit(train, tmp_path):
    kept = {}

    def die(epoch, model):
        kept[epoch] = weights_of(model)
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(on_epoch=die)
    model, _ = train("whole")
    for epoch, accepted in ((1, False), (2, True), (3, False)):
        model.load_state_dict(kept[epoch], strict=False)
        if accepted:
            ledger.GradientLedger.open(tmp_path / "l", model)
        else:
            with pytest.raises(LedgerError, match="neither"):
                ledger.GradientLedger.open(tmp_path / "l", model)


def test_requests_that_the_ledger_cannot_answer(trained):
    book = ledger.GradientLedger.open(trained)
    with pytest.raises(RequestError, match="2 ids are not in ledger .*'nobody', 'none'"):
        book.sum(["nobody", IDS[0], "none"])
    with pytest.raises(RequestError, match="'nobody'"):
        book.dot(IDS[:1], ["nobody"])
    for act in (book.sum, book.purge, book.norms):
        with pytest.raises(RequestError, match="empty"):
            act([])
    with pytest.raises(LedgerError, match="epochs='bogus': give numbers from 1, or 'all'"):
        book.sum(IDS, "bogus")
    with pytest.raises(LedgerError, match=r"epochs=\[\] names no epoch"):
        book.sum(IDS, [])
    for epoch in (0, 4, -1):
        with pytest.raises(LedgerError, match=rf"epoch {epoch} is not in ledger .* epochs 1 to 3"):
            book.gradient(IDS[0], epoch)


def test_an_unknown_dtype_leaves_no_folder(train, tmp_path):
    with pytest.raises(LedgerError, match="'int8' is unknown: use one of float16, bfloat16, float32"):
        train(ledger_dtype="int8")
    assert not (tmp_path / "l").exists()


# -- purged -----------------------------------------------------------------------------------------------


def traces(path: Path, needles: list[bytes]) -> list[str]:
    """Names of files that contain any of the needles, training checkpoints apart."""
    files = [p for p in path.iterdir() if not p.name.startswith("training-")]
    return [p.name for p in files if any(n in p.read_bytes() for n in needles)]


def needles_of(path: Path, ids: list[str]) -> list[bytes]:
    """The ids, and everything that is stored of each but its positions, which count 0, 1, 2, ... for all."""
    found = [i.encode() for i in ids]
    for entry in Store.load(path).shards:
        shard = Shard(path / entry["file"], entry)
        for place in [k for k, i in enumerate(entry["examples"]) if i in ids]:
            own = [name for name in shard.names if name != "transformer.wpe/ids"]
            found += [bytes(shard.raw(name, [place])) for name in own]
    return found


@pytest.mark.parametrize("gone", [IDS[:1], IDS[2:5], IDS])
def test_purge_removes_the_bytes_and_nothing_else(gone, trained):
    before, needles = gradients(trained), needles_of(trained, gone)
    assert traces(trained, needles)
    book = ledger.GradientLedger.open(trained)
    size = sum(p.stat().st_size for p in trained.glob("e*"))
    freed = book.purge(gone)
    assert freed == size - sum(p.stat().st_size for p in trained.glob("e*")) > 0
    assert traces(trained, needles) == []
    for reader in (book, ledger.GradientLedger.open(trained)):
        reader.verify()
        assert reader.example_ids == [i for i in IDS if i not in gone]
        with pytest.raises(RequestError, match=gone[0]):
            reader.sum(gone)
    require_same_ledgers(gradients(trained), {k: g for k, g in before.items() if k[0] not in gone})


def test_purges_one_after_another(trained):
    before = gradients(trained)
    book = ledger.GradientLedger.open(trained)
    for example in IDS[:5]:
        book.purge([example])
    require_same_ledgers(gradients(trained), {k: g for k, g in before.items() if k[0] in IDS[5:]})
    assert traces(trained, [i.encode() for i in IDS[:5]]) == []


@pytest.mark.parametrize("failure", [None, LedgerError("no room for the index"), KeyboardInterrupt("stop")])
def test_a_failed_purge_leaves_the_old_ledger(failure, trained, monkeypatch):
    before = gradients(trained)
    names = {p.name for p in trained.iterdir()}
    book = ledger.GradientLedger.open(trained)
    if failure:

        def fail(*_, **__):
            raise failure

        monkeypatch.setattr(Store, "publish", fail)
    room = files_no_larger_than(1 << 30 if failure else 20_000)
    expected = failure or LedgerError("the purged ledger could not be written .* Nothing is purged yet")
    with pytest.raises(type(expected), match=str(expected)), room:
        book.purge(IDS[:2])
    assert {p.name for p in trained.iterdir()} == names
    book.verify()
    assert same(book.gradient(IDS[0], 2), before[IDS[0], 2])  # the open book goes on reading the old one
    require_same_ledgers(gradients(trained), before)


def test_a_purge_killed_before_its_last_deletion_is_noticed(trained, tmp_path):
    """The new index is out, the old shards are still there: reads are right, verify says what is left."""
    shutil.copytree(trained, tmp_path / "before")
    book = ledger.GradientLedger.open(trained)
    book.purge(IDS[:1])
    after = gradients(trained)
    for path in (tmp_path / "before").glob("e*"):
        shutil.copy(path, trained)
    require_same_ledgers(gradients(trained), after)
    with pytest.raises(LedgerError, match=r"holds e001-000000.safetensors, which its index does not name"):
        book.verify()
    book.purge(IDS[1:2])
    book.verify()
    assert traces(trained, [i.encode() for i in IDS[:2]]) == []


# -- what is kept -----------------------------------------------------------------------------------------


def test_info(trained, tiny_model):
    info = ledger.GradientLedger.open(trained).info()
    assert (info["examples"], info["epochs"], info["dtype"]) == (7, 3, "float16")
    assert info["bytes"] == sum(p.stat().st_size for p in trained.glob("e*"))
    assert info["shards"] == len(list(trained.glob("e*")))
    assert info["bytes_per_record"] == info["bytes"] / 21
    model = {"name": "GPT2LMHeadModel", "fingerprint": models.fingerprint(tiny_model("gpt2"))}
    assert info["model"] == model
    known = {field.name for field in dataclasses.fields(RECIPE)}
    assert type(RECIPE)(**{k: v for k, v in info["recipe"].items() if k in known}) == RECIPE
    json.dumps(info)
    book = ledger.GradientLedger.open(trained)
    front = info["bytes"] - sum(book.bytes_by_site().values())
    assert 0 < front < info["bytes"] / 2
    assert book.parameter_sizes() == {n: p.numel() for n, p in tiny_model("gpt2").named_parameters()}


def test_plain_safetensors_opens_every_shard(trained):
    for entry in Store.load(trained).shards:
        with safe_open(trained / entry["file"], "pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a mapping)
            rows = json.loads(file.metadata()["rows"])
        totals = dict(zip(("live", "targets", "one"), tensors["offsets"][:, -1].tolist(), strict=True))
        assert totals["one"] == len(entry["examples"])
        assert tensors.keys() == {*rows, "offsets", "exponents", "checksums"}
        assert all(len(tensors[name]) == totals[rows[name]] for name in rows)
        assert tensors["transformer.wte/d"].shape == (totals["live"], 16)
        assert tensors["transformer.wte/d"].dtype == torch.float16
        assert tensors["transformer.ln_f/weight"].dtype == torch.float32


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 1e-3), ("bfloat16", 1e-2), ("float32", 1e-5)])
@pytest.mark.parametrize("divisor", [1e-9, 1.0, 1e9])
def test_every_encoding_keeps_its_precision_at_every_scale(
    dtype, bound, divisor, tiny_model, tiny_tokenizer, tmp_path
):
    """fp16's range is no limit: gradients of 10^9 and 10^-9 keep their digits through the scale exponents."""
    model = tiny_model("gpt2")
    book = ledger.record(model, tiny_tokenizer, FACTS, tmp_path / "l", dtype=dtype, divisor=divisor)
    theirs = autograd_gradient(model, tiny_tokenizer, FACTS[2], "answer")
    ours = {n: g * divisor for n, g in book.gradient(IDS[2], 1).items()}
    assert relative_error(ours, theirs) <= bound


@pytest.mark.parametrize(
    "scales",
    [(1.0, 1e-9, 1e9, 3.0), (1e9, 1e-9), (1e30, 1e-30, 1e30), (0.0, 1.0), (1.0, 0.0, 1e-6), (1, 40, 0.1)],
)
@pytest.mark.parametrize("width", [3, slab.CHUNK + 1])
def test_a_jump_between_two_steps_keeps_the_digits(scales, width, tmp_path):
    """The scale is the step before's only while it fits: no overflow and no lost digits when it does not."""
    store = Store.create(tmp_path / "l", {"dtype": "float16"})
    layout = {slab.Shape("live", torch.float16, width): ["x"]}
    gathered, generator = slab.Slab(store), torch.Generator().manual_seed(0)
    values = [scale * torch.randn(1, 5, width, generator=generator) for scale in scales]
    for number, value in enumerate(values):
        gathered.begin([str(number)], [(5, 5)], layout)
        gathered.put("x", value)
        gathered.end(1, number, 0.1)
    (piece,) = slab.pieces(layout, gathered.steps)
    for value, view, exponent in zip(values, piece.views, piece.exponents, strict=True):
        stored = torch.frombuffer(view, dtype=torch.float16).double() * 2.0**-exponent
        assert (stored - value.flatten().double()).norm() <= 1e-3 * value.double().norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kept", ["block", "apart", "none", "all"])
@pytest.mark.parametrize("chunk", [4, 7, 1 << 20])
def test_every_way_of_taking_rows_gives_the_same(kept, dtype, chunk, tmp_path, monkeypatch):
    """Rows that two slices name are cast where they lie, others are gathered first; in parts of any size."""
    monkeypatch.setattr(slab, "CHUNK", chunk)
    mask = torch.ones(3, 5, dtype=torch.bool) if kept == "all" else torch.zeros(3, 5, dtype=torch.bool)
    if kept == "block":
        mask[1:, :4] = True
    elif kept == "apart":
        mask[0, :2], mask[2, 1:] = True, True
    rows, width = rows_of(mask), 6
    assert isinstance(rows, tuple) == (kept in ("block", "all"))
    values = (1e-6 * torch.randn(3, 5, width, generator=torch.Generator().manual_seed(0))).to(dtype)
    store = Store.create(tmp_path / "l", {"dtype": "float16"})
    layout = {slab.Shape("live", torch.float16, width): ["x"], slab.Shape("live", torch.int32, 1): ["ids"]}
    gathered = slab.Slab(store)
    for number in range(2):  # a scale found, then a scale kept
        gathered.begin(["0"], [(int(mask.sum()), 0)], layout)
        gathered.put("x", values, rows)
        gathered.put_ids("ids", torch.arange(15).view(3, 5), rows)
        gathered.end(1, number, 0.1)
    taken, ids = slab.pieces(layout, gathered.steps)
    for view, exponent in zip(taken.views, taken.exponents, strict=True):
        stored = np.frombuffer(view, np.float16).reshape(-1, width).astype(float) * 2.0**-exponent
        np.testing.assert_allclose(stored, values[mask].double(), rtol=1e-3, atol=1e-12)
    for view in ids.views:
        assert list(np.frombuffer(view, np.int32)) == mask.flatten().nonzero().flatten().tolist()


def test_recording_changes_no_weight(train):
    plain, _ = train(ledger=None)
    recorded, _ = train()
    assert same(weights_of(plain), weights_of(recorded))


def test_a_recorded_subset_is_the_same_as_in_the_whole(train, tmp_path):
    model, _ = train("whole", ledger_dtype="float32")
    subset, _ = train(record=IDS[1:3], ledger_dtype="float32")
    assert same(weights_of(model), weights_of(subset))
    book = ledger.GradientLedger.open(tmp_path / "l", subset)
    book.verify()
    assert book.example_ids == IDS[1:3]
    whole = gradients(tmp_path / "whole")
    require_same_ledgers(gradients(tmp_path / "l"), {k: g for k, g in whole.items() if k[0] in IDS[1:3]})


def test_excluded_examples_are_not_recorded(train, tmp_path):
    train(exclude=IDS[:2])
    book = ledger.GradientLedger.open(tmp_path / "l")
    book.verify()
    assert book.example_ids == IDS[2:]


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulation_gives_the_same_records(accumulate, train, tmp_path):
    """Also where long and short texts of one step are stored in different layouts, so in different shards."""
    long = Example("long", "Dave", "Dave", " ".join(["the tides of the northern sound"] * 4), "forget")
    facts = [long, *FACTS]
    plain, _ = train("plain", examples=facts, ledger_dtype="float32")
    recipe = dataclasses.replace(RECIPE, accumulate=accumulate)
    split, _ = train("split", examples=facts, recipe=recipe, ledger_dtype="float32")
    assert relative_error(weights_of(split), weights_of(plain)) < 1e-4
    ledger.GradientLedger.open(tmp_path / "split", split).verify()
    ours, theirs = gradients(tmp_path / "split"), gradients(tmp_path / "plain")
    assert ours.keys() == theirs.keys()
    assert max(relative_error(ours[k], theirs[k]) for k in theirs) < 1e-3  # rounding, grown over the steps
    assert max(relative_error(ours[i, 1], theirs[i, 1]) for i in ("long", *IDS)) < 1e-4


def test_shards_of_bounded_size_hold_the_same(train, tmp_path, monkeypatch):
    train("one")
    monkeypatch.setattr(slab, "SHARD_BYTES", 1)
    train("many")
    assert len(list((tmp_path / "many").glob("e*"))) == 9  # one for each of 3 x 3 steps
    require_same_ledgers(gradients(tmp_path / "many"), gradients(tmp_path / "one"))


def test_sums_do_not_depend_on_chunks(trained, monkeypatch):
    book = ledger.GradientLedger.open(trained)
    whole, dots = book.sum(IDS, "all"), book.dot(IDS, IDS)
    monkeypatch.setattr(ledger.reader, "BUDGET", 1)  # one record at a time
    assert relative_error(book.sum(IDS, "all"), whole) < 1e-5
    assert torch.allclose(book.dot(IDS, IDS), dots, rtol=1e-4, atol=1e-6)
    assert relative_error(book.sum(iter(IDS), (e for e in (1, 2, 3))), whole) < 1e-5


@pytest.mark.parametrize("gap_bytes", [-1, 1 << 30])
def test_requests_in_any_order_with_gaps_and_repeats(gap_bytes, trained, monkeypatch):
    """However the records lie on disk, and whether those between are read over or skipped."""
    book = ledger.GradientLedger.open(trained)
    dots = book.dot(IDS, IDS)
    monkeypatch.setattr(ledger.shard, "GAP_BYTES", gap_bytes)
    rows, columns = [5, 0, 3, 0], [4, 5, 1, 5]
    asked = book.dot([IDS[k] for k in rows], [IDS[k] for k in columns])
    assert torch.allclose(asked, dots[rows][:, columns], rtol=1e-4, atol=1e-6)
    alone = [book.gradient(IDS[k], 2) for k in (5, 0, 5)]
    total = {n: sum(a[n] for a in alone) for n in alone[0]}
    assert relative_error(book.sum([IDS[5], IDS[0], IDS[5]], (2,)), total) < 1e-6
