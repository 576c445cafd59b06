"""Recording and replay on a GPU: of 135 million parameters, and of adapters on a billion of them."""

from dataclasses import replace

from unlearnkit.bench.adapters import adapters
from unlearnkit.bench.cases import Options
from unlearnkit.bench.timing import tell

MODELS = ("smollm2-135m", "llama-shape-1b-lora8")
DTYPES = ("float32", "bfloat16")


def device(options: Options) -> dict:
    """At each point what `adapters` tells; its headline is the ledger's step in plain steps (`ratio`)."""
    points = []
    for at in (replace(options, model=model, dtype=dtype) for model in MODELS for dtype in DTYPES):
        tell(f"{at.model} in {at.dtype}, on {at.device}")
        points.append({"model": at.model, "dtype": at.dtype, **adapters(at)})
    return {"points": points}
