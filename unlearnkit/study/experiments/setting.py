"""What every cell that stands on a fine-tuning starts from: its model, its ledger, the groups of examples."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import training
from unlearnkit.data import Example
from unlearnkit.ledger import GradientLedger
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments.train import examples_of, loaded, stand
from unlearnkit.study.tables import read as read_table

GROUPS = ("forget", "control", "fuzzy", "retain")


def groups_of(config: dict) -> dict[str, list[Example]]:
    """The configuration's examples by group: facts (all), forget, control, fuzzy, retain, holdout."""
    facts = examples_of(config)
    by_id = {e.id: e for e in facts}
    groups = {name: [by_id[i] for i in config[name]] for name in GROUPS}
    return groups | {"facts": facts, "holdout": examples_of(config, "holdout") if "holdout" in config else []}


def fine_tuned(config: dict, train: Cell) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, GradientLedger]:
    """The model at theta_T, its tokenizer and its ledger."""
    model, tokenizer = loaded(config)
    training.freeze(model, training.Recipe(**config["recipe"]))
    stand(model, train)
    return model, tokenizer, GradientLedger.open(train.folder / "ledger", model)


def displacement_of(train: Cell) -> float:
    """||theta_T - theta_0|| of a fine-tuning."""
    rows = read_table(train.observations)
    return rows.loc[rows["metric"] == "displacement", "value"].iloc[0]
