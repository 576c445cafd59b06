"""Golden cells: every stage and every method on two tiny random models, small enough to run in a test.

`numbers(shape)` runs them and gives a mean for each cell, method, metric and split. What is in
tests/golden/SHAPE.csv was made by `make golden`; where numbers change, the version of the stage or method
must be raised first, so that cached and published results of the old code no longer count.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
)

from unlearnkit import data
from unlearnkit.study import sequence, tables
from unlearnkit.study.cells import Cell
from unlearnkit.study.compare import Comparison
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm, Setting
from unlearnkit.study.verified import Verification
from unlearnkit.study.versions import VERSION
from unlearnkit.study.walks import path
from unlearnkit.study.words import Words
from unlearnkit.unlearning import METHODS

FOLDER = Path(__file__).parent / "golden"
END = "<|endoftext|>"
VOCABULARY = 400
SMALL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "vocab_size": VOCABULARY}
SHAPES = {
    "gpt2-tied": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=256, **SMALL)
    ),
    "llama-untied": lambda: LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            **SMALL,
        )
    ),
}
RECIPE = {"optimizer": "adamw", "lr": 5e-3, "epochs": 3, "batch_size": 4, "loss_on": "answer"}
OF_SGD = ("hf_ocu",)
STEPS = (0.02, 0.08)  # of each method's path
TRAINED_STEPS = (1, 3)  # the same of a trained method, of its optimizer
TRAINED_RATE = 5e-3
# What a method needs at this size: a rate that moves something, fewer partitions than there are.
OPTIONS = {
    "task_vector": {"lr": TRAINED_RATE},
    "lora_negation": {"lr": TRAINED_RATE, "steps": 3},
    "pem": {"epochs": 2},
    "pcgu": {"lr": 1.0, "k": 100, "epochs": 1},
    "msa": {"epochs": 1},
    "certified_removal": {"newton": 20},
    "in_context": {"false": 1, "true": 1},
}
LAYERS = ("embedding", "last2")
WALKED = ("path", "compared", "words", "sequence", "verified")
KEYS = ["stage", "cell", "method", "metric", "split", "version"]


def save_model(shape: str, folder: Path) -> Path:
    """A seeded random model of a shape with a tokenizer learned from the facts, as a local folder."""
    bpe = ByteLevelBPETokenizer()
    texts = [e.text for e in data.dave()]
    bpe.train_from_iterator(texts, VOCABULARY, min_frequency=1, special_tokens=[END], show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder)
    tokenizer.pad_token = END
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SHAPES[shape]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def setting() -> Setting:
    """Four facts to forget, eight to keep, three never trained."""
    facts = data.dave(target="Dave")
    forget = [e for e in facts if e.split == "forget"][:4]
    others = [e for e in facts if e.split == "retain"][:8]
    ids = tuple(e.id for e in forget)
    return Setting(
        seed=0,
        facts=(*forget, *others),
        forget=ids,
        target="Dave",
        control=tuple(e.id for e in others[:4]),
        fuzzy=(*ids, others[0].id),
        holdout=tuple(data.holdout()[:3]),
    )


def cells(model: Path) -> list[Cell]:
    """A cell of every stage, and a path of every method, each after those it needs."""
    seed = Seed(Arm(str(model), "adamw", RECIPE, (setting(),), whole_map=True), setting())
    moving = [name for name in METHODS if name not in ("noop", *OF_SGD)]  # noop has no step of any length
    walks = [seed.walk("all", _path(name)) for name in moving]
    walks += [seed.walk(layers, path("first_epoch", "first_epoch", STEPS)) for layers in LAYERS]
    found = [c for c in seed.cells() if c.stage not in ("path", "portraits")]
    close_up = next(c for c in seed.cells() if c.stage == "portraits")
    by_label = {c.config["paths"][0]["label"]: c for c in walks if c.config["layers"] == "all"}
    needs = (found[0], *seed.oracles, by_label["first_epoch"], by_label["all_epochs"])
    exclude = {"label": "two", "exclude": list(setting().control[:2])}
    sgd = seed.base | {"recipe": RECIPE | {"optimizer": "sgd", "lr": 0.05, "seed": 0}, "record": []}
    found += [*walks, replace(close_up, needs=needs)]
    found.append(seed.cell("tracin", "validate", seed.groups, 1.0, (found[0],)))
    found.append(seed.cell("retrain", "validate", seed.base | exclude, 1.0))
    found += [seed.cell("recipe", "train", sgd, 1.0), seed.cell("rewind", "train", sgd, 1.0)]
    found += [*_planted(seed), *_compared(seed), *_words(seed)]
    return [*found, *_in_sequence(seed), *_verified(seed)]


def _words(seed: Seed) -> list[Cell]:
    """The ends, and what is said along a line, fresh ascent and a trained method."""
    one = Words(seed)
    ends, *_ = one.cells()
    specs = [path("first_epoch", "first_epoch", STEPS), path("gradient_ascent", "gradient_ascent", STEPS)]
    specs.append(path("npo", "npo", TRAINED_STEPS, options={"lr": TRAINED_RATE}))
    return [ends, *(one.walk("all", {"options": {}, "stop": float("inf")} | spec) for spec in specs)]


def _in_sequence(seed: Seed) -> list[Cell]:
    """Ten requests of one fact each: a line in one batch, and with training between; a trained method."""
    facts = [*data.dave(target="Dave")[:16], *seed.setting.facts[4:8]]
    ids = [e.id for e in facts]
    asked = tuple((f"request {k}", (i,)) for k, i in enumerate(ids[:10]))
    more = {"forget": tuple(ids[:1]), "control": tuple(ids[-2:]), "fuzzy": (), "requests": asked}
    arm = replace(seed.arm, variant=sequence.SEQUENCE)
    found = sequence.cells(arm, replace(seed.setting, facts=tuple(facts), **more))
    for cell in found:  # whatever the family was tuned to
        for spec in cell.config.get("paths", []):
            spec["options"] = {"lr": TRAINED_RATE} if spec["method"] == "npo" else {}
    wanted = {("first_epoch", "batch"), ("first_epoch", "interleaved"), ("npo", "carry on")}
    return [
        c
        for c in found[1:]
        if c.stage != "sequence" or (c.config["paths"][0]["method"], c.config["mode"]) in wanted
    ]


def _verified(seed: Seed) -> list[Cell]:
    """Oracles and three kinds of methods under every test, and what only an audit asks."""
    one = Verification(seed.arm, seed.setting)
    steps = {"noop": (), "first_epoch": STEPS, "gradient_ascent": STEPS, "npo": TRAINED_STEPS}
    more = {"npo": {"options": {"lr": TRAINED_RATE}}}
    ways = [path(name, name, at, **more.get(name, {})) for name, at in steps.items()]
    coins = Verification(seed.arm, seed.setting, ("facts", "coins"), 1)
    audit = [replace(coins.oracles, title="an audit's oracle"), coins.along(ways[1])]
    return [one.oracles, one.third, *map(one.along, ways), *audit]


def _compared(seed: Seed) -> list[Cell]:
    """The fine-tuning that methods are compared from; a line, a trained method and a prompt from there."""
    one = Comparison(seed.arm, seed.setting)
    options = {"first_epoch": {}, "npo": {"lr": TRAINED_RATE}, "prompt_guard": {}}
    return [one.train, *(one.walk(name, given) for name, given in options.items())]


def _planted(seed: Seed) -> list[Cell]:
    """A training without the forget set, then one of the last blocks alone with it, and layers' scores."""
    base = seed.cell("base", "train", seed.base | {"forget": list(setting().forget)}, 1.0)
    staged = replace(setting(), recipe=(("layers", ["last2"]),))
    second = replace(seed, setting=staged, begins=(base,))
    given = second.groups | {"candidates": {name: [name] for name in LAYERS}}
    scores = second.cell("layer_scores", "planted", given, 1.0, (second.train, base))
    return [base, replace(second.train, title="second fine-tuning"), scores]


def of_sgd(model: Path) -> tuple[list[Cell], list[Cell]]:
    """Paths of the methods that follow plain SGD, and the cells before them that they need."""
    recipe = RECIPE | {"optimizer": "sgd", "lr": 0.05}
    seed = Seed(Arm(str(model), "sgd", recipe, (setting(),), whole_map=False), setting())
    return [seed.walk("all", _path(name)) for name in OF_SGD], [seed.train, *seed.oracles]


def _path(name: str) -> dict:
    if "steps" in METHODS[name].options and not METHODS[name].stops:
        return path(name, name, TRAINED_STEPS, options={"lr": TRAINED_RATE})
    more = {"options": OPTIONS[name]} if name in OPTIONS else {}
    return path(name, name, STEPS, **more)


def numbers(shape: str) -> pd.DataFrame:
    """Means of every golden cell's rows, by KEYS; cells are cached below UNLEARNKIT_RUNS."""
    with tempfile.TemporaryDirectory() as folder:
        model = save_model(shape, Path(folder))
        walked, before = of_sgd(model)
        for cell in before:  # their numbers are those of stages that have theirs
            cell.run()
        parts = [_numbers(cell) for cell in [*cells(model), *walked]]
    return pd.concat(parts, ignore_index=True)


def _name(cell: Cell) -> str:
    """What tells a cell from others of its stage."""
    config = cell.config
    name = cell.stage if cell.stage != "train" or not cell.needs else "train after base"
    if cell.stage in WALKED and config["paths"]:
        name = f"{config['paths'][0]['label']} on {config['layers']}"
    told = [str(config[key]) for key in ("mode", "asked", "after") if key in config]
    return ", ".join([name, *told, *(["coins"] if "coins" in config.get("tests", ()) else [])])


def _numbers(cell: Cell) -> pd.DataFrame:
    cell.run()
    rows = tables.read(cell.observations)
    rows = rows[~rows["metric"].isin(["training_seconds", "ledger_bytes", "weights_bytes"])]
    walked, version, name = cell.config.get("paths", []), str(VERSION[cell.stage]), _name(cell)
    if cell.stage in WALKED and walked:
        version += f".{METHODS[walked[0]['method']].version}"
    rows = rows.assign(stage=cell.stage, cell=name, version=version)
    for column in ("method", "split"):
        rows[column] = rows[column].fillna("") if column in rows else ""
    table = rows.groupby(KEYS, sort=False)["value"].agg(["size", "mean"]).reset_index()
    return table.rename(columns={"size": "rows"})
