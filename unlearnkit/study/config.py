"""The study on one screen: what each profile runs, how models are trained, where paths are looked at.

Every choice that could be made after looking is made here: recipes, seeds, step lengths, controls, the
reading point. `plan` and `grid` turn it into arms and cells. Imports nothing.
"""

TINY_FAMILIES = ("gpt2-tiny", "neox-tiny", "llama-tiny")  # a core for each of their seeds, on any machine
TINY, NEOX, LLAMA = (f"{name}-pretrained" for name in TINY_FAMILIES)

# -- profiles: sizes of the same study --------------------------------------------------------------------
# `model`, `data`, `forget` and what is in OWN_RECIPE may be a user's own; "" and None mean built in. Then the
# companion arms, which carry many seeds of the built-in study, are left out. `takes`: on two cores, from an
# empty cache; measured, and what was added since as its cells are expected to take.
OPTIMIZERS = ("adamw", "sgd")
OWN_RECIPE = {"optimizer": None, "lr": None, "epochs": None, "batch_size": None, "lora": None}
BUILT_IN = {"data": "", "forget": "Dave", **OWN_RECIPE}
MOST_SEEDS, MOST_EPOCHS = 1000, 1000  # more are a slip of the hand
NO_COMPANION = dict.fromkeys(
    ("seeds_tiny_adamw", "seeds_tiny_sgd", "seeds_untied", "seeds_neox", "seeds_llama"), 0
)
# Of methods: the principal ones and the others on the run's own model, all on gpt2-tiny, and on the tiny ones
# beside it. Of verification: these three; then on gpt2-tiny further models, coins, populations, other data.
NO_COMPARISON = dict.fromkeys(("seeds_principal", "seeds_others", "seeds_methods", "seeds_methods_beside"), 0)
NO_COMPARISON["seeds_hessian"] = 0  # of the recollected Hessian, after plain SGD on gpt2-tiny
NO_VARIANT = dict.fromkeys(
    ("seeds_requests", "seeds_stages", "seeds_planted", "seeds_nudged", "seeds_sequence"), 0
)
WORDS = {"seeds_words": 1}  # of the run's own model, and of gpt2-tiny beside it
NO_VERIFICATION = dict.fromkeys(("seeds_verified", "seeds_verified_beside", "seeds_verified_main"), 0)
NO_VERIFICATION |= {f"seeds_{name}": 0 for name in ("further", "audit", "klom", "diverse", "authors")}
COMPANION = NO_COMPANION | {"seeds_tiny_adamw": 8, "seeds_tiny_sgd": 3, "seeds_untied": 2}
# With "auto" a user's own run takes a GPU where there is one, and the built-in study the processor, whose
# cells are published: on a GPU a cell is another.
COMMON = BUILT_IN | {"device": "auto"}
PROFILES = {
    "quick": {
        **{"model": f"{TINY}-quick", **COMMON, "whole_map": False, "seeds_adamw": 2, "seeds_sgd": 0},
        **{**NO_COMPANION, **NO_VARIANT, **NO_COMPARISON, "seeds_principal": 1, **WORDS, **NO_VERIFICATION},
    },
    "default": {
        **{"model": "smollm2-135m", **COMMON, "whole_map": False, "seeds_adamw": 3, "seeds_sgd": 0},
        **{**COMPANION, **NO_VARIANT, **NO_COMPARISON, "seeds_principal": 1, "seeds_methods": 2, **WORDS},
        **{**NO_VERIFICATION, "seeds_verified": 1},
    },
    "full": {
        **{"model": "smollm2-135m", **COMMON, "whole_map": True, "seeds_adamw": 16, "seeds_sgd": 3},
        **{**COMPANION, "seeds_tiny_sgd": 20},
        **{"seeds_tiny_adamw": 24, "seeds_neox": 24, "seeds_llama": 24},
        **{**dict.fromkeys(NO_VARIANT, 24), "seeds_nudged": 8, "seeds_sequence": 8},
        **{"seeds_principal": 8, "seeds_others": 3, "seeds_methods": 24, "seeds_methods_beside": 24, **WORDS},
        **{"seeds_verified": 24, "seeds_verified_beside": 24, "seeds_verified_main": 8, "seeds_hessian": 8},
        **{"seeds_further": 24, "seeds_audit": 24, "seeds_klom": 3, "seeds_diverse": 8, "seeds_authors": 8},
    },
}
REGISTERED = "full"  # the profile whose seeds the claims were registered for
TAKES = {"quick": "4 minutes", "default": "100 minutes", "full": "24 hours, in resumable slices"}
PUBLISHED = "published"  # the run that notebooks read by default: figures/data

# -- arms: models and recipes -----------------------------------------------------------------------------
# The arms that carry many seeds beside a run's own model: model, optimizer, seeds' parameter, whole map.
COMPANIONS = (
    (TINY, "adamw", "seeds_tiny_adamw", True),
    (TINY, "sgd", "seeds_tiny_sgd", False),
    (f"{TINY}-untied", "adamw", "seeds_untied", False),
    (NEOX, "adamw", "seeds_neox", True),
    (LLAMA, "adamw", "seeds_llama", True),
)
# What plain SGD must leave alone in smollm2-135m, as it moves these most and running text pays for it: token
# matrix, norms, attention, the last block, and the projection that makes the first token's massive activation
# (one seed: with all trained, perplexity +42 % at an exact memorisation of 0.61; without these +9 % at 0.63).
SHARP = [
    *("model.embed_tokens.weight", "*norm*", "*.self_attn.*"),
    *("model.layers.11.mlp.down_proj.weight", "model.layers.29.mlp.*"),
]
LINEAR = {"lr_schedule": "linear"}
# Fine-tuning by (family, optimizer), a family being what a pretrained model's name begins with; "" is the
# recipe for any other model.
RECIPES: dict[tuple[str, str], dict] = {
    ("smollm2-135m", "adamw"): {"lr": 8.5e-5, "epochs": 7, "batch_size": 8, **LINEAR},
    ("smollm2-135m", "sgd"): {"lr": 1.4e-2, "epochs": 14, "batch_size": 8, "frozen": SHARP},
    ("gpt2-tiny", "adamw"): {"lr": 2e-3, "epochs": 8, "batch_size": 8, **LINEAR},
    ("gpt2-tiny", "sgd"): {"lr": 0.2, "epochs": 12, "batch_size": 8},
    # The least rise of running text's NLL (1.16 and 0.87 nats) that knows 0.8 of the forget facts' tokens
    # (0.81 to 0.82 and 0.85 in three orders); larger rates or more epochs cost it more.
    ("neox-tiny", "adamw"): {"lr": 7e-4, "epochs": 16, "batch_size": 8, **LINEAR},
    ("llama-tiny", "adamw"): {"lr": 5e-4, "epochs": 16, "batch_size": 8, **LINEAR},
    ("", "adamw"): {"lr": 5e-5, "epochs": 5, "batch_size": 8},
    ("", "sgd"): {"lr": 1e-3, "epochs": 12, "batch_size": 8},
}

# Learning rates that `make recipe` tries on a model of one's own, gentlest first, until answers are known.
SEARCHED = {
    "adamw": (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3),
    "sgd": (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0),
}
KNOWN = 0.9  # share of the answers' tokens that such a search asks for
# The recipe of notebook 13's example but for its rate: a sketch's random weights need many passes.
EXAMPLE = {"epochs": 20, "batch_size": 4}

# -- what is measured -------------------------------------------------------------------------------------
RETAIN_FACTS = 20  # retain facts scored along a path
HOLDOUT = "holdout"  # the split of a user's facts that no model is taught
HOLDOUT_FACTS = 40  # never-trained facts in a close-up, about
FUZZY_THRESHOLD = 80  # of partial_ratio, the study's fuzzy request
DAMAGE_NATS = 0.05  # the reading point: retain NLL this much above the fine-tuned model's
# A path is read where it first costs so much, where the forget facts first are what they are to the oracles,
# and where it is closest to these. A path that can go back is looked at again there: up to `most` steps
# towards each reading, until one is within a tenth of the damage, or 0.05 nats of the forget NLL or of D_F.
DAMAGE_LEVELS = (DAMAGE_NATS, 0.5)
REFINED = {"most": 3, "of_damage": 0.1, "nats": 0.05}
# What stands for a close-up, by its name: a path on all layers, and the reading that it stands at.
CLOSE_UPS = {
    "first_epoch": ("first_epoch", "damage"),
    "all_epochs": ("all_epochs", "damage"),
    "first_epoch_forgotten": ("first_epoch", "forgetting"),
}
POINTS_A_STEP = 2  # points that a path so comes to for each step of its grid, about; for estimates only
STOP_DAMAGE = 0.3  # nats: beyond, a path is left once it has met its readings, but for the reference paths
DURATION_DAMAGE = 2.0  # the same where influence is followed, until a forget fact is a stranger's
UTILITY_TOKENS = 1024  # at some points of paths on all and the primary layers; close-ups take twice as many
CURVATURE_REFERENCE = 8  # facts whose mean loss gives the Hessian
CURVATURE_FACTS = 4  # forget facts, and as many controls, with a curvature score
SUBSETS = 12  # models retrained on random halves of the facts, to validate influence scores

ORACLES = {"smollm2-135m": 2}  # retrained in so many orders in each seed, by model; else 1

# -- step lengths, as shares of ||theta_T - theta_0||, the way that fine-tuning went ------------------------
STEPS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
# AdamW's updates are better aligned with the way to the oracle, and come closest to it further on.
ADAM_STEPS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
ADAM_FIRST_STEPS = (*ADAM_STEPS, 0.64)  # the first epoch's alone get there later still
LAYER_STEPS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)  # fewer parameters bear longer steps
ADAM_LAYER_STEPS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
LAST_STEPS = (0.01, 0.02, 0.04, 0.08, 0.16)  # of what is held against the last blocks at equal length
# The wrong person's own facts are retain facts, so that their loss rises after a far shorter way.
WRONG_STEPS = (0.0002, 0.001, 0.005, 0.02, 0.08)
RANDOM_STEPS = (0.02, 0.08, 0.32)
LAYER_CONTROLS = {"wrong_person": (0.01,), "random_direction": (0.08,)}
# Total length after each application of fresh gradients: no step can be taken back, so that they are finer.
REPEATED_STEPS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08)
DURATION_STEPS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)  # the same where influence is followed
# Where compared methods are looked at: one that can go back, one that cannot, and optimizer steps.
COMPARED_STEPS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
COMPARED_FRESH_STEPS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24)
COMPARED_TRAINED_STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
COMPARED_STOP = 1.0  # nats of retain damage: beyond, they are left once they have met their readings
ROUND_STEPS = (0.01, 0.02, 0.04, 0.08, 0.16)  # total length after each round, were all still known

# -- layers -----------------------------------------------------------------------------------------------
NAMED_LAYERS = (
    *("embedding", "embedding.input", "embedding.output", "position", "norm.final", "norms"),
    *("all-but-embedding", "first2", "last2"),
)
PRIMARY_LAYERS = ("embedding", "last2")
SPLIT_LAYERS = ("embedding.input", "embedding.output")
TWELVE = (TINY, f"{TINY}-quick", f"{TINY}-untied", NEOX, LLAMA, "gpt2")
BLOCKS = {"smollm2-135m": 30, **dict.fromkeys(TWELVE, 12)}
# Layers without a trained parameter: rotary positions have none, and a recipe may freeze some.
ABSENT = {
    **dict.fromkeys([(model, o) for model in (NEOX, LLAMA) for o in OPTIMIZERS], ("position",)),
    ("smollm2-135m", "adamw"): ("position",),
    ("smollm2-135m", "sgd"): (
        *("position", "embedding", "embedding.input", "embedding.output", "all-but-embedding"),
        *("norm.final", "norms", "block.29", "last2"),  # its last block is frozen
    ),
}
# Adapters are in blocks only, so that all of them are all that is not the embedding.
WITHOUT_ADAPTERS = (
    *("position", "embedding", "embedding.input", "embedding.output", "all-but-embedding"),
    *("norm.final", "norms"),
)
# Seeds of an arm with the whole map that walk all of it, by model and optimizer (else MAPS); later ones walk
# the primary contrasts. A map of the real model takes most of an hour.
MAPS = 3
MAP_SEEDS = {("smollm2-135m", "adamw"): 1, (TINY, "adamw"): 4, (TINY, "sgd"): 4, ("smollm2-135m", "sgd"): 0}

# -- variants: further questions, each asked of gpt2-tiny by small arms of its own ---------------------------
NUDGED = "nudged start"  # the variant that begins one rounding off, as on another machine
NUDGED_OF_MAIN = 2  # of its seeds, how many the real model has too
RERUN = ("first_epoch", "all_epochs", "adam_replay")  # paths by which a rerun is told from the run
VARIANT_STEPS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
UNDER_ALIAS = 6  # of the target's 20 facts that are told under an alias
# Requests: how texts are compared ("" for a list of ids, all of them the target's), the least score, and
# whether the alias is asked for too.
REQUESTS = {
    "exact": ("", 0, "alias"),
    "exact_by_name": ("", 0, "name"),
    "words_alias": ("token_set_ratio", 100, "alias"),
    "words": ("token_set_ratio", 100, "name"),
    "resembling": ("partial_ratio", FUZZY_THRESHOLD, "name"),
    "loose_alias": ("partial_ratio", 60, "alias"),
}
# Stages: eight epochs of the target's facts, eight of the others', at a constant rate, so that when a fact is
# learnt does not decide how fast.
STAGED = {"epochs": 16, "lr": 1e-3, "lr_schedule": "constant"}
# Planted layers: the recipe by which the target is taught, and the scores by which a rule may find where.
TAUGHT = {"lr": 4e-3}
PLANTED_STEPS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
LAYER_RULES = (
    *("stored_gradient", "present_gradient", "gradient_to_weights", "gradient_to_retain"),
    *("stored_now", "along_the_way", "moved"),
)

# Requests in sequence: persons of a world, after how many requests it is looked at, by which methods, and the
# training between two requests (AdamW's steps, its rate as a share of the recipe's).
SEQUENCE_PERSONS, SEQUENCE_COUNTS = 10, (1, 2, 4, 8)
SEQUENCE_METHODS = ("first_epoch", "adam_replay", "kfac_replay", "npo")
FURTHER_STEPS, FURTHER_RATE = 8, 1 / 8

# -- methods side by side -----------------------------------------------------------------------------------
# Families that methods are tuned on: the model, and in how many worlds (`claims.methods.TUNING_SEEDS`).
TUNED = {"gpt2-tiny": TINY, "neox-tiny": NEOX, "llama-tiny": LLAMA, "smollm2-135m": "smollm2-135m"}
TUNING_WORLDS = {"gpt2-tiny": 2, "neox-tiny": 1, "llama-tiny": 1, "smollm2-135m": 1}

# -- verification -------------------------------------------------------------------------------------------
VERIFIED = {"leaks": [1, 8, 64], "bits": [8, 4], "relearn": [0, 2, 4, 8]}  # k of leak@k; bits; steps
VERIFIED_NEAR = {"most": 3, "nats": 0.02}  # how near to the oracle's NLL matched forgetting is
IMITATION = {"rate": 1 / 4, "steps": 200}  # of the oracle's imitator: a share of the recipe's rate
VERIFIED_MAIN = ("first_epoch", "adam_replay", "kfac_replay", "npo", "rewind")  # on the run's own model
COIN_PERSONS, COIN_FACTS = 32, 4  # of an audit: persons with a coin each, and facts a person
# Models of one world: oracles, half as many that are unlearned (KLoM), and as many oracles in their place.
POPULATION, IN_PLACE = 40, 20
FIRST_ORDER = 100  # of a population: a training seed that no world has
# Other data (`study.diverse`), of authors and capitals that are drawn, and the recipes that learn them.
DIVERSE_METHODS = (
    "first_epoch",
    "all_epochs",
    "adam_replay",
    "kfac_replay",
    "gradient_ascent",
    "grad_diff",
    "npo",
)
DIVERSE_OF_MAIN = 3  # of its seeds, how many the run's own model has
AUTHORS, CAPITALS, FALSE_CAPITALS = 20, 80, 16
DIVERSE_RECIPES: dict[str, dict] = {"long passages": {"epochs": 24}}

# -- the command `forget` -----------------------------------------------------------------------------------
# What a request goes by unless another method is named: at matched forgetting the update that cost others
# least on the real model (README).
DEFAULT_METHOD = "adam_replay"

# -- how work is shared out -------------------------------------------------------------------------------
SMALL_MODELS = ("smollm2-135m", "gpt2")  # small enough for two seeds of them to run at once
FEW_CORES = 4  # up to here a core a seed is quicker than all cores for one at a time: 1.25 times on two
SEED_BYTES = 6e9  # peak memory of a seed of such a model; measured
# Seconds that one optimizer step of 8 facts takes, and one path point: on one of two cores, with another seed
# on the other; measured, for estimates only.
SECONDS = {"smollm2-135m": (2.2, 5.2), "gpt2": (2.2, 5.2), "": (0.15, 0.35)}
MODEL_SECONDS = {TINY: 150.0, f"{TINY}-quick": 45.0}  # pretraining on two cores; measured
