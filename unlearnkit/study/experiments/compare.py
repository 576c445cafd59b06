"""Cells that compare methods: a path of any of them, with what readers of the comparison ask for beside."""

import pandas as pd

from unlearnkit import metrics
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments import measure, train, unlearn
from unlearnkit.study.experiments.setting import groups_of

METRICS = ("nll", "exact_memorisation")
MEASURED = ("utility", "paraphrase")  # at some steps only


def recorded(cell: Cell) -> pd.DataFrame:
    """The study's fine-tuning with a ledger that holds others than the request, too."""
    return train.train(cell)


def compared(cell: Cell) -> pd.DataFrame:
    """One method's path: forget facts one by one, others as means, running text and other wordings.

    There are as many paths as methods: of the retain facts a path keeps the mean over all that are scored,
    over the near-neighbours, and over the bystanders, whom the control does not attack. Running text and the
    forget facts in other words are looked at at every second step of the grid and near a reading. `place` is
    how long a step is (as a share of the fine-tuning displacement), or, of a trained method, its number. A
    path that diverges, or that its certificate ends, has the rows up to there.
    """
    asked = metrics.paraphrased(groups_of(cell.config)["forget"])

    def beside(model, tokenizer, _groups: dict) -> pd.DataFrame:
        reworded = measure.facts(model, tokenizer, asked, "paraphrase")
        return pd.concat([measure.means(reworded), measure.utility(model, tokenizer, cell.config["tokens"])])

    parts = [_summed(rows, cell.config) for rows in unlearn.until_it_ends(unlearn.walked(cell, beside))]
    return pd.concat(parts) if parts else pd.DataFrame(columns=[*measure.COLUMNS, "place"])


def _summed(rows: pd.DataFrame, config: dict) -> pd.DataFrame:
    """One step's rows, the retain facts' as means, and where it is."""
    rows = rows[rows["metric"].isin(METRICS)]
    asked, beside = rows["split"] == "forget", rows["split"].isin(MEASURED)
    retained = measure.others(rows[~asked & ~beside], config["control"])
    where = rows.drop(columns=measure.COLUMNS).iloc[0]
    found = pd.concat([rows.loc[asked, measure.COLUMNS], rows.loc[beside, measure.COLUMNS], retained])
    return found.assign(**where, place=where.get("step", where["share"]))
