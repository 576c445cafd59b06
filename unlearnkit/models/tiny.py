"""gpt2-tiny: GPT-2's architecture at a size that trains in seconds, and two short pretrainings of it.

12 blocks, as in GPT-2 small, so that its layers 11 and 12 exist; a vocabulary of 8,192, so that the
embedding is about 30 % of the parameters, as in GPT-2 small, and not three quarters.
"""

import json
import math
import random
import sys
import time
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from unlearnkit.errors import ModelError
from unlearnkit.models.building import built_once

END = "<|endoftext|>"
VOCABULARY = 8192
SHAPE = {"n_layer": 12, "n_embd": 128, "n_head": 4, "n_positions": 256}
SEED = 0
REPORT = "pretraining.json"  # in the folder of a pretrained variant


@dataclass(frozen=True)
class Pretraining:
    """AdamW, one-cycle rate: `steps` batches of `batch_size` windows of `window` tokens."""

    steps: int
    batch_size: int = 16
    window: int = 128
    peak_lr: float = 3e-3
    seed: int = SEED


FULL = Pretraining(steps=600)
QUICK = Pretraining(steps=75)


def build(folder: Path) -> None:
    """Write the seeded random model and its byte-level BPE, trained on the background text, to `folder`."""
    from unlearnkit.data import utility_text  # here, as data and models do not otherwise depend on each other

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(utility_text("train"), VOCABULARY, special_tokens=[END], show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer.pad_token = END
    if len(tokenizer) != VOCABULARY:
        raise ModelError(f"the background text gave {len(tokenizer)} tokens, not {VOCABULARY}")
    tokenizer.save_pretrained(folder)
    end = tokenizer.eos_token_id
    config = GPT2Config(**SHAPE, vocab_size=VOCABULARY, bos_token_id=end, eos_token_id=end, pad_token_id=end)
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        GPT2LMHeadModel(config).save_pretrained(folder)


def build_pretrained(recipe: Pretraining, folder: Path) -> None:
    """Pretrain gpt2-tiny on background text and background persons' facts; write it and a report.

    Raises ModelError unless the held-out perplexity is below half of the unigram model's.
    """
    from unlearnkit.data import background_facts, utility_text

    start = built_once("gpt2-tiny", build)
    model = AutoModelForCausalLM.from_pretrained(start, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(start, local_files_only=True)
    texts = [*utility_text("train"), *(fact.text + "." for fact in background_facts())]
    random.Random(recipe.seed).shuffle(texts)
    train = _stream(tokenizer, texts)
    seconds = _train(model, train, recipe)
    held_out = _stream(tokenizer, utility_text("eval"))
    perplexity = _perplexity(model.eval(), held_out, recipe.window)
    unigram = _unigram_perplexity(train, held_out)
    if not perplexity < unigram / 2:
        raise ModelError(f"pretraining failed: held-out perplexity {perplexity:.0f}, unigrams {unigram:.0f}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    figures = {"perplexity": perplexity, "unigram_perplexity": unigram, "seconds": seconds, **asdict(recipe)}
    (folder / REPORT).write_text(json.dumps(figures, indent=1))


def _stream(tokenizer: GPT2TokenizerFast, texts: list[str]) -> torch.Tensor:
    """All texts as one row of token ids, each closed by the end-of-text token."""
    encoded = tokenizer(texts, return_attention_mask=False)["input_ids"]
    return torch.tensor(list(chain.from_iterable([*ids, tokenizer.eos_token_id] for ids in encoded)))


def _train(model: GPT2LMHeadModel, tokens: torch.Tensor, recipe: Pretraining) -> float:
    """Train in place; returns the seconds it took."""
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.peak_lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.peak_lr, total_steps=recipe.steps)
    windows = tokens[: len(tokens) // recipe.window * recipe.window].view(-1, recipe.window)
    model.train()
    progress = tqdm(range(recipe.steps), desc="pretraining gpt2-tiny, once", file=sys.stderr)
    order = torch.empty(0, dtype=torch.long)
    for _ in progress:
        if len(order) < recipe.batch_size:
            order = torch.randperm(len(windows), generator=generator)
        batch, order = windows[order[: recipe.batch_size]], order[recipe.batch_size :]
        loss = model(batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=False)
        progress.set_postfix(loss=f"{loss.item():.2f}")
    return time.perf_counter() - began


@torch.no_grad()
def _perplexity(model: GPT2LMHeadModel, tokens: torch.Tensor, window: int, windows: int = 128) -> float:
    """exp of the mean NLL over the first `windows` windows, the first token of each left out."""
    rows = tokens[: len(tokens) // window * window].view(-1, window)[:windows]
    losses = [model(batch, labels=batch, use_cache=False).loss * len(batch) for batch in rows.split(16)]
    return math.exp(float(sum(losses)) / len(rows))


def _unigram_perplexity(train: torch.Tensor, held_out: torch.Tensor) -> float:
    """Perplexity of token frequencies, add-one smoothed, on `held_out`."""
    counts = torch.bincount(train, minlength=VOCABULARY).double() + 1
    return math.exp(-float((counts / counts.sum()).log()[held_out].mean()))
