"""Chapter 02: the first epoch's gradients against the others, at several damages and epoch by epoch."""

import pandas as pd

from unlearnkit.report import contrasts, readings
from unlearnkit.report.run import Arm

EPOCH_LAYERS = ("all", "embedding")
DAMAGES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # nats: reading points of the contrast against damage


def by_damage(arm: Arm, method: str = "all_epochs") -> pd.DataFrame:
    """D_F of `method` minus that of the first epoch, read at several damages: seed, damage, difference.

    Above 0 the first epoch is nearer to the oracle. Damages that some seed's path never costs are left out.
    """
    parts = [pd.DataFrame(columns=["seed", "damage", "difference"])]
    for damage in DAMAGES:
        table = readings.matched_damage(arm, damage, methods=("first_epoch", method))
        wide = table.pivot_table(index="seed", columns="method", values="oracle_distance")
        if table["crossed"].all() and method in wide:
            difference = (wide[method] - wide["first_epoch"]).dropna()
            parts.append(difference.rename("difference").reset_index().assign(damage=damage))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def by_epoch(arm: Arm) -> pd.DataFrame:
    """D_F at matched damage less the fine-tuned model's, by layers and epoch: negative is closer.

    Columns: layers, epoch (1 ... E, and "all"), n (seeds), change, ci_low, ci_high (NaN with one seed).
    Only seeds that walk every epoch count, so that epochs are compared over the same seeds; empty where none
    does.
    """
    names = {f"epoch_{e}": str(e) for e in range(2, arm.recipe["epochs"] + 1)}
    names = {"first_epoch": "1"} | names | {"all_epochs": "all"}
    start = readings.path_table(arm, methods=()).set_index("seed")["oracle_distance"]
    distance, rows = readings.by_setting(arm), []
    for layers in EPOCH_LAYERS:
        wide = distance.reindex(columns=[(layers, method) for method in names]).dropna()
        for method, epoch in names.items() if len(wide) else ():
            found = contrasts.paired(wide[layers, method], start[wide.index])
            rows.append({"layers": layers, "epoch": epoch, "change": found.pop("mean"), **found})
    return pd.DataFrame(rows).reindex(columns=["layers", "epoch", "n", "change", "ci_low", "ci_high"])
