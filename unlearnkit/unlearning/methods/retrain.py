"""Training from the start without the forget set, as whoever never had it would: in batches of their own."""

from collections.abc import Iterator
from dataclasses import replace

from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.limits import Seed

NEEDS = ("checkpoints", "examples", "tokenizer")


@free(title="retraining", family="retraining", source="exact by definition", needs=NEEDS, stops=())
def retrain(inputs, _stops, *, seed: Seed | None = None) -> Iterator[dict]:
    """theta_0, then the recipe on the examples outside of the request, drawn and batched anew by `seed`.

    The recipe's own seed by default. Unlike `exact_replay` from epoch 0 nothing of the order tells who was
    there. On a selection of layers the others stay as they are.
    """
    from unlearnkit.training import replaying
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.past import history_to_go_back_in, left

    require_whole(inputs)
    history = history_to_go_back_in(inputs)
    known = replaying.of_training(inputs.examples, history)
    recipe = history.recipe if seed is None else replace(history.recipe, seed=seed)
    history.restore(0, inputs.touched)
    kept = [e for e in left(inputs) if e.id in known and e.id not in history.exclude]
    yield {"steps": replaying.learn(inputs.model, inputs.tokenizer, kept, recipe, inputs.touched)}
