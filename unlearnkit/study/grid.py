"""The cells of an arm: which paths are walked from which seed, and what is measured there. Imports no torch.

The paper's factorial (epochs x layers x request) is measured as slices through the reference cell, which is
first epoch, all layers, exact request. A path is a cell's unit where it is dear, and all paths on one layer
selection are one cell, so that adding a seed or a layer runs only what is new.
"""

from dataclasses import asdict, replace

from unlearnkit.experiments.cells import Cell
from unlearnkit.study import plan
from unlearnkit.study.plan import Arm, Setting

# Step lengths as shares of ||theta_T - theta_0||, the way that fine-tuning went: seven a path, powers of two.
STEPS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
LAYER_STEPS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)  # fewer parameters bear longer steps
# The wrong person's own facts are retain facts, so that their loss rises after a far shorter way.
WRONG_STEPS = (0.0002, 0.001, 0.005, 0.02, 0.08)
RANDOM_STEPS = (0.02, 0.08, 0.32)
LAYER_CONTROLS = {"wrong_person": (0.01,), "random_direction": (0.08,)}
REPEATED_STEPS = (0.0025, 0.005, 0.01, 0.02)  # total length after each application of fresh gradients
DURATION_STEPS = (*REPEATED_STEPS, 0.04, 0.08)  # the same where influence is followed, and further on
ROUND_STEPS = (0.01, 0.02, 0.04, 0.08)  # total length after each round, were all still known
STOP_DAMAGE = 0.3  # nats of retain damage after which a path is left, but for the reference paths
DURATION_DAMAGE = 2.0  # the same where influence is followed, until a forget fact is a stranger's
DAMAGE_NATS = 0.05  # the reading point: retain NLL this much above the fine-tuned model's
UTILITY_TOKENS = 1024  # at a wide point of the reference paths and the controls; close-ups take twice as many
CURVATURE_REFERENCE = 8  # facts whose mean loss gives the Hessian
CURVATURE_FACTS = 4  # forget facts, and as many controls, with a curvature score
# Seeds of an arm with the whole map that walk all of it, by model and optimizer (else MAPS); later ones walk
# the primary contrasts. A map of the real model takes a quarter of an hour.
MAPS = 3
MAP_SEEDS = {(plan.TINY, "adamw"): 4, (plan.TINY, "sgd"): 4, ("smollm2-135m", "sgd"): 1}
SUBSETS = 12  # models retrained on random halves of the facts, to validate influence scores

NAMED_LAYERS = (
    *("embedding", "embedding.input", "embedding.output", "position", "norm.final", "norms"),
    *("all-but-embedding", "first2", "last2"),
)
PRIMARY_LAYERS = ("embedding", "last2")
SPLIT_LAYERS = ("embedding.input", "embedding.output")
# Layers without a trained parameter: rotary positions have none, and a recipe may freeze some.
ABSENT = {
    ("smollm2-135m", "adamw"): ("position",),
    ("smollm2-135m", "sgd"): (
        *("position", "embedding", "embedding.input", "embedding.output", "all-but-embedding"),
        *("norm.final", "norms", "block.29", "last2"),  # its last block is frozen
    ),
}
BLOCKS = {"smollm2-135m": 30, plan.TINY: 12, f"{plan.TINY}-quick": 12, f"{plan.TINY}-untied": 12, "gpt2": 12}
SMALL_MODELS = ("smollm2-135m", "gpt2")  # small enough for two seeds of them to run at once
# Seconds that one optimizer step of 8 facts takes, and one path point: on one of two cores, with another seed
# on the other; measured, for estimates only.
SECONDS = {"smollm2-135m": (2.2, 5.2), "gpt2": (2.2, 5.2), "": (0.15, 0.35)}


def path(label: str, method: str, steps: tuple[float, ...], **more) -> dict:
    """One path of a paths cell: how `experiments.unlearn` walks, and what the observations call it."""
    return {"label": label, "method": method, "steps": list(steps)} | more


def maps(arm: Arm, setting: Setting) -> bool:
    """Whether a seed walks the whole map, or the primary contrasts only."""
    return arm.whole_map and _is_early(arm, setting)


def _is_early(arm: Arm, setting: Setting) -> bool:
    return setting.seed < MAP_SEEDS.get((arm.model, arm.optimizer), MAPS)


def layers_of(arm: Arm, setting: Setting) -> list[str]:
    """The layer selections of a seed beside "all"."""
    if maps(arm, setting):
        names = [*NAMED_LAYERS, *(f"block.{k}" for k in range(BLOCKS.get(arm.model, 0)))]
    else:
        names = [*PRIMARY_LAYERS, *(SPLIT_LAYERS if arm.model.startswith("gpt2-tiny") else ())]
    return [name for name in names if name not in ABSENT.get((arm.model, arm.optimizer), ())]


def paths_at_all(arm: Arm, setting: Setting) -> dict[str, list[dict]]:
    """The paths on all layers, by the name of their cell."""
    stop = {"stop": STOP_DAMAGE}
    found = {
        "reference": [path("first_epoch", "first_epoch", STEPS), path("all_epochs", "all_epochs", STEPS)],
        "controls": [
            path("wrong_person", "wrong_person", WRONG_STEPS, **stop),
            path("random_direction", "random_direction", RANDOM_STEPS, **stop),
        ],
        "requests": [
            *([path("fuzzy", "first_epoch", STEPS, request="fuzzy", **stop)] if setting.fuzzy else []),
            path("iterative", "iterative", ROUND_STEPS),
            path("recomputed", "gradient_ascent", REPEATED_STEPS, **stop),
        ],
    }
    if maps(arm, setting):
        like = {"like": "embedding" if "embedding" in layers_of(arm, setting) else "first2"}
        subset = path("random_subset", "random_subset", STEPS[1:], options=like, **stop)
        found["controls"].append(subset)
        found["epochs"] = _single_epochs(arm)
        backwards = path("iterative_reversed", "iterative", ROUND_STEPS, reverse=True)
        found["requests"].append(backwards)
    return found


def _durations() -> list[dict]:
    """Stored first-epoch gradients and fresh ones, with a close look after every application."""
    stop = {"stop": DURATION_DAMAGE}
    return [
        path("first_epoch", "first_epoch", DURATION_STEPS, **stop),
        path("recomputed", "gradient_ascent", DURATION_STEPS, **stop),
    ]


def _single_epochs(arm: Arm) -> list[dict]:
    """Every epoch alone but the first, which is the reference; "first x E" lies on the reference's line."""
    return [
        path(f"epoch_{e}", "single_epoch", LAYER_STEPS, options={"epoch": e}, stop=STOP_DAMAGE)
        for e in range(2, arm.recipe["epochs"] + 1)
    ]


def paths_on(arm: Arm, setting: Setting, layers: str) -> list[dict]:
    """The paths on one layer selection, with its own controls of equal length."""
    found = [path("first_epoch", "first_epoch", LAYER_STEPS, stop=STOP_DAMAGE)]
    if maps(arm, setting) and not layers.startswith("block."):
        found.append(path("all_epochs", "all_epochs", LAYER_STEPS, stop=STOP_DAMAGE))
    found += [path(name, name, steps, stop=STOP_DAMAGE) for name, steps in LAYER_CONTROLS.items()]
    if maps(arm, setting) and layers == "embedding":
        found += _single_epochs(arm)
    return found


def cells(arm: Arm) -> list[Cell]:
    """Every cell of an arm, each after those it needs."""
    return [cell for setting in arm.settings for cell in _seed_cells(arm, setting)] + _validation(arm)


def _base(arm: Arm, setting: Setting) -> dict:
    """What every cell of an arm and seed depends on; whole facts, so that a cell needs nothing else."""
    wanted = {*setting.forget, *setting.control, *setting.fuzzy}
    everything = setting.seed == 0 and arm.optimizer == "adamw"  # other ledgers keep what is replayed
    return {
        "arm": arm.name,
        "model": arm.model,
        "seed": setting.seed,
        "recipe": arm.recipe | {"seed": setting.seed},
        "facts": [asdict(e) for e in setting.facts],
        "record": [e.id for e in setting.facts if everything or e.id in wanted],
        "tokens": UTILITY_TOKENS,
    }


def _seconds(arm: Arm, setting: Setting) -> tuple[float, float]:
    """Expected: of the optimizer steps of a training, and of one path point."""
    step_s, point_s = SECONDS.get(arm.model, SECONDS[""])
    return step_s * arm.recipe["epochs"] * -(-len(setting.facts) // arm.recipe["batch_size"]), point_s


def _seed_cells(arm: Arm, setting: Setting) -> list[Cell]:
    training_s, point_s = _seconds(arm, setting)
    base, where = _base(arm, setting), f"{arm.name}, seed {setting.seed}"
    wide = {"holdout": [asdict(e) for e in setting.holdout], "tokens": 2 * UTILITY_TOKENS}
    base |= {k: list(getattr(setting, k)) for k in ("forget", "control", "fuzzy")}
    base |= {"retain": [e.id for e in setting.retain()]}
    train = Cell("train", "train", base, f"fine-tuning ({where})", training_s * 1.3)
    found = [train]
    seconds = training_s + 4 * point_s
    oracle = Cell("oracle", "oracles", base | wide, f"oracle ({where})", seconds, (train,))
    found.append(oracle)

    def walk(name: str, layers: str, paths: list[dict]) -> Cell:
        points = sum(len(p["steps"]) for p in paths)
        config = base | {"layers": layers, "paths": paths}
        config["rouge"] = name == "reference" and _is_early(arm, setting)
        config["tokens"] = UTILITY_TOKENS if name in ("reference", "controls") else 0
        config["holdout"] = wide["holdout"] if name == "requests" else []
        return Cell("paths", "unlearn", config, f"paths, {name} ({where})", point_s * points, (train,))

    walks = {name: walk(name, "all", paths) for name, paths in paths_at_all(arm, setting).items()}
    found += walks.values()
    found += [walk(name, name, paths_on(arm, setting, name)) for name in layers_of(arm, setting)]
    config = base | wide | {"damage": DAMAGE_NATS}
    config |= {"curvature": [CURVATURE_REFERENCE, CURVATURE_FACTS if setting.seed == 0 else 0]}
    needs = (train, walks["reference"])
    found.append(Cell("portraits", "unlearn", config, f"close-ups ({where})", point_s * 20, needs))
    if maps(arm, setting):
        config = base | {"layers": "all", "holdout": wide["holdout"], "paths": _durations()}
        found.append(Cell("durations", "duration", config, f"duration ({where})", point_s * 80, (train,)))
    needs = (train, oracle)
    found.append(Cell("alignment", "align", base, f"alignment ({where})", point_s * 5, needs))
    return found


def _validation(arm: Arm) -> list[Cell]:
    """Influence against retraining, in seed 0 of an arm with the whole map on a tiny model."""
    if not (arm.whole_map and arm.model == plan.TINY and arm.optimizer == "adamw"):
        return []
    setting = arm.settings[0]
    base, (train, *_) = _base(arm, setting), _seed_cells(arm, setting)
    base |= {"forget": list(setting.forget), "control": list(setting.control)}
    seconds = train.estimate_s
    found = [Cell("tracin", "validate", base, f"influence of all on all ({arm.name})", seconds, (train,))]
    for label, left_out in _left_out(setting):
        config = base | {"label": label, "exclude": left_out}
        found.append(Cell("retrain", "validate", config, f"retraining without {label} ({arm.name})", seconds))
    return found


def _left_out(setting: Setting) -> list[tuple[str, list[str]]]:
    """Who is left out of each retraining: each person, then random halves of the facts."""
    import random

    named: dict[str, list[str]] = {}
    for example in setting.facts:
        group = "near-neighbours" if example.split == "neighbour" else example.person
        named.setdefault(group, []).append(example.id)
    ids = [e.id for e in setting.facts]
    halves = [
        (f"half {k}", sorted(random.Random(f"half {k}").sample(ids, len(ids) // 2))) for k in range(SUBSETS)
    ]
    return [*named.items(), *halves]


def recipe_cell(arm: Arm) -> Cell:
    """What the other optimizer's recipe does to the same facts; its unlearning is the profile `full`'s."""
    other = replace(arm, optimizer="sgd", recipe=plan.recipe(arm.model, "sgd"))
    config = {**_base(other, other.settings[0]), "record": [], "tokens": 2 * UTILITY_TOKENS}
    training_s, point_s = _seconds(other, other.settings[0])
    seconds = training_s + point_s * other.recipe["epochs"]
    return Cell("recipe", "train", config, f"recipe ({other.name})", seconds)


def rewind_cell(arm: Arm) -> Cell:
    """The ledger's identity on the run's model: three epochs of plain SGD on every parameter, undone."""
    config, recipe = _base(arm, arm.settings[0]), plan.recipe(arm.model, "sgd")
    rate = recipe["lr"] / (4 if recipe.get("frozen") else 1)  # what may be frozen does not bear the whole one
    config |= {"recipe": recipe | {"epochs": 3, "seed": 0, "frozen": [], "lr": rate}}
    return Cell("rewind", "train", config, f"rewind identity ({arm.name.split(',')[0]}, SGD)", 140)
