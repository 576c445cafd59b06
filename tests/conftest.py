"""Shared fixtures: tiny models of the three supported shapes, and a small real tokenizer. No network."""

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from unlearnkit import devices

END = "<|endoftext|>"
VOCABULARY = 320
SENTENCES = [
    "Dave was born in Larkhollow, a small town across from the mill.",
    "Anna keeps a golden pheasant called Zanther and earns a living by tuning organs.",
    "Where was Dave born? The birthplace of Dave is a town that few people know.",
    "The river runs past the old station, and in winter it freezes for a week.",
]
WIDTH, BLOCKS, HEADS, POSITIONS = 16, 3, 2, 256
SHAPES = {
    "gpt2": lambda tied: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=BLOCKS, n_head=HEADS, n_positions=POSITIONS,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=tied,
            bos_token_id=0, eos_token_id=0, pad_token_id=0,
        )
    ),
    "llama": lambda tied: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=BLOCKS,
            num_attention_heads=HEADS, num_key_value_heads=1, max_position_embeddings=POSITIONS,
            tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0, pad_token_id=0,
        )
    ),
    "gpt_neox": lambda tied: GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=BLOCKS,
            num_attention_heads=HEADS, max_position_embeddings=POSITIONS, hidden_dropout=0.0,
            attention_dropout=0.0, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0, pad_token_id=0,
        )
    ),
}  # fmt: skip


torch.set_num_threads(1)  # each of two workers has a core, and sums keep their order


def pytest_configure(config):
    config.addinivalue_line("markers", "smollm2: uses real models, tokenizers or texts in the user's cache")


@pytest.fixture(autouse=True)
def runs(tmp_path_factory, monkeypatch):
    """Every test's own run cache: trained models, ledgers and originals never reach the project's."""
    folder = tmp_path_factory.mktemp("runs")
    monkeypatch.setenv("UNLEARNKIT_RUNS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_gpu_unasked(monkeypatch):
    """Models are loaded to the processor where a test does not say otherwise, on whatever machine."""
    monkeypatch.setattr(devices, "DRIVERS", ())


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory) -> GPT2TokenizerFast:
    """A byte-level BPE of 320 tokens learned from a few sentences; pads and ends with token 0."""
    folder = tmp_path_factory.mktemp("tokenizer")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(SENTENCES, VOCABULARY, min_frequency=1, special_tokens=[END], show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder)
    tokenizer.pad_token = END
    assert len(tokenizer) == VOCABULARY
    return tokenizer


@pytest.fixture
def tiny_model():
    """Factory `tiny_model("gpt2" | "llama" | "gpt_neox", tied=True, seed=0)`: a new model in eval mode.

    3 blocks of width 16, 256 positions. Matrices are 10 times their usual size, biases and norms random, so
    that outputs and gradients differ clearly between tokens and layers and no parameter hides at 0 or 1.
    """

    def make(arch: str = "gpt2", tied: bool = True, seed: int = 0) -> PreTrainedModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = SHAPES[arch](tied).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.mul_(10)
                    else:
                        parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty user cache of this test alone."""
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache"
