"""Chapter 04: does a rule that chooses layers find those that learnt the target, where these are known?"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import variants as registered
from unlearnkit.report import figures, tables, variants
from unlearnkit.report.claim_values import cost, priced
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.config import LAYER_RULES
from unlearnkit.study.variants import PLANTED, candidates

METHOD = "first_epoch"
RULES = {
    "cheapest": "cheapest to forget on (the study's rule)",
    "nearest": "closest to the oracle at 0.5 nats of damage",
    "stored_gradient": "largest first-epoch gradient a weight",
    "present_gradient": "largest present gradient a weight",
    "gradient_to_weights": "largest gradient for its weights (SLUG)",
    "gradient_to_retain": "largest gradient for that of the retain facts",
    "stored_now": "largest stored-now influence a weight",
    "along_the_way": "gradient best along the way from the public model",
    "moved": "moved most while taught (the truth itself)",
}


def of_run(run: Run) -> Arm:
    """The variant's arm."""
    return variants.arm_of(run, PLANTED)


def truth(arm: Arm) -> dict[int, str]:
    """By seed, the candidate whose layers alone learnt the target."""
    names = {parts: name for name, parts in candidates().items()}
    return {s.seed: names[tuple(dict(s.recipe)["layers"])] for s in arm.settings}


def choices(arm: Arm) -> pd.DataFrame:
    """What each rule chooses in each seed: seed, rule, chosen, planted, hit.

    `cheapest` is the candidate that pays least at matched forgetting, among those that get there; where none
    does, no choice is a hit. Of equal scores the first candidate's counts.
    """
    planted, rows = truth(arm), []
    scores = arm.observations("layer_scores")
    tries = [("cheapest", _least(reading(arm, "forgetting").query("reached"), "damage"))]
    tries.append(("nearest", _least(reading(arm, "damage", registered.STAGE_DAMAGE), "oracle_distance")))
    for rule in LAYER_RULES:
        mine = scores[scores["metric"] == rule]
        tries.append((rule, _least(mine.assign(value=-mine["value"]), "value")))
    for rule, chosen in tries:
        for seed, layers in planted.items():
            found = chosen.get(seed, "")
            rows.append((seed, rule, found, layers, found == layers))
    return tables.frame(rows, "seed", "rule", "chosen", "planted", "hit")


def _least(table: pd.DataFrame, value: str) -> Mapping[int, str]:
    """By seed, the candidate with the lowest value."""
    table = table[table["layers"].isin(candidates())].dropna(subset=value)
    return table.loc[table.groupby("seed")[value].idxmin()].set_index("seed")["layers"].to_dict()


def hit_rates(arm: Arm) -> pd.DataFrame:
    """A row a rule: rule, hits, n, share, ci_low, ci_high (Wilson, 95 %), finds (all of it above chance)."""
    table, rows = choices(arm).groupby("rule", sort=False)["hit"], []
    for rule, hits in table:
        low, high = stats.share_ci(int(hits.sum()), len(hits))
        told = (rule, int(hits.sum()), len(hits), hits.mean(), low, high)
        rows.append((*told, low > registered.CHANCE))
    return tables.frame(rows, "rule", "hits", "n", "share", "ci_low", "ci_high", "finds")


def rule_table(arm: Arm) -> pd.DataFrame:
    """`hit_rates` for people, with chance as the last row."""
    rows = [
        (RULES[r.rule], f"{r.hits} of {r.n}", f"{r.share:.0%} [{r.ci_low:.0%}, {r.ci_high:.0%}]", r.finds)
        for r in hit_rates(arm).itertuples()
    ]
    rows.append(("chance", "1 of 7", f"{registered.CHANCE:.0%}", False))
    table = tables.frame(rows, "rule", "finds the layers in", "share [95 %]", "above chance")
    return table.assign(**{"above chance": table["above chance"].map({True: "yes", False: "no"})})


def contrasts(arm: Arm) -> dict[str, pd.Series]:
    """By registered claim: what wrong layers (mean of six), or all, pay beyond the right ones, by seed."""
    planted, found = truth(arm), {"V3a": {}, "V3b": {}}
    for right in candidates():
        seeds = [seed for seed, layers in planted.items() if layers == right]
        for other in ("all", *candidates()):
            if seeds and other != right:
                table = (cost(arm, (other, METHOD)) - cost(arm, (right, METHOD))).dropna()
                for seed in table.index.intersection(seeds):
                    claim = found["V3b" if other == "all" else "V3a"]
                    claim.setdefault(seed, []).append(table[seed])
    means = {claim: pd.Series({s: np.mean(v) for s, v in by.items()}) for claim, by in found.items()}
    return {claim: values.sort_index() for claim, values in means.items() if len(values)}


def answers(arm: Arm) -> pd.DataFrame:
    """The registered claims on right and wrong layers, with verdicts in words."""
    return variants.answers(variants.judged(arm, contrasts(arm), registered.PLANTED))


def by_place(arm: Arm, kind: str = "forgetting", level: float | None = None) -> pd.DataFrame:
    """A reading of every path with `place`: "right layers", "wrong layers" or "all layers"."""
    table = reading(arm, kind, level)
    right = table["layers"] == table["seed"].map(truth(arm))
    if kind == "forgetting":
        table = table.assign(pays=priced(arm, table))
    words = {True: "right layers", False: "wrong layers"}
    return table.assign(place=right.map(words).where(table["layers"] != "all", "all layers"))


def place_table(arm: Arm) -> pd.DataFrame:
    """A row a place: what unlearning there pays, how often it forgets, and how far the oracle stays."""
    there, rows = by_place(arm).groupby("place"), []
    at = by_place(arm, "damage", registered.STAGE_DAMAGE).groupby("place")["oracle_distance"].mean()
    closest = by_place(arm, "closest").groupby("place")["oracle_distance"].mean()
    for place in ("right layers", "wrong layers", "all layers"):
        mine = there.get_group(place)
        count = f"{mine['reached'].sum()} of {tables.count(len(mine), 'path')}"
        nats = (f"{value:.2f}" for value in (at[place], closest[place]))
        rows.append((place, f"{mine['pays'].mean():.2f}", count, *nats))
    return tables.frame(rows, "unlearnt on", "pays, nats", "forgets in", "distance at 0.5", "closest")


def figure(arm: Arm) -> plt.Figure:
    """Hit rate of every rule with its Wilson interval, against chance."""
    table = hit_rates(arm)
    drawn, ax = figures.figure(0.3 * len(table) + 0.8)
    for y, row in enumerate(table.itertuples()):
        colour = figures.COLOURS["all_epochs" if row.finds else "random_direction"]
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.6)
        ax.plot(row.share, y, "o", color=colour, ms=6)
    ax.axvline(registered.CHANCE, color=figures.MUTED, lw=0.9, ls=":")
    figures.note(ax, "chance", (registered.CHANCE, 1), ("data", "axes fraction"), (3, 2))
    ax.set_yticks(range(len(table)), [RULES[rule] for rule in table["rule"]], fontsize=8)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("share of seeds in which the rule is right")
    return drawn
