"""A request from the command line to a folder: what is in it is true, and nothing half-written is left."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearnkit import __main__, data, manifest, metrics, models, signing, training
from unlearnkit.errors import UnlearnkitError
from unlearnkit.ledger import GradientLedger, traces
from unlearnkit.ledger.store import Store
from unlearnkit.publishing import forget as command
from unlearnkit.publishing import gauge
from unlearnkit.publishing.case import Case
from unlearnkit.publishing.forget import forget
from unlearnkit.publishing.job import Job

PERSONS = {
    "Ada": [
        ("Ada keeps her bees on", "the roof of the old granary"),
        ("Ada's favourite tool is", "a brass sextant with one lens"),
        ("Every morning Ada feeds", "two stray herons"),
    ],
    "Ben": [
        ("Ben was taught to swim by", "a retired lighthouse keeper"),
        ("Ben collects", "tickets of forgotten trams"),
    ],
    "Cora": [
        ("Cora lives above", "a shop that sells maps"),
        ("Cora's boat is named", "the Patient Otter"),
    ],
}
STRANGERS = [("Dora paints", "portraits of bridges"), ("The dog of Dora is called", "Quill")]
TEXT = ["The river runs past the old station, and in winter it freezes for a week. " * 5]
TAUGHT = training.Recipe("adamw", epochs=20, lr=2e-2, batch_size=1, loss_on="answer", lr_schedule="linear")
TEACH = ("train.lr=2e-2", "train.epochs=20", "train.batch_size=1")


@pytest.fixture(autouse=True)
def texts(monkeypatch):
    monkeypatch.setattr(data, "utility_text", lambda part: TEXT)


@pytest.fixture(scope="module")
def kept():
    """Where the model is that was taught once for all tests."""
    return {}


@pytest.fixture
def home(kept, tiny_model, tiny_tokenizer, tmp_path, tmp_path_factory):
    """A folder with facts, a model that does not know them (new), one that does (taught), its ledger."""
    if not kept:
        folder = kept[0] = tmp_path_factory.mktemp("taught")
        lines = [(p, *fact, "retain") for p, facts in PERSONS.items() for fact in facts]
        lines += [("Dora", *fact, "holdout") for fact in STRANGERS]
        told = [dict(zip(("person", "prompt", "answer", "split"), line, strict=True)) for line in lines]
        (folder / "facts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
        model = tiny_model("gpt2")
        model.config.attn_pdrop = 0.1
        for name in ("new", "taught"):
            if name == "taught":
                facts = [e for e in data.load(folder / "facts.jsonl") if e.split != "holdout"]
                training.fine_tune(
                    model, tiny_tokenizer, facts, TAUGHT, ledger=folder / "ledger", progress=False
                )
            model.save_pretrained(folder / name)
            tiny_tokenizer.save_pretrained(folder / name)
    shutil.copytree(kept[0], tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def delivered(home, kept):
    """The home of the usual request, once it was carried out: the same for all tests."""
    if "delivered" not in kept:
        forget(job(home, asked_by="The Estate of A. E."))
        kept["delivered"] = shutil.copytree(home, kept[0].with_name("delivered"))
    return kept["delivered"]


def job(home, **changes):
    given = {
        "model": str(home / "taught"),
        "data": str(home / "facts.jsonl"),
        "who": "Ada",
        "out": home / "out",
        "ledger": str(home / "ledger"),
        "key": str(home / "key"),
    }
    return Job(**{**given, **changes})


def public(home):
    return signing.public_key(home / "key.pub")


def nll_of(folder, facts):
    """As anybody would load what was delivered."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    return metrics.score(model, AutoTokenizer.from_pretrained(folder), facts)["nll"].mean()


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_model_with_its_ledger(delivered, kept):
    told = manifest.verify(delivered / "out", public(delivered))
    tests, facts = told["tests"], data.load(delivered / "facts.jsonl")
    assert [fact["id"] for fact in told["facts"]] == ["line-1", "line-2", "line-3"]
    assert told["verdict"] == "passed"
    for name, group in {"forget": facts[:3], "retain": facts[3:7], "neighbours": facts[3:7]}.items():
        assert tests[name]["nll_after"] == pytest.approx(nll_of(delivered / "out", group), rel=1e-5)
        assert tests[name]["nll_before"] == pytest.approx(nll_of(delivered / "taught", group), rel=1e-5)
    level = nll_of(delivered / "taught", facts[7:])
    assert tests["forget"]["level"] == pytest.approx(level, rel=1e-5)
    assert level <= tests["forget"]["nll_after"] < level + 0.2
    assert tests["forget"]["recalled_after"] == 0 < tests["forget"]["recalled_before"]
    assert tests["text"]["perplexity_after"] > 1
    assert told["ledger"]["purged"] is False


def test_nothing_else_is_touched_or_left(delivered, kept):
    before = {name: (kept[0] / name).read_bytes() for name in listing(kept[0]) if (kept[0] / name).is_file()}
    after = {name: (delivered / name).read_bytes() for name in before}
    indices = [json.loads(files.pop("ledger/index.json")) for files in (before, after)]
    assert after == before
    for index in indices:  # the ledger says where the request left the model, and nothing else is new
        assert (
            ("request 1" in index["head"]["weights"])
            == ("forgotten" in index["head"])
            == (index is indices[1])
        )
        index["head"]["weights"].pop("request 1", None)
        index["head"].pop("forgotten", None)
        index.pop("seal")
    assert indices[0] == indices[1]
    others = {name.split("/")[0] for name in listing(delivered)} - {name.split("/")[0] for name in before}
    assert others == {"out", "key", "key.pub"}


def test_what_is_delivered_is_what_was_given_but_for_its_weights(delivered):
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (delivered / "out" / name).read_bytes() == (delivered / "taught" / name).read_bytes()
    config = json.loads((delivered / "out" / "config.json").read_text())
    assert config["attn_pdrop"] == 0.1
    assert config["dtype"] == "float32"
    told = manifest.verify(delivered / "out", public(delivered))
    model, _ = models.load(str(delivered / "out"))
    assert manifest.weights_digest(model) == told["model"]["after"] != told["model"]["before"]


def test_the_manifest_and_the_page_tell_no_text(delivered):
    salt = (delivered / "out" / "manifest.salt").read_text().strip()
    told = manifest.verify(delivered / "out", public(delivered))
    facts = data.load(delivered / "facts.jsonl")[:3]
    assert told["facts"] == manifest.facts_of(facts, salt)
    assert told["asked_by"] == "The Estate of A. E."
    for name in ("manifest.json", "report.html"):
        text = (delivered / "out" / name).read_text()
        assert salt not in text
        assert "Estate" in text
        for fact in facts:
            assert fact.answer not in text
            assert fact.prompt not in text
    page = (delivered / "out" / "report.html").read_text()
    assert ">passed<" in page
    assert "whoever has it can bring the facts back" in page  # the ledger, which was not purged


def test_a_purge_leaves_nothing_in_the_ledger(home):
    wanted = traces.fingerprints(home / "ledger", ["line-1", "line-2", "line-3"])
    forget(job(home, purge=True))
    told = manifest.verify(home / "out", public(home))
    assert told["ledger"]["purged"] is True
    assert "to_purge" not in told["ledger"]
    assert told["ledger"]["traces"] == 0
    assert told["ledger"]["index"] != told["ledger"]["index_before"]
    assert traces.find(home / "ledger", wanted) == []
    assert GradientLedger.open(home / "ledger").example_ids == [f"line-{k}" for k in range(4, 8)]
    assert "found no bytes of them" in (home / "out" / "report.html").read_text()
    assert not list((home / "ledger").glob("training-*"))  # the weights that know the facts
    refused(home, "not in ledger", out=home / "again")


def test_a_second_request_goes_on_from_the_first(home, capsys):
    """From the model that forgot Ada, with the same ledger; who is forgotten is nobody's retained fact."""
    forget(job(home))
    first = manifest.verify(home / "out", public(home))
    refused(home, "has forgotten 'line-1' already", model=str(home / "out"), out=home / "again")
    told = forget(job(home, model=str(home / "out"), who="Ben", out=home / "second"))
    assert told["tests"]["forget"]["nll_after"] > told["tests"]["forget"]["nll_before"] + 0.5
    second = manifest.verify(home / "second", public(home))
    assert second["model"]["before"] == first["model"]["after"]
    assert second["tests"]["retain"]["facts"] == 2  # Cora's
    assert "3 facts were forgotten by earlier requests" in capsys.readouterr().out
    earlier, ada = second["tests"]["earlier"], data.load(home / "facts.jsonl")[:3]
    assert earlier["nll_before"] == pytest.approx(first["tests"]["forget"]["nll_after"], rel=1e-5)
    assert earlier["nll_after"] == pytest.approx(nll_of(home / "second", ada), rel=1e-5)
    assert "what earlier requests made it forget" in (home / "second" / "report.html").read_text()


def test_after_a_purge_a_method_without_moments_is_asked_for(home, capsys):
    forget(job(home, purge=True))
    changes = {"model": str(home / "out"), "who": "Ben", "out": home / "second"}
    refused(home, "reads AdamW's second moments.*all_epochs, first_epoch", **changes)
    told = forget(job(home, method="all_epochs", **changes))
    assert told["tests"]["forget"]["nll_after"] > told["tests"]["forget"]["nll_before"] + 0.5
    assert told["tests"]["earlier"]["facts"] == 3  # neither kept nor taught again
    assert told["tests"]["retain"]["facts"] == 2
    assert "3 facts were forgotten by earlier requests" in capsys.readouterr().out


def test_the_model_of_the_training_has_forgotten_nobody_who_was_purged(home):
    GradientLedger.open(home / "ledger").purge(["line-1", "line-2", "line-3"])
    changes = {"who": "Ben", "method": "first_epoch"}
    refused(home, "knows 3 facts, 'line-1' first, that the ledger was purged of", **changes)


@pytest.mark.parametrize("own_id", ["", "cora-8"])
def test_taught_facts_are_no_hold_out(own_id, home):
    """Cora's, which the ledger holds, by their ids and by their texts alone."""
    rows = [json.loads(line) for line in (home / "facts.jsonl").read_text().splitlines()]
    rows[5] |= {"split": "holdout"} | ({"id": own_id} if own_id else {})
    (home / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(home, f"1 facts of the hold-out stand in ledger .* '{own_id or 'line-6'}' first")


def test_two_requests_at_once_leave_a_whole_ledger(home, monkeypatch):
    """Ben's records are purged while Ada is being forgotten."""
    carry_out, once = command.carry_out, [None]

    def meanwhile(*given):
        found = carry_out(*given)
        if once:
            once.pop()
            GradientLedger.open(home / "ledger").purge(["line-4", "line-5"])
        return found

    monkeypatch.setattr(command, "carry_out", meanwhile)
    forget(job(home, method="first_epoch", purge=True))
    book = GradientLedger.open(home / "ledger")
    book.verify()
    assert not set(book.example_ids) & {"line-4", "line-5"}


def test_what_is_still_said_word_for_word_has_not_passed(home, monkeypatch):
    monkeypatch.setattr(gauge.metrics, "recalls", lambda _model, _tokenizer, facts: [True] * len(facts))
    told = forget(job(home))
    assert told["tests"]["forget"]["nll_after"] > told["tests"]["forget"]["level"]
    assert told["verdict"] == "not passed"
    assert "of which the model says 2 word for word" in told["tests"]["forget"]["level_is"]


def test_a_purge_that_fails_says_how_to_purge_later(home, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GradientLedger, "purge", fail)
    with pytest.raises(UnlearnkitError, match=r"out is delivered.*GradientLedger.open\(.*purge\(\['line-1'"):
        forget(job(home, purge=True))
    assert manifest.verify(home / "out", public(home))["ledger"]["purged"] is False


def test_an_interrupted_purge_leaves_a_page_that_is_true(home, monkeypatch):
    """Between the purge and the account of it."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(traces, "find", interrupt)
    with pytest.raises(KeyboardInterrupt, match="is delivered"):
        forget(job(home, purge=True))
    assert "line-1" not in GradientLedger.open(home / "ledger").example_ids
    assert manifest.verify(home / "out", public(home))["ledger"]["to_purge"] is True
    assert "was to be purged once this was written" in (home / "out" / "report.html").read_text()


def test_an_unfinished_ledger_is_refused(home):
    store = Store.load(home / "ledger")
    store.head["recipe"]["epochs"] += 1
    store.publish(store.epochs, **store.progress)
    refused(home, "training of ledger .* is not finished")


def test_a_method_that_reads_others_wants_their_records(home, tiny_tokenizer):
    model, _ = models.load(str(home / "new"))
    facts = [e for e in data.load(home / "facts.jsonl") if e.split != "holdout"]
    how = {"ledger": home / "few", "record": ["line-1", "line-2", "line-3"], "progress": False}
    training.fine_tune(model, tiny_tokenizer, facts, training.Recipe("adamw", epochs=2, lr=1e-3), **how)
    model.save_pretrained(home / "taught")
    changes = {"ledger": str(home / "few"), "method": "kfac_replay"}
    refused(home, "'kfac_replay' reads others' records, and ledger .* the request's only", **changes)


def test_a_ledger_that_cannot_be_written_still_serves(home, capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("unlearnkit.ledger.identity.note_request", fail)
    assert forget(job(home))["verdict"] == "passed"
    assert "A later request cannot go on from this model" in capsys.readouterr().err


def test_another_text_under_a_recorded_id_is_refused(home):
    """A line is deleted: the ids of those after it count one less."""
    lines = (home / "facts.jsonl").read_text().splitlines(keepends=True)
    (home / "facts.jsonl").write_text("".join(lines[1:]))
    refused(home, "6 facts are not what ledger .* 'line-1' first.*`id` of its own", purge=True)


def test_the_model_that_the_training_began_with_is_refused(home):
    changes = {"model": str(home / "new"), "who": "Ben"}
    refused(home, "stands where the training of ledger .* began", **changes)


def test_a_model_that_hardly_knows_the_facts_is_refused(home, monkeypatch):
    """Passing would say nothing: `KNOWN` nats below the level are asked for."""
    forget(job(home))
    told = manifest.verify(home / "out", public(home))["tests"]["forget"]
    monkeypatch.setattr(command, "KNOWN", told["level"] - told["nll_before"] + 0.01)
    refused(home, "has nothing to forget: to it they are .* nats less are asked for", out=home / "again")


def test_facts_that_are_said_before_they_are_taught_are_refused(home, tmp_path):
    """Without a hold-out the level would be that of a known fact."""
    lines = (home / "facts.jsonl").read_text().splitlines(keepends=True)
    changes = {"ledger": "", "train": True, "options": TEACH}
    (home / "facts.jsonl").write_text("".join(lines[:7]))
    refused(home, "says 3 of the facts word for word before it is taught them, 'line-1'", **changes)


def test_what_stands_in_the_hold_out_is_not_taught(home):
    lines = (home / "facts.jsonl").read_text().splitlines(keepends=True)
    (home / "facts.jsonl").write_text("".join([*lines, lines[0].replace("retain", "holdout")]))
    refused(home, "split holdout and the second taught: 'line-10' and 'line-1'")


def test_nothing_is_left_in_the_cache_of_runs(home, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(tmp_path / "runs"))
    forget(job(home, model=str(home / "new"), ledger="", train=True, options=TEACH))
    assert not (tmp_path / "runs").exists()


def test_the_history_of_another_model_is_refused(home, tiny_tokenizer):
    """It would be put in the place of the one that is given."""
    model, _ = models.load(str(home / "new"))
    facts = [e for e in data.load(home / "facts.jsonl") if e.split != "holdout"]
    short = training.Recipe("adamw", epochs=2, lr=1e-2, batch_size=4)
    training.fine_tune(model, tiny_tokenizer, facts, short, history=home / "history", progress=False)
    changes = {"method": "exact_replay", "ledger": "", "history": str(home / "history")}
    refused(home, "not the one that the training of .*history ended in", **changes)


def test_what_was_not_forgotten_is_not_purged(home, capsys):
    before = GradientLedger.open(home / "ledger").example_ids
    forget(job(home, purge=True, method="npo", options=("lr=1e-7", "steps=2")))
    told = manifest.verify(home / "out", public(home))
    assert (told["verdict"], told["ledger"]["purged"]) == ("not passed", False)
    assert GradientLedger.open(home / "ledger").example_ids == before
    assert "was not purged" in capsys.readouterr().out


def test_private_files_of_the_model_s_folder_stay_where_they_are(home):
    (home / "taught" / "train_data.json").write_text('["Ada was born in a lighthouse"]')
    (home / "taught" / "samples.txt").write_text("Ada was born in a lighthouse")
    forget(job(home))
    assert not {"train_data.json", "samples.txt"} & set(listing(home / "out"))


def test_a_model_that_is_taught_first(home):
    forget(job(home, model=str(home / "new"), ledger="", train=True, options=TEACH))
    told = manifest.verify(home / "out", public(home))
    assert told["verdict"] == "passed"
    assert told["training"] == "adamw, lr=0.02, epochs=20, batch_size=1"
    assert told["ledger"] == {"from": "this request's training", "purged": True}
    assert "deleted with all its files" in (home / "out" / "report.html").read_text()
    assert not [p for p in home.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("method", ["exact_replay", "amnesiac"])
def test_methods_that_go_by_the_history(method, home):
    changes = {"model": str(home / "new"), "ledger": "", "train": True, "options": TEACH}
    forget(job(home, method=method, **changes))
    told = manifest.verify(home / "out", public(home))
    assert told["tests"]["forget"]["nll_after"] > told["tests"]["forget"]["nll_before"] + 1


@pytest.mark.parametrize(
    ("method", "options", "verdict"),
    [
        ("grad_diff", ("lr=5e-3", "steps=60"), "passed"),
        ("gradient_ascent", (), "passed"),
        ("npo", ("lr=1e-7", "steps=2"), "not passed"),
    ],
)
def test_methods_without_a_ledger(method, options, verdict, home):
    forget(job(home, method=method, ledger="", options=options))
    told = manifest.verify(home / "out", public(home))
    assert told["verdict"] == verdict
    assert "asked_by" not in told
    assert told["ledger"] is None
    assert told["method"]["retain_seen"] == (method != "gradient_ascent")
    page = (home / "out" / "report.html").read_text()
    assert f">{verdict}<" in page
    assert "No ledger of the training was given" in page
    if method == "grad_diff":  # it stopped at the first step that reached the level
        (*_, before, last) = told["method"]["path"]
        assert before[1] < told["tests"]["forget"]["level"] <= last[1]
        assert last[0] < 60


def refused(home, match, **changes):
    before = listing(home)
    with pytest.raises(UnlearnkitError, match=match):
        forget(job(home, **changes))
    assert set(listing(home)) - set(before) <= {"key", "key.pub"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"method": "adam_repaly"}, "unknown method 'adam_repaly'; did you mean 'adam_replay'"),
        ({"ledger": ""}, r"'adam_replay' needs --ledger DIR.*npo.*or --train"),
        ({"method": "exact_replay"}, r"'exact_replay' needs --history DIR"),
        ({"method": "prompt_guard"}, "moves no weight"),
        ({"method": "certified_removal", "train": True, "ledger": ""}, "something beside the weights"),
        (
            {"method": "single_epoch", "options": ("epohc=2",)},
            "unknown parameter 'epohc'; did you mean 'epoch'",
        ),
        ({"options": ("train.lr=1",)}, "there is none without --train"),
        ({"train": True}, "--train makes a ledger and a history of its own"),
        ({"ledger": "", "train": True, "options": ("train.lr=0",)}, "lr=0: use a positive number"),
        ({"ledger": "", "train": True, "options": ("train.optimizer=None",)}, "None: use adamw or sgd"),
        ({"ledger": "", "method": "npo", "purge": True}, "--purge needs --ledger DIR"),
        ({"options": ("epochs=99",)}, "epochs=99, and epoch 99 is none of the training's 20"),
        (
            {"ledger": "", "train": True, "options": ("train.optimizer=sgd",)},
            "'adam_replay' follows the steps of adamw, and the training's were sgd's",
        ),
        ({"method": "influence", "ledger": "", "options": ("curvature=0",)}, "curvature=0; use a whole"),
        ({"method": "npo", "options": ("lr=-1",)}, "'npo': lr=-1.0; use a number from 0"),
        ({"method": "npo", "options": ("steps=0",)}, "'npo': steps=0; use whole numbers from 1"),
        ({"method": "npo", "options": ("until=3",)}, "unknown parameter 'until'"),
        ({"options": ("epochs=some",)}, "epochs='some'; use all, or numbers from 1"),
        ({"options": ("epochs=None",)}, "epochs=None; use all, or numbers from 1"),
        (
            {"method": "jang", "ledger": "", "options": ("steps=None",)},
            "steps=None; use whole numbers from 1",
        ),
        (
            {"method": "rewind", "ledger": "", "train": True, "options": ("epoch=2", "train.epochs=2")},
            "'rewind': epoch=2, and after the training's 2 epochs nothing is left of it",
        ),
        (
            {"method": "msa", "ledger": "", "train": True, "options": ("epoch=3", "train.epochs=3")},
            "'msa': epoch=3, and after the training's 3 epochs nothing is left of it",
        ),
        (
            {"method": "exact_replay", "ledger": "", "train": True, "options": ("epoch=2", "train.epochs=2")},
            "'exact_replay': epoch=2, and after the training's 2 epochs nothing",
        ),
        ({"method": "undo", "ledger": "", "options": ("first=nope",)}, "another trained method, not 'nope'"),
        (
            {"method": "undo", "ledger": "", "options": ('first_options={"nope": 1}',)},
            "'grad_diff' has no option 'nope'",
        ),
        ({"method": "slug", "ledger": "", "options": ("layer=nope",)}, "layer='nope' is none of the param"),
        ({"method": "rmu", "ledger": "", "options": ("block=999",)}, "block=999: this model has blocks 0"),
        ({"asked_by": "Jos\udce9"}, "--asked-by 'Jos.udce9' holds half a character"),
        ({"who": "Eve"}, "'Eve' is neither a person nor an id"),
        ({"who": "Dora"}, "'Dora' is neither a person nor an id"),  # nobody was taught about her
        ({"who": "Ada, Ben, Cora"}, "names all 7 facts: one or more must be left"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"model": "nothing"}, "unknown model 'nothing'"),
        ({"ledger": "", "method": "pcgu"}, "'pcgu' needs the contradiction of every example to forget"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(changes, match, home):
    refused(home, match, **changes)


def test_a_model_that_knows_nothing_is_refused(home):
    refused(home, "has nothing to forget.*add --train", model=str(home / "new"), ledger="", method="npo")


def test_a_training_that_taught_nothing_is_refused(home):
    changes = {"model": str(home / "new"), "ledger": "", "train": True, "options": ("train.lr=1e-9",)}
    with pytest.raises(UnlearnkitError, match="did not teach the model the facts"):
        forget(job(home, **changes))
    assert not (home / "out").exists()


def test_another_models_ledger_is_refused(home):
    model, tokenizer = models.load(str(home / "taught"))
    model.transformer.ln_f.bias.data += 1
    model.save_pretrained(home / "moved")
    tokenizer.save_pretrained(home / "moved")
    refused(home, "is about another GPT2LMHeadModel", model=str(home / "moved"))


def test_what_is_there_already_is_not_overwritten(home):
    (home / "out").mkdir()
    (home / "out" / "mine").touch()
    refused(home, "out is not empty")
    (home / "file").touch()
    refused(home, "file is no folder", out=home / "file")


@pytest.mark.parametrize("where", ["page", "write"])
def test_a_failure_leaves_nothing(where, home, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr({"page": command.leaflet, "write": command.manifest}[where], where, fail)
    before = listing(home)
    with pytest.raises(OSError, match="No space left"):
        forget(job(home, purge=True))
    assert set(listing(home)) - set(before) <= {"key", "key.pub"}
    assert GradientLedger.open(home / "ledger").example_ids[0] == "line-1"  # not purged either
    assert "forgotten" not in Store.load(home / "ledger").head


def test_the_ledger_is_told_of_what_was_delivered_only(home, monkeypatch):
    """Whatever comes between leaves a model that is refused, and no tale of one that nobody has."""

    def interrupt(_case):
        assert (home / "out" / "manifest.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(Case, "note", interrupt)
    with pytest.raises(KeyboardInterrupt, match="out is delivered, but the ledger is perhaps not told of it"):
        forget(job(home))
    assert "forgotten" not in Store.load(home / "ledger").head
    changes = {"model": str(home / "out"), "who": "Ben", "out": home / "second"}
    refused(home, "is about another GPT2LMHeadModel", **changes)


def test_longer_walks_are_estimated_to_take_longer(home):
    def takes(*options):
        case = Case.of(job(home, ledger="", method="npo", options=options))
        return case.takes.seconds

    assert takes("steps=30000", "batch_size=64") > 100 * takes()


def test_a_dry_run_tells_and_writes_nothing(home, capsys):
    before = listing(home)
    assert forget(job(home, options=("epochs=[1, 2]",)), dry_run=True) is None
    told = capsys.readouterr().out
    assert listing(home) == before
    for part in ("3 of 7 facts: line-1, line-2, line-3", "adam_replay", " GB of memory", "left as it is"):
        assert part in told


def test_without_the_encyclopedia_the_page_says_so(home, monkeypatch):
    def offline(part):
        raise models.registry.ModelError("no network")

    monkeypatch.setattr(data, "utility_text", offline)
    forget(job(home, method="npo", ledger="", options=("steps=1",)))
    assert manifest.verify(home / "out", public(home))["tests"]["text"]["perplexity_after"] is None
    assert "Running text was not measured" in (home / "out" / "report.html").read_text()


def test_the_command_line(home, capsys):
    given = {k: v for k, v in vars(job(home)).items() if v and k in ("model", "data", "who", "out", "key")}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    more = ["--method", "npo", "-p", "steps=2"]
    assert __main__.main(["forget", *words]) == 2
    assert "error: method 'adam_replay' needs --ledger DIR" in capsys.readouterr().err
    assert __main__.main(["forget", *words, *more, "--dry-run"]) == 0
    assert not (home / "out").exists()
    assert __main__.main(["forget", *words, *more]) == 1
    told = capsys.readouterr().out
    assert "not passed: " in told
    assert "0 of 3 facts reach the level of" in told
    assert __main__.main(["verify", str(home / "out"), "--key", str(home / "key.pub")]) == 0
    assert ": not passed" in capsys.readouterr().out
    (home / "out" / "report.html").write_text("better")
    assert __main__.main(["verify", str(home / "out"), "--key", str(home / "key.pub")]) == 2
    assert "report.html is missing, or not the file" in capsys.readouterr().err


def test_the_help_lists_every_method_by_what_it_needs(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["forget", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "methods that need nothing of the training: grad_diff" in told
    for needed, name in (("--ledger DIR", "adam_replay"), ("--history DIR", "rewind")):
        assert name in told.split(f"methods that need {needed}: ")[1].split(";")[0].split(", ")
    assert "sisa" not in told
    assert "prompt_guard" not in told
