"""From observations to the numbers that tables, figures and prose show. Reads only; imports no torch.

observed   the observation files as frames, costs, continuations
learning   memorisation, perplexity, the hold-out yardstick, the ledger
paths      unlearning paths against the oracle, readings at matched damage, contrasts over seeds
influence  influence before and after
headline   the few numbers that a run prints last
"""

from unlearnkit.study.results.headline import NAMES, headline, summary
from unlearnkit.study.results.influence import INFLUENCES, UNITS, influence_pairs, influence_tests
from unlearnkit.study.results.learning import (
    learned,
    ledger_sizes,
    memorisation,
    memorisation_by_person,
    perplexities,
    rewind,
    yardstick,
)
from unlearnkit.study.results.observed import (
    arm_names,
    arm_of,
    arms,
    continuations,
    costs,
    observations,
)
from unlearnkit.study.results.paths import (
    along,
    contrasts,
    matched_damage,
    methods,
    oracle_distance,
    oracle_floor,
    oracle_nll,
    oracle_points,
    path_table,
    turning_points,
)

__all__ = [
    "INFLUENCES",
    "NAMES",
    "UNITS",
    "along",
    "arm_names",
    "arm_of",
    "arms",
    "continuations",
    "contrasts",
    "costs",
    "headline",
    "influence_pairs",
    "influence_tests",
    "learned",
    "ledger_sizes",
    "matched_damage",
    "memorisation",
    "memorisation_by_person",
    "methods",
    "observations",
    "oracle_distance",
    "oracle_floor",
    "oracle_nll",
    "oracle_points",
    "path_table",
    "perplexities",
    "rewind",
    "summary",
    "turning_points",
    "yardstick",
]
