"""What every cell that stands on a fine-tuning starts from: its model, its ledger, the groups of examples."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import training
from unlearnkit.data import Example
from unlearnkit.ledger import GradientLedger, recorded
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


@contextmanager
def present(
    config: dict, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[GradientLedger, GradientLedger]]:
    """Ledgers of the forget and of the retain facts' present gradients, in the recipe's units; then gone."""
    groups, recipe = groups_of(config), config["recipe"]
    units = {"loss_on": recipe["loss_on"], "divisor": recipe["batch_size"]}
    with (
        recorded(model, tokenizer, groups["forget"], **units) as forget,
        recorded(model, tokenizer, groups["retain"], **units) as retain,
    ):
        yield forget, retain


def displacement_of(train: Cell) -> float:
    """||theta_T - theta_0|| of a fine-tuning."""
    rows = read_table(train.observations)
    return rows.loc[rows["metric"] == "displacement", "value"].iloc[0]
