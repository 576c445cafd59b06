"""`make golden`: writes what the golden cells come to now. Raise the version of what changed first."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as runs:
        os.environ |= {"UNLEARNKIT_RUNS": runs, "TQDM_DISABLE": "1"}
        import golden_cells

        for shape in golden_cells.SHAPES:
            path = golden_cells.FOLDER / f"{shape}.csv"
            golden_cells.numbers(shape).to_csv(path, index=False, float_format="%.6g")
            print(f"wrote {path}")
