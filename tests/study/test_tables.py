"""Tables come back as they were written, whatever their texts look like."""

import pandas as pd

from unlearnkit.study import tables

LOOKS = ["007", "7", "1e3", "NA", "nan", "None", "True", "", 'a "b",\nc', "ünï"]
LOOKS += ["\r", "a\rb", "a\r\nb", "end\r", "\x1b[2J", "\x00", "a\x00b", "\u2028"]


def test_texts_stay_texts_and_numbers_may_be_missing(tmp_path):
    written = pd.DataFrame({"example": LOOKS, "answer": LOOKS, "value": [0.5, float("nan"), *range(16)]})
    written.to_csv(tmp_path / "t.csv.gz", index=False)
    read = tables.read(tmp_path / "t.csv.gz")
    assert read["example"].tolist() == LOOKS
    assert read["answer"].tolist() == LOOKS
    assert read["value"].isna().tolist() == [False, True] + [False] * 16
    assert read["value"].dropna().tolist() == [0.5, *range(16)]
