"""Tables come back as they were written, whatever their texts look like."""

import pandas as pd

from unlearnkit.study import tables

LOOKS = ["007", "7", "1e3", "NA", "nan", "None", "True", "", 'a "b",\nc', "ünï"]


def test_texts_stay_texts_and_numbers_may_be_missing(tmp_path):
    written = pd.DataFrame({"example": LOOKS, "answer": LOOKS, "value": [0.5, float("nan"), *range(8)]})
    written.to_csv(tmp_path / "t.csv.gz", index=False)
    read = tables.read(tmp_path / "t.csv.gz")
    assert read["example"].tolist() == LOOKS
    assert read["answer"].tolist() == LOOKS
    assert read["value"].isna().tolist() == [False, True] + [False] * 8
    assert read["value"].dropna().tolist() == [0.5, *range(8)]
