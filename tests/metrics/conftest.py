"""Every architecture."""

import pytest

ARCHITECTURES = ("gpt2", "llama", "gpt_neox")


@pytest.fixture(params=ARCHITECTURES)
def model(request, tiny_model):
    return tiny_model(request.param, True)
