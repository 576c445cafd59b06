"""`python -m unlearnkit bench WHAT`: runs one benchmark on one model, or tells how far the results reach."""

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from unlearnkit import paths
from unlearnkit.bench import growth, influence, kept, ledger, memory, report, results, scale, unlearn
from unlearnkit.bench.setting import Options
from unlearnkit.bench.timing import provenance
from unlearnkit.tables.build import markdown

SUBJECTS = {
    "ledger": ledger.run,
    "kept": kept.run,
    "memory": memory.run,
    "influence": influence.run,
    "unlearn": unlearn.run,
    "growth": growth.run,
    "scale": scale.run,
}


def main(arguments: list[str]) -> int:
    """Run a benchmark, print its result and write it if asked.

    `report` prints the table of bars, `missing` runs whatever it lacks.
    """
    parser = argparse.ArgumentParser(prog="python -m unlearnkit bench", description=__doc__)
    parser.add_argument("what", choices=[*SUBJECTS, "report", "missing"])
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--model", default=Options.model, help="gpt2-shape, or any model that loads")
    parser.add_argument("--batch", type=int, default=Options.batch, help="examples a step")
    parser.add_argument("--tokens", type=int, default=Options.tokens, help="tokens an example")
    parser.add_argument("--rounds", type=int, default=Options.rounds, help="rounds; medians are reported")
    parser.add_argument("--only", default="", help="comma-separated names of sides to run")
    given = parser.parse_args(arguments)
    if given.what == "missing":
        return run_missing()
    if given.what == "report":
        print(markdown(report.table(results.load())))
        return 0
    only = tuple(name.strip() for name in given.only.split(",") if name.strip())
    options = Options(given.model, given.batch, given.tokens, given.rounds, only)
    result = measure(given.what, options)
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text)
    return 0


def run_missing() -> int:
    """Make every result that figures/benchmarks lacks, one process each; a later call does the rest."""
    for line in results.lacking(results.load()):
        print(line, file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, *shlex.split(line)[1:]], stdout=subprocess.DEVNULL, cwd=paths.ROOT
        )
        if done.returncode:
            return done.returncode
    return 0


def measure(what: str, options: Options) -> dict:
    """The result of a benchmark with what it was asked for and what it ran on."""
    return {"what": what, **asdict(options), "machine": provenance(), **SUBJECTS[what](options)}
