"""The playground's cells: which paths are listened to, and that a step's rows are of its model."""

import golden_cells
import pytest

from unlearnkit import metrics, models, study
from unlearnkit.data import Example
from unlearnkit.study import config, plan, profiles, words
from unlearnkit.study.cells import Cell
from unlearnkit.study.experiments.train import stand
from unlearnkit.study.grid import Seed
from unlearnkit.study.tables import read


def planned(**overrides):
    return words.cells(profiles.get("default", overrides))


def test_the_run_s_model_and_gpt2_tiny_have_so_many_seeds():
    def seeds(cells):
        return list(dict.fromkeys((c.arm, c.seed) for c in cells))

    own, tiny = "smollm2-135m, AdamW", f"{config.TINY}, AdamW"
    assert seeds(planned()) == [(own, 0), (tiny, 0)]
    assert seeds(planned(seeds_words=2)) == [(own, 0), (own, 1), (tiny, 0), (tiny, 1)]
    assert planned(seeds_words=0) == []
    assert seeds(planned(model="gpt2", forget="Dave")) == [
        ("gpt2, AdamW", 0)
    ]  # a run of one's own has no other


def test_they_change_no_cell_of_the_study():
    given = config.NO_VERIFICATION  # which comes after them
    without = [c.key for c in study.cells_of(profiles.get("default", given | {"seeds_words": 0}))]
    assert [c.key for c in study.cells_of(profiles.get("default", given))][: len(without)] == without


def test_every_method_is_walked_on_all_layers_and_the_main_ones_elsewhere():
    found = {}
    for cell in planned():
        for spec in cell.config["paths"]:
            where = cell.config["layers"], spec.get("request", "forget")
            found.setdefault((cell.arm, *where), []).append(spec["method"])
    for arm in ("smollm2-135m, AdamW", f"{config.TINY}, AdamW"):
        assert set(found[arm, "all", "forget"]) == set(words.METHODS)
        for where in (*((arm, "all", r) for r in words.REQUESTS), (arm, "embedding", "forget")):
            assert found[where] == list(words.MAIN)


def test_sgd_has_no_updates_of_adam_and_no_absent_layers():
    cells = planned(optimizer="sgd", lr=0.1)
    assert cells
    assert {spec["method"] for c in cells for spec in c.config["paths"]} == {*words.METHODS} - {"adam_replay"}
    arm = next(a for a in plan.arms(profiles.get("full")) if a.name == "smollm2-135m, SGD")
    of_frozen = words.Words(Seed(arm, arm.settings[0])).cells()
    assert {c.config["layers"] for c in of_frozen} == {"all"}  # its embedding and last block are frozen


def test_shown_facts_are_scored_and_each_cell_has_its_ends():
    for cell in planned():
        shown = cell.config["shown"]
        assert len(set(shown)) == sum(words.SAID_OF.values())
        assert set(shown) <= {*cell.config["forget"], *cell.config["retain"]}
        assert [need.stage for need in cell.needs[:2]] == ["train", "oracle"]
    assert sum(not c.config["paths"] for c in planned()) == 2


def test_published_oracles_are_not_trained_again_but_for_the_one_that_speaks(monkeypatch):
    profile = profiles.get("default")
    oracles = {c.key for c in study.cells_of(profile) if c.stage == "oracle"}
    monkeypatch.setattr(study.collect, "published_keys", lambda: oracles)
    found = [s for s in study.steps(profile) if getattr(s, "stage", "") == "words"]
    assert len(found) == len(planned())
    assert {len(cell.needs) for cell in found} == {2, 3}  # gpt2-tiny's seeds have one oracle each
    for cell in found:
        restored = [need.restore is not None for need in cell.needs]
        assert restored == [False, bool(cell.config["paths"]), *[True] * (len(cell.needs) - 2)]


@pytest.fixture
def cells(tmp_path):
    """The ends and a line of the golden setting, run."""
    every = golden_cells.cells(golden_cells.save_model("gpt2-tied", tmp_path))
    found = [cell for cell in every if cell.stage == "words"][:2]
    for cell in found:
        cell.run()
    return found


def shown_of(cell: Cell) -> list[Example]:
    facts = {e.id: e for e in golden_cells.setting().facts}
    return [facts[i] for i in cell.config["shown"]]


@pytest.mark.smollm2
def test_the_ends_are_the_fine_tuned_model_and_the_oracle(cells):
    ends, rows = cells[0], read(cells[0].observations)
    model, tokenizer = models.load(ends.config["model"])
    facts = {e.id: e for e in golden_cells.setting().facts}
    scored = {name: [facts[i] for i in ends.config[name]] for name in ("forget", "retain")}
    for name, trained in (("finetuned", ends.needs[0]), ("oracle", ends.needs[1])):
        stand(model, trained)
        own = rows[rows["method"] == name]
        texts = own[own["draw"] == 0].set_index("example")["text"]
        shown = shown_of(ends)
        assert [texts[e.id] for e in shown] == metrics.continuations(model, tokenizer, shown)
        drawn = own[own["draw"] > 0].sort_values("draw").groupby("example")["text"].agg(list)
        assert [drawn[e.id] for e in shown] == metrics.samples(model, tokenizer, shown, words.SAMPLES)
        for split, examples in scored.items():
            mean = own.loc[(own["example"] == "") & (own["split"] == split), "value"].item()
            known = metrics.score(model, tokenizer, examples)["nll"].mean()
            assert mean == pytest.approx(known, rel=1e-5)


@pytest.mark.smollm2
def test_a_path_has_every_text_at_every_step(cells):
    line, rows = cells[1], read(cells[1].observations)
    assert set(rows["request"]) == {"forget"}
    assert rows["share"].nunique() >= len(golden_cells.STEPS)
    for _, step in rows.groupby("share"):
        said = step[step["metric"] == "rougeL_recall"]
        assert len(said) == len(shown_of(line)) * (1 + words.SAMPLES)
        assert not said.duplicated(["example", "draw"]).any()
        assert step[step["metric"] == "nll"]["example"].tolist().count("") == 2
