"""What methods that use the history of training share: the history, and models that learn something else."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from unlearnkit.errors import MethodError, RequestError
from unlearnkit.unlearning.limits import Epochs

ASTRAY = 1e-3  # of the way of a training: below, a model stands at its end, whatever machine computed it

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from unlearnkit.data import Example
    from unlearnkit.ledger.kronecker import Operator
    from unlearnkit.training import History, Recipe
    from unlearnkit.unlearning.inputs import Inputs


def history_of(inputs: "Inputs") -> "History":
    """The history given as `checkpoints`. MethodError for anything else.

    ModelError where the model may move other weights than that training moved, RequestError for a request of
    examples that it never had.
    """
    from unlearnkit.training import History, replaying

    if not isinstance(inputs.checkpoints, History):
        raise MethodError(
            f"method {inputs.method!r} needs checkpoints= as training.History.open(folder) gives them, of a "
            "training with fine_tune(..., history=folder)"
        )
    history = inputs.checkpoints
    replaying.require_trainable(inputs.model, history)
    had = set(history.ids) - set(history.exclude)
    if strangers := [i for i in inputs.request if i not in had]:
        raise RequestError(
            f"the training of {history.path} never had {', '.join(map(repr, strangers[:5]))}: it has nothing "
            "of them to forget. Ask for examples that it learned, or give the history of theirs"
        )
    return history


def history_to_go_back_in(inputs: "Inputs") -> "History":
    """`history_of`, for methods that start anew from a checkpoint.

    RequestError where the model is not where the training ended: whoever an earlier request made it forget
    would come back. Equal is what differs by less than ASTRAY of the way that the training went.
    """
    history = history_of(inputs)
    moved, way = history.astray(inputs.model)
    if moved > ASTRAY * way:
        raise RequestError(
            f"method {inputs.method!r} starts from a checkpoint, and the model is not where the training of "
            f"{history.path} ended: what it has forgotten since would come back. Give the model as that "
            "training left it, and a request of all who are to be gone"
        )
    return history


def recorded_others(inputs: "Inputs") -> list[str]:
    """Ids of the ledger's examples outside of the request. MethodError where there are none."""
    gone = set(inputs.request)
    if found := [i for i in inputs.ledger.example_ids if i not in gone]:
        return found
    raise MethodError(
        f"method {inputs.method!r} needs a ledger that holds others than the request: fine_tune(..., record=)"
    )


def shaped_by_others(
    inputs: "Inputs", epochs: Epochs, curvature: Epochs, operator: "Operator"
) -> "Iterator[tuple[str, torch.Tensor]]":
    """`ledger.kronecker.shaped` of the request in `epochs`, by moments of the others in `curvature`."""
    from unlearnkit.ledger import kronecker

    book = inputs.ledger
    others, summed = book.keys(recorded_others(inputs), curvature), book.keys(inputs.request, epochs)
    return kronecker.shaped(book, summed, others, inputs.layers, operator)


def left(inputs: "Inputs") -> "list[Example]":
    """The examples outside of the request."""
    gone = set(inputs.request)
    return [e for e in inputs.examples if e.id not in gone]


def copy_at(inputs: "Inputs", epoch: int | None = None) -> "PreTrainedModel":
    """A second model in memory: as it stands, or was after an epoch. ConfigError for an unkept one."""
    from unlearnkit.training import replaying

    if epoch is not None:
        replaying.require_epoch(history_of(inputs), epoch)
    model = deepcopy(inputs.model)
    if epoch is not None:
        inputs.checkpoints.restore(epoch, dict(model.named_parameters()))
    return model


def learnt(
    inputs: "Inputs", examples: "Sequence[Example]", recipe: "Recipe", epoch: int | None = None
) -> "Iterator[tuple[str, torch.Tensor]]":
    """(touched parameter, what training on these examples adds to it): of a copy with all weights moving.

    The copy learns in float32 where the model is kept in fewer bits.
    """
    from unlearnkit.training import replaying
    from unlearnkit.unlearning.descent import require_whole
    from unlearnkit.unlearning.masters import is_narrow

    require_whole(inputs)
    model = copy_at(inputs, epoch)
    model = model.float() if any(map(is_narrow, model.parameters())) else model
    moving = {n: p for n, p in model.named_parameters() if p.requires_grad}
    before = {n: moving[n].detach().clone() for n in inputs.touched}
    replaying.learn(model, inputs.tokenizer, examples, recipe, moving)
    return ((n, moving[n].detach() - start) for n, start in before.items())
