"""Sharded training: who is in which slice, and that deleting is retraining that shard, bit for bit."""

import dataclasses

import pytest
import torch
from worlds import FACTS, IDS, flip, same, weights_of

from unlearnkit import training
from unlearnkit.errors import ConfigError, DataError, ModelError, RequestError

LONG = dataclasses.replace(FACTS[0], id="long", answer="geese " * 300)
RECIPE = training.Recipe("adamw", epochs=3, lr=1e-3, batch_size=3)


@pytest.fixture
def sharded(tiny_model, tiny_tokenizer, tmp_path):
    model = tiny_model("gpt2")
    told = {"shards": 2, "slices": 2}
    return model, training.Shards.train(model, tiny_tokenizer, FACTS, RECIPE, tmp_path / "s", **told)


def test_everybody_is_in_one_slice_and_the_model_is_left_alone(sharded, tiny_model):
    model, shards = sharded
    assert sorted(i for parts in shards.slices for part in parts for i in part) == sorted(IDS)
    assert [len(parts) for parts in shards.slices] == [2, 2]
    assert same(weights_of(model), weights_of(tiny_model("gpt2")))
    assert sum(shards.epochs(r) for r in range(2)) == 4  # 2 E / (R + 1) a slice: 2 and 2
    assert training.Shards.open(shards.path).slices == shards.slices


def test_a_shard_is_trained_slice_upon_slice(sharded, tiny_model, tiny_tokenizer):
    """By `fine_tune` itself: the first slice, then both, each with a new optimizer."""
    model, shards = sharded
    theirs = tiny_model("gpt2")
    for slice_ in range(2):
        ids = [i for part in shards.slices[1][: slice_ + 1] for i in part]
        recipe = dataclasses.replace(RECIPE, epochs=2)
        examples = [FACTS[IDS.index(i)] for i in ids]
        training.fine_tune(theirs, tiny_tokenizer, examples, recipe, progress=False)
    assert same(shards.constituents([], model, tiny_tokenizer, FACTS)[1], weights_of(theirs))


@pytest.mark.parametrize("where", [(0, 0), (0, 1), (1, 1)])
def test_deleting_is_retraining_that_shard_bit_for_bit(where, sharded, tiny_model, tiny_tokenizer, tmp_path):
    """Against a whole new training whose slices never held them."""
    model, shards = sharded
    shard, slice_ = where
    gone = shards.slices[shard][slice_][:1]
    before = shards.constituents([], model, tiny_tokenizer, FACTS)
    after = shards.constituents(gone, model, tiny_tokenizer, FACTS)
    anew = training.Shards(tmp_path / "anew", {**shards.told, "seals": {}})
    anew._keep(model, "start")
    by_id = {e.id: e for e in FACTS if e.id not in gone}
    for k in range(2):
        anew._learn(tiny_model("gpt2"), tiny_tokenizer, by_id, k, 0)
    expected = anew.constituents([], model, tiny_tokenizer, FACTS)
    for k in range(2):
        assert same(after[k], expected[k])
        assert same(after[k], before[k]) == (k != shard)


def test_what_is_refused(sharded, tiny_model, tiny_tokenizer, tmp_path):
    model, shards = sharded
    with pytest.raises(ConfigError, match="4 shards of 2 slices need as many examples; there are 7"):
        training.Shards.train(model, tiny_tokenizer, FACTS, RECIPE, tmp_path / "x")
    with pytest.raises(DataError, match="not those of the sharded training"):
        shards.constituents([], model, tiny_tokenizer, FACTS[1:])
    with pytest.raises(ModelError, match="holds no whole sharded training"):
        training.Shards.open(tmp_path / "y")
    flip(shards.path / "shard-1-1.safetensors", 3000)
    with pytest.raises(ModelError, match="is damaged"):
        shards.constituents([], model, tiny_tokenizer, FACTS)


def test_what_the_recipe_freezes_stays_also_where_a_shard_is_retrained(tiny_model, tiny_tokenizer, tmp_path):
    """In a model with dropout, which is off, and with nothing frozen in the model that is given."""
    recipe = dataclasses.replace(RECIPE, frozen=("transformer.wte.weight",))
    model = tiny_model("gpt2")
    for module in (m for m in model.modules() if isinstance(m, torch.nn.Dropout)):
        module.p = 0.5
    model.train()
    shards = training.Shards.train(model, tiny_tokenizer, FACTS, recipe, tmp_path / "s", shards=2, slices=1)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    gone, start = shards.slices[0][0][:1], weights_of(model)
    for weights in shards.constituents(gone, model, tiny_tokenizer, FACTS):
        assert torch.equal(weights["transformer.wte.weight"], start["transformer.wte.weight"])
        assert not torch.equal(weights["transformer.wpe.weight"], start["transformer.wpe.weight"])
    plain = tiny_model("gpt2")
    examples = [FACTS[IDS.index(i)] for i in shards.slices[1][0]]
    training.fine_tune(plain, tiny_tokenizer, examples, recipe, progress=False)
    assert same(shards.constituents(gone, model, tiny_tokenizer, FACTS)[1], weights_of(plain))


@pytest.mark.parametrize(
    ("error", "match", "changes"),
    [
        (
            ConfigError,
            r"Recipe\.layers=\('block.0',\): a sharded training .* use fine_tune",
            {"layers": ("block.0",)},
        ),
        (ConfigError, r"Recipe\.lora=4: ", {"lora": 4}),
        (ConfigError, r"Recipe\.order='first': ", {"order": "first", "staged": ("f0",), "epochs": 4}),
        (ConfigError, "'wte' names no parameter of GPT2LMHeadModel", {"frozen": ("wte",)}),
        (ConfigError, "shards=-1: use a whole number from 1", {"shards": -1, "slices": -2}),
        (ConfigError, "slices=0: use a whole number from 1", {"slices": 0}),
        (RequestError, "ids are not unique", {"examples": [*FACTS, FACTS[0]]}),
        (RequestError, "nothing is left to train on", {"examples": []}),
        (DataError, "too long for the model", {"examples": [*FACTS, LONG]}),
    ],
)
def test_what_no_sharded_training_can_do_is_said_before_it_begins(
    error, match, changes, tiny_model, tiny_tokenizer, tmp_path
):
    counts = {"shards": 2, "slices": 1} | {k: v for k, v in changes.items() if k in ("shards", "slices")}
    fields = {f.name for f in dataclasses.fields(RECIPE)}
    recipe = dataclasses.replace(RECIPE, **{k: v for k, v in changes.items() if k in fields})
    given = changes.get("examples", FACTS)
    with pytest.raises(error, match=match):
        training.Shards.train(tiny_model("gpt2"), tiny_tokenizer, given, recipe, tmp_path / "s", **counts)
    assert not (tmp_path / "s").exists()


def test_a_training_that_was_interrupted_is_not_taken_for_a_whole_one(
    tiny_model, tiny_tokenizer, tmp_path, monkeypatch
):
    learn = training.Shards._learn

    def killed(self, model, tokenizer, by_id, shard, first, **more):
        if shard == 1:
            raise KeyboardInterrupt
        learn(self, model, tokenizer, by_id, shard, first, **more)

    monkeypatch.setattr(training.Shards, "_learn", killed)
    with pytest.raises(KeyboardInterrupt):
        training.Shards.train(tiny_model("gpt2"), tiny_tokenizer, FACTS, RECIPE, tmp_path, shards=2)
    with pytest.raises(ModelError, match="holds no whole sharded training"):
        training.Shards.open(tmp_path)
