"""An arm whose observations a test gives, in place of one read from data files."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pandas as pd

COLUMNS = ["seed", "method", "layers", "example", "split", "metric", "value"]  # as of `Arm.observations`


@dataclass(eq=False)
class Given:
    """Looks like a `report.Arm`; a stage without a table has no rows."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    name: str = "a model, AdamW"
    seeds: tuple[int, ...] = (0,)
    recipe: dict = field(default_factory=lambda: {"epochs": 2, "batch_size": 8, "lr": 0.1})
    settings: tuple = (SimpleNamespace(facts=range(20)),)
    damage: float = 0.05

    def __post_init__(self):
        self.run = SimpleNamespace(damage=self.damage, margin=0.0, arms=[self])

    def observations(self, stage: str) -> pd.DataFrame:
        return self.tables.get(stage, pd.DataFrame(columns=COLUMNS))
