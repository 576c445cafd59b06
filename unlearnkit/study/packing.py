"""A stage's observations as two small tables: what holds for many of them is said once.

Observations are a row a number: of a fact, at a point of a path, say. `packed` makes of them blocks, a row a
point, and rows, one a fact of a block with a column a metric. `unpacked` gives all of them back, fact by
fact. A published run is so half as large, and read twice as fast.
"""

import pandas as pd

# Labels that may differ within a block; all others are a block's.
OF_ROWS = ("example", "person", "split", "draw", "text", "a", "b")
METRIC, VALUE, BLOCK = "metric", "value", "block"


def packed(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """(rows, blocks) of observations; (the table, None) of any other, or where it would lose what it has:
    a number that is missing, or two of a metric in one place."""
    of_rows = [c for c in OF_ROWS if c in table]
    if METRIC not in table or not of_rows or table[VALUE].isna().any():
        return table, None
    of_blocks = [c for c in table if c not in (*OF_ROWS, METRIC, VALUE)]
    block = table.groupby(of_blocks, dropna=False, sort=False).ngroup().rename(BLOCK)
    told = pd.concat([block, table[[*of_rows, METRIC, VALUE]]], axis=1)
    told["row"] = told.groupby([BLOCK, *of_rows], dropna=False, sort=False).ngroup()
    if told.duplicated(["row", METRIC]).any():
        return table, None
    labels = told.drop_duplicates("row").set_index("row")[[BLOCK, *of_rows]]
    rows = labels.join(told.pivot_table(VALUE, "row", METRIC))
    return rows.reset_index(drop=True), table.loc[~block.duplicated(), of_blocks]


def unpacked(rows: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """The observations that `packed` made these of."""
    labels = [BLOCK, *(c for c in OF_ROWS if c in rows)]
    told = rows.melt(labels, var_name=METRIC, value_name=VALUE, ignore_index=False)
    told = told.dropna(subset=[VALUE]).sort_index(kind="stable").reset_index(drop=True)
    return blocks.iloc[told.pop(BLOCK)].reset_index(drop=True).join(told)
