"""How the package is built: which way imports go, how long its parts are, and what it reads from outside."""

import ast
import os
import re
import subprocess
import sys

import pytest
from imports import circle, graph, imported, modules, reached

from unlearnkit import paths

# Rooms import from rooms before them only.
ROOMS = (
    *("unlearnkit", "errors", "devices", "paths", "files", "packages", "writing", "signing", "progress"),
    *("data", "layers", "batching", "forward", "models", "weights"),
    *("ledger", "training", "influence", "ekfac", "requests", "semantic", "offline", "unlearning", "metrics"),
    *("attacks", "manifest", "stats", "claims", "study", "bench", "report", "publishing", "__main__"),
)
FUNCTION_LINES, MODULE_LINES = 45, 250
# Rooms whose docstring is a map.
MAPPED = ("bench", "claims", "ledger", "models", "report", "study", "training", "unlearning")
MAPPED += ("study/experiments",)
VARIABLES = {
    "UNLEARNKIT_CACHE",
    "UNLEARNKIT_RUNS",
    "UNLEARNKIT_BUILD",
    "UNLEARNKIT_DEVICE",
    "TQDM_DISABLE",
    "MALLOC_MMAP_MAX_",  # noted beside a benchmark: whether freed memory was kept
}
HEAVY = {"torch", "transformers"}


def room(module):
    return (module.split(".") + ["unlearnkit"])[1] if "." in module else "unlearnkit"


def own(found):
    return {name for name in found if name.split(".")[0] == "unlearnkit"}


def test_no_modules_import_each_other_in_a_circle():
    assert circle(graph()) == []


def test_the_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_are_read_wherever_they_stand():
    source = (
        "import os.path\nfrom . import cells\nfrom ..errors import DataError\nfrom unlearnkit import models\n"
    )
    source += "def f():\n    from unlearnkit.unlearning import METHODS\n    import torch\n"
    source += "if TYPE_CHECKING:\n    import transformers\n"
    inner = {f"unlearnkit.{name}" for name in ("study.cells", "errors", "models", "unlearning")}
    assert imported("unlearnkit.study.plan", source) == inner | {"os.path", "torch"}


@pytest.mark.parametrize("room", MAPPED)
def test_a_rooms_map_names_what_is_in_it(room):
    folder = paths.ROOT / "unlearnkit" / room
    told = set(re.findall(r"\w+", ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))))
    there = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {name for name in there if not name.startswith("ch")} <= told


def test_every_room_has_its_place():
    assert {room(name) for name in modules()} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_from_rooms_before_it_only(name):
    before = ROOMS[: ROOMS.index(name) + 1]
    pairs = [(m, other) for m in modules() if room(m) == name for other in own(graph()[m])]
    assert [f"{m} imports {other}" for m, other in pairs if room(other) not in before] == []


def test_the_report_asks_for_no_experiment_and_no_model():
    for name in (m for m in modules() if room(m) == "report"):
        direct = {other.split(".")[0] for other in graph()[name]}
        assert not HEAVY & direct, name
        assert not [m for m in graph()[name] if m.startswith("unlearnkit.study.experiments")], name


def test_importing_the_report_loads_neither():
    names = [m for m in modules() if room(m) == "report"]
    assert len(names) > 5
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    assert names[0] in loaded
    assert not [m for m in loaded if m in HEAVY or m.startswith("unlearnkit.study.experiments")]


def test_what_an_import_reaches_includes_what_it_reaches():
    assert "unlearnkit.study.versions" in reached("unlearnkit.study.collect")  # through the cells
    assert "unlearnkit.report" not in reached("unlearnkit.study.collect")


@pytest.mark.parametrize("name", modules())
def test_functions_and_modules_are_short(name):
    text = modules()[name].read_text()
    functions = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {f.name: lines for f in functions if (lines := f.end_lineno - f.lineno + 1) > FUNCTION_LINES}
    assert not long
    assert len(text.splitlines()) <= MODULE_LINES


def read_from_environment(source):
    """What a source reads from the environment, each variable as its code writes it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            asked, key = ast.unparse(node.value), node.slice
        elif isinstance(node, ast.Call) and node.args:
            asked, key = ast.unparse(node.func).removesuffix(".get"), node.args[0]
        else:
            continue
        if asked in ("os.environ", "environ", "os.getenv", "getenv"):
            yield ast.literal_eval(key) if isinstance(key, ast.Constant) else ast.unparse(key)


def test_no_environment_variable_is_read_but_those_of_the_readme():
    read = {v for path in modules().values() for v in read_from_environment(path.read_text())}
    assert read == VARIABLES


def test_reading_the_environment_is_seen():
    source = "os.environ['A'] = '1'\nos.environ['B']\nos.environ.get('C', 0)\nos.getenv(d)\ndict(os.environ)"
    assert set(read_from_environment(source)) == {"B", "C", "d"}
