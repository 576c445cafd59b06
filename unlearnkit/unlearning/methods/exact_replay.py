"""Training taken up again at a checkpoint, step by step as it was, without the forget set."""

from collections.abc import Iterator

from unlearnkit.unlearning.kinds import free
from unlearnkit.unlearning.limits import Whole

NEEDS = ("checkpoints", "examples", "tokenizer")


@free(title="exact replay", family="retraining", source="after 2508.12220", needs=NEEDS, stops=())
def exact_replay(inputs, _stops, *, epoch: Whole = 0) -> Iterator[dict]:
    """theta_k and the optimizer's state after `epoch` k, then the recorded batches less the request.

    Order, rates and moments are the training's own, so that from k = 0 it ends where training without the
    request in the same order does, bit for bit; from a later k in what that epoch still knew. On a selection
    of layers the others stay as they are. Costs (E - k) / E of retraining; the default is the exact one.
    """
    from unlearnkit.training import replaying
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.past import history_to_go_back_in

    require_whole(inputs)
    given = inputs.model, inputs.tokenizer, inputs.examples, history_to_go_back_in(inputs)
    yield {"steps": replaying.rest(*given, after=epoch, exclude=inputs.request, moving=inputs.touched)}
