"""Descriptions and fingerprints."""

import torch

from unlearnkit import models


def test_fingerprint_sees_one_bit_and_one_name(tiny_model):
    model = tiny_model("gpt2")
    before = models.fingerprint(model)
    assert models.fingerprint(tiny_model("gpt2")) == before
    assert models.fingerprint(tiny_model("gpt2", tied=False)) != before
    assert models.fingerprint(tiny_model("gpt2").bfloat16()) != before
    bits = model.transformer.ln_f.bias.data.view(torch.int32)
    bits[3] ^= 1
    assert models.fingerprint(model) != before


def test_description_counts_both_untied_matrices(tiny_model):
    tied, untied = (models.describe(tiny_model("llama", tied)) for tied in (True, False))
    matrix = tied.vocabulary * tied.width
    assert untied.parameters - tied.parameters == matrix
    assert tied.embedding_share == matrix / tied.parameters
    assert untied.embedding_share == 2 * matrix / untied.parameters
    assert (tied.blocks, tied.architecture) == (3, "LlamaForCausalLM")
