"""What can be measured, on which models, and the results. Imports no torch, as reports read results too."""

import json
from dataclasses import dataclass
from pathlib import Path

from unlearnkit import paths
from unlearnkit.devices import AUTO, CPU
from unlearnkit.errors import DataError

FOLDER = paths.ROOT / "figures" / "benchmarks"
SHAPES = "shapes"  # the models of a benchmark that brings its own
LARGE = ("gpt2-shape", "smollm2-135m")
# Names of sides, which results are written and read by.
PLAIN, NAIVE, VMAP, OPACUS, BERGSON = "plain step", "naive loop", "vmap", "Opacus", "bergson"
LEDGERS = {"float16": "ledger fp16", "float32": "ledger fp32"}  # by the encoding of the factors
PASSES, FACTORS, DENSE = "forward and backward", "factors", "dense loop"
IDENTITY, EKFAC = "kronfluence identity", "kronfluence EK-FAC"
REQUEST, RETRAINING = "request from {}", "retraining"  # so many examples in the ledger

Results = dict[tuple[str, str], dict]  # by benchmark and model


@dataclass(frozen=True)
class Options:
    """What a benchmark is asked for. `only` names sides to run; empty means all."""

    model: str = "smollm2-135m"
    batch: int = 8
    tokens: int = 32
    rounds: int = 5
    only: tuple[str, ...] = ()
    device: str = CPU
    dtype: str = "float32"  # of the weights, and of what is computed with them


@dataclass(frozen=True)
class Case:
    """A benchmark, measured by the function of its name in `module`; reported are the results of `models`.

    One that brings its own models and is reported nowhere has none.
    """

    name: str
    module: str
    models: tuple[str, ...] = LARGE
    options: Options = Options()


CASES = {
    case.name: case
    for case in (
        Case("ledger", "steps"),
        Case("kept", "steps"),
        Case("memory", "memory"),
        Case("unlearn", "unlearn"),
        Case("influence", "influence"),
        Case("scale", "memory", ("gpt2-tiny",), Options(tokens=16)),
        Case("growth", "steps", (SHAPES,)),
        Case("device", "device", (), Options(device=AUTO)),
    )
}


def load(folder: Path | None = None) -> Results:
    """The results in a folder (figures/benchmarks) by benchmark and model; DataError for another file.

    The bars are the processor's: a model on a GPU is called " on cuda" beside its name.
    """
    found: Results = {}
    for path in sorted((folder or FOLDER).glob("*.json")):
        try:
            result = json.loads(path.read_text())
            case = CASES[result["what"]]
            elsewhere = "" if result.get("device", CPU) == CPU else f" on {result['device']}"
            model = SHAPES if case.models in ((SHAPES,), ()) else result["model"]
            found[case.name, model + elsewhere] = result
        except (ValueError, TypeError, KeyError):
            what = f"{path} is no result of a benchmark: delete it, and run that one again"
            raise DataError(what) from None
    return found


def lacking(results: Results) -> list[str]:
    """The commands that make the results which are not there."""
    return [
        f"python -m unlearnkit bench {case.name} --model {model} --tokens {case.options.tokens} "
        f"--json figures/benchmarks/{case.name}-{model}.json"
        for case in CASES.values()
        for model in case.models
        if (case.name, model) not in results
    ]
