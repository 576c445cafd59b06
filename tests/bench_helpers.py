"""What the tests of benchmarks compare with: autograd, an example at a time."""

from importlib.util import find_spec

import pytest

from unlearnkit.bench.setting import parts

TINY = "gpt2-shape-2x64"


def needs(package: str):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


def autograd(setting, batch):
    return [setting.gradient(one) for one in parts(batch, 1)]


def worst(found, expected):
    """Largest relative error over examples and parameters of stacked gradients."""
    return max(
        ((found[n][k] - g).norm() / g.norm().clamp(min=1e-12)).item()
        for k, gradient in enumerate(expected)
        for n, g in gradient.items()
        if n in found
    )
