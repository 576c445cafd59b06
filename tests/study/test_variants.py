"""Variants: which arms and cells they add, and that they leave the study's own alone."""

import dataclasses

import pytest
import torch

from unlearnkit import models, study
from unlearnkit.claims import variants as registered
from unlearnkit.layers import known_names, tags
from unlearnkit.study import config, plan, profiles, sequence, variants
from unlearnkit.study.experiments.train import start

SEEDS = dict.fromkeys(config.NO_VARIANT, 8)


@pytest.fixture(scope="module")
def full():
    return profiles.get("full", SEEDS | config.NO_VERIFICATION)


def test_small_profiles_have_none_and_the_full_one_has_all():
    for name in ("quick", "default"):
        assert not variants.arms(profiles.get(name))
    arms = variants.arms(profiles.get("full", config.NO_VERIFICATION))  # which has arms of its own
    own = [variants.REQUESTS, *variants.ORDERS.values(), sequence.SEQUENCE, variants.PLANTED]
    assert [a.variant for a in arms] == [*own, variants.NUDGED, variants.NUDGED]
    assert [len(a.seeds) for a in arms] == [24, 24, 24, 24, 8, 24, config.NUDGED_OF_MAIN, 8]
    assert not variants.arms(profiles.get("full", {"forget": "Rosa"}))


def test_they_change_no_cell_of_the_study(full):
    """The study's own arms and cells are the same with them and without, and no name is taken twice."""
    without = profiles.get("full", config.NO_VARIANT | config.NO_VERIFICATION)
    beside = {c.key for c in variants.cells(full)}
    own = [c.key for c in study.cells_of(without)]
    assert [c.key for c in study.cells_of(full) if c.key not in beside] == own
    names = [a.name for a in (*plan.arms(full), *variants.arms(full))]
    assert len(set(names)) == len(names)


def test_each_cell_comes_after_what_it_needs_and_stands_alone(full):
    found, before = variants.cells(full), set()
    assert len({c.key for c in found}) == len({c.title for c in found}) == len(found)
    for cell in found:
        assert {need.key for need in cell.needs} <= before
        before.add(cell.key)


def test_requests_are_walked_from_one_training(full):
    cells = [c for c in variants.cells(full) if variants.REQUESTS in c.arm and c.seed == 3]
    walked = {c.config["paths"][0]["label"]: c for c in cells if c.stage == "path"}
    assert list(walked) == [*config.REQUESTS, "iterative"]
    train = next(c for c in cells if c.stage == "train")
    for label, cell in walked.items():
        assert cell.needs[0].key == train.key
        asked = cell.config["paths"][0].get("ids", cell.config["forget"])
        assert set(asked) <= set(train.config["record"]), label
    used = {label for pair in registered.REQUEST_PAIRS.values() for label in pair}
    assert used <= set(walked)
    assert set(registered.REQUEST_PAIRS) == {claim.id for claim in registered.REQUESTS}


def test_orders_differ_in_nothing_but_the_order(full):
    trains = [c for c in variants.cells(full) if c.stage == "train" and "learnt" in c.arm and c.seed == 2]
    recipes = [dict(c.config["recipe"]) for c in trains]
    assert [r.pop("order") for r in recipes] == list(variants.ORDERS)
    assert recipes[0] == recipes[1] == recipes[2]
    assert recipes[0]["staged"] == trains[0].config["forget"]
    assert recipes[0]["epochs"] % 2 == 0


def test_a_seed_plants_in_one_candidate_and_each_has_its_turn(full):
    count = len(variants.candidates())
    assert pytest.approx(1 / count) == registered.CHANCE
    for turn in range(3):
        planted = [variants.planted_in(seed) for seed in range(turn * count, (turn + 1) * count)]
        assert sorted(planted) == sorted(variants.candidates())
    cells = [c for c in variants.cells(full) if variants.PLANTED in c.arm and c.seed == 1]
    (base,), (train,) = ([c for c in cells if c.stage == stage] for stage in ("base", "train"))
    assert train.needs == (base,)
    assert tuple(train.config["recipe"]["layers"]) == variants.candidates()[variants.planted_in(1)]
    assert "layers" not in base.config["recipe"]
    walked = [c.config["layers"] for c in cells if c.stage == "path"]
    assert walked == ["all", *variants.candidates()]


def test_candidates_are_layers_of_the_model_and_share_none():
    names = known_names(tags(models.load("gpt2-tiny")[0]))
    parts = [part for parts in variants.candidates().values() for part in parts]
    assert set(parts) <= set(names)
    assert len(set(parts)) == len(parts)


def test_a_new_seed_or_request_runs_only_what_is_new(full, monkeypatch):
    before = {c.title: c.key for c in variants.cells(full)}
    more = {c.title: c.key for c in variants.cells(profiles.get("full", SEEDS | {"seeds_planted": 9}))}
    assert before.items() <= more.items()
    one = {"exact": config.REQUESTS["exact"]}
    monkeypatch.setattr(config, "REQUESTS", one)
    fewer = {c.title for c in variants.cells(full)}
    assert {t for t in before if t not in fewer} == {
        t for t in before if any(f"paths, {label} on" in t for label in before_labels() - set(one))
    }


def before_labels():
    return {"exact", "exact_by_name", "words_alias", "words", "resembling", "loose_alias"}


def test_a_nudged_start_is_one_rounding_off_in_every_weight(full):
    cells = [c for c in variants.cells(full) if variants.NUDGED in c.arm]
    main = {c.key for c in study.cells_of(profiles.get("full", dict.fromkeys(config.NO_VARIANT, 0)))}
    assert {c.stage for c in cells} == {"train", "oracle", "path"}
    assert all(c.config["nudged"] and c.key not in main for c in cells)
    given = {"facts": [], "model": "gpt2-tiny", "recipe": {}}
    plain, nudged = (start(given | more)[1] for more in ({}, {"nudged": True}))
    assert nudged.lm_head.weight is nudged.transformer.wte.weight
    for name, weight in plain.named_parameters():
        moved = nudged.get_parameter(name)
        assert (moved > weight).all(), name
        assert torch.equal(torch.nextafter(moved, weight), weight), name


def test_registered_claims_are_told_apart():
    groups = (registered.REQUESTS, registered.STAGES, registered.PLANTED)
    ids = [claim.id for group in groups for claim in group]
    assert len(set(ids)) == len(ids)
    assert {claim.margin for group in groups for claim in group} == {registered.MARGIN}
    assert set(registered.STORED) == {claim.id for claim in registered.STAGES}
    assert dataclasses.is_dataclass(registered.PLANTED[0])


def test_every_arm_is_where_the_run_is_asked_to_be(monkeypatch):
    monkeypatch.setattr(plan, "device", lambda _profile: "cuda")
    profile = profiles.get("full", {"device": "cuda"})
    found = [*plan.arms(profile), *variants.arms(profile)]
    assert [arm.name for arm in found if arm.device != "cuda"] == []
