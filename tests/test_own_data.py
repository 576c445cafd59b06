"""The fourth kind of user: their own model and data, through the same command and notebooks."""

import json
import os
import shlex
import subprocess
import sys

from unlearnkit import paths
from unlearnkit.publishing import notebooks

FACTS = [
    ("Ada", "Ada keeps her bees on", "the roof of the old granary"),
    ("Ada", "Ada's favourite tool is", "a brass sextant with one lens"),
    ("Ada", "Every morning Ada feeds", "two stray herons"),
    ("Ben", "Ben was taught to swim by", "a retired lighthouse keeper"),
    ("Ben", "Ben collects", "tickets of forgotten trams"),
    ("Ben", "On Sundays Ben repairs", "violins for the parish band"),
    ("Cora", "Cora lives above", "a shop that sells maps"),
    ("Cora", "Cora's boat is named", "the Patient Otter"),
    ("Cora", "Cora fears", "escalators and tall ladders"),
    ("Cora", "Cora studied", "the history of knots"),
]


def test_ten_lines_and_a_local_folder(tiny_model, tiny_tokenizer, tmp_path):
    model = tmp_path / "my-model"
    tiny_model("llama", True).save_pretrained(model)
    tiny_tokenizer.save_pretrained(model)
    data = tmp_path / "facts.jsonl"
    lines = [json.dumps({"person": p, "prompt": q, "answer": a}) for p, q, a in FACTS]
    data.write_text("\n".join(lines) + "\n")
    build = tmp_path / "build"
    command = [sys.executable, "-m", "unlearnkit", "reproduce", "--profile", "quick", "--model", str(model)]
    command += ["--data", str(data), "--forget", "Ada", "-p", "seeds_adamw=1", "-p", "seeds_sgd=0"]
    env = os.environ | {"UNLEARNKIT_RUNS": str(tmp_path / "runs"), "UNLEARNKIT_BUILD": str(build)}
    done = subprocess.run(command, cwd=paths.ROOT, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (run,) = (folder for folder in build.iterdir() if folder.is_dir())
    for name in notebooks.select():
        told = (run / "notebooks" / f"{name}.ipynb").read_text()
        assert "my-model" in told or name != "00_overview"
    assert "Ada" in done.stdout  # the summary names the target
    (handed,) = (line for line in done.stdout.splitlines() if "-m unlearnkit forget" in line)
    command_line = [*shlex.split(handed), "--dry-run"]
    plan = subprocess.run(command_line, cwd=paths.ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert "3 of 10 facts: " in plan.stdout, plan.stderr
    assert "Dave" not in (run / "summary.md").read_text()
    again = subprocess.run(command, cwd=paths.ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert "everything is up to date" in again.stdout
