"""What a model is: facts for reports, and a fingerprint of its weights."""

from dataclasses import dataclass

import torch
import xxhash
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Description:
    """Size and shape. A shared tensor counts once; `embedding_share` is a fraction of `parameters`."""

    architecture: str
    parameters: int
    blocks: int
    width: int
    vocabulary: int
    tied: bool
    embedding_share: float


def describe(model: PreTrainedModel) -> Description:
    """Size and shape of a causal language model. Tied: input and output share one token matrix."""
    tokens_in, tokens_out = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tied = tokens_in is tokens_out
    embedding = tokens_in.numel() + (0 if tied else tokens_out.numel())
    return Description(
        architecture=type(model).__name__,
        parameters=parameters,
        blocks=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        vocabulary=tokens_in.shape[0],
        tied=tied,
        embedding_share=embedding / parameters,
    )


def fingerprint(model: PreTrainedModel) -> str:
    """xxh3-128 in hexadecimal of all parameters: names, shapes, dtypes and bytes; shared tensors count once.

    Two models have one fingerprint exactly when their parameters are equal bit for bit.
    """
    digest = xxhash.xxh3_128()
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype};".encode())
        values = parameter.detach().cpu().contiguous()
        digest.update(values.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
