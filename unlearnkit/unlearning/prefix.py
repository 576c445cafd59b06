"""A text before every prompt, as keys and values that a hook puts into the model's forward pass."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from unlearnkit.batching import encode, opened
from unlearnkit.errors import MethodError
from unlearnkit.forward import device_of, position_limit

if TYPE_CHECKING:
    from unlearnkit.unlearning.inputs import Inputs


def install(inputs: "Inputs", text: str) -> Callable[[], None]:
    """Let the model read `text` first, whatever it is given; returns what takes that away. No weight moves.

    The text's keys and values are taken once, as the weights are then. MethodError where the model has no
    positions left for the longest of `examples` after it.
    """
    model = inputs.model
    tokens = torch.tensor([opened(inputs.tokenizer, text)[0]]).to(device_of(model))
    ahead = tokens.shape[1]
    longest = max(len(encode(inputs.tokenizer, e.prompt, e.answer, "text")[0]) for e in inputs.examples or ())
    called, limit = position_limit(model.config) or ("", 0)
    if limit and ahead + longest > limit:
        raise MethodError(
            f"method {inputs.method!r}: {ahead} tokens ahead of an example of {longest} are more than the "
            f"model's {limit} positions; show less"
        )
    with torch.no_grad():
        read = model.base_model(tokens, past_key_values=DynamicCache(), use_cache=True).past_key_values
    layers = [(layer.keys, layer.values) for layer in read.layers]

    hook = model.register_forward_pre_hook(_prefixing(tokens, layers), with_kwargs=True)
    if limit:  # so many positions are left for what comes after: running text is cut into windows by this
        setattr(model.config, called, limit - ahead)

    def remove() -> None:
        hook.remove()
        if limit:
            setattr(model.config, called, limit)

    return remove


def _prefixing(tokens: torch.Tensor, layers: Sequence[tuple]) -> Callable[..., tuple[tuple, dict]]:
    """The hook: `tokens` (1 x ahead), whose keys and values by layer are `layers`, before what is given."""
    ahead = tokens.shape[1]

    def prefixed(_module, args: tuple, given: dict) -> tuple[tuple, dict]:
        rows, length = given["input_ids"].shape
        cache = given.get("past_key_values")
        cache = DynamicCache() if cache is None else cache
        if not cache.get_seq_length():  # else it has begun with ours; `generate` brings one that is empty
            for k, (keys, values) in enumerate(layers):
                cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), k)
        before = cache.get_seq_length() - ahead  # what was read of the prompt's own
        own, places = given.get("attention_mask"), given.get("position_ids")
        own = tokens.new_ones(rows, before + length) if own is None else own
        here = torch.arange(before, before + length, device=tokens.device)
        places = here.expand(rows, -1) if places is None else places
        mask = torch.cat([tokens.new_ones(rows, ahead), own], 1)
        more = {"attention_mask": mask, "position_ids": places + ahead, "past_key_values": cache}
        return args, {**given, **more}

    return prefixed
