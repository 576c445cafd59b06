"""A fine-tuned model to talk to: any prompt, before an update, after it, and the update taken back.

It works on a training whose weights and ledger are in the cache; torch is loaded when the first is asked for.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ipywidgets as widgets

from unlearnkit import study
from unlearnkit.errors import UnlearnkitError
from unlearnkit.study import config, profiles, words
from unlearnkit.study.cells import Cell
from unlearnkit.unlearning import METHODS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearnkit.ledger import GradientLedger

TOKENS = 12  # that it says
DRAWS = (None, 0, 1, 2)  # the greedy text, then three samples by their seed
LENGTHS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)  # shares of how far fine-tuning went
PROMPT = "{} was born in"
# Updates that the ledger alone makes, at any length at once.
OFFERED = tuple(name for name in words.METHODS if METHODS[name].goes_back)


@dataclass
class Live:
    """A model at theta_T, its ledger, whom to forget (ids), and ||theta_T - theta_0||."""

    model: "PreTrainedModel" = field(repr=False)
    tokenizer: "PreTrainedTokenizerBase" = field(repr=False)
    book: "GradientLedger" = field(repr=False)
    forget: list[str]
    moved: float

    @classmethod
    def of(cls, train: Cell) -> "Live":
        """The model that a training in the cache ended in."""
        from unlearnkit.study.experiments import setting  # here: it loads torch

        standing = setting.fine_tuned(train.config, train)
        return cls(*standing, train.config["forget"], setting.displacement_of(train))

    def says(self, prompt: str, method: str, layers: str, share: float) -> dict[str, list[str]]:
        """What it says, greedily and three times by chance, `before` and `after` a step of this length.

        The model is then what it was, bit for bit. Raises the errors of `unlearning.apply`, and DataError for
        an empty prompt.
        """
        from unlearnkit import unlearning

        before = self._texts(prompt)
        given = {"request": self.forget, "ledger": self.book, "layers": layers, "norm": share * self.moved}
        result = unlearning.apply(method, self.model, **given)
        try:
            return {"before": before, "after": self._texts(prompt)}
        finally:
            result.revert()

    def _texts(self, prompt: str) -> list[str]:
        from unlearnkit import metrics

        return [metrics.spoken(self.model, self.tokenizer, prompt, TOKENS, seed) for seed in DRAWS]


def training(run: str) -> Cell | None:
    """The first fine-tuning of a run (a profile's name, say) of which the cache has weights and ledger."""
    cells = study.cells_of(profiles.get(run))
    return next((cell for cell in cells if cell.stage == "train" and cell.on_disk()), None)


def told(said: dict[str, list[str]]) -> str:
    """Both answers as plain text."""
    lines = []
    for when, (greedy, *samples) in said.items():
        lines += [f"{when}: {greedy!r}", *(f"    by chance: {text!r}" for text in samples)]
    return "\n".join(lines) + "\n"


def panel(run: str) -> widgets.Widget:
    """Fields for a prompt and an update, and what the model says; a line where the cache has no training."""
    train = training(run)
    if train is None:
        command = "make quick" if run == "quick" else f"make reproduce PROFILE={run}"
        return widgets.Label(f"No training of the run {run!r} is in the cache: `{command}` makes one.")
    wide = {"layout": widgets.Layout(width="32em", max_width="100%"), "style": {"description_width": "5em"}}
    target = next((f["person"] for f in train.config["facts"] if f["id"] in train.config["forget"]), "")
    prompt = widgets.Text(PROMPT.format(target), description="prompt", **wide)
    methods = [(METHODS[name].title, name) for name in OFFERED]
    method = widgets.Dropdown(options=methods, value="adam_replay", description="method", **wide)
    layers = widgets.Dropdown(options=["all", *config.PRIMARY_LAYERS], description="layers", **wide)
    lengths = [(f"{share:.1%} of the way", share) for share in LENGTHS]
    length = widgets.SelectionSlider(options=lengths, value=0.04, description="step", **wide)
    button, out = widgets.Button(description="Say"), widgets.Output()
    standing: list[Live] = []

    @out.capture(clear_output=True, wait=True)
    def say(_: widgets.Button) -> None:
        try:
            if not standing:
                standing.append(Live.of(train))
            print(told(standing[0].says(prompt.value, method.value, layers.value, length.value)))
        except UnlearnkitError as error:
            print(f"error: {error}")

    button.on_click(say)
    return widgets.VBox([widgets.Label(train.title), prompt, method, layers, length, button, out])
