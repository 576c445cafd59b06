"""A cell that trains is killed at its very end."""

import golden_cells
import pytest

from unlearnkit.study.experiments import train
from unlearnkit.study.grid import Seed
from unlearnkit.study.plan import Arm


def test_killed_after_its_checkpoint_was_dropped_it_begins_anew(tmp_path, monkeypatch):
    setting = golden_cells.setting()
    model = str(golden_cells.save_model("gpt2-tied", tmp_path))
    cell = Seed(Arm(model, "adamw", golden_cells.RECIPE, (setting,), whole_map=True), setting).train

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as while_killed:
        while_killed.setattr(train, "kept_of", killed)
        with pytest.raises(KeyboardInterrupt):
            cell.run()
    assert not cell.is_made()
    cell.run()
    assert cell.is_made()
