"""Tables of observations and facts, read as they were written: a text stays one, whatever it looks like."""

import io
from pathlib import Path

import pandas as pd

# An id may be 007 and an answer "NA": neither is a number, nor missing.
TEXTS = (
    *("cell", "example", "split", "person", "text", "target", "id", "prompt", "answer", "attribute"),
    *("paraphrases", "contradiction", "mentions", "key", "stage", "title"),
)
MISSING = ["nan", ""]  # how a missing number is written


def read(source: Path | io.BytesIO) -> pd.DataFrame:
    """A CSV file's rows; a missing number is NaN, an empty text "". Packed ones are told by their name."""
    columns = list(pd.read_csv(source, nrows=0))
    if isinstance(source, io.BytesIO):
        source.seek(0)
    return pd.read_csv(
        source,
        lineterminator="\n",  # a carriage return alone, which a model may say, is written without quotes
        keep_default_na=False,
        na_values={c: MISSING for c in columns if c not in TEXTS},
        dtype={c: str for c in TEXTS if c in columns},
    )
