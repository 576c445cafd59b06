"""Rewind to an epoch's end, then the rest of the training on what is retained (R2D)."""

from collections.abc import Iterator

from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.limits import Whole

NEEDS = ("checkpoints", "examples", "tokenizer")


@free(title="rewind", family="retraining", source="Mu & Klabjan 2024, 2409.09778", needs=NEEDS, stops=())
def rewind(inputs, _stops, *, epoch: Whole = 1) -> Iterator[dict]:
    """theta_k after `epoch` k, then the recipe's remaining batches and rates without the request.

    As `exact_replay`, but of a checkpoint that holds weights only: AdamW's moments begin anew, and with SGD
    the two are the same. Costs (E - k) / E of retraining; k = 1, the dearest that is cheaper, is our default.
    """
    from unlearnkit.training import replaying
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.past import history_to_go_back_in

    require_whole(inputs)
    given = inputs.model, inputs.tokenizer, inputs.examples, history_to_go_back_in(inputs)
    told = {"after": epoch, "exclude": inputs.request, "moving": inputs.touched}
    yield {"steps": replaying.rest(*given, **told, moments=False)}
