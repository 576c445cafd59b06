"""Recording and replay of 135 million parameters, and of adapters on a billion of them: on a GPU, or not."""

from dataclasses import replace

from unlearnkit.bench.adapters import adapters
from unlearnkit.bench.cases import Options
from unlearnkit.bench.timing import tell
from unlearnkit.devices import CPU, CUDA

MODELS = ("smollm2-135m", "llama-shape-1b-lora8")
DTYPES = {CUDA: ("float32", "bfloat16"), CPU: ("float32",)}  # bfloat16 can take a minute a step there


def device(options: Options) -> dict:
    """At each point what `adapters` tells; its headline is the ledger's step in plain steps (`ratio`)."""
    points = []
    dtypes = DTYPES[options.device]
    for at in (replace(options, model=model, dtype=dtype) for model in MODELS for dtype in dtypes):
        tell(f"{at.model} in {at.dtype}, on {at.device}")
        points.append({"model": at.model, "dtype": at.dtype, **adapters(at)})
    return {"points": points}
