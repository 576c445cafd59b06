"""Low-rank adapters (LoRA, Hu et al. 2021) on every linear layer of the blocks, by peft."""

import torch
from transformers import PreTrainedModel

from unlearnkit.errors import ConfigError
from unlearnkit.layers import turned

SCALE = 2.0  # alpha / rank, the usual choice
NAME = "lora_"  # how peft calls their parameters


def add(model: PreTrainedModel, rank: int) -> None:
    """Put adapters into the model in place, and freeze everything else; once only.

    The model answers as before: B is 0, and A the same draw in every model of one form, so that fine-tunings
    begin at one theta_0. ConfigError where there are adapters of another rank.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if ranks := {p.shape[0] for name, p in model.named_parameters() if f"{NAME}A" in name}:
        if ranks != {rank}:
            raise ConfigError(
                f"Recipe.lora={rank}: the model has adapters of rank {max(ranks)}: load it anew, or use that"
            )
        return
    config = LoraConfig(
        r=rank,
        lora_alpha=SCALE * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        fan_in_fan_out=bool(turned(model)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inject_adapter_in_model(config, model)
    model.eval()


def merge(model: PreTrainedModel) -> None:
    """Add what the adapters learnt to the weights below them, and take the adapters away, in place."""
    from peft.tuners.lora import LoraLayer

    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(model.get_submodule(parent_name), child_name, child.get_base_layer())
    model.requires_grad_(True)
