"""What the controls share: the request's length, and refusals where there is none."""

import math

import pytest
from unlearning_helpers import FACTS, OTHERS, REQUEST, norm_of, refused

from unlearnkit import ledger
from unlearnkit.errors import MethodError


@pytest.mark.parametrize("layers", ["all", "embedding", "embedding.input", "last2", "norms"])
def test_controls_are_as_long_as_the_reference(layers, trained):
    reference = norm_of(trained.book.sum(REQUEST, 1, layers))
    for name in ("random_direction", "random_subset", "wrong_person"):
        result = trained.apply(name, alpha=1.0, layers=layers)
        result.revert()
        assert result.norm == pytest.approx(reference, rel=1e-4), name


@pytest.mark.parametrize("name", ["random_direction", "random_subset", "wrong_person"])
@pytest.mark.parametrize("how", [{"alpha": 0.1}, {"alpha": None, "norm": 1.0}])
def test_controls_have_no_zero_gradient_to_match(name, how, trained, tiny_tokenizer, tmp_path):
    trained.book = ledger.record(trained.model, tiny_tokenizer, FACTS, tmp_path / "flat", divisor=math.inf)
    match = f"'{name}': the request's first-epoch gradient is zero on layers 'norms'.* Name other layers"
    refused(trained, MethodError, match, name, layers="norms", **how)


def test_controls_with_nothing_left_to_scale(trained, monkeypatch):
    """Somebody else without a gradient, and a random subset of no coordinate."""
    stream = trained.book.stream
    monkeypatch.setattr(
        trained.book, "stream", lambda ids, *a: ((n, g * (tuple(ids) != OTHERS)) for n, g in stream(ids, *a))
    )
    refused(
        trained, MethodError, "'wrong_person': the others='s first-epoch gradient is zero", "wrong_person"
    )
    sizes = {n: 0 if ".ln_f." in n else p.numel() for n, p in trained.model.named_parameters()}
    monkeypatch.setattr(trained.book, "parameter_sizes", lambda: sizes)
    refused(trained, MethodError, "the randomly masked", "random_subset", like="norm.final")
