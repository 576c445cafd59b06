"""Chapter 04: where stored gradients point, towards the retrained model and along today's gradient.

Unlearning adds +alpha * gradient, so that cos(gradient of epoch e, theta_oracle - theta_T) above 0 means that
the step leads towards the retrained model, to first order in the weights. A tied token matrix has two
gradients, kept apart as embedding.input and embedding.output. Totals over layers add their inner products
with the oracle's way exactly, and count that way once; the inner product of one role's gradient with the
other's was not measured and is left out (`tied` says where).
"""

from collections.abc import Sequence
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from unlearnkit.report.contrasts import claim_values
from unlearnkit.report.figures import COLOURS, MUTED, figure
from unlearnkit.report.run import Arm
from unlearnkit.report.tables import frame

ORACLE, NOW, ALL = "oracle", "now", "all_epochs"
EPOCH = "epoch_"
OVERLAPPING = "norms"  # every norm is a part of the blocks too
ROLES = ("embedding.input", "embedding.output")
AGAINST = {
    "with_oracle": ("oracle", "way to the oracle"),
    "with_now": ("finetuned", "today's gradient"),
}
WRONG = "wrong person's gradient, way to the oracle"


def cosines(arm: Arm) -> pd.DataFrame:
    """`vectors` of single epochs, with a column epoch; sorted by seed, layers and epoch."""
    table = vectors(arm)
    mine = table[table["vector"].str.startswith(EPOCH)]
    mine = mine.assign(epoch=mine["vector"].str.removeprefix(EPOCH).astype(int))
    return mine.sort_values(["seed", "layers", "epoch"]).reset_index(drop=True)


@cache
def vectors(arm: Arm) -> pd.DataFrame:
    """Every vector against the way to the oracle and against today's gradient; no rows without such cells.

    Columns: seed, layers (elementary names, and the totals "all", "embedding", "blocks"), vector (epoch_e,
    all_epochs (their sum), wrong_person, now, retain_now or oracle), norm, with_oracle, with_now (cosines),
    share (of the sum S over epochs: <vector, S> / <S, S>; those of the epochs add up to 1, and with plain SGD
    are shares of the way that the forget facts' own steps have moved the weights).
    """
    columns, found = ["seed", "layers", "vector", "norm", "with_oracle", "with_now", "share"], []
    for (seed, layers), gram in _grams(arm).items():
        norm = pd.Series(np.sqrt(np.diag(gram).clip(0)), gram.index).replace(0.0, np.nan)
        rows = pd.DataFrame({"norm": norm, "share": gram[ALL] / gram.loc[ALL, ALL]})
        for other in (ORACLE, NOW):
            rows[f"with_{other}"] = gram[other] / norm / norm[other]
        found.append(rows.rename_axis("vector").reset_index().assign(seed=seed, layers=layers))
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns, dtype=float)
    return table[columns].astype({"vector": str})


def tied(arm: Arm) -> bool:
    """Whether input and output part are one matrix: the oracle's way is then the same vector for both."""
    rows = _rows(arm)
    own = rows[(rows["a"] == ORACLE) & (rows["b"] == ORACLE)].pivot_table("value", "seed", "layers")
    return set(ROLES) <= set(own) and np.allclose(*(own[role] for role in ROLES))


def _rows(arm: Arm) -> pd.DataFrame:
    rows = arm.observations("alignment")
    return rows.reindex(columns=["seed", "layers", "a", "b", "value"])


def _grams(arm: Arm) -> dict[tuple[int, str], pd.DataFrame]:
    """By seed and layers (elementary ones and totals) the Gram matrix, `all_epochs` among its vectors."""
    one_matrix, found = tied(arm), {}
    for seed, rows in _rows(arm).groupby("seed"):
        wide = rows.pivot_table("value", ["layers", "a"], "b")
        parts = {name: gram.droplevel("layers") for name, gram in wide.groupby(level="layers")}
        members = {
            "all": [n for n in parts if n != OVERLAPPING],
            "embedding": [n for n in ROLES if n in parts],
            "blocks": [n for n in parts if n.startswith("block.")],
        }
        for total, names in members.items():
            if not names:
                continue
            gram = sum(parts[n] for n in names)
            if one_matrix and total != "blocks":
                gram.loc[ORACLE, ORACLE] -= parts[ROLES[1]].loc[ORACLE, ORACLE]
            found[seed, total] = _with_sum(gram)
        found |= {(seed, n): _with_sum(gram) for n, gram in parts.items()}
    return found


def _with_sum(gram: pd.DataFrame) -> pd.DataFrame:
    """The same with one vector more: the sum of all epochs."""
    epochs = [n for n in gram.index if n.startswith(EPOCH)]
    gram = pd.concat([gram, gram.loc[epochs].sum().to_frame(ALL).T])
    gram[ALL] = gram[epochs].sum(axis=1)
    return gram


# -- table and figure --------------------------------------------------------------------------------------


def theory(arms: Sequence[Arm]) -> pd.DataFrame:
    """A row an arm: how much of the way epoch 1 made, where it points, and how C1 came out there."""
    rows = []
    for arm in arms:
        whole = vectors(arm).query("layers == 'all'").groupby("vector")[["share", "with_oracle"]].mean()
        if len(whole):
            epochs, batch = arm.recipe["epochs"], arm.recipe["batch_size"]
            rows.append(
                {
                    "arm": arm.name,
                    "learning rate": arm.recipe["lr"],
                    "epochs × steps": f"{epochs} × {-(-len(arm.settings[0].facts) // batch)}",
                    "epoch 1's share": f"{whole['share']['epoch_1']:.0%}",
                    "if all were alike": f"{1 / epochs:.0%}",
                    "cos(epoch 1, oracle)": f"{whole['with_oracle']['epoch_1']:+.3f}",
                    "cos(all epochs, oracle)": f"{whole['with_oracle'][ALL]:+.3f}",
                    "C1, nats": f"{claim_values(arm).get('C1', pd.Series(dtype=float)).mean():+.2f}",
                    "seeds": len(arm.seeds),
                }
            )
    return frame(rows, *(rows[0] if rows else ("arm",)))


def by_epoch(arms: Sequence[Arm]) -> plt.Figure:
    """A panel an arm: cosine of each epoch's gradient on all layers with the oracle's way and with today's.

    Lines are means, shades span the seeds; the squares beside epoch 1 are the wrong person's gradients of
    that epoch against the oracle's way.
    """
    rows = -(-len(arms) // 2)
    drawn, axes = figure(2.4 * rows + 0.6, rows, min(len(arms), 2), squeeze=False, sharey=True)
    for ax in axes.flat[len(arms) :]:
        ax.set_visible(False)
    for ax, arm in zip(axes.flat, arms, strict=False):
        whole = vectors(arm).query("layers == 'all'")
        table = cosines(arm).query("layers == 'all'")
        for column, (name, label) in AGAINST.items():
            look = {"color": COLOURS[name], "marker": "o", "mew": 0, "ms": 5, "label": label, "legend": False}
            sns.lineplot(table, x="epoch", y=column, errorbar=("pi", 100), ax=ax, **look)
        wrong = whole.loc[whole["vector"] == "wrong_person", "with_oracle"]
        look = {"color": COLOURS["wrong_person"], "ms": 5, "alpha": 0.6, "label": WRONG}
        ax.plot([1] * len(wrong), wrong, "s", **look)
        ax.axhline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        ax.set_title(arm.name, fontsize=9.5, fontweight="normal")
        ax.set(xlabel="epoch of the stored gradients", ylabel="cosine", ylim=(-0.15, 1.05))
        ax.xaxis.get_major_locator().set_params(integer=True)
    handles = axes[0, 0].get_legend_handles_labels()
    drawn.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return drawn
