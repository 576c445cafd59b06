"""Methods on the history of training: what they come to, held against retraining and sums by hand."""

import dataclasses

import pytest
import torch
from unlearning_helpers import FACTS, IDS, RECIPE, REQUEST, RETAIN, autograd_gradient, error, same

from unlearnkit import training, unlearning
from unlearnkit.batching import batch_of, example_loss
from unlearnkit.errors import ConfigError, DataError, LayerError, MethodError, ModelError, RequestError

QUIET = {"progress": False}
SHAPES = [("gpt2", True), ("llama", False)]
SGD = training.Recipe(epochs=2, lr=0.02, batch_size=3)


def kept(make, tokenizer, recipe, folder, updates=(), summed=False):
    """A model after training, and its history."""
    model = make()
    there = {"history": folder, "updates": updates, "summed": summed}
    training.fine_tune(model, tokenizer, FACTS, recipe, **there, **QUIET)
    return model, training.History.open(folder)


def weights_of(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


@pytest.fixture(params=SHAPES, ids=["gpt2", "llama"])
def make(request, tiny_model):
    return lambda: tiny_model(request.param[0], tied=request.param[1])


def given(tokenizer, history, **more):
    return {"request": REQUEST, "examples": FACTS, "tokenizer": tokenizer, "checkpoints": history, **more}


# -- replays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [RECIPE, SGD], ids=["adamw", "sgd"])
def test_exact_replay_from_the_start_is_the_oracle_bit_for_bit(recipe, make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, recipe, tmp_path / "h")
    end, oracle = weights_of(model), make()
    training.fine_tune(oracle, tiny_tokenizer, FACTS, recipe, exclude=REQUEST, **QUIET)
    result = unlearning.apply("exact_replay", model, **given(tiny_tokenizer, history))
    assert same(weights_of(model), weights_of(oracle))
    assert all(p.grad is None for p in model.parameters())
    result.revert()
    assert same(weights_of(model), end)
    later = unlearning.apply("exact_replay", model, **given(tiny_tokenizer, history), epoch=1)
    exact = weights_of(model)
    assert error(exact, weights_of(oracle)) > 1e-5
    later.revert()
    unlearning.apply("rewind", model, **given(tiny_tokenizer, history), epoch=1)
    assert same(weights_of(model), exact) == (recipe.optimizer == "sgd")


def test_rewind_is_the_rest_of_the_recipe_by_torchs_own_loop(make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, RECIPE, tmp_path / "h")
    theirs = make()
    for name, tensor in history.read(1, weights_of(theirs)):
        theirs.get_parameter(name).data.copy_(tensor)
    descent = torch.optim.AdamW(theirs.parameters(), lr=RECIPE.lr, weight_decay=0.0)
    for ids in (s for epoch in training.schedule(IDS, RECIPE, REQUEST)[1:] for s in epoch if s):
        terms = [autograd_gradient(theirs, tiny_tokenizer, FACTS[IDS.index(i)], "text", 3) for i in ids]
        for name, parameter in theirs.named_parameters():
            parameter.grad = sum(t.get(name, torch.zeros_like(parameter)) for t in terms)
        descent.step()
    start = weights_of(model)
    result = unlearning.apply("rewind", model, **given(tiny_tokenizer, history))
    moved, expected = ({n: w[n] - start[n] for n in w} for w in (weights_of(model), weights_of(theirs)))
    assert error(moved, expected) < 1e-2  # where a gradient is about zero, AdamW makes a step of its rounding
    assert result.alpha is None
    assert result.told["steps"] == sum(
        bool(s) for e in training.schedule(IDS, RECIPE, REQUEST)[1:] for s in e
    )


def test_a_replay_of_some_layers_leaves_the_others(trained):
    start = trained.weights()
    trained.apply("exact_replay", layers="block.1")
    moved = {n for n, t in trained.weights().items() if not torch.equal(t, start[n])}
    assert moved
    assert all(n.startswith("transformer.h.1.") for n in moved)


def test_retraining_is_that_of_whoever_never_had_it(make, tiny_tokenizer, tmp_path):
    """In batches of their own: those of `fine_tune` on the others alone."""
    model, history = kept(make, tiny_tokenizer, RECIPE, tmp_path / "h")
    stranger = dataclasses.replace(FACTS[0], id="stranger", answer="somewhere else")
    for seed in (None, 5):
        theirs = make()
        recipe = RECIPE if seed is None else dataclasses.replace(RECIPE, seed=seed)
        training.fine_tune(theirs, tiny_tokenizer, FACTS[3:], recipe, **QUIET)
        told = given(tiny_tokenizer, history)
        told["examples"] = [*told["examples"], stranger]  # whom the training never met
        result = unlearning.apply("retrain", model, **told, seed=seed)
        assert same(weights_of(model), weights_of(theirs))
        result.revert()


def test_what_replays_refuse(trained):
    start = trained.weights()
    for kind, match, name, changes in (
        (MethodError, "needs checkpoints=", "rewind", {"checkpoints": None}),
        (MethodError, "as training.History.open", "thudi", {"checkpoints": {0: "theta_0"}}),
        (ConfigError, "epoch=3: .* keeps 0, 1, 2 to go on from", "exact_replay", {"epoch": 3}),
        (DataError, "lacks 'f6'", "retrain", {"examples": FACTS[:-1], "retain": FACTS[5:6]}),
        (LayerError, "is tied", "rewind", {"layers": "embedding.input"}),
    ):
        with pytest.raises(kind, match=match):
            trained.apply(name, **({"alpha": 1.0} if name == "thudi" else {}), **changes)
        assert same(trained.weights(), start)


USERS = ("exact_replay", "rewind", "retrain", "certified_removal", "amnesiac", "hf_ocu", "msa", "thudi")


def refuses(trained, name, error, match, **changes):
    """That a method of a history refuses, and leaves the model as it is."""
    start = trained.weights()
    strength = {"alpha": 1.0} if unlearning.METHODS[name].stops else {}
    with pytest.raises(error, match=match):
        trained.apply(name, **strength, **changes)
    assert same(trained.weights(), start)


@pytest.mark.parametrize("name", USERS)
def test_what_the_training_never_had_is_not_unlearned_silently(name, trained):
    stranger = dataclasses.replace(FACTS[0], id="stranger", answer="somewhere else")
    asked = {"request": [IDS[0], "stranger"], "examples": [*FACTS, stranger]}
    refuses(trained, name, RequestError, "the training of .* never had 'stranger'", **asked, ledger=None)


@pytest.mark.parametrize("name", USERS)
def test_a_model_that_may_move_other_weights_than_its_training_is_refused(name, trained):
    """As one that is loaded from disk, where nothing is frozen, or one where more is."""
    history = trained.sgd_history if name == "hf_ocu" else trained.history
    trained.model.transformer.ln_f.bias.requires_grad_(False)
    alone = "other trainable weights: 'transformer.ln_f.bias' may move there alone"
    refuses(trained, name, ModelError, alone, ledger=None, checkpoints=history)


def test_what_training_froze_does_not_move_when_it_is_replayed_on_a_model_from_disk(
    tiny_model, tiny_tokenizer, tmp_path
):
    recipe = dataclasses.replace(SGD, frozen=("transformer.wte.weight", "transformer.wpe.weight"))
    model, history = kept(lambda: tiny_model("gpt2"), tiny_tokenizer, recipe, tmp_path / "h")
    loaded = tiny_model("gpt2")
    loaded.load_state_dict(model.state_dict())
    with pytest.raises(ModelError, match=r"'transformer.w.e.weight' may move here alone.*training.freeze"):
        unlearning.apply("retrain", loaded, **given(tiny_tokenizer, history))
    training.freeze(loaded, history.recipe)
    unlearning.apply("retrain", loaded, **given(tiny_tokenizer, history))
    assert torch.equal(loaded.transformer.wte.weight, model.transformer.wte.weight)


@pytest.mark.parametrize("name", ["exact_replay", "rewind", "retrain", "certified_removal"])
def test_who_was_forgotten_does_not_come_back_with_a_second_request(name, trained):
    """Each starts anew from a checkpoint, which knows whom the first request was about."""
    first = trained.apply("exact_replay", request=IDS[:1])
    with pytest.raises(RequestError, match="what it has forgotten since would come back"):
        trained.apply(name, request=IDS[1:2], ledger=None)
    first.revert()
    trained.model.get_parameter(next(iter(trained.weights()))).data.mul_(1 + 1e-6)  # another machine's
    trained.apply(name, request=IDS[:2], ledger=None)


@pytest.mark.parametrize("name", ["task_vector", "msa", "amnesiac", "hf_ocu"])
def test_one_role_of_a_tied_matrix_is_refused(name, trained):
    """Its other role moves with it: layers='embedding' is what they can do."""
    for role in ("embedding.input", "embedding.output"):
        with pytest.raises(LayerError, match="is tied"):
            trained.apply(name, layers=role, alpha=1.0)


def test_whom_the_training_left_out_cannot_be_forgotten(make, tiny_tokenizer, tmp_path):
    model = make()
    training.fine_tune(model, tiny_tokenizer, FACTS, SGD, history=tmp_path / "h", exclude=IDS[:1], **QUIET)
    history = training.History.open(tmp_path / "h")
    with pytest.raises(RequestError, match="never had 'f0'"):
        unlearning.apply("exact_replay", model, **given(tiny_tokenizer, history))


# -- updates and gradients --------------------------------------------------------------------------------


def test_amnesiac_with_all_asked_for_is_the_start(make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, RECIPE, tmp_path / "h", updates=IDS)
    start = weights_of(make())
    unlearning.apply("amnesiac", model, request=IDS, checkpoints=history, alpha=1.0)
    assert all(torch.allclose(t, start[n], atol=1e-6) for n, t in weights_of(model).items())


def test_amnesiac_takes_back_whole_batches(trained):
    """Those of the steps that held one of the request, and no others."""
    held = [any(i in REQUEST for i in s) for epoch in training.schedule(IDS, RECIPE) for s in epoch]
    direction = trained.direction("amnesiac")
    assert 0 < sum(held) < len(held)
    for name, found in direction.items():
        parts = [dict(trained.history.read_update(k, [name]))[name] for k, yes in enumerate(held) if yes]
        assert torch.allclose(found, -sum(parts), atol=1e-5), name


def test_amnesiac_needs_the_updates_of_the_request(make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, SGD, tmp_path / "h", updates=IDS[:2])
    with pytest.raises(ModelError, match="keeps no updates of 'f2'"):
        unlearning.apply("amnesiac", model, request=IDS[:3], checkpoints=history, alpha=1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_amnesiac_reads_the_same_bits_from_one_sum(optimizer, make, tiny_tokenizer, tmp_path):
    recipe, ends = dataclasses.replace(RECIPE, optimizer=optimizer), []
    for summed in (False, True):
        folder = tmp_path / str(summed)
        model, history = kept(make, tiny_tokenizer, recipe, folder, updates=REQUEST, summed=summed)
        unlearning.apply("amnesiac", model, request=REQUEST, checkpoints=history, alpha=1.0)
        ends.append(weights_of(model))
    assert same(*ends)
    with pytest.raises(ModelError, match="keeps one sum of the updates of"):
        unlearning.apply("amnesiac", model, request=REQUEST[:1], checkpoints=history, alpha=1.0)


def test_thudi_is_the_gradient_at_the_start_once_an_epoch(make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, RECIPE, tmp_path / "h")
    theirs = make().double()
    batch = batch_of(tiny_tokenizer, FACTS[:3], "text")
    example_loss(theirs(**batch.inputs()).logits, batch.labels).sum().backward()
    expected = {n: p.grad * RECIPE.epochs / RECIPE.batch_size for n, p in theirs.named_parameters()}
    before = weights_of(model)
    unlearning.apply("thudi", model, **given(tiny_tokenizer, history), alpha=1.0)
    assert error({n: t - before[n] for n, t in weights_of(model).items()}, expected) < 1e-4


# -- state arithmetic -------------------------------------------------------------------------------------


def test_model_state_arithmetic_is_two_trainings_from_a_checkpoint(make, tiny_tokenizer, tmp_path):
    model, history = kept(make, tiny_tokenizer, RECIPE, tmp_path / "h")
    recipe, before, learnt = dataclasses.replace(RECIPE, epochs=2), weights_of(model), []
    for examples in (FACTS[:3], RETAIN):
        theirs = make()
        theirs.load_state_dict(dict(history.read(1, weights_of(theirs))), strict=False)
        base = weights_of(theirs)
        training.fine_tune(theirs, tiny_tokenizer, examples, recipe, **QUIET)
        learnt.append({n: t - base[n] for n, t in weights_of(theirs).items()})
    options = {"epoch": 1, "epochs": 2, "b": 0.5, "retain": RETAIN, "layers": ["block.0", "block.2"]}
    unlearning.apply("msa", model, **given(tiny_tokenizer, history), **options, alpha=1.0)
    moved = {n: t - before[n] for n, t in weights_of(model).items()}
    for name, found in moved.items():
        inside = ".0." in name or ".2." in name
        expected = inside * (0.5 * learnt[1][name] - learnt[0][name])
        assert torch.allclose(found, expected, atol=1e-6), name


def test_msa_needs_what_its_second_copy_learns(trained):
    for none in (None, []):
        with pytest.raises(MethodError, match="'msa' needs retain="):
            trained.apply("msa", b=1.0, retain=none, alpha=1.0)


# -- the recollected second-order term ------------------------------------------------------------------


def test_hf_ocu_is_the_recursion_with_whole_hessians(tiny_model, tiny_tokenizer, tmp_path):
    """All but one block is frozen, so that its Hessian can be written out, in float64."""
    block = "transformer.h.1.mlp.c_proj.bias"
    frozen = tuple(n for n, _ in tiny_model("gpt2").named_parameters() if n != block)
    recipe = dataclasses.replace(SGD, frozen=frozen, lr=0.3)
    model, history = kept(lambda: tiny_model("gpt2"), tiny_tokenizer, recipe, tmp_path / "h")
    theirs = tiny_model("gpt2").double()
    theirs.set_attn_implementation("eager")
    weight = theirs.get_parameter(block)

    def loss(value, ids):
        batch = batch_of(tiny_tokenizer, [FACTS[IDS.index(i)] for i in ids], "text")
        output = torch.func.functional_call(theirs, {block: value}, kwargs=batch.inputs())
        return example_loss64(output.logits, batch.labels).sum() / recipe.batch_size

    change, now = torch.zeros_like(weight), weight.detach().clone()
    for ids in (s for epoch in training.schedule(IDS, recipe) for s in epoch):
        gone, left = [i for i in ids if i in REQUEST], [i for i in ids if i not in REQUEST]
        if left:
            hessian = torch.autograd.functional.hessian(lambda v, left=left: loss(v, left), now)
            change = change - recipe.lr * hessian @ change
        at = now.clone().requires_grad_()
        if gone:
            change = change + recipe.lr * torch.autograd.grad(loss(at, gone), at)[0]
        now = now - recipe.lr * torch.autograd.grad(loss(at, ids), at)[0]
    before = weights_of(model)
    unlearning.apply("hf_ocu", model, **given(tiny_tokenizer, history), alpha=1.0)
    moved = weights_of(model)[block] - before[block]
    assert error({block: moved}, {block: change.float()}) < 1e-3


def example_loss64(logits, labels):
    nll = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    ).view(len(labels), -1)
    return nll.sum(1) / (labels[:, 1:] != -100).sum(1)


def test_the_second_order_term_brings_replay_nearer_to_the_oracle(make, tiny_tokenizer, tmp_path):
    recipe = dataclasses.replace(SGD, lr=2e-3, epochs=3)
    model, history = kept(make, tiny_tokenizer, recipe, tmp_path / "h")
    oracle, book = make(), make()
    training.fine_tune(oracle, tiny_tokenizer, FACTS, recipe, exclude=REQUEST, **QUIET)
    training.fine_tune(book, tiny_tokenizer, FACTS, recipe, ledger=tmp_path / "l", **QUIET)
    before, there = weights_of(model), weights_of(oracle)
    way = {n: there[n] - before[n] for n in there}
    found = {}
    for name, more in (("hf_ocu", {"alpha": 1.0}), ("all_epochs", {"alpha": recipe.lr})):
        more |= {"ledger": training_ledger(tmp_path, book), "check_model": False}
        result = unlearning.apply(name, model, **given(tiny_tokenizer, history), **more)
        found[name] = error({n: t - before[n] for n, t in weights_of(model).items()}, way)
        result.revert()
    assert found["hf_ocu"] < 0.5 * found["all_epochs"]


def training_ledger(folder, model):
    from unlearnkit.ledger import GradientLedger

    return GradientLedger.open(folder / "l", model)


def test_hf_ocu_refuses_adamw(trained):
    with pytest.raises(MethodError, match="follows plain SGD; this training was adamw's"):
        trained.apply("hf_ocu", alpha=1.0, checkpoints=trained.history)
