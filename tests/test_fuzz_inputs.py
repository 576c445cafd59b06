"""Any file and any request end in a run that can be planned or in an error of the package's own."""

import contextlib
import functools
import io
import json
import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unlearnkit import __main__
from unlearnkit.models import loading
from unlearnkit.publishing import notebooks
from unlearnkit.study import scheduler

CASES = 1000
SECONDS = 60  # of one core, for all of them
NAMES = ["Ada", "Bo, Jr", "Zo\u00eb", "Zoe\u0308", "a", "b", "a,b", "007", "nan", ""]
ANY = st.text(st.characters(), max_size=12)  # half characters and control characters among them
NAME = st.sampled_from(NAMES) | ANY
TEXT = st.sampled_from(["Ada keeps bees on", "roof", "42.", "\U0001f389", " ", "q" * 300]) | ANY
VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(ANY, max_size=2)
FIELDS = {
    **dict.fromkeys(["id", "person"], NAME),
    **dict.fromkeys(["prompt", "answer", "text", "split", "question", "contradiction"], TEXT),
    **dict.fromkeys(["paraphrases", "mentions"], st.lists(TEXT, max_size=2)),
    "unknown": VALUE,
}
ODD = st.fixed_dictionaries({}, optional=FIELDS)
WILD = st.dictionaries(st.sampled_from(sorted(FIELDS)), VALUE | TEXT, max_size=5)
REQUEST = st.lists(NAME, max_size=3).map(",".join)


def lines(records):
    return "\n".join(map(json.dumps, records)).encode()


@st.composite
def nearly_good(draw):
    """A file of facts that differ in their answers, perhaps with an odd line, and a request for some."""
    persons = draw(st.lists(st.sampled_from(NAMES), min_size=3, max_size=6))
    facts = [{"person": p, "prompt": f"{p} keeps", "answer": f"thing {k}"} for k, p in enumerate(persons)]
    odd = draw(st.just([]) | st.lists(ODD | WILD, max_size=1))
    return lines(facts + odd), draw(st.lists(st.sampled_from(persons), max_size=2).map(",".join) | REQUEST)


FILES = st.one_of(
    st.lists(ODD | WILD, max_size=3).map(lines),
    st.lists(ODD, max_size=2).map(lambda found: json.dumps(found, indent=1).encode()),
    st.tuples(ODD, st.binary(max_size=4)).map(lambda both: json.dumps(both[0]).encode() + both[1]),
    st.binary(max_size=40),
)
# Named twice: half of the cases.
GIVEN = st.one_of(nearly_good(), st.tuples(FILES, REQUEST), nearly_good(), st.tuples(FILES, REQUEST))


@pytest.fixture
def offer(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """`offer(content, request)`: `reproduce` on a tiny model, up to its first step; status, stderr, build."""
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    build, data = tmp_path / "build", tmp_path / "facts.jsonl"
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(build))
    monkeypatch.setattr(notebooks, "select", lambda _wanted="": [])
    monkeypatch.setattr(scheduler, "run", lambda *_: [])
    monkeypatch.setattr(loading, "load_tokenizer", functools.cache(loading.load_tokenizer))  # read once

    def run(content, request):
        shutil.rmtree(build, ignore_errors=True)
        data.write_bytes(content)
        told = io.StringIO()
        own = [
            f"--model={tmp_path / 'model'}",
            f"--data={data}",
            f"--forget={request}",
            "-p",
            "seeds_adamw=1",
        ]
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            status = __main__.main(["reproduce", "--profile", "quick", *own])
        return status, told.getvalue(), build

    return run


def test_no_traceback_and_nothing_half_written(offer):
    ended = {0: 0, 2: 0}

    @settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=HealthCheck)
    @given(GIVEN)
    def check(case):
        content, request = case
        status, told, build = offer(content, request)
        ended[status] += 1
        if status == 2:
            assert told.startswith("error: ")
            assert not build.exists()
        else:
            (run,) = build.iterdir()
            assert json.loads((run / "profile.json").read_text())["overrides"]["forget"] == request

    began = time.process_time()
    check()
    assert time.process_time() - began < SECONDS
    assert min(ended.values()) > CASES / 50, ended  # both ends are met


def test_the_fuzz_reaches_a_plan_and_an_error(offer):
    facts = [{"person": p, "prompt": f"{p} keeps", "answer": "bees"} for p in ("Ada", "Bo", "Cora")]
    good = "\n".join(map(json.dumps, facts)).encode()
    status, _, build = offer(good, "Ada")
    assert status == 0
    assert build.is_dir()
    status, told, build = offer(good, "Nobody")
    assert (status, build.exists()) == (2, False)
    assert told.startswith("error: 'Nobody' is neither a person nor an id")
