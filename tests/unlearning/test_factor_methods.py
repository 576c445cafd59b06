"""Methods on the ledger's factors: what makes each what it is, against dense gradients in float64."""

from dataclasses import replace

import pytest
import torch
from unlearning_helpers import FACTS, IDS, REQUEST, Trained, error, same
from worlds import weights_of

from unlearnkit import ledger, training, unlearning
from unlearnkit.errors import LedgerError, MethodError
from unlearnkit.ledger import kronecker
from unlearnkit.unlearning.methods.kfac_replay import inverse
from unlearnkit.unlearning.methods.repselect import without_leading

OTHERS, EPOCHS = IDS[3:], (1, 2, 3)
EACH = tuple((e,) for e in EPOCHS)
LAYERS = ("all", "embedding.output", ["block.1", "norms"])


@pytest.fixture(params=[("gpt2", True), ("llama", False)], ids=["gpt2", "llama"])
def learnt(request, tiny_model, tiny_tokenizer, tmp_path):
    return Trained(tiny_model(request.param[0], tied=request.param[1]), tiny_tokenizer, tmp_path / "l")


def flat(tensors):
    return torch.cat([tensors[n].double().flatten() for n in sorted(tensors)])


def parts(learnt, layers, spans=EACH):
    """m, M and s as whole vectors and a matrix: what projected_replay makes its step of."""
    rates = [(i, e, learnt.book.rates([i], e).item()) for e in EPOCHS for i in REQUEST]
    m = sum(rate * flat(learnt.book.gradient(i, e, layers)) for i, e, rate in rates)
    rows = torch.stack([flat(learnt.book.sum([i], span, layers)) for span in spans for i in OTHERS])
    s = 1 / (flat(dict(learnt.book.second_moment(3, layers))).sqrt() + 1e-8)
    return m, rows, s


# -- projected replay -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", LAYERS)
def test_the_oblique_step_is_orthogonal_to_every_stored_retain_gradient(layers, learnt):
    step = flat_step(learnt, layers=layers, spans=EACH, ridge=0.0, oblique=True)
    m, rows, s = parts(learnt, layers)
    cosines = rows @ step / rows.norm(dim=1) / step.norm()
    plain = rows @ (s * m) / rows.norm(dim=1) / (s * m).norm()
    assert cosines.abs().max() < 1e-4
    assert plain.abs().max() > 1e-2
    assert step @ m > 0


@pytest.mark.parametrize("layers", LAYERS)
def test_the_plain_step_is_orthogonal_to_them_in_adams_metric(layers, learnt):
    step = flat_step(learnt, layers=layers, spans=EACH, ridge=0.0, oblique=False)
    m, rows, s = parts(learnt, layers)
    cosines = (rows * s) @ step / (rows * s).norm(dim=1) / step.norm()
    assert cosines.abs().max() < 1e-4
    least_squares = torch.linalg.lstsq((rows * s).T, s * m).solution
    assert error({"": step}, {"": s * m - (rows * s).T @ least_squares}) < 1e-3


def test_in_the_gradients_metric_it_is_the_residual_of_least_squares(learnt):
    step = flat_step(learnt, metric="gradient", ridge=0.0)
    m, rows, _ = parts(learnt, "all", spans=("all",))
    expected = m - rows.T @ torch.linalg.lstsq(rows.T, m).solution
    assert error({"": step}, {"": expected}) < 1e-3


def test_with_a_ridge_it_is_a_natural_gradient(learnt):
    """(1/s + M^T M / r) d = m, with r the ridge times the mean of M s M^T's diagonal."""
    step = flat_step(learnt, spans=EACH, ridge=0.3, oblique=True)
    m, rows, s = parts(learnt, "all")
    r = 0.3 * ((rows * s) @ rows.T).diagonal().mean()
    assert error({"": step / s + rows.T @ (rows @ step) / r}, {"": m}) < 1e-3
    endless = flat_step(learnt, ridge=1e12, oblique=True)
    assert error({"": endless}, {"": s * m}) < 1e-4


def flat_step(learnt, **options):
    """What alpha = 1 adds on the selected layers, as one vector."""
    before = learnt.weights()
    result = learnt.apply("projected_replay", alpha=1.0, **options)
    touched = result.touched
    step = flat({n: (learnt.weights()[n].double() - before[n].double()) for n in touched})
    result.revert()
    return step


def test_a_ledger_of_sgd_and_of_the_request_alone(tiny_model, tiny_tokenizer, tmp_path):
    recipe, told = training.Recipe(epochs=2, lr=0.05, batch_size=3), {"request": REQUEST, "alpha": 1.0}
    for name, record in (("all", IDS), ("few", REQUEST)):
        model = tiny_model("gpt2")
        where = {"ledger": tmp_path / name, "ledger_dtype": "float32", "progress": False}
        training.fine_tune(model, tiny_tokenizer, FACTS, recipe, **where, record=record)
        book = ledger.GradientLedger.open(tmp_path / name, model)
        if name == "all":
            there = []
            for options in ({}, {"metric": "gradient"}):  # SGD has no other metric
                result = unlearning.apply("projected_replay", model, ledger=book, **told, **options)
                there.append({n: p.detach().clone() for n, p in model.named_parameters()})
                assert result.norm > 0
                result.revert()
            assert same(*there)
            continue
        for method in ("projected_replay", "kfac_replay", "repselect"):
            with pytest.raises(MethodError, match=f"'{method}' needs a ledger that holds others"):
                unlearning.apply(method, model, ledger=book, **told)


def test_what_projected_replay_refuses(trained):
    with pytest.raises(MethodError, match="metric='newton'; use optimizer or gradient"):
        trained.apply("projected_replay", alpha=1.0, metric="newton")
    with pytest.raises(LedgerError, match="epoch 9 is not in ledger"):
        trained.apply("projected_replay", alpha=1.0, spans=((9,),))
    trained.book.store.moments = []
    with pytest.raises(LedgerError, match="keeps no second moments"):
        trained.apply("projected_replay", alpha=1.0)


# -- shaped by both sides ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("name", ["kfac_replay", "repselect"])
def test_with_identity_factors_it_is_replay(name, layers, learnt, monkeypatch):
    def identity(book, site, _keys):
        outer = torch.ones(site.width_out) if site.on_targets else torch.eye(site.width_out)
        inner = torch.ones(site.width_in) if site.kind == "embedding" else torch.eye(site.width_in)
        return inner.double(), outer.double()

    options = {"damping": 0.0} if name == "kfac_replay" else {"components": 0}
    monkeypatch.setattr(kronecker, "moments", identity)
    monkeypatch.setattr(kronecker, "_squares", lambda _b, s, _k, _w: torch.ones(s.width_out))
    found = learnt.direction(name, layers=layers, **options)
    expected = learnt.direction("all_epochs", layers=layers)
    assert error(found, expected) < 1e-4


def test_the_inverse_is_damped_by_a_share_of_the_mean_eigenvalue():
    torch.manual_seed(0)
    rows = torch.randn(9, 5).double()
    moment = rows.T @ rows
    expected = torch.linalg.inv(moment + 0.1 * torch.linalg.eigvalsh(moment).mean() * torch.eye(5).double())
    assert torch.allclose(inverse(moment, 0.1), expected)
    assert torch.allclose(
        inverse(moment.diagonal(), 0.1), 1 / (moment.diagonal() + 0.1 * moment.diagonal().mean())
    )
    assert torch.equal(inverse(torch.zeros(3, 3), 0.1), torch.ones(3))


def test_what_is_left_has_no_part_in_the_leading_components():
    torch.manual_seed(0)
    rows = torch.randn(20, 6).double() * torch.tensor([9.0, 5.0, 1.0, 1.0, 1.0, 1.0])
    kept = without_leading(rows.T @ rows, 2)
    leading = torch.linalg.svd(rows).Vh[:2]
    assert (kept @ leading.T).abs().max() < 1e-10
    assert torch.allclose(kept @ kept, kept)
    assert kept.trace().item() == pytest.approx(4)
    assert torch.equal(without_leading(torch.ones(4), 2), torch.ones(4))
    assert without_leading(torch.eye(3).double(), 8).abs().max() < 1e-10  # all of them


def test_no_more_components_are_taken_out_than_there_are():
    """Rounding's eigenvectors are anybody's: another rounding of the same moment gives the same."""
    rows = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    moment = rows.T @ rows
    noise = torch.randn(12, 12, generator=torch.Generator().manual_seed(1)) * 1e-8 * moment.norm()
    one, other = (without_leading(m, 8) for m in (moment, moment + noise + noise.T))
    assert (one - other).norm() < 1e-5
    assert torch.allclose(one, without_leading(moment, 3), atol=1e-5)
    assert torch.linalg.matrix_rank(one, atol=1e-3) == 9


@pytest.mark.parametrize("name", ["kfac_replay", "repselect"])
def test_of_long_texts_they_read_factors_where_these_are_kept(
    name, tiny_model, tiny_tokenizer, tmp_path, caplog
):
    """Whole gradients have other moments than factors of tokens, which is said."""
    told, steps = [replace(e, answer=" ".join([e.answer] * 5)) for e in FACTS], {}
    for factors in (True, False):
        model, folder = tiny_model("gpt2"), tmp_path / str(factors)
        where = {"ledger": folder, "ledger_dtype": "float32", "ledger_factors": factors, "progress": False}
        training.fine_tune(model, tiny_tokenizer, told, training.Recipe(epochs=1, batch_size=3), **where)
        book, before = ledger.GradientLedger.open(folder, model), weights_of(model)
        caplog.clear()
        unlearning.apply(name, model, ledger=book, request=REQUEST, norm=1.0, layers="block.0")
        steps[factors] = {n: p - before[n] for n, p in weights_of(model).items()}
        assert ("ledger_factors=True" in caplog.text) is not factors
    assert error(steps[True], steps[False]) > 0.01


def test_kfac_turns_down_what_the_others_use(learnt):
    """Less of the step is where the others' gradients are: its share in their span falls."""
    span = torch.stack([flat(learnt.book.gradient(i, e)) for e in EPOCHS for i in OTHERS])
    basis = torch.linalg.qr(span.T).Q
    shares = {}
    for name in ("all_epochs", "kfac_replay"):
        direction = flat(learnt.direction(name))
        shares[name] = ((basis.T @ direction).norm() / direction.norm()).item()
    assert shares["kfac_replay"] < shares["all_epochs"]
