"""The bars that the benchmarks must reach. Imports no torch."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from unlearnkit.bench.cases import REQUEST
from unlearnkit.bench.timing import ratios


@dataclass(frozen=True)
class Bar:
    """One line of the table: what `read` finds in the result of benchmark `what` is held against `bound`.

    bound  `≤ 1.08 ×`: direction, limit, unit if any
    read   a side over another, `vmap / ledger fp16`, by their seconds; or a function of the result, which
           raises KeyError with the name of what is lacking
    """

    what: str
    measure: str
    bound: str
    read: str | Callable[[dict], float]

    @property
    def unit(self) -> str:
        return " ".join(self.bound.split()[2:])

    def value(self, result: dict) -> float:
        return self.read(result) if callable(self.read) else ratio(result, *self.read.split(" / "))

    def reached(self, value: float) -> bool:
        direction, limit, *_ = self.bound.split()
        return value <= float(limit) if direction == "≤" else value >= float(limit)


def ratio(result: dict, side: str, base: str) -> float:
    """Median over rounds of one side's seconds over another's of the same round.

    Of side "request" there are several: it is the one from the ledger nearest to the study's size.
    """
    names = (request_side(result) if name == "request" else name for name in (side, base))
    return statistics.median(ratios(*(result["sides"][name]["seconds"] for name in names)))


def request_side(result: dict) -> str:
    """The side that applies the request from the ledger nearest to the study's size."""
    facts = result["retraining"]["examples"] + result["request"]
    return REQUEST.format(min(result["sizes"], key=lambda size: abs(size - facts)))


def smaller(tokens: int) -> Callable[[dict], float]:
    """How many times smaller an example's 16-bit record is than its dense float32 gradient."""
    at = (tokens, "float16")
    return lambda r: (
        r["dense_bytes"] / {(s["tokens"], s["dtype"]): s["bytes"] for s in r["bytes_an_example"]}[at]
    )


def change(key: str) -> Callable[[dict], float]:
    """Change, in per cent of the smaller size's value and without its sign, at ten times the examples."""
    return lambda r: 100 * abs(r["sizes"][1][key] / r["sizes"][0][key] - 1)


def _peak(result: dict) -> float:
    return result["peak_bytes"]["ledger fp16"] / result["peak_bytes"]["plain step"]


BARS = (
    Bar("ledger", "step with the 16-bit ledger / plain step", "≤ 1.08 ×", "ledger fp16 / plain step"),
    Bar("ledger", "step with the fp32 ledger / plain step", "≤ 1.25 ×", "ledger fp32 / plain step"),
    Bar("ledger", "naive loop / ours", "≥ 3 ×", "naive loop / ledger fp16"),
    Bar("ledger", "vmap(grad) / ours", "≥ 1.7 ×", "vmap / ledger fp16"),
    Bar("kept", "vmap(grad) / ours, freed memory kept", "≥ 1.7 ×", "vmap / ledger fp16"),
    Bar("ledger", "Opacus / ours", "≥ 1.7 ×", "Opacus / ledger fp16"),
    Bar("ledger", "bergson, unprojected / ours", "≥ 1.7 ×", "bergson / ledger fp16"),
    Bar("ledger", "dense fp32 / bytes an example, 32 tokens", "≥ 28 ×", smaller(32)),
    Bar("ledger", "dense fp32 / bytes an example, 16 tokens", "≥ 55 ×", smaller(16)),
    Bar("memory", "peak memory / the plain step's", "≤ 1.25 ×", _peak),
    Bar("ledger", "error against autograd, fp32 store", "≤ 1e-05", lambda r: r["relative_error"]["float32"]),
    Bar("ledger", "error against autograd, 16 bits", "≤ 0.001", lambda r: r["relative_error"]["float16"]),
    Bar("unlearn", "request of 20, applied / plain step", "≤ 2 ×", "request / plain step"),
    Bar("unlearn", "retraining / request of 20, applied", "≥ 20 ×", "retraining / request"),
    Bar("influence", "dots from factors against dense, error", "≤ 0.0001", lambda r: r["relative_error"]),
    Bar("influence", "capture and dots / forward and backward", "≤ 1.3 ×", "factors / forward and backward"),
    Bar("influence", "kronfluence's identity scores / ours", "≥ 1 ×", "kronfluence identity / factors"),
    Bar("influence", "kronfluence's EK-FAC / ours", "≥ 10 ×", "kronfluence EK-FAC / factors"),
    Bar("scale", "peak memory, 10,000 examples against 1,000", "≤ 10 % change", change("peak_bytes")),
    Bar("scale", "throughput, 10,000 examples against 1,000", "≤ 10 % change", change("examples_a_second")),
)  # fmt: skip
