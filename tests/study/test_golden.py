"""The versions of stages and methods are honest: their numbers on tiny models are those that were kept."""

import golden_cells
import pandas as pd
import pytest

KEYS = ["stage", "cell", "method", "metric", "split"]
RELATIVE, ABSOLUTE = 1e-3, 1e-6
# Where two logits are all but equal, another processor's rounding picks the other token: one of a fact's ten.
COUNTED, ONE_TOKEN = "exact_memorisation", 0.1


def complaints(kept: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """What a person must do about the differences of two tables of golden numbers, a line each."""
    both = kept.merge(now, how="outer", on=KEYS, suffixes=("", "_now"), indicator=True)
    found = []
    for row in both.to_dict("records"):
        what = f"{row['stage']}, {row['cell']}, {row['metric']}"
        if row["_merge"] != "both":
            gone = row["_merge"] == "left_only"
            found.append(f"{what}: {'gone' if gone else 'new'}; run `make golden`")
        elif row["version"] != row["version_now"]:
            found.append(f"{what}: version {row['version_now']}; run `make golden`")
        elif row["rows"] != row["rows_now"] or row["mean_now"] != pytest.approx(
            row["mean"], rel=RELATIVE, abs=ONE_TOKEN / row["rows"] if row["metric"] == COUNTED else ABSOLUTE
        ):
            told = f"{row['mean']:.6g} is now {row['mean_now']:.6g}"
            found.append(
                f"numbers of stage `{row['stage']}` changed ({what}: {told}): raise its version "
                "(or its method's), run `make golden`"
            )
    return found


def read(shape: str) -> pd.DataFrame:
    texts = {name: str for name in [*KEYS, "version"]}
    return pd.read_csv(golden_cells.FOLDER / f"{shape}.csv", dtype=texts, keep_default_na=False)


@pytest.mark.smollm2
@pytest.mark.parametrize("shape", golden_cells.SHAPES)
def test_the_numbers_of_every_stage_and_method_are_those_kept(shape, capsys):
    now = golden_cells.numbers(shape)
    assert complaints(read(shape), now) == []


def test_a_changed_number_names_its_stage_and_says_what_to_do():
    kept = read("gpt2-tied")
    now = kept.copy()
    row = now.index[now["stage"] == "oracle"][0]
    now.loc[row, "mean"] *= 1.01
    (line,) = complaints(kept, now)
    assert "stage `oracle` changed" in line
    assert "raise its version" in line
    now.loc[now["stage"] == "oracle", "version"] = "2"
    assert all("run `make golden`" in line for line in complaints(kept, now))
