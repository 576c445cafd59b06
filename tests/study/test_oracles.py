"""The oracle cells of one seed: retrained on the same facts, in orders of their own."""

import golden_cells
import pytest

from unlearnkit.study import config
from unlearnkit.study.experiments.train import WEIGHTS
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm
from unlearnkit.study.tables import read


def nll(table, ids):
    rows = table[(table["metric"] == "nll") & (table["split"] == "forget")]
    return rows.set_index("example")["value"].loc[list(ids)]


@pytest.mark.smollm2
def test_two_oracles_of_a_seed_differ_in_their_order_only(tmp_path, monkeypatch):
    model = str(golden_cells.save_model("gpt2-tied", tmp_path))
    monkeypatch.setitem(config.ORACLES, model, 2)
    setting = golden_cells.setting()
    seed = Seed(Arm(model, "adamw", golden_cells.RECIPE, (setting,), whole_map=False), setting)
    tables = []
    for cell in (seed.train, *seed.oracles):
        cell.run()
        tables.append(read(cell.observations))
    assert "order" not in tables[1]
    assert set(tables[2]["order"]) == {2}
    rows = ["example", "split", "metric"]
    assert tables[1][rows].equals(tables[2][rows])  # measured alike
    after = tables[0]["epoch"] == golden_cells.RECIPE["epochs"]
    tuned, one, two = (nll(t, setting.forget) for t in (tables[0][after], *tables[1:]))
    assert not one.equals(two)
    assert (one - two).abs().mean() < (one - tuned).mean() / 2  # as ignorant as each other
    first, second = seed.oracles
    assert [(c.folder / WEIGHTS).is_file() for c in (first, second)] == [True, False]
    assert not (second.folder / "continuations.json").is_file()
