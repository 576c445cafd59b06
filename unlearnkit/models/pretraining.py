"""The short, fixed pretraining of the tiny models: minutes of two cores must make a language model.

Half a million tokens and a few hundred steps are too little for plain AdamW, which stays at word
frequencies. So the token matrix, and an output head of its own, start from co-occurrence counts (positive
pointwise mutual information of adjacent tokens, factored; Levy and Goldberg 2014), and Muon (`models.muon`)
trains the blocks' matrices. What is learnt is checked against the unigram model on held-out text.
"""

import json
import math
import random
import sys
import time
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from unlearnkit import layers
from unlearnkit.errors import ModelError
from unlearnkit.models.muon import Muon
from unlearnkit.models.recipes import VOCABULARY, Pretraining
from unlearnkit.models.registry import fetch

REPORT = "pretraining.json"  # what the training took and reached, in the model's folder
CHECKED_WINDOWS = 128  # of the held-out text


def build(name: str, recipe: Pretraining, folder: Path) -> None:
    """Pretrain a tiny model on background text and background persons' facts; write it and a report.

    Raises ModelError unless the held-out perplexity is below half of the unigram model's.
    """
    from unlearnkit.data import background_facts, utility_text

    start = fetch(name)
    model = AutoModelForCausalLM.from_pretrained(start, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(start, local_files_only=True)
    texts = [*utility_text("train"), *(f"{fact.text}." for fact in background_facts())]
    random.Random(recipe.seed).shuffle(texts)
    tokens, held_out = _stream(tokenizer, texts), _stream(tokenizer, utility_text("eval"))
    began = time.perf_counter()
    _start_from_counts(model, tokens, recipe)
    _train(model, tokens, recipe, name)
    figures = {
        "seconds": time.perf_counter() - began,
        "perplexity": _perplexity(model.eval(), held_out, recipe.window),
        "unigram_perplexity": _unigram_perplexity(tokens, held_out),
    }
    if not figures["perplexity"] < figures["unigram_perplexity"] / 2:
        raise ModelError(f"pretraining {name} failed to halve the unigram perplexity: {figures}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / REPORT).write_text(json.dumps(figures | asdict(recipe), indent=1))


def _stream(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    """All texts as one row of token ids, each closed by the end-of-text token."""
    encoded = tokenizer(texts, return_attention_mask=False)["input_ids"]
    return torch.tensor(list(chain.from_iterable([*ids, tokenizer.eos_token_id] for ids in encoded)))


def _start_from_counts(model: PreTrainedModel, tokens: torch.Tensor, recipe: Pretraining) -> None:
    """Set the token matrix, and an untied head, to a factor of the pairs' positive mutual information."""
    vocabulary, width = model.get_input_embeddings().weight.shape
    frequency = torch.bincount(tokens, minlength=vocabulary) + 1.0
    context = frequency**recipe.context_smoothing / (frequency**recipe.context_smoothing).sum()
    places = torch.stack([tokens[:-1], tokens[1:]])
    matrix_of = partial(torch.sparse_coo_tensor, size=(vocabulary, vocabulary), check_invariants=False)
    pairs = matrix_of(places, torch.ones(places.shape[1])).coalesce()
    left, right = pairs.indices()
    information = (pairs.values() / (frequency[left] * context[right])).log().clamp(min=0)
    ppmi = matrix_of(pairs.indices(), information)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(recipe.seed)
        vectors, values, _ = torch.svd_lowrank((ppmi + ppmi.T).coalesce(), q=width)
        matrix = vectors * values.sqrt()
        for role in (model.get_input_embeddings(), model.get_output_embeddings()):
            role.weight.copy_(matrix / matrix.std() * recipe.start_std)


def _optimizers(model: PreTrainedModel, recipe: Pretraining) -> list[torch.optim.Optimizer]:
    in_blocks = {p for p in layers.blocks(model)[1].parameters() if p.dim() == 2}
    others = [p for p in model.parameters() if p not in in_blocks]
    matrices = [p for p in model.parameters() if p in in_blocks]
    return [
        Muon(matrices, lr=recipe.muon_lr),
        torch.optim.AdamW(others, lr=recipe.adamw_lr, weight_decay=0.0, betas=(0.9, 0.95)),
    ]


def _train(model: PreTrainedModel, tokens: torch.Tensor, recipe: Pretraining, name: str) -> None:
    def rate(step: int) -> float:
        return min(1.0, (step + 1) / (0.05 * recipe.steps), (recipe.steps - step) / (0.5 * recipe.steps))

    optimizers = _optimizers(model, recipe)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, rate) for optimizer in optimizers]
    generator = torch.Generator().manual_seed(recipe.seed)
    windows = tokens[: len(tokens) // recipe.window * recipe.window].view(-1, recipe.window)
    order = torch.empty(0, dtype=torch.long)
    progress = tqdm(range(recipe.steps), desc=f"pretraining {name}, once", file=sys.stderr)
    for _ in progress:
        if len(order) < recipe.batch_size:
            order = torch.randperm(len(windows), generator=generator)
        chosen, order = order.split([recipe.batch_size, len(order) - recipe.batch_size])
        loss = _loss(model, windows[chosen])
        loss.backward()
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad(set_to_none=False)
        progress.set_postfix(loss=f"{loss.item():.2f}")


def _loss(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
    """Mean NLL of windows (B, T), the first token of each left out."""
    logits = model(windows, attention_mask=torch.ones_like(windows), use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten())


@torch.no_grad()
def _perplexity(model: PreTrainedModel, tokens: torch.Tensor, window: int) -> float:
    windows = tokens[: window * CHECKED_WINDOWS].view(-1, window)
    return math.exp(torch.stack([_loss(model, row[None]) for row in windows]).mean().item())


def _unigram_perplexity(tokens: torch.Tensor, held_out: torch.Tensor) -> float:
    """Perplexity of the training text's token frequencies, add-one smoothed, on `held_out`."""
    counts = torch.bincount(tokens, minlength=VOCABULARY).double() + 1
    return math.exp(-(counts / counts.sum()).log()[held_out].mean().item())
