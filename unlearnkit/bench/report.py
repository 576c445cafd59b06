"""The bars that the benchmarks must reach, and a table of how far they do. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from unlearnkit.bench.results import LARGE, TINY, Results, ratio, request_side

PLAIN, OURS = "plain step", "ledger fp16"


@dataclass(frozen=True)
class Bar:
    """One line of the table: `value(result)` of a benchmark is held against `limit`.

    `side` is the side that it needs: where that is missing, the table says why.
    """

    measure: str
    what: str
    limit: float
    at_most: bool
    value: Callable[[dict], float]
    side: str = ""
    unit: str = "×"
    models: tuple[str, ...] = LARGE

    @property
    def words(self) -> str:
        """`≤ 1.08 ×`"""
        return f"{'≤' if self.at_most else '≥'} {self.limit:g} {self.unit}".strip()

    def reached(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


def times(side: str, base: str) -> Callable[[dict], float]:
    return lambda result: ratio(result, side, base)


def smaller(tokens: int) -> Callable[[dict], float]:
    """How many times smaller an example's record is than its dense float32 gradient."""

    def value(result: dict) -> float:
        sizes = {(r["tokens"], r["dtype"]): r["bytes"] for r in result["bytes_an_example"]}
        return result["dense_bytes"] / sizes[tokens, "float16"]

    return value


def error(dtype: str) -> Callable[[dict], float]:
    return lambda result: result["relative_error"][dtype]


def _peak(result: dict) -> float:
    return result["peak_bytes"][OURS] / result["peak_bytes"][PLAIN]


def _change(key: str) -> Callable[[dict], float]:
    """Change, in per cent of the smaller size's value and without its sign, at ten times the examples."""

    def value(result: dict) -> float:
        small, large = (size[key] for size in result["sizes"])
        return 100 * abs(large / small - 1)

    return value


FACTORS, PASSES = "factors", "forward and backward"
BARS = (
    Bar("step with the 16-bit ledger / plain step", "ledger", 1.08, True, times(OURS, PLAIN), OURS),
    Bar(
        "step with the fp32 ledger / plain step",
        "ledger",
        1.25,
        True,
        times("ledger fp32", PLAIN),
        "ledger fp32",
    ),
    Bar("naive loop / ours", "ledger", 3, False, times("naive loop", OURS), "naive loop"),
    Bar("vmap(grad) / ours", "ledger", 1.7, False, times("vmap", OURS), "vmap"),
    Bar("vmap(grad) / ours, freed memory kept", "kept", 1.7, False, times("vmap", OURS), "vmap"),
    Bar("Opacus / ours", "ledger", 1.7, False, times("Opacus", OURS), "Opacus"),
    Bar("bergson, unprojected / ours", "ledger", 1.7, False, times("bergson", OURS), "bergson"),
    Bar("dense fp32 / bytes an example, 32 tokens", "ledger", 28, False, smaller(32)),
    Bar("dense fp32 / bytes an example, 16 tokens", "ledger", 55, False, smaller(16)),
    Bar("peak memory / the plain step's", "memory", 1.25, True, _peak, OURS),
    Bar("error against autograd, fp32 store", "ledger", 1e-5, True, error("float32"), unit=""),
    Bar("error against autograd, 16 bits", "ledger", 1e-3, True, error("float16"), unit=""),
    Bar(
        "request of 20, applied / plain step", "unlearn", 2, True, lambda r: ratio(r, request_side(r), PLAIN)
    ),
    Bar(
        "retraining / request of 20, applied",
        "unlearn",
        20,
        False,
        lambda r: ratio(r, "retraining", request_side(r)),
        "retraining",
    ),
    Bar(
        "dots from factors against dense, error",
        "influence",
        1e-4,
        True,
        lambda r: r["relative_error"],
        "dense loop",
        "",
    ),
    Bar("capture and dots / forward and backward", "influence", 1.3, True, times(FACTORS, PASSES), FACTORS),
    Bar(
        "kronfluence's identity scores / ours",
        "influence",
        1,
        False,
        times("kronfluence identity", FACTORS),
        "kronfluence identity",
    ),
    Bar(
        "kronfluence's EK-FAC / ours",
        "influence",
        10,
        False,
        times("kronfluence EK-FAC", FACTORS),
        "kronfluence EK-FAC",
    ),
    Bar(
        "peak memory, 10,000 examples against 1,000",
        "scale",
        10,
        True,
        _change("peak_bytes"),
        unit="% change",
        models=(TINY,),
    ),
    Bar(
        "throughput, 10,000 examples against 1,000",
        "scale",
        10,
        True,
        _change("examples_a_second"),
        unit="% change",
        models=(TINY,),
    ),
)


def table(results: Results) -> pd.DataFrame:
    """A row for each bar and model: measure, model, must reach, measured, reached."""
    rows = []
    for bar in BARS:
        for model in bar.models:
            measured, reached = _held(bar, results.get((bar.what, model)), model)
            rows.append(
                {
                    "measure": bar.measure,
                    "model": model,
                    "must reach": bar.words,
                    "measured": measured,
                    "reached": reached,
                }
            )
    return pd.DataFrame(rows)


def summary(results: Results) -> str:
    """The large models' measured bars as a Markdown table, a column a model; "" before any benchmark ran."""
    rows = table(results)
    rows = rows[(rows["reached"] != "–") & rows["model"].isin(LARGE)]
    if rows.empty:
        return ""
    models = [model for model in LARGE if model in set(rows["model"])]
    told = {
        (r.measure, r.model): r.measured + {"yes": "", "no": " (**not reached**)"}[r.reached]
        for r in rows.itertuples()
    }
    asked = dict(zip(rows["measure"], rows["must reach"], strict=True))
    lines = [["measure", "must reach", *models], ["---"] * (2 + len(models))]
    lines += [
        [measure, bar, *(told.get((measure, m), "–") for m in models)] for measure, bar in asked.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _held(bar: Bar, result: dict | None, model: str) -> tuple[str, str]:
    if result is None:
        return f"no result yet: `bench {bar.what} --model {model}`", "–"
    if bar.side in result.get("missing", {}):
        return result["missing"][bar.side], "–"
    try:
        value = bar.value(result)
    except KeyError as lacking_part:
        return f"the result holds no {lacking_part}", "–"
    return f"{value:.3g} {bar.unit}".strip(), "yes" if bar.reached(value) else "no"
