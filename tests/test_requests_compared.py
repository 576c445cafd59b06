"""Matchers against the ground truth, and requests on paths with known answers."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from unlearnkit import data, requests
from unlearnkit.errors import ModelError
from unlearnkit.plots import requests_compared as drawing
from unlearnkit.study import plan
from unlearnkit.study.results import matched, matching, paths, requests_compared
from unlearnkit.tables import calibration as calibrated
from unlearnkit.tables import requests_compared as tabled

LETTERS = {"partial_ratio": requests.similarities}
SHARES = (0.1, 0.2, 0.4)
RUN = SimpleNamespace(name="made up")


def setting(seed: int, target: str = "Dave") -> plan.Setting:
    facts = data.dave(target=target)
    forget = requests.by_person(facts, target)
    return plan.Setting(
        seed, tuple(facts), tuple(forget), target, (), tuple(requests.fuzzy(facts, target)), ()
    )


def arm(*settings: plan.Setting) -> plan.Arm:
    return plan.Arm("tiny", "adamw", {}, settings, True)


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    return matching.scores(arm(setting(0), setting(1, "Rosa"), setting(2)), LETTERS)


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
    found = matching.scores(arm(one), LETTERS)
    assert found.empty
    swept = matching.sweep(found)
    assert swept.empty
    best = matching.best(swept)
    assert best.empty
    assert matching.transferred(swept).empty
    assert tabled.matchers(swept, best, 80).empty
    assert tabled.caught(matching.caught(found, {}), matching.caught(found, {}), {}).empty


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
    rows += [
        ("A", "m", "x", "unrelated", 50),
        ("B", "m", "b", "target", 60),
        ("B", "m", "y", "unrelated", 55),
    ]
    table = pd.DataFrame(rows, columns=["target", "matcher", "example", "kind", "score"])
    swept = matching.sweep(table)
    both = matching.best(swept).iloc[0]
    assert (both["threshold"], both["f1"]) == (60, 1)
    carried = matching.transferred(swept).set_index("target")
    assert carried.loc["A", "threshold"] == 60  # the best of B
    assert carried.loc["A", "f1"] == 1
    assert carried.loc["B", "threshold"] == 80
    assert carried.loc["B", "f1"] == 0
    nothing = swept[swept["threshold"] == 95]
    assert nothing["precision"].isna().all()
    assert (nothing["f1"] == 0).all()
    assert matching.caught(table, {"m": 56})["m"].to_dict() == {"target": 1.0, "unrelated": 0.0}


def test_without_minilm_the_letters_remain(monkeypatch):
    from unlearnkit import semantic

    def out_of_reach():
        raise ModelError("no network")

    monkeypatch.setattr(semantic, "load", out_of_reach)
    found, why = matching.matchers()
    assert list(found) == list(requests.SCORERS)
    assert why == "no network"
    monkeypatch.setattr(semantic, "load", lambda: None)
    found, why = matching.matchers()
    assert (list(found)[-1], why) == (matching.MINILM, "")


def test_paraphrases_are_compared_with_wrong_answers_and_strangers(monkeypatch):
    from unlearnkit import semantic

    def embed(texts):
        """Along the first axis by person, along the second by whether the answer is right."""
        return np.array([(1.0, 0.0) if "Ann" in t and "true" in t else (0.0, 1.0) for t in texts])

    monkeypatch.setattr(semantic, "embed", embed)
    told = {"attribute": "pet", "contradiction": "false", "answer": "true", "split": "retain"}
    facts = [
        data.Example(id=p, person=p, prompt=f"{p} has", paraphrases=(f"{p}'s", f"Of {p}"), **told)
        for p in ("Ann", "Bob")
    ]
    bare = replace(facts[0], id="bare", paraphrases=())
    one = plan.Setting(0, (*facts, bare), ("Ann",), "Ann", (), ())
    found = matching.paraphrase_scores(arm(one)).set_index("example")
    assert list(found.index) == ["Ann", "Bob"]
    assert tuple(found.loc["Ann"]) == (1, 0, 0)
    assert matching.paraphrase_scores(arm(plan.Setting(0, (bare,), (), "Ann", (), ()))).empty


# -- the paths ------------------------------------------------------------------------------------------


def path(seed: int, method: str, distance: tuple[float, ...], damage=(0.025, 0.1, 1.0)) -> pd.DataFrame:
    frame = pd.DataFrame({"share": SHARES, "oracle_distance": distance, "damage": damage})
    told = {"seed": seed, "method": method, "layers": "all", "norm": frame["share"] * 10}
    more = {"forget_nll": 5 - frame["oracle_distance"], "oracle_gap": -frame["oracle_distance"]}
    return frame.assign(**told, **more, perplexity_ratio=np.nan, rougeL_recall=np.nan)


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


@pytest.fixture
def given(monkeypatch):
    """`given(table)`: an arm with that path table, read by the real `matched_damage`."""

    def give(frame: pd.DataFrame) -> None:
        for module in (paths, matched):
            monkeypatch.setattr(module, "points", lambda *_: frame.copy())
        matched._readings.cache_clear()

    yield give
    matched._readings.cache_clear()


def test_contrasts_see_the_fuzzy_difference_and_no_rounding(given):
    given(walked(4))
    found = requests_compared.contrasts(RUN, "arm").set_index(["of", "against"])
    fuzzy = found.loc["fuzzy", "iterative"]
    third = 0.025 / 0.075  # of the way from the first step to the second: where 0.05 nats are lost
    assert fuzzy["difference"] == pytest.approx(0.3 + 0.015, abs=1e-4)
    assert fuzzy["wins"] == 0
    same = found.loc["iterative", "first_epoch"]
    assert (same["difference"], same["wins"]) == (0, 0)
    assert np.isnan(same["p"])
    control = found.loc["iterative", "random_direction"]
    assert control["difference"] == pytest.approx((3 - third) - (4 - third * 0.1), abs=1e-4)
    tested = found[found["p"].notna()]
    assert (tested["p_holm"] >= tested["p"]).all()
    given(walked(1))
    one = requests_compared.contrasts(RUN, "arm")
    assert len(tabled.contrasts(one)) == len(one)


def test_endings_tell_nearest_and_end(given):
    given(walked(2))
    found = requests_compared.endings(RUN, "arm").set_index(["seed", "method"])
    exact, iterative = found.loc[0, "first_epoch"], found.loc[0, "iterative"]
    assert (exact["nearest"], exact["nearest_norm"], exact["nearest_damage"]) == (2.0, 2.0, 0.1)
    assert exact["late"] == pytest.approx(2 + 0.2 / 0.9)
    assert iterative["end_distance"] == 0.5
    known = pd.DataFrame({"seed": [0, 1], "method": "fuzzy", "known": [1.0, 0.5]})
    shown = tabled.endings(found.reset_index(), known, 0.3)
    assert list(shown["path"])[0] == "first epoch's gradients"
    assert "–" in set(shown.iloc[0])


def observed(rows: list[tuple], **more) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["seed", "method", "norm", "share", "example", "value"])
    return frame.assign(layers="all", metric="nll", **more)


@pytest.fixture
def facts(monkeypatch):
    """One seed: a forget fact, a neighbour that the fuzzy request names, one it does not, a stranger."""

    def fact(i, split):
        return data.Example(i, i, "", i, split)

    every = (fact("f", "forget"), fact("n", "neighbour"), fact("m", "neighbour"), fact("r", "retain"))
    one = plan.Setting(0, every, ("f",), "f", (), ("f", "n"))
    start = [(0, "finetuned", 0.0, 0.0, e.id, 1.0) for e in every]
    steps = [
        (0, method, norm, norm / 10, e.id, 1.0 + norm * rise)
        for method, rises in (("first_epoch", (2, 0.1, 0.1, 0.1)), ("fuzzy", (2, 1, 0.2, 0.1)))
        for norm in (1.0, 2.0)
        for e, rise in zip(every, rises, strict=True)
    ]
    trained = observed(start, split="", epoch=8, step=0).drop(columns=["layers", "norm", "share"])
    stages = {"train": trained.assign(alpha=0.0), "paths": observed(steps, split="")}
    monkeypatch.setattr(requests_compared, "observations", lambda p, stage, a: stages[stage].copy())
    monkeypatch.setattr(requests_compared, "arm_of", lambda *_: arm(one))
    norms = pd.Series({(0, "first_epoch"): 1.5, (0, "fuzzy"): 1.0}).rename_axis(["seed", "method"])
    return requests_compared.facts_at(None, "arm", norms)


def test_facts_are_read_at_a_step_of_each_path(facts):
    found = facts.set_index(["method", "example"])
    assert found.loc[("first_epoch", "f"), "nll"] == pytest.approx(4.0)
    assert found.loc[("fuzzy", "n"), "rise"] == pytest.approx(1.0)
    assert found.loc[("fuzzy", "n"), "fuzzy"]
    assert not found.loc[("fuzzy", "m"), "fuzzy"]


def test_neighbours_rise_by_group_and_are_paired(facts):
    risen = requests_compared.rises(facts)
    found = risen.set_index(["method", "group"])["rise"]
    inside, outside, others = requests_compared.GROUPS
    assert found["fuzzy", inside] == pytest.approx(1.0)
    assert found["fuzzy", outside] == pytest.approx(0.2)
    assert found["first_epoch", others] == pytest.approx(0.15)
    tests = requests_compared.rise_contrasts(risen).set_index("against")
    assert set(tests.index) == {inside, outside}  # other facts are equal by construction
    assert tests.loc[inside, "difference"] == pytest.approx(1 - 0.15)
    assert len(calibrated.contrasts(tests.reset_index(), dict.fromkeys(tests.index, "name"))) == 2
    drawing.neighbours(risen)
    plt.close("all")


def test_known_is_likelier_than_strangers(facts, monkeypatch):
    level = pd.DataFrame({"nll": [3.5]}, index=pd.Index([0], name="seed"))
    monkeypatch.setattr(requests_compared, "levels", lambda *_: level)
    found = requests_compared.left_known(None, "arm", facts).set_index("method")["known"]
    assert found.to_dict() == {"first_epoch": 0.0, "fuzzy": 1.0}
    monkeypatch.setattr(requests_compared, "levels", lambda *_: level.iloc[:0])
    assert requests_compared.left_known(None, "arm", facts).empty


def rounds() -> pd.DataFrame:
    rows = [
        (0, method, k, removed, 2, 1.0 + k + apart)
        for method, all_removed, apart in (
            ("iterative", (2, 1, 2), 0),
            ("iterative_reversed", (2, 2, 2), 0.5),
        )
        for k, removed in enumerate(all_removed, start=1)
    ]
    table = pd.DataFrame(rows, columns=["seed", "method", "round", "removed", "asked", "forget_nll"])
    return table.assign(damage=0.1)


def test_order_matters_only_once_a_fact_is_spared():
    found = requests_compared.order_effect(rounds())
    assert list(found["equal"].notna()) == [True, False, False]
    assert list(found["unequal"].notna()) == [False, True, True]
    assert requests_compared.order_effect(rounds().query("method == 'iterative'")).empty
    assert list(tabled.rounds(rounds())["still known"]) == ["2.0 of 2", "1.0 of 2", "2.0 of 2"]


def test_figures_draw(given, scores):
    given(walked(3))
    drawing.matchers(matching.sweep(scores))
    drawing.to_the_oracle(walked(3), 0.2, 0.05)
    drawing.to_the_oracle(walked(1), None, 0.05)
    plt.close("all")
