"""Chapter 06: requests that miss some of the target's facts, or catch others', and what that costs (C5)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from unlearnkit import requests
from unlearnkit.claims import variants as registered
from unlearnkit.report import figures, tables, variants
from unlearnkit.report.claim_values import cost
from unlearnkit.report.readings import reading
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.variants import REQUESTS

NAMES = {
    "exact": "a list of all the facts",
    "exact_by_name": "a list of the facts under the name",
    "words_alias": "the name or the alias, as whole words",
    "words": "the name, as a whole word",
    "resembling": "what resembles the name (the fuzzy one)",
    "loose_alias": "what loosely resembles name or alias",
    "iterative": "a list of all the facts, one at a time",
}
PARTIAL = ("exact_by_name", "words", "resembling")  # requests that miss the facts under the alias


def of_run(run: Run) -> Arm | None:
    """The variant's arm; None where the run has none."""
    return run.variants.get(REQUESTS)


def matched(arm: Arm) -> pd.DataFrame:
    """Whom each request reaches, a row a seed and request: seed, method, matched, precision, recall."""
    rows = []
    for setting in arm.settings:
        asked = {**dict(setting.requests), "iterative": setting.forget}
        for label, ids in asked.items():
            rows.append((setting.seed, label, len(ids), *requests.precision_recall(ids, setting.forget)))
    return tables.frame(rows, "seed", "method", "matched", "precision", "recall")


def contrasts(arm: Arm) -> dict[str, pd.Series]:
    """By registered claim: what one request pays beyond another in every seed, nats."""
    pairs = registered.REQUEST_PAIRS.items()
    found = {claim: cost(arm, ("all", more)) - cost(arm, ("all", less)) for claim, (more, less) in pairs}
    return {claim: values.dropna() for claim, values in found.items() if len(values.dropna())}


def answers(arm: Arm) -> pd.DataFrame:
    """The registered claims on requests, with verdicts in words and what was compared."""
    rows = variants.judged(arm, contrasts(arm), registered.REQUESTS)
    pairs = (registered.REQUEST_PAIRS[row["id"]] for row in rows)
    compared = [" less ".join(NAMES[method] for method in pair) for pair in pairs]
    table = variants.answers(rows)
    table.insert(1, "compared", compared)
    return table


def request_table(arm: Arm) -> pd.DataFrame:
    """A row a request: whom it reaches, what it pays to forget all of the target, how close it comes."""
    reach = matched(arm).groupby("method", sort=False)[["matched", "precision", "recall"]].mean()
    table = variants.costs(arm).set_index("method").join(reach).loc[reach.index]
    told = pd.DataFrame(
        {
            "request for": [NAMES[method] for method in table.index],
            "facts": table["matched"].map("{:.1f}".format),
            "precision": table["precision"].map("{:.2f}".format),
            "recall": table["recall"].map("{:.2f}".format),
            "others lose, nats": table["pays"].map("{:.2f}".format),
            "forgets on the mean in": [
                f"{r.reached} of {tables.count(r.seeds, 'seed')}" for r in table.itertuples()
            ],
            "distance at 0.05": table["at_little"].map("{:.2f}".format),
            "at 0.5": table["at_much"].map("{:.2f}".format),
            "closest": table["closest"].map("{:.2f}".format),
        }
    )
    return told.reset_index(drop=True)


def exceptions(arm: Arm) -> pd.DataFrame:
    """In how many worlds a request of PARTIAL comes closer to the oracle than each that reaches all facts."""
    near = reading(arm, "closest").pivot_table(index="seed", columns="method", values="oracle_distance")
    rows = []
    for partial in (m for m in PARTIAL if m in near):
        whole = {NAMES[m]: near[[partial, m]].dropna() for m in NAMES if m in near and m not in PARTIAL}
        told = {name: f"{(v.iloc[:, 0] < v.iloc[:, 1]).sum()} of {len(v)}" for name, v in whole.items()}
        rows.append({"request that misses facts": NAMES[partial]} | told)
    return pd.DataFrame(rows)


def figure(arm: Arm) -> plt.Figure:
    """What each request pays, a dot a seed (hollow where it never forgets as much), a bar for the mean."""
    table, reach = variants.paid(arm), matched(arm).groupby("method", sort=False).mean()
    drawn, ax = figures.figure(0.42 * len(reach) + 0.9)
    for y, method in enumerate(reach.index):
        mine = table[table["method"] == method]
        colour = figures.COLOURS["iterative" if method in ("exact", "iterative") else "fuzzy"]
        shift = np.linspace(-0.18, 0.18, len(mine)) if len(mine) > 1 else [0.0]
        faces = [colour if reached else "white" for reached in mine["reached"]]
        ax.scatter(mine["pays"], y + np.array(shift), s=18, c=faces, edgecolors=colour, linewidths=0.9)
        ax.plot([mine["pays"].mean()] * 2, [y - 0.32, y + 0.32], color=colour, lw=2.5)
    words = [f"{NAMES[m]}\nprecision {r.precision:.2f}, recall {r.recall:.2f}" for m, r in reach.iterrows()]
    ax.set_yticks(range(len(reach)), words, fontsize=8.5, color=figures.INK)
    ax.set_ylim(len(reach) - 0.5, -0.5)
    ax.set_xlim(left=min(0, table["pays"].min()))
    ax.set_xlabel("others lose until all of the person\nis forgotten as by the oracle (nats)")
    return drawn
