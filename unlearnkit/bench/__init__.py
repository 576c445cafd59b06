"""Speed and size, measured fairly: every side runs in turn, in one process, and ratios are what counts.

ledger      a training step with the ledger against the same step without, and against other ways to keep
            each example's gradient
influence   gradient dot products from factors against dense ones
unlearn     applying a request against a training step, and against retraining
"""

import argparse
import json
import platform
from pathlib import Path

import torch

from unlearnkit.bench import influence, ledger, unlearn
from unlearnkit.bench.setting import Setting

SUBJECTS = {"ledger": ledger.run, "influence": influence.run, "unlearn": unlearn.run}


def main(arguments: list[str]) -> int:
    """`python -m unlearnkit bench WHAT [options]`; prints a table and writes JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m unlearnkit bench", description=__doc__)
    parser.add_argument("what", choices=SUBJECTS)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--model", default="smollm2-135m", help="gpt2-shape, or any model that loads")
    parser.add_argument("--batch", type=int, default=8, help="examples a step")
    parser.add_argument("--tokens", type=int, default=32, help="tokens an example")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians are reported")
    parser.add_argument("--only", default="", help="comma-separated names of sides to run")
    options = parser.parse_args(arguments)
    setting = Setting.make(options.model, options.batch, options.tokens)
    chosen = [name for name in options.only.split(",") if name]
    result = {
        "what": options.what,
        "model": options.model,
        "batch": options.batch,
        "tokens": options.tokens,
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **SUBJECTS[options.what](setting, options.rounds, chosen),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0
