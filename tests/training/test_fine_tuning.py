"""Fine-tuning: the contract of order and loss, oracles, and what goes wrong."""

import dataclasses

import pytest
import torch
from worlds import FACTS, IDS, autograd_gradient, relative_error, same, weights_of
from worlds import TWO_EPOCHS as RECIPE

from unlearnkit import ledger, models, training
from unlearnkit.batching import batch_of, example_loss
from unlearnkit.errors import ConfigError, DataError, DivergenceError, RequestError
from unlearnkit.training import Recipe
from unlearnkit.weights import copy_into


def test_an_emptied_batch_is_no_step(train):
    _, run = train(exclude=IDS[1:])
    assert run.order == [(IDS[0],)] * RECIPE.epochs


def test_the_oracle_of_a_linear_schedule_has_the_rates_of_the_run(train, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: seen.append(self.param_groups[0]["lr"]))
    recipe = Recipe(epochs=2, batch_size=2, lr=0.1, lr_schedule="linear", seed=3)
    train(recipe)
    whole, seen[:] = list(seen), []
    train(recipe, exclude=IDS[1:])
    steps = [s for epoch in training.schedule(IDS, recipe) for s in epoch]
    assert seen == [rate for rate, ids in zip(whole, steps, strict=True) if IDS[0] in ids]


def test_run_tells_what_happened(train, tiny_model, tiny_tokenizer, runs):
    weights, run = train()
    assert run.order == [step for epoch in training.schedule(IDS, RECIPE) for step in epoch]
    assert len(run.losses) == len(run.order) == 6
    assert (run.lr, run.recipe) == (0.05, RECIPE)
    assert run.seconds > 0
    model = tiny_model()
    batch = batch_of(tiny_tokenizer, [FACTS[IDS.index(i)] for i in run.order[0]], "text")
    losses = example_loss(model(**batch.inputs()).logits, batch.labels)
    assert run.losses[0] == pytest.approx(losses.sum().item() / 3)  # (1/B) sum l_i
    assert run.initial.is_relative_to(runs)
    kept = {n: torch.zeros_like(t) for n, t in weights.items()}
    copy_into(run.initial, kept)
    assert same(kept, weights_of(model))  # theta_0
    assert not same(kept, weights)


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_one_seed_gives_one_result(train, optimizer):
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)
    (first, run), (second, again) = train(recipe), train(recipe)
    assert same(first, second)
    assert run.order == again.order
    assert run.losses == again.losses
    other, different = train(dataclasses.replace(recipe, seed=1))
    assert different.order != run.order
    assert not same(first, other)


@pytest.mark.parametrize("loss_on", ["text", "answer"])
@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_a_step_is_plain_sgd_on_the_mean_over_b(arch, loss_on, train, tiny_model, tiny_tokenizer):
    """One epoch by hand; the last batch has one example and still divides by B = 3."""
    recipe = dataclasses.replace(RECIPE, epochs=1, loss_on=loss_on)
    weights, run = train(recipe, arch)
    model = tiny_model(arch)
    assert [len(step) for step in run.order] == [3, 3, 1]
    for step in run.order:
        terms = [
            autograd_gradient(model, tiny_tokenizer, FACTS[IDS.index(i)], loss_on, divisor=3) for i in step
        ]
        with torch.no_grad():
            for n, p in model.named_parameters():
                p -= recipe.lr * sum(t[n] for t in terms)
    assert relative_error(weights, weights_of(model)) < 1e-5


def test_adamw_is_torchs_without_decay(train, tiny_model, tiny_tokenizer):
    recipe = dataclasses.replace(RECIPE, optimizer="adamw", lr=1e-3)
    weights, run = train(recipe)
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    for step in run.order:
        optimizer.zero_grad()
        batch = batch_of(tiny_tokenizer, [FACTS[IDS.index(i)] for i in step], "text")
        (example_loss(model(**batch.inputs()).logits, batch.labels).sum() / 3).backward()
        optimizer.step()
    assert same(weights, weights_of(model))


@pytest.mark.parametrize("arch", ["gpt2", "llama", "gpt_neox"])
def test_the_oracle_leaves_out_exactly_the_recorded_term(arch, train, tiny_model, tmp_path):
    """One step: theta_oracle - theta = lr * the ledger's sum over those left out, 1/B included."""
    recipe = Recipe(epochs=1, lr=0.1, batch_size=8)  # B = 8 > 7 examples
    weights, _ = train(recipe, arch, ledger=tmp_path / "l", ledger_dtype="float32")
    oracle, _ = train(recipe, arch, exclude=IDS[2:4])
    term = ledger.GradientLedger.open(tmp_path / "l").sum(IDS[2:4])
    gap = {n: (oracle[n] - weights[n]) / recipe.lr for n in weights}
    error = sum((gap[n] - term[n]).square().sum() for n in gap) / sum(g.square().sum() for g in term.values())
    assert error.sqrt() < 1e-4


@pytest.mark.smollm2
@pytest.mark.parametrize("name", ["gpt2-tiny", "neox-tiny", "llama-tiny"])
def test_the_tiny_models_rewind_exactly_and_their_oracles_leave_out_the_recorded_terms(name, tmp_path):
    """theta_T + lr * the sum over all = theta_0, and theta_oracle - theta_T = lr * the sum of one step."""
    ends, starts = [], []
    for exclude, kept in ((), {"ledger": tmp_path / "l", "ledger_dtype": "float32"}), (IDS[2:4], {}):
        model, tokenizer = models.load(name)
        starts.append(weights_of(model))
        recipe = Recipe(epochs=1, lr=0.1, batch_size=8)  # one step
        training.fine_tune(model, tokenizer, FACTS, recipe, exclude=exclude, progress=False, **kept)
        ends.append(weights_of(model))
    book = ledger.GradientLedger.open(tmp_path / "l")
    for other, ids in ((starts[0], IDS), (ends[1], IDS[2:4])):
        term = book.sum(ids)
        assert term.keys() == other.keys()
        gap = {n: (other[n] - ends[0][n]) / recipe.lr for n in other}
        error = sum((gap[n] - term[n]).square().sum() for n in gap)
        assert (error / sum(g.square().sum() for g in term.values())).sqrt() < 1e-4


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulation_keeps_the_numbers(accumulate, train):
    plain, run = train()
    split, other = train(dataclasses.replace(RECIPE, accumulate=accumulate))
    assert relative_error(split, plain) < 1e-4
    assert other.losses == pytest.approx(run.losses, rel=1e-5)


def test_dropout_is_off_and_frozen_weights_stay(tiny_model, tiny_tokenizer):
    ends = []
    for _ in range(2):
        model = tiny_model("gpt2")
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.5
        model.transformer.wte.weight.requires_grad_(False)
        frozen = model.transformer.wte.weight.clone()
        training.fine_tune(model.train(), tiny_tokenizer, FACTS, RECIPE, progress=False)
        assert torch.equal(model.transformer.wte.weight, frozen)
        ends.append(weights_of(model))
    assert same(*ends)


def test_notes_of_every_epoch(train, tmp_path):
    weights, run = train(ledger=tmp_path / "l", on_epoch=lambda epoch, model: {"epoch": epoch})
    assert run.notes == [{"epoch": 1}, {"epoch": 2}]
    again, rerun = train(ledger=tmp_path / "l", on_epoch=lambda *_: pytest.fail("trained again"))
    assert same(weights, again)  # a finished run is only loaded
    assert (rerun.notes, rerun.losses, rerun.order) == (run.notes, run.losses, run.order)


def test_a_silly_learning_rate_diverges_cleanly(tiny_model, tiny_tokenizer, tmp_path):
    """The error names epoch, step and rate; no hook stays on the model, the ledger is its last commit."""
    model = tiny_model()
    recipe = Recipe(epochs=3, lr=1e30, batch_size=3)
    with pytest.raises(DivergenceError, match=r"epoch 1, step 1: the loss became .* lr=1e\+30"):
        training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    assert hooks == []
    book = ledger.GradientLedger.open(tmp_path / "l", model)
    assert book.epochs == []
    with pytest.raises(ledger.LedgerError, match="incomplete"):
        book.verify()
    with pytest.raises(ledger.LedgerError, match="model is"):  # the wrecked weights are no start
        training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)


def test_divergence_in_the_last_step(tiny_model, tiny_tokenizer, tmp_path):
    """The losses are all finite, the weights they end in are not: a second call says so again."""
    recipe = Recipe(epochs=1, lr=3e38, batch_size=7)
    for _ in range(2):
        model = tiny_model()
        model.transformer.ln_f.weight.data.mul_(100)  # the output head's gradients grow alike
        with pytest.raises(DivergenceError, match=r"is not finite with lr=3e\+38"):
            training.fine_tune(model, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", progress=False)


def test_bad_examples_name_the_culprit(train, tmp_path):
    for options, match in (
        ({"examples": [*FACTS, FACTS[2]]}, "not unique"),
        ({"exclude": ["f1", "nobody"]}, "exclude= names unknown examples: 'nobody'"),
        ({"record": ["someone"]}, "record= names unknown examples: 'someone'"),
        ({"exclude": IDS}, "nothing is left to train on"),
        ({"examples": []}, "nothing is left to train on"),
    ):
        with pytest.raises(RequestError, match=match):
            train(ledger=tmp_path / "l", **options)
    assert not (tmp_path / "l").exists()


def test_a_ledger_and_a_history_share_no_folder(train, tmp_path):
    both, others = tmp_path / "both", {"ledger": tmp_path / "l", "history": tmp_path / "h"}
    with pytest.raises(ConfigError, match=r"history=.*both' is the folder of a ledger"):
        train(ledger=both, history=both / ".." / "both")
    assert not both.exists()
    train(**others)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for name, other, kind in (("history", "l", "ledger"), ("ledger", "h", "history")):
        with pytest.raises(ConfigError, match=f"{name}=.*{other}' is the folder of a {kind}"):
            train(**{name: tmp_path / other})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_text_beyond_the_positions_is_refused_before_training(train, tmp_path):
    """The tiny models have 256 positions, and no merge of their tokenizer has a q: a token each."""
    full, long = (
        dataclasses.replace(FACTS[0], id=f"q{n}", prompt="q", answer="q" * (n - 2)) for n in (256, 257)
    )
    train(examples=[*FACTS, full])
    for recipe in (RECIPE, dataclasses.replace(RECIPE, loss_on="answer")):
        with pytest.raises(DataError, match=r"256 positions .*: 'q257' \(257\)"):
            train(recipe, examples=[*FACTS, long], ledger=tmp_path / "deep" / "l")
    assert not (tmp_path / "deep").exists()
    train(examples=[*FACTS, long], exclude=["q257"])  # not trained on
