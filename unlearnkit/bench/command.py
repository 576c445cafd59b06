"""`python -m unlearnkit bench WHAT`: runs one benchmark on one model, or tells how far the results reach."""

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

from unlearnkit import files, paths
from unlearnkit.bench import cases
from unlearnkit.bench.cases import Options
from unlearnkit.bench.timing import provenance, tell
from unlearnkit.devices import DEVICES, resolved


def main(arguments: list[str]) -> int:
    """Run a benchmark, print its result and write it if asked; the exit status.

    `missing` runs whatever the results lack; `report` is the report's, and answered by the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m unlearnkit bench", description=__doc__)
    parser.add_argument("what", choices=[*cases.CASES, "report", "missing"])
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--model", default=Options.model, help="gpt2-shape, or any model that loads")
    parser.add_argument("--batch", type=int, default=Options.batch, help="examples a step")
    parser.add_argument("--tokens", type=int, default=Options.tokens, help="tokens an example")
    parser.add_argument("--rounds", type=int, default=Options.rounds, help="rounds; medians are reported")
    parser.add_argument("--device", choices=DEVICES, help="where the model is: cpu, and auto for `device`")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default=Options.dtype, help="of weights")
    parser.add_argument("--only", default="", help="comma-separated names of sides to run")
    given = parser.parse_args(arguments)
    if given.what == "report":
        parser.error("report takes no options")
    if given.what == "missing":
        return make_missing()
    only = tuple(name.strip() for name in given.only.split(",") if name.strip())
    where = given.device or cases.CASES[given.what].options.device
    asked = Options(given.model, given.batch, given.tokens, given.rounds, only, where, given.dtype)
    result = measure(given.what, asked)
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if given.json:
        files.write_text(given.json, text)
    return 0


def measure(what: str, options: Options) -> dict:
    """The result of a benchmark with what it was asked for and what it ran on."""
    options = replace(options, device=resolved(options.device))
    function = getattr(import_module(f"unlearnkit.bench.{cases.CASES[what].module}"), what)
    return {"what": what, **asdict(options), "machine": provenance(options.device), **function(options)}


def make_missing() -> int:
    """Make every result that figures/benchmarks lacks, one process each; a later call does the rest."""
    for line in cases.lacking(cases.load()):
        tell(line)
        words = [sys.executable, *shlex.split(line)[1:]]
        if status := subprocess.run(words, stdout=subprocess.DEVNULL, cwd=paths.ROOT).returncode:
            return status
    return 0
