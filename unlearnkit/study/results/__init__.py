"""From observations to the numbers that tables, figures and prose show. Reads only; imports no torch.

observed   the observation files as frames, costs, continuations
learning   memorisation, perplexity, the hold-out yardstick, the ledger
oracles    the retrained models and the distance to them
paths      what every step of every unlearning path did
matched    readings of a path at matched damage, and contrasts over seeds
influence  influence before and after
verdicts   the claims' contrasts and verdicts, and what their spread over seeds is made of
headline   the few numbers that a run prints last
"""

from unlearnkit.study.results.headline import NAMES, headline, summary
from unlearnkit.study.results.influence import INFLUENCES, UNITS, influence_pairs, influence_tests
from unlearnkit.study.results.learning import (
    closeups,
    learned,
    ledger_sizes,
    memorisation,
    memorisation_by_person,
    perplexities,
    recipes,
    rewind,
    yardstick,
)
from unlearnkit.study.results.matched import contrasts, matched_damage, paired, read, turning_points
from unlearnkit.study.results.observed import (
    arm_names,
    arm_of,
    arms,
    continuations,
    costs,
    observations,
)
from unlearnkit.study.results.oracles import oracle_distance, oracle_floor, oracle_nll, oracle_points
from unlearnkit.study.results.paths import CORE, along, methods, path_table
from unlearnkit.study.results.verdicts import claim_values, components, verdicts

__all__ = [
    "CORE",
    "INFLUENCES",
    "NAMES",
    "UNITS",
    "along",
    "arm_names",
    "arm_of",
    "arms",
    "claim_values",
    "closeups",
    "components",
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
    "paired",
    "path_table",
    "perplexities",
    "read",
    "recipes",
    "rewind",
    "summary",
    "turning_points",
    "verdicts",
    "yardstick",
]
