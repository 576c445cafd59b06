"""The ledger's folder: killed, full, foreign. It resumes or it says so; no wrong numbers."""

import dataclasses
import multiprocessing
import random
import resource
import signal
from pathlib import Path

import pytest
from deaths import run_and_die
from worlds import DAVE as FACTS
from worlds import DAVE_IDS as IDS
from worlds import (
    RECIPE,
    files_no_larger_than,
    flip,
    gradients,
    require_same_ledgers,
    same,
    weights_of,
)

from unlearnkit import ledger, training
from unlearnkit.errors import LedgerError
from unlearnkit.ledger import slab
from unlearnkit.ledger.store import FORMAT, Store

KILLS = 4  # random moments for each optimizer; raise it for a thorough search


def leftovers(path: Path) -> list[str]:
    return [p.name for p in path.iterdir() if p.suffix == ".partial"]


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
    assert "dropped 6 files of an unfinished epoch 3" in caplog.text
    whole, _ = train("whole")
    assert same(weights_of(model), weights_of(whole))
    require_same_ledgers(gradients(tmp_path / "l"), gradients(tmp_path / "whole"))
    assert {p.name for p in (tmp_path / "l").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_a_creation_killed_half_way_starts_again(train, tmp_path):
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "index.partial").write_text("{")
    train()
    ledger.GradientLedger.open(tmp_path / "l").verify()


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


def test_a_dropped_checkpoint_leaves_a_whole_ledger_that_does_not_resume(train, trained):
    before = gradients(trained)
    Store.load(trained).drop_checkpoint()
    assert list(trained.glob("training-*")) == []
    ledger.GradientLedger.open(trained).verify()
    require_same_ledgers(gradients(trained), before)
    with pytest.raises(LedgerError, match="keeps no checkpoint to resume from"):
        train()


def damages(path: Path, seed: int):
    """Twelve flipped bits, three truncations and a deletion, one after the other; the file is whole after."""
    whole, draw = path.read_bytes(), random.Random(seed)
    for place in {0, 8, len(whole) - 1, *draw.sample(range(len(whole)), 9)}:
        flip(path, place, 1 << draw.randrange(8))
        yield f"bit flipped in byte {place}"
        path.write_bytes(whole)
    for size in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        yield f"cut to {size} bytes"
    path.unlink()
    yield "deleted"
    path.write_bytes(whole)


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_verify_sees_every_damage_in_every_file(optimizer, train, tmp_path):
    """Of a finished ledger and of one that waits to be resumed, with its optimizer's state."""

    def die(epoch, _model):
        if epoch == 2:
            raise KeyboardInterrupt

    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, epochs=2)
    train("finished", recipe=recipe)
    with pytest.raises(KeyboardInterrupt):
        train("waiting", recipe=recipe, on_epoch=die)
    for folder in (tmp_path / "finished", tmp_path / "waiting"):
        torn = Store.load(folder).unnamed()  # of the epoch that is to be recorded again
        files = sorted(set(folder.iterdir()) - set(torn))
        assert {p.name[:5] for p in files} >= {"e001-", "index", "train"}
        for number, file in enumerate(files):
            for damage in damages(file, seed=number):
                with pytest.raises(LedgerError) as caught:
                    ledger.GradientLedger.open(folder).verify()
                assert file.name in str(caught.value), damage
                if file.name.startswith("training"):
                    with pytest.raises(LedgerError) as caught:
                        train(folder.name, recipe=recipe)
                    assert file.name in str(caught.value), damage
    ledger.GradientLedger.open(tmp_path / "finished").verify()


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
    for name in ("thesis.pdf.partial", "thesis.tex"):
        (tmp_path / "full" / name).write_text("precious")
        with pytest.raises(LedgerError, match="not empty and holds no ledger"):
            train("full")
        assert (tmp_path / "full" / name).read_text() == "precious"
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


def test_an_unknown_dtype_leaves_no_folder(train, tmp_path):
    with pytest.raises(LedgerError, match="'int8' is unknown: use one of float16, bfloat16, float32"):
        train(ledger_dtype="int8")
    assert not (tmp_path / "l").exists()
