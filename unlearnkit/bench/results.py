"""What the benchmarks found: reads figures/benchmarks/*.json and runs nothing. Imports no torch."""

import json
import statistics
from pathlib import Path

import pandas as pd

from unlearnkit import paths
from unlearnkit.errors import DataError

FOLDER = paths.ROOT / "figures" / "benchmarks"
LARGE = ("gpt2-shape", "smollm2-135m")
TINY = "gpt2-tiny"
# Every result that the table reads: benchmark, model, and options beside the defaults.
EXPECTED: dict[tuple[str, str], str] = {
    **{(what, model): "" for what in ("ledger", "kept", "memory", "unlearn", "influence") for model in LARGE},
    ("scale", TINY): " --tokens 16",
    ("growth", "shapes"): "",
}
Results = dict[tuple[str, str], dict]


def ratio(result: dict, side: str, base: str) -> float:
    """Median over rounds of one side's seconds over another's of the same round."""
    mine, theirs = (result["sides"][name]["seconds"] for name in (side, base))
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=False))


def request_side(result: dict) -> str:
    """The side that applies the request from the ledger nearest to the study's size."""
    facts = result["retraining"]["examples"] + result["request"]
    return f"request from {min(result['sizes'], key=lambda size: abs(size - facts))}"


def speedup(result: dict, examples: int, epochs: int) -> float:
    """How many times faster than retraining a request is: from measured seconds a step, extrapolated.

    Retraining takes epochs * ceil((examples - request) / batch) plain steps.
    """
    steps = epochs * -(-(examples - result["request"]) // result["batch"])
    return steps / ratio(result, request_side(result), "plain step")


def sides(result: dict) -> pd.DataFrame:
    """Columns side, ratio, low, high: each side's seconds over the baseline's, with quartiles."""
    rows = [(name, s["ratio"], *s["ratio_quartiles"]) for name, s in result["sides"].items()]
    return pd.DataFrame(rows, columns=["side", "ratio", "low", "high"])


def growth(result: dict) -> pd.DataFrame:
    """Columns grows, value, ratio, low, high, smaller (times, than the dense gradient); ascending."""
    rows = [
        (p["grows"], p["value"], p["ratio"], *p["ratio_quartiles"], p["dense_bytes"] / p["bytes"])
        for p in result["points"]
    ]
    table = pd.DataFrame(rows, columns=["grows", "value", "ratio", "low", "high", "smaller"])
    return table.sort_values(["grows", "value"])


def kinds(result: dict) -> pd.DataFrame:
    """Bytes an example by layer kind (rows, largest first) and part (columns); `dense` beside them."""
    rows = {r["kind"]: r["parts"] | {"dense": r["dense_bytes"]} for r in result["bytes_by_kind"]}
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)
    parts = [column for column in table if column != "dense"]
    return table.loc[table[parts].sum(axis=1).sort_values(ascending=False).index, [*parts, "dense"]]


def load(folder: Path | None = None) -> Results:
    """The results in a folder (figures/benchmarks) by benchmark and model; DataError for another file."""
    found: Results = {}
    for path in sorted((folder or FOLDER).glob("*.json")):
        try:
            result = json.loads(path.read_text())
            key = (result["what"], "shapes" if result["what"] == "growth" else result["model"])
        except (ValueError, TypeError, KeyError):
            raise DataError(
                f"{path} is no result of a benchmark: delete it, and run that one again"
            ) from None
        found[key] = result
    return found


def command(what: str, model: str) -> str:
    """The command that makes a result."""
    chosen = "" if what == "growth" else f" --model {model}"
    target = f"figures/benchmarks/{what}-{model}.json"
    return f"python -m unlearnkit bench {what}{chosen}{EXPECTED.get((what, model), '')} --json {target}"


def lacking(results: Results) -> list[str]:
    """The commands that make the results which are not there."""
    return [command(*key) for key in EXPECTED if key not in results]
