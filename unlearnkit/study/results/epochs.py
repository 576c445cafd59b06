"""Every epoch's gradients alone, and all together: how near each comes to the oracle at equal damage."""

import pandas as pd

from unlearnkit import stats
from unlearnkit.errors import DataError
from unlearnkit.profiles import Profile
from unlearnkit.study.results.matched import matched_damage
from unlearnkit.study.results.observed import arm_of
from unlearnkit.study.results.paths import path_table

EPOCH_LAYERS = ("all", "embedding")


def by_epoch(profile: Profile, arm: str) -> pd.DataFrame:
    """D_F at matched damage less the fine-tuned model's, by layers and epoch: negative is closer.

    Columns: layers, epoch (1 ... E, and "all"), n (seeds), change, ci_low, ci_high (NaN with one seed).
    Only seeds that walk every epoch count, so that epochs are compared over the same seeds; empty where none
    does.
    """
    names = {f"epoch_{e}": str(e) for e in range(2, arm_of(profile, arm).recipe["epochs"] + 1)}
    names = {"first_epoch": "1"} | names | {"all_epochs": "all"}
    table = matched_damage(profile, arm, layers=None, methods=tuple(names))
    table = table[table["layers"].isin(EPOCH_LAYERS)]
    begin = path_table(profile, arm, methods=()).set_index("seed")["oracle_distance"]
    table = table.assign(change=table["oracle_distance"] - table["seed"].map(begin))
    wide = table.pivot_table(index=["layers", "seed"], columns="method", values="change")
    wide = wide.reindex(columns=list(names)).dropna()
    found = []
    for layers in (name for name in EPOCH_LAYERS if name in wide.index.get_level_values(0)):
        for method, epoch in names.items():
            values = wide.loc[layers][method]
            row = {"layers": layers, "epoch": epoch, "n": len(values), "change": values.mean()}
            try:
                interval = stats.mean_ci(values)
                row |= {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
            except DataError:
                pass  # one seed
            found.append(row)
    return pd.DataFrame(found, columns=["layers", "epoch", "n", "change", "ci_low", "ci_high"])
