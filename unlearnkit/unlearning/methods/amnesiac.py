"""The updates of every step that held one of the forget set, taken back (Graves et al. 2021)."""

from typing import TYPE_CHECKING

from unlearnkit.unlearning.kinds import line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@line(
    title="amnesiac", family="replay", source="Graves et al. 2021", needs=("checkpoints",), reads=("updates",)
)
def amnesiac(inputs) -> "Iterator[tuple[str, torch.Tensor]]":
    """-(sum of the updates of the steps whose batch held one of the request); alpha = 1 is the paper's.

    These are the optimizer's own updates, of everybody in those batches: with a request of all it is
    theta_0 - theta_T. Needs checkpoints of fine_tune(..., history=, updates=ids) with the request among the
    ids (or of just these, with summed=True: a file of the model's size an epoch, in place of one a step);
    ModelError without. The paper's fine-tuning afterwards is `finetune_retain`. R: the authors' code does
    the same.
    """
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.past import history_of

    require_whole(inputs)
    history = history_of(inputs)
    steps = history.steps_of(inputs.request)
    for name in inputs.touched:
        parts = [next(history.read_update(step, [name]))[1] for step in steps]
        yield name, -sum(parts)
