"""Chapter 00: the study on one page: a line an update, a sentence a claim, and what a rerun would bring."""

import numpy as np
import pandas as pd
from scipy.stats import t

from unlearnkit import claims
from unlearnkit.report import ch09_methods, ch11_verification, contrasts, readings, side_by_side, verdicts
from unlearnkit.report.ch01_data import learned
from unlearnkit.report.ch02_first_epoch import prices
from unlearnkit.report.run import Arm, Run
from unlearnkit.report.tables import NAMES, count, estimate, frame
from unlearnkit.study.config import NUDGED, RERUN

WITH_ALL = ("kfac_replay", "projected_replay")  # replays that read everybody's records
SHARES = np.linspace(0, 2, 81)  # of a path's way to where it has forgotten: places of a curve
# What a claim's verdict means on the first arm, in one sentence: where it is replicated, and where it is not.
FOUND = {
    "C0": (
        "It does: others lose less than a tenth of a nat a token.",
        "Others lose more than a tenth of a nat a token before the person is forgotten.",
    ),
    "C1": (
        "All epochs' gradients cost others more.",
        "All epochs' gradients cost others no more, or less.",
    ),
    "C1a": (
        "Somebody else's gradients cost more or never get there, so it matters whose facts are replayed.",
        "Somebody else's gradients do as well: any push would do.",
    ),
    "C1b": (
        "AdamW's updates, added back, cost others less.",
        "Adding back AdamW's updates saves nothing that matters.",
    ),
    "C2a": (
        "Edited alone, the embedding costs others less.",
        "Edited alone, the embedding costs others as much, or more.",
    ),
    "C2b": (
        "A step on them moves the forgotten facts by less than a tenth of a nat.",
        "A step on them does move the forgotten facts.",
    ),
    "C2c": (
        "Two other blocks, drawn at random, move the facts more.",
        "Two other blocks, drawn at random, move the facts no more than the last two.",
    ),
    "C3a": ("It falls.", "It does not fall, or it rises."),
    "C3b": ("It falls.", "It does not fall, or it rises."),
    "C3c": ("It comes nearer.", "It comes no nearer, or moves away."),
    "C3d": ("It comes nearer.", "It comes no nearer, or moves away."),
    "C4": (
        "The path runs past the oracle and ends farther from it than it began.",
        "No step that was looked at lies farther from the oracle than the start, by as much as matters.",
    ),
    "C4a": (
        "Some step makes the facts likelier than before.",
        "No step that was looked at makes the facts likelier than before, by as much as matters.",
    ),
    "C5": (
        "Removal fact by fact costs others less than a fuzzy request.",
        "Removal fact by fact costs others as much as a fuzzy request, or more.",
    ),
}


def curves(arm: Arm, layers: str = "all", methods: tuple[str, ...] = readings.UPDATES) -> pd.DataFrame:
    """How far from the oracle an update has come, and what others have lost by then: a row a place.

    Columns: method, share (of each seed's own way to where it has forgotten as the oracles have, or, where it
    never does, to where it is read; SHARES, and the end), damage and distance (means over seeds of the retain
    damage and of D_F there). A line ends where the first seed's path does, so that it is of the same seeds
    throughout.
    """
    read = readings.reading(arm, "forgetting", None, layers, methods).dropna(subset="oracle_distance")
    read, table, rows = read[read["norm"] > 0], readings.path_table(arm, layers, methods), []
    facts = readings.fact_paths(arm)
    for method in [m for m in methods if m in set(read["method"])]:
        norms, found = read[read["method"] == method].set_index("seed")["norm"], []
        reach = min(facts[seed, layers, method].index[-1] / norm for seed, norm in norms.items())
        shares = np.union1d(SHARES[reach > SHARES], min(reach, SHARES[-1]))
        paths = dict(iter(readings.along(table, method, layers).groupby("seed")))
        for seed, norm in norms.items():
            found.append(readings.between(arm, (seed, layers, method), paths[seed], shares * norm))
        rows += [(method, *row) for row in zip(shares, *np.mean(found, axis=0), strict=True)]
    return frame(rows, "method", "share", "damage", "distance")


def in_sentences(run: Run) -> pd.DataFrame:
    """`verdicts.words` with what each verdict means on the first arm below its claim."""
    arm, told = run.arms[0], verdicts.words(run)
    judged = {row["id"]: row for row in contrasts.verdicts(run) if row["arm"] == arm.name}
    means = [_sentence(judged.get(claim.partition(".")[0]), arm) for claim in told["claim"]]
    return told.assign(claim=told["claim"] + "<br><i>" + pd.Series(means, dtype=str) + "</i>")


def _sentence(row: dict | None, arm: Arm) -> str:
    if row is None:
        return f"Not tested on {arm.name}."
    if row["verdict"] == claims.NO_VERDICT:
        return "Not judged: nothing to unlearn, a ledger that does not hold, or paths too short to forget."
    if row["verdict"] != claims.UNDECIDED:
        return FOUND[row["id"]][row["verdict"] != claims.REPLICATED]
    if row.get("bound"):
        told = estimate(*row["bound"])
        return f"Open: some path ends before it forgets; without what it is charged the difference is {told}."
    if row["detectable"] is None:
        return "Open: it takes more than one seed."
    seeds, least = count(row["n_seeds"], "seed"), f"{row['detectable']:.2g} {verdicts.UNITS[row['id']]}"
    return f"Open: {seeds} can easily miss a difference below {least}."


def expected(arm: Arm, again: int) -> pd.DataFrame:
    """The main readings, and how far the mean over as many other seeds would lie from what it estimates.

    Columns: reading, unit, n (seeds), mean, sd (over seeds), here and rerun (95 % half-widths of the mean
    over n seeds, and over `again`, from that sd; NaN of one seed), machine (how far the same seed lies apart
    where it begins one rounding off, as a root mean square over the seeds that were begun so, too).
    """
    found, rows = _main_readings(arm), []
    twins = [twin for twin in arm.run.beside if (twin.variant, twin.model) == (NUDGED, arm.model)]
    others = _main_readings(twins[0]) if twins else {}
    for (reading, unit), values in found.items():
        n, sd = values.count(), values.std()
        reach = t.ppf(1 - claims.ALPHA / 2, n - 1) * sd if n > 1 else np.nan
        apart = (others.get((reading, unit), pd.Series(dtype=float)) - values).dropna()
        widths = reach / np.sqrt(n), reach / np.sqrt(again)
        rows.append((reading, unit, n, values.mean(), sd, *widths, np.sqrt(apart.pow(2).mean())))
    return frame(rows, "reading", "unit", "n", "mean", "sd", "here", "rerun", "machine")


def _main_readings(arm: Arm) -> dict[tuple[str, str], pd.Series]:
    """By name and unit: a reading of every seed."""
    start = readings.path_table(arm, methods=()).query("method == 'finetuned'").set_index("seed")
    read = readings.reading(arm, "damage", None, "all", ("first_epoch",)).set_index("seed")
    told = prices(arm, methods=RERUN).set_index("seed")
    own = {m: told[told["method"] == m] for m in RERUN if m in set(told["method"])}
    return {
        ("answers' tokens memorised", "share"): learned(arm.observations("train"))["exact_memorisation"],
        ("distance to the oracle before any update", "nats"): start["oracle_distance"],
        (f"the same after the first epoch, at {arm.run.damage:g} nats", "nats"): read["oracle_distance"],
        **{(f"closest approach: {NAMES[m]}", "nats"): rows["closest"] for m, rows in own.items()},
        **{(f"others' loss where forgotten: {NAMES[m]}", "nats"): rows["cost"] for m, rows in own.items()},
    }


def all_records_save(run: Run) -> bool:
    """Whether both replays that read everybody's records cost others less than AdamW's updates do.

    On the headline, as the page says; so, too, where that compared no methods.
    """
    arms = side_by_side.of_run(run)
    if not arms or arms[0] is not run.arms[0]:
        return True
    price = side_by_side.summary(arms[0])["price"].reindex(["adam_replay", *WITH_ALL])
    return bool(price.isna().any() or price[list(WITH_ALL)].max() < price["adam_replay"])


def other_methods(run: Run) -> str:
    """A line an arm that compares methods, and one that verifies some; "" where none does.

    Below what says that not all of them are there yet, where that is so.
    """
    told = [ch09_methods.bar_sentence(arm).data for arm in side_by_side.of_run(run)]
    told += ch11_verification.sentences(run)
    notice = ch11_verification.interim(run) if told else ""
    return "\n".join([*([f"{notice}\n"] if notice else ()), *(f"* {one}" for one in told)])
