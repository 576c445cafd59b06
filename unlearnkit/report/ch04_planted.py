"""Chapter 04: does a rule that chooses layers find those that learnt the target, where these are known?"""

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.claims import variants as registered
from unlearnkit.report import figures, tables, variants
from unlearnkit.report.claim_values import cost, thrown_away
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.config import LAYER_RULES
from unlearnkit.study.variants import PLANTED, candidates

METHOD = "first_epoch"
READ_AT = (0.05, 0.2, registered.STAGE_DAMAGE, 1.0)  # nats: does it decide where `nearest` is read?
RULES = {
    "cheapest": "cheapest to forget on",
    "nearest": "nearest to the oracle at 0.5 nats of damage",
    "stored_gradient": "largest first-epoch gradient a weight",
    "present_gradient": "largest present gradient a weight",
    "gradient_to_weights": "largest gradient against its weights",
    "gradient_to_retain": "largest gradient against the retain facts'",
    "stored_now": "largest influence a weight, stored × present",
    "along_the_way": "gradient most along the way from the public model",
    "moved": "moved most while the person was taught",
}
GOLDEN = 0.618
TRUTH = "moved"  # no rule for users, who would need the weights from before
HOLLOW = ("nearest", TRUTH)  # no rules for users
RIGHT, EMBEDDING, WRONG, ALL = PLACES = (
    "where the person was learnt",
    "embedding, learnt elsewhere",
    "blocks, learnt elsewhere",
    "all layers",
)


def of_run(run: Run) -> Arm | None:
    """The variant's arm; None where the run has none."""
    return run.variants.get(PLANTED)


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
    tries.append(("nearest", _nearest(arm, registered.STAGE_DAMAGE)))
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


def _nearest(arm: Arm, damage: float) -> Mapping[int, str]:
    """By seed, the candidate that is closest to the oracle where the others have lost so many nats."""
    return _least(reading(arm, "damage", damage), "oracle_distance")


def nearest_hits(arm: Arm) -> dict[float, int]:
    """By the damage at which it is read, in how many seeds the rule `nearest` is right; beside the claims."""
    planted = truth(arm)
    return {
        damage: sum(_nearest(arm, damage).get(seed) == layers for seed, layers in planted.items())
        for damage in READ_AT
    }


def hit_rates(arm: Arm) -> pd.DataFrame:
    """A row a rule: rule, hits, n, share, ci_low, ci_high (Wilson, 95 %), finds (all of it above chance)."""
    table, rows = choices(arm).groupby("rule", sort=False)["hit"], []
    for rule, hits in table:
        low, high = stats.share_ci(int(hits.sum()), len(hits))
        told = (rule, int(hits.sum()), len(hits), hits.mean(), low, high)
        rows.append((*told, low > registered.CHANCE))
    return tables.frame(rows, "rule", "hits", "n", "share", "ci_low", "ci_high", "finds")


def rule_table(arm: Arm) -> pd.DataFrame:
    """`hit_rates` for people, the truth's check and chance as the last rows."""
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


def by_place(arm: Arm, kind: str = "forgetting") -> pd.DataFrame:
    """A reading of every path with `place`, one of PLACES."""
    table = variants.paid(arm) if kind == "forgetting" else reading(arm, kind)
    place = table["layers"].map({"all": ALL, "embedding": EMBEDDING}).fillna(WRONG)
    return table.assign(place=place.mask(table["layers"] == table["seed"].map(truth(arm)), RIGHT))


def place_table(arm: Arm) -> pd.DataFrame:
    """A row a place: what unlearning there pays, how often it forgets, and how far the oracle stays."""
    there, rows = by_place(arm).groupby("place"), []
    closest = by_place(arm, "closest").groupby("place")["oracle_distance"].mean()
    for place in (name for name in PLACES if name in there.groups):
        mine = there.get_group(place)
        count = f"{mine['reached'].sum()} of {tables.count(len(mine), 'path')}"
        nats = mine["oracle_distance"].mean(), closest[place]
        rows.append((place, tables.mean_and_extremes(mine["pays"]), count, *map("{:.2f}".format, nats)))
    columns = (
        "unlearnt on",
        "others lose, nats",
        "forgets on the mean in",
        "single facts off there",
        "closest",
    )
    return tables.frame(rows, *columns)


def figure(arm: Arm) -> plt.Figure:
    """Hit rate of every rule with its Wilson interval, against chance; hollow: no rules for users."""
    table = hit_rates(arm)
    drawn, ax = figures.figure(0.3 * len(table) + 0.9)
    for y, row in enumerate(table.itertuples()):
        colour = figures.COLOURS["all_epochs" if row.finds else "random_direction"]
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.6, zorder=1)
        face = "white" if row.rule in HOLLOW else colour
        ax.plot(row.share, y, "o", color=colour, mfc=face, ms=6, clip_on=False)
    ax.axvline(registered.CHANCE, color=figures.INK, lw=1, ls=":")
    figures.note(ax, "chance", (registered.CHANCE, 1), ("data", "axes fraction"), (3, 2))
    ax.set_yticks(range(len(table)), [RULES[rule] for rule in table["rule"]], color=figures.INK, fontsize=8.5)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.02)
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    ax.set_xlabel("worlds in which the rule names the right layers")
    return drawn


def place_figure(arm: Arm) -> plt.Figure:
    """What forgetting costs the others by place: a dot a path, hollow where it never forgets; bars: means."""
    table, all_taught = by_place(arm), thrown_away(arm)["damage"].mean()
    drawn, ax = figures.figure(2.6)
    for y, place in enumerate(PLACES):
        mine = table[table["place"] == place].sort_values("pays")
        colour = figures.COLOURS["all_epochs" if place == RIGHT else "random_direction"]
        faces = [colour if reached else "white" for reached in mine["reached"]]
        heights = y + 0.5 * (np.arange(len(mine)) * GOLDEN % 1 - 0.5)  # near ones are far apart
        ax.scatter(mine["pays"], heights, s=15, c=faces, edgecolors=colour, linewidths=0.8)
        ax.plot([mine["pays"].mean()] * 2, [y - 0.36, y + 0.36], color=figures.INK, lw=2.5)
    figures.wide_axis(ax.xaxis, table["pays"])
    ax.set_xlim(min(0.05, 1.2 * table["pays"].min()), 1.4 * all_taught)
    ax.axvline(all_taught, color=figures.MUTED, lw=1, ls=":", zorder=0)
    figures.note(ax, "all they were taught", (all_taught, 1), ("data", "axes fraction"), (0, 2), ha="right")
    ax.set_yticks(range(len(PLACES)), [fill(place, 16) for place in PLACES], color=figures.INK)
    ax.set_ylim(len(PLACES) - 0.5, -0.5)
    ax.set_xlabel(
        "what others lose until the person is forgotten as by the oracle\n"
        "(nats, log scale): | mean, ○ never forgets"
    )
    return drawn
