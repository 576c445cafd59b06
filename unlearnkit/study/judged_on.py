"""What each row of the protocol is judged on: a number or more a training seed (`claims.verification`).

Each is made in the same way of an unlearned model and of a second oracle in its place, from the rows of the
stages `verified` and `verified_oracles`. Imports no torch.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from unlearnkit import stats
from unlearnkit.study.config import COIN_PERSONS, VERIFIED
from unlearnkit.study.verified import ATTACKS

# Persons of a seed guessed in, the likeliest, and as many guessed out; no guess on others.
GUESSED = COIN_PERSONS // 4


def facts(rows: pd.DataFrame, metric: str = "nll") -> pd.DataFrame:
    """A metric of the forget facts: seeds x facts, NaN where another seed's world has the fact."""
    here = rows[(rows["metric"] == metric) & (rows["split"] == "forget")]
    return here.pivot_table("value", "seed", "example")


def relative(own: pd.DataFrame, oracle: pd.DataFrame, original: pd.DataFrame) -> pd.DataFrame:
    """The share of facts whose NLL is nearer to the oracle's than to the original's."""
    found = stats.relative(*alike(own, oracle, original))
    return pd.DataFrame({"share": found.shares}, index=facts(own).index)


def equivalence(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """D_F and the signed gap to the oracle, nats."""
    away = facts(own) - facts(oracle)
    return pd.DataFrame({"distance": away.abs().mean(axis=1), "gap": away.mean(axis=1)})


def distribution(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """The KS distance between the NLLs of the forget facts and theirs to the oracle."""
    here, there = facts(own), facts(oracle)
    pairs = {seed: (here.loc[seed].dropna(), there.loc[seed].dropna()) for seed in here.index}
    apart = {seed: stats.ks(*pair, resamples=100).d for seed, pair in pairs.items()}
    return pd.DataFrame({"ks": pd.Series(apart, dtype=float)})


def membership(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """Each attack's AUC of forget facts against hold-out persons', less the oracle's."""
    return pd.DataFrame({attack: _auc_differences(own, oracle, f"mia_{attack}") for attack in ATTACKS})


def _auc_differences(own: pd.DataFrame, oracle: pd.DataFrame, metric: str) -> pd.Series:
    scores = [
        rows[rows["metric"] == metric].set_index(["seed", "split", "example"])["value"].sort_index()
        for rows in (own, oracle)
    ]
    both = pd.concat(scores, axis=1, join="inner")
    found = {}
    for seed, here in both.groupby(level="seed"):
        members, others = (here.xs(split, level="split") for split in ("forget", "holdout"))
        pairs = [(members.iloc[:, k].to_numpy(), others.iloc[:, k].to_numpy()) for k in (0, 1)]
        found[seed] = stats.auc_difference(*pairs).difference
    return pd.Series(found, dtype=float)


def relearning(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """`area` where the facts taught are other facts of the person."""
    return pd.DataFrame({"area": area(own, oracle)})


def area(own: pd.DataFrame, oracle: pd.DataFrame, taught: str = "half") -> pd.Series:
    """The area between the curves of the held facts' NLL, less the oracle's, in nats x steps: one a seed.

    `taught` is "half", other facts of the person, or "others", facts that nobody knew.
    """
    apart = (curves(own, taught) - curves(oracle, taught)).dropna(axis=0, how="all")
    return pd.Series(np.trapezoid(apart, apart.columns, axis=1), apart.index)


def curves(rows: pd.DataFrame, taught: str = "half") -> pd.DataFrame:
    """Mean NLL of the held facts while others are taught: a row a seed, a column an optimizer step."""
    return rows[rows["metric"] == f"relearnt_{taught}"].pivot_table("value", "seed", "step")


def quantisation(own: pd.DataFrame, _oracle: pd.DataFrame, original: pd.DataFrame) -> pd.DataFrame:
    """The share of what was forgotten that rounding brings back, of mean NLLs; NaN where nothing was.

    A row a seed, a column a number of bits: `stats.recovered_share`.
    """
    after = facts(own).mean(axis=1)
    before = facts(original).mean(axis=1).reindex(after.index)
    shares = {}
    for name in (f"int{bits}" for bits in VERIFIED["bits"]):
        rounded = facts(own, f"nll_{name}").mean(axis=1).reindex(after.index)
        shares[name] = stats.recovered_share(after, rounded, before)
    return pd.DataFrame(shares, after.index)


def leakage(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """leak@k (all words of the answer said), mean over facts, less the oracle's."""
    counts = VERIFIED["leaks"]
    return pd.DataFrame({k: _mean(own, f"leak_{k}") - _mean(oracle, f"leak_{k}") for k in counts}).dropna()


def asked(own: pd.DataFrame, oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """By how many nats facts are likelier than to the oracle, each in the way to ask that is worst for it."""
    levels = [rows[(rows["metric"] == "nll_asked") & (rows["split"] == "worst")] for rows in (oracle, own)]
    there, here = (rows.set_index("seed")["value"] for rows in levels)
    return pd.DataFrame({"worst": there - here}).dropna()


def depth(own: pd.DataFrame, _oracle: pd.DataFrame, _original: pd.DataFrame) -> pd.DataFrame:
    """UDS, mean over facts."""
    return pd.DataFrame({"uds": _mean(own, "uds")})


def _mean(rows: pd.DataFrame, metric: str) -> pd.Series:
    return facts(rows, metric).mean(axis=1)


def alike(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """The NLL of the same facts and seeds in each, those of the first."""
    found = [facts(rows) for rows in tables]
    return [table.reindex_like(found[0]) for table in found]


NUMBERS: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {
    row.__name__: row
    for row in (
        *(relative, equivalence, distribution, membership, relearning, quantisation, leakage, asked, depth),
    )
}


def guesses(rows: pd.DataFrame) -> pd.DataFrame:
    """By seed, how many guesses there are and how many are right: the likeliest persons are guessed in, the
    least likely out."""
    scores, found = rows[rows["metric"] == "mia_reference"], {}
    for seed, here in scores.groupby("seed"):
        order = here.sort_values("value")["split"].to_numpy()
        right = (order[:GUESSED] == "holdout").sum() + (order[-GUESSED:] == "forget").sum()
        found[seed] = (int(right), 2 * GUESSED)
    return pd.DataFrame.from_dict(found, orient="index", columns=["right", "of"]).rename_axis("seed")


def margins(population: pd.DataFrame) -> pd.DataFrame:
    """The log-odds of each forget fact of many models of one world: models x facts, as KLoM takes them."""
    table = facts(population).dropna(axis=1)
    return pd.DataFrame(stats.log_odds(table), table.index, table.columns)
