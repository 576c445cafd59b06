"""What every step of every path did, and the three readings of a path.

forgetting  where the forget facts' mean NLL first equals the oracles': what do others pay there?
damage      where the path first costs the retain facts so many nats: how far is the oracle there?
closest     where D_F is smallest: how close does the path come, and what do others pay there?

Definitions: `study.readings`. D_F is the mean over forget facts of |NLL - mean NLL over the
oracles|, in nats; the oracles are all those of the seed's world (`oracles`). Perplexity is kept as its
logarithm, the NLL of running text.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from unlearnkit.claims import READINGS
from unlearnkit.errors import DataError
from unlearnkit.report.oracles import oracle_nll
from unlearnkit.report.run import Arm, Run
from unlearnkit.study.readings import closest, crossing, distances, start

CORE = ("first_epoch", "all_epochs", "wrong_person", "random_direction")
ADAM = ("adam_first", "adam_replay")  # AdamW's updates, added back
UPDATES = (*CORE[:2], *ADAM, *CORE[2:])  # what the report's summary compares
KEYS = ["seed", "layers", "method", "share"]
READ = ("damage", "bystander_damage", "forget_nll", "oracle_gap", "utility_rise", "rougeL_recall", "share")


# -- arms and seeds ---------------------------------------------------------------------------------------


def of_arms(run: Run, table: Callable[[Arm], pd.DataFrame]) -> pd.DataFrame:
    """`table` of every arm, one below the other, with the arm's name in a column arm."""
    return pd.concat([table(arm).assign(arm=arm.name) for arm in run.arms], ignore_index=True)


# -- paths ------------------------------------------------------------------------------------------------


def path_table(arm: Arm, layers: str | None = "all", methods: tuple[str, ...] | None = CORE) -> pd.DataFrame:
    """Per seed, layer selection, method and step: what a path figure draws; None asks for every one.

    Columns: seed, layers, method, share, norm, alpha, alpha_lr (alpha as a multiple of the learning rate),
    forget and retain NLL, damage (retain NLL above the start's), bystander_damage (the same without the
    control person's facts, which the wrong-person arm attacks; with them where there are no others), rise
    (of the forget NLL above the start's), oracle_distance (D_F), oracle_gap (forget NLL minus the oracles'),
    exact memorisation and ROUGE-L recall of the forget facts, utility_rise (NLL of running text above the
    start's); NaN where a path did not measure it. The start is method "finetuned" on "all".
    """
    return _chosen(points(arm), layers, methods, always="finetuned")


def _chosen(
    table: pd.DataFrame, layers: str | None, methods: tuple[str, ...] | None, always: str = ""
) -> pd.DataFrame:
    """Rows of one layer selection and of some methods, None being every one; and those of `always`."""
    of_layers = True if layers is None else table["layers"] == layers
    of_methods = True if methods is None else table["method"].isin(methods)
    return table[of_layers & of_methods | (table["method"] == always)].reset_index(drop=True)


@cache
def points(arm: Arm) -> pd.DataFrame:
    """All of `path_table`; not to be changed."""
    trained, walked = arm.observations("train"), arm.observations("path")
    said = arm.observations("portraits")  # training measures no ROUGE: the close-up of theta_T does
    said = said[(said["method"] == "finetuned") & (said["metric"] == "rougeL_recall")].assign(share=0.0)
    parts = []
    for setting in arm.settings:
        retain = [e.id for e in setting.retain()]
        begin = start(trained[trained["seed"] == setting.seed], {*setting.forget, *retain})
        rows = pd.concat([begin, *(part[part["seed"] == setting.seed] for part in (said, walked))])
        forget, kept = rows["example"].isin(setting.forget), rows["example"].isin(retain)
        near = kept & ~rows["example"].isin(setting.control)
        near = near if near.any() else kept
        parts.append(_of_seed(rows, forget, kept, near, oracle_nll(arm, setting.seed)))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(alpha_lr=table["alpha"] / arm.recipe["lr"])


def _of_seed(
    rows: pd.DataFrame, forget: pd.Series, retain: pd.Series, bystanders: pd.Series, oracles: pd.DataFrame
) -> pd.DataFrame:
    """One seed's part of a path table."""

    def mean(metric: str, where: pd.Series) -> pd.Series:
        return rows[where & (rows["metric"] == metric)].groupby(KEYS)["value"].mean()

    nll = rows[forget & (rows["metric"] == "nll")]
    target = nll["example"].map(oracles.mean(axis=1))
    distance = (nll["value"] - target).abs().groupby([nll[k] for k in KEYS]).mean()
    table = rows.groupby(KEYS)[["norm", "alpha"]].first()
    table = table.assign(
        forget_nll=mean("nll", forget),
        retain_nll=mean("nll", retain),
        bystander_nll=mean("nll", bystanders),
        exact_memorisation=mean("exact_memorisation", forget),
        oracle_distance=distance,
        rougeL_recall=mean("rougeL_recall", forget),
        utility_nll=mean("nll", rows["split"] == "utility"),
    ).reset_index()
    begin = table[table["method"] == "finetuned"].iloc[0]
    changes = {
        "rise": "forget_nll",
        "damage": "retain_nll",
        "bystander_damage": "bystander_nll",
        "utility_rise": "utility_nll",
    }
    return table.assign(
        oracle_gap=table["forget_nll"] - target.mean(),
        **{name: table[column] - begin[column] for name, column in changes.items()},
    )


@cache
def fact_paths(arm: Arm) -> dict[tuple, pd.DataFrame]:
    """NLL of the forget facts by (seed, layers, method): step lengths x facts, the start included."""
    trained, walked = arm.observations("train"), arm.observations("path")
    walked, found = walked[walked["metric"] == "nll"], {}
    for setting in arm.settings:
        begin = start(trained[trained["seed"] == setting.seed], setting.forget)
        begin = begin[(begin["metric"] == "nll") & (begin["example"] != "")].set_index("example")["value"]
        mine = walked[(walked["seed"] == setting.seed) & walked["example"].isin(setting.forget)]
        wide = mine.pivot_table("value", ["layers", "method", "norm"], "example")
        first = begin.reindex(wide.columns).to_numpy()
        for (layers, method), steps in wide.groupby(level=["layers", "method"]):
            norms = pd.Index([0.0, *steps.index.get_level_values("norm")], name="norm")
            values = np.vstack([first, steps.to_numpy()])
            found[setting.seed, layers, method] = pd.DataFrame(values, norms, wide.columns).sort_index()
    return found


def along(table: pd.DataFrame, method: str, layers: str = "all") -> pd.DataFrame:
    """One path's rows of a path table, the start included, in order of the step length."""
    here = is_path(table, layers, method)
    return table[here | (table["method"] == "finetuned")].sort_values(["seed", "share"])


def is_path(table: pd.DataFrame, layers: str, method: str) -> pd.Series:
    """Which rows of a path table are of this path, the start not included."""
    return (table["layers"] == layers) & (table["method"] == method)


def methods(table: pd.DataFrame) -> list[str]:
    """The methods of a path table, the core ones first."""
    present = [m for m in dict.fromkeys(table["method"]) if m != "finetuned"]
    return [*(m for m in CORE if m in present), *(m for m in present if m not in CORE)]


# -- readings ---------------------------------------------------------------------------------------------


def damage_crossing(path: pd.DataFrame, damage: float) -> tuple[float, bool]:
    """(step length, whether it crosses) where one seed's path first costs the retain facts `damage` nats."""
    return crossing(path.set_index("norm")["damage"].sort_index(), damage)


def reading(
    arm: Arm,
    kind: str,
    level: float | None = None,
    layers: str | None = None,
    methods: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """One of READINGS of every path, or of some: a row a seed, layer selection and method.

    `level` is that of the damage, in nats (default: the run's). Columns: seed, layers, method, norm (where it
    is read), reached, and there oracle_distance (D_F) and those of READ, linear between two measured steps,
    D_F fact by fact; NaN where not measured. A path that never gets there is read at its longest step for its
    damage, and where it costs the retain facts most for its forgetting. The closest approach is `reached`
    where the path goes on beyond it. DataError for another kind.
    """
    if kind not in READINGS:
        raise DataError(f"there is no reading {kind!r}; choose from {', '.join(READINGS)}")
    level = level or arm.run.damage
    rows = [
        _reading(arm, where, kind, level)
        for where in _steps(arm)
        if where[2] != "finetuned" and layers in (None, where[1]) and (methods is None or where[2] in methods)
    ]
    return pd.DataFrame(rows, columns=[*KEYS[:3], "norm", "reached", "oracle_distance", *READ])


@cache
def _steps(arm: Arm) -> dict[tuple, pd.DataFrame]:
    """The path table by (seed, layers, method), the starts among them as (seed, "all", "finetuned")."""
    return dict(iter(points(arm).groupby(KEYS[:3], sort=False)))


@cache
def _reading(arm: Arm, where: tuple, kind: str, level: float) -> dict:
    """One seed's path, read."""
    steps, target = _steps(arm), oracle_nll(arm, where[0]).mean(axis=1)
    path = pd.concat([steps[where[0], "all", "finetuned"], steps[where]]).set_index("norm").sort_index()
    facts = fact_paths(arm)[where]
    norm, reached = _place(path, facts, target, kind, level)
    found = dict(zip(KEYS, where, strict=False)) | {"norm": norm, "reached": reached}
    found["oracle_distance"] = distances(facts, target, np.array([norm]))[0]
    return found | _read(path, norm)


def _place(
    path: pd.DataFrame, facts: pd.DataFrame, target: pd.Series, kind: str, level: float
) -> tuple[float, bool]:
    """(step length, whether it gets there) of a reading of one seed's path."""
    if kind == "closest":
        norm = closest(facts, target)
        return norm, norm < path.index[-1]
    norm, reached = crossing(path["damage"], level) if kind == "damage" else crossing(path["oracle_gap"], 0.0)
    return (norm, reached) if reached or kind == "damage" else (path["damage"].idxmax(), False)


def _read(path: pd.DataFrame, norm: float) -> dict[str, float]:
    """One seed's path at a step length: the columns of READ, interpolated; NaN where not measured."""
    steps, found = path.index.to_numpy(), {}
    for column in READ:
        values = path[column].to_numpy(dtype=float)
        known = ~np.isnan(values)
        found[column] = np.interp(norm, steps[known], values[known]) if known.sum() > 1 else np.nan
    return found


def matched_damage(
    arm: Arm, damage: float | None = None, layers: str | None = "all", methods: tuple | None = CORE
) -> pd.DataFrame:
    """`reading` at matched damage (default: the run's), with `reached` as `crossed`."""
    return reading(arm, "damage", damage, layers, methods).rename(columns={"reached": "crossed"})


def by_setting(arm: Arm, value: str = "oracle_distance") -> pd.DataFrame:
    """A reading at matched damage: seeds x (layers, method)."""
    table = matched_damage(arm, layers=None, methods=None)
    return table.pivot_table(index="seed", columns=["layers", "method"], values=value, dropna=False)


def distance_at(arm: Arm, where: tuple, norm: float | np.ndarray) -> float | np.ndarray:
    """D_F of the path `where` (seed, layers, method) at step lengths, each fact interpolated by itself."""
    found = distances(fact_paths(arm)[where], oracle_nll(arm, where[0]).mean(axis=1), np.atleast_1d(norm))
    return found if np.ndim(norm) else found[0]


def between(arm: Arm, where: tuple, path: pd.DataFrame, norms: np.ndarray) -> np.ndarray:
    """2 x lengths: what others have lost at lengths between the steps of the path `where`, and D_F there."""
    path = path.dropna(subset="damage")
    return np.array([np.interp(norms, path["norm"], path["damage"]), distance_at(arm, where, norms)])
