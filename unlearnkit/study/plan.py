"""What a profile's run consists of: its facts, targets, recipes and cells. Imports no torch.

Every choice that could be made after looking is made here: recipes, step grid, controls, the reading point.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from unlearnkit import data, requests
from unlearnkit.data import Example
from unlearnkit.errors import ConfigError
from unlearnkit.experiments.cells import Cell
from unlearnkit.profiles import Profile

# Fine-tuning by (model, optimizer); "" is the recipe for any other model.
LINEAR = {"lr_schedule": "linear"}
RECIPES: dict[tuple[str, str], dict] = {
    ("smollm2-135m", "adamw"): {"lr": 8e-5, "epochs": 7, "batch_size": 8, **LINEAR},
    ("smollm2-135m", "sgd"): {"lr": 3e-3, "epochs": 14, "batch_size": 8},
    ("gpt2-tiny", "adamw"): {"lr": 1e-3, "epochs": 6, "batch_size": 8},
    ("gpt2-tiny", "sgd"): {"lr": 0.1, "epochs": 12, "batch_size": 8},
    ("", "adamw"): {"lr": 5e-5, "epochs": 5, "batch_size": 8},
    ("", "sgd"): {"lr": 1e-3, "epochs": 12, "batch_size": 8},
}
# The path: step lengths as shares of ||theta_T - theta_0||, the way that fine-tuning went.
STEPS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
# (method, layers, step lengths): the reference cell, the paper's contrast, and the two controls. The wrong
# person's own facts are retain facts, so that their loss rises after a far shorter way.
PATHS = (
    ("first_epoch", "all", STEPS),
    ("all_epochs", "all", STEPS),
    ("wrong_person", "all", (0.0002, 0.001, 0.005, 0.04, 0.16)),
    ("random_direction", "all", (0.04, 0.16)),
)
DAMAGE_NATS = 0.05  # the reading point: retain NLL this much above the fine-tuned model's
RETAIN_FACTS = 20  # retain facts scored along a path
HOLDOUT_FACTS = 40  # never-trained facts in a portrait, about
PATH_TOKENS = 1024  # utility tokens at a path point
PORTRAIT_TOKENS = 2048  # utility tokens in a portrait
CURVATURE_REFERENCE = 16  # facts whose mean loss gives the Hessian
CURVATURE_FACTS = 4  # forget facts, and as many controls, with a curvature score


@dataclass(frozen=True)
class Arm:
    """One model trained in one way, over several training seeds."""

    model: str
    optimizer: str
    seeds: tuple[int, ...]
    facts: tuple[Example, ...]
    forget: tuple[str, ...]  # the request's ids, in every seed
    target: str  # what to call the forget set
    control: tuple[str, ...]  # somebody else's ids: the wrong-person control
    holdout: tuple[Example, ...] = ()
    recipe: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{Path(self.model).name}, {self.optimizer.replace('adamw', 'AdamW').replace('sgd', 'SGD')}"

    def retain(self) -> list[Example]:
        """The retain facts that a path scores: as evenly from everybody as the order allows."""
        others = [e for e in self.facts if e.id not in set(self.forget)]
        stride = max(1, len(others) // RETAIN_FACTS)
        return others[::stride][:RETAIN_FACTS]


def facts_of(profile: Profile) -> tuple[list[Example], list[str], str, list[Example]]:
    """Facts, forget ids, the target's name and hold-out facts of a run; a user's own data has none."""
    query, own = profile["forget"], profile["data"]
    facts = data.load_jsonl(own) if own else data.dave(seed=0)
    held = [] if own else data.holdout(seed=0)
    forget = requests.parse(facts, query)
    stride = len(held) // HOLDOUT_FACTS + 1  # 21 against 20 forms a person: every form has its turn
    return _labelled(facts, forget), forget, query, held[::stride]


def _labelled(facts: list[Example], forget: list[str]) -> list[Example]:
    """The facts with the request's as "forget", and no others: the split that readings go by."""
    rest = {"forget": "retain"}
    return [replace(e, split="forget" if e.id in forget else rest.get(e.split, e.split)) for e in facts]


def _recipe(model: str, optimizer: str) -> dict:
    """The recipe of a model, by its family's name where it has one."""
    family = "gpt2-tiny" if model.startswith("gpt2-tiny") else model
    recipe = RECIPES.get((family, optimizer)) or RECIPES["", optimizer]
    return {"optimizer": optimizer, "loss_on": "answer", **recipe}


def arms(profile: Profile) -> list[Arm]:
    """The arms of a run: each optimizer that has seeds. ConfigError where none has."""
    facts, forget, target, held = facts_of(profile)
    others = [e for e in facts if e.id not in set(forget)]
    person = next((e.person for e in others if e.person), "")
    control = [e.id for e in others if e.person == person][: len(forget)]
    found = []
    for optimizer in ("adamw", "sgd"):
        if not profile[f"seeds_{optimizer}"]:
            continue
        recipe = _recipe(profile["model"], optimizer)
        found.append(
            Arm(
                profile["model"],
                optimizer,
                tuple(range(profile[f"seeds_{optimizer}"])),
                tuple(facts),
                tuple(forget),
                target,
                tuple(control),
                tuple(held),
                recipe,
            )
        )
    if not found:
        raise ConfigError("seeds_adamw and seeds_sgd are both 0: give one of them at least 1")
    return found


def _base(arm: Arm, seed: int) -> dict:
    """What every cell of an arm and seed depends on; whole facts, so that a cell needs nothing else."""
    return {
        "arm": arm.name,
        "model": arm.model,
        "seed": seed,
        "recipe": arm.recipe | {"seed": seed},
        "record_all": seed == 0 and arm.optimizer == "adamw",  # other ledgers keep target and control only
        "facts": [asdict(e) for e in arm.facts],
        "forget": list(arm.forget),
        "control": list(arm.control),
        "retain": [e.id for e in arm.retain()],
    }


def cells(arm: Arm) -> list[Cell]:
    """Every cell of an arm, each after those it needs."""
    scale = SECONDS.get(arm.model, 1.0)
    steps = arm.recipe["epochs"] * -(-len(arm.facts) // arm.recipe["batch_size"])
    found = []
    for seed in arm.seeds:
        base, label = _base(arm, seed), f"{arm.name}, seed {seed}"
        train = Cell("train", "train", base, f"fine-tune ({label})", scale * steps * 1.5)
        oracle = Cell("oracle", "train", base, f"oracle ({label})", scale * steps)
        config = base | {"paths": [[m, layers, list(s)] for m, layers, s in PATHS], "tokens": PATH_TOKENS}
        walk = Cell("walk", "unlearn", config, f"unlearning paths ({label})", scale * 18 * 7, (train,))
        config = base | {
            "damage": DAMAGE_NATS,
            "tokens": PORTRAIT_TOKENS,
            "holdout": [asdict(e) for e in arm.holdout],
            "curvature": [CURVATURE_REFERENCE, CURVATURE_FACTS if seed == 0 else 0],
        }
        portraits = Cell(
            "portraits", "unlearn", config, f"close-ups ({label})", scale * 130, (train, oracle, walk)
        )
        found += [train, oracle, walk, portraits]
    return found


def rewind_cell(arm: Arm) -> Cell:
    """The ledger's identity on the run's model: three epochs of plain SGD, undone."""
    config = _base(arm, 0) | {"recipe": _recipe(arm.model, "sgd") | {"epochs": 3, "seed": 0}}
    title = f"rewind identity ({Path(arm.model).name}, SGD)"
    return Cell("rewind", "train", config, title, SECONDS.get(arm.model, 1.0) * 100)


# Seconds that one optimizer step of 8 facts takes on two cores; measured, for estimates only.
SECONDS = {
    "smollm2-135m": 1.0,
    "gpt2-tiny": 0.06,
    "gpt2-tiny-pretrained-quick": 0.06,
    "gpt2-tiny-pretrained": 0.06,
}
