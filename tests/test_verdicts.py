"""From observations to verdicts, on worlds whose truth is planted; and the file that holds the verdicts."""

import json

import pytest
from planted_run import World, plant

from unlearnkit import claims, paths, profiles
from unlearnkit.claims import NOT_REPLICATED, REPLICATED, UNDECIDED
from unlearnkit.plots import verdicts as drawing
from unlearnkit.study import cells, results
from unlearnkit.tables import verdicts as told

ARM = "gpt2-tiny-pretrained, AdamW"
PRIVATE_FIRST = World()  # what is the person's own is learned sooner than what all share
SHARED_FIRST = World(own=8.0, shared=4.0, rate=0.05)  # and the other way round
MINIMUM = 3  # seeds of run and of oracle behind every primary contrast


def run_of(seeds: int) -> profiles.Profile:
    return profiles.get("quick", {"model": "gpt2-tiny-pretrained", "seeds_adamw": seeds})


@pytest.fixture
def verdicts_in(monkeypatch, tmp_path):
    """Verdicts by claim in a world of so many seeds."""

    def judged(world: World, seeds: int = 4) -> dict[str, dict]:
        run = run_of(seeds)
        plant(monkeypatch, tmp_path, run, world)
        return {row["id"]: row for row in results.verdicts(run)}

    return judged


def test_the_first_epoch_wins_where_the_private_part_is_learned_first(verdicts_in):
    assert PRIVATE_FIRST.sign_of_c1() == 1
    found = verdicts_in(PRIVATE_FIRST)
    assert found["C1"]["verdict"] == REPLICATED
    assert found["C1a"]["verdict"] == REPLICATED
    assert found["C3a"]["verdict"] == found["C3b"]["verdict"] == REPLICATED  # planted: a fall to a quarter


def test_all_epochs_win_where_the_shared_part_is_learned_first(verdicts_in):
    assert SHARED_FIRST.sign_of_c1() == -1
    found = verdicts_in(SHARED_FIRST)
    assert found["C1"]["estimate"] < 0
    assert found["C1"]["ci_high"] < 0
    assert found["C1"]["verdict"] == NOT_REPLICATED


def test_a_layer_that_cannot_matter_has_no_impact_and_one_that_is_all_shared_is_not_the_one(verdicts_in):
    found = verdicts_in(PRIVATE_FIRST)
    assert found["C2b"]["verdict"] == REPLICATED
    assert (found["C2b"]["estimate"], found["C2b"]["n_seeds"]) == (pytest.approx(0), 4)
    assert found["C2a"]["verdict"] == NOT_REPLICATED
    assert found["C4"]["verdict"] == NOT_REPLICATED  # the loss rises from the first step on


def test_noise_far_wider_than_the_margins_is_undecided_at_about_the_nominal_rate(monkeypatch, tmp_path):
    """C1 where both directions are the same, under noise of each path's own, three seeds a study."""
    studies, of = 24, 3
    run = run_of(studies * of)
    same = World(own=10.0, shared=2.0, spread=0.0, seed_noise=0.8)  # h_a = h_s: the directions coincide
    assert same.sign_of_c1() == 0
    plant(monkeypatch, tmp_path, run, same)
    values = results.claim_values(run, ARM)["C1"].sort_index()
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
    told_apart = [
        claims.verdicts({"C1": values.iloc[k * of : (k + 1) * of]}, ARM)[0]["verdict"] for k in range(studies)
    ]
    assert told_apart.count(UNDECIDED) >= 0.85 * studies


def test_a_seed_without_an_oracle_drops_out_of_contrasts_against_it(monkeypatch, tmp_path):
    run = run_of(4)
    plant(monkeypatch, tmp_path, run, World(without_oracle=frozenset({2})))
    values = results.claim_values(run, ARM)
    for claim in ("C1", "C1a", "C2a", "C5"):
        assert list(values[claim].index) == [0, 1, 3], claim
    assert list(values["C4"].index) == [0, 1, 2, 3]  # needs none
    rows = {row["id"]: row["n_seeds"] for row in results.verdicts(run)}
    assert rows["C1"] == 3


def test_every_headline_seed_has_a_run_and_an_oracle():
    """Counted from the cells whose observations a default run reads."""
    default = profiles.get("default")
    headline = results.arms(default)[0]
    assert headline.model == "smollm2-135m"
    for stage in ("train", "oracle", "paths", "portraits"):
        seeds = {
            c.config["seed"] for c in cells(default) if c.stage == stage and c.config["arm"] == headline.name
        }
        assert seeds == set(headline.seeds)
        assert len(seeds) >= MINIMUM


def test_published_contrasts_rest_on_three_seeds():
    path = paths.ROOT / "figures" / told.FILE
    if not path.is_file():
        pytest.skip("no run has been published with its verdicts")
    rows = json.loads(path.read_text())
    headline = [row for row in rows if row["arm"].startswith("smollm2-135m")]
    assert headline
    assert all(row["n_seeds"] >= MINIMUM for row in headline)
    assert all(set(told.KEYS) == set(row) for row in rows)


def test_file_holds_plain_numbers_and_nulls_and_is_stable(verdicts_in, monkeypatch, tmp_path):
    rows = list(verdicts_in(PRIVATE_FIRST, seeds=1).values())
    rows[0]["estimate"] = float("nan")
    run = run_of(1)
    told.save(rows, run)
    path = run.folder / "figures" / told.FILE
    first = path.read_bytes()
    told.save(rows, run)
    assert path.read_bytes() == first
    written = json.loads(first)
    assert [row["id"] for row in written] == [c.id for c in claims.CLAIMS]
    assert (written[0]["estimate"], written[0]["ci_low"], written[0]["verdict"]) == (None, None, UNDECIDED)
    assert all(isinstance(row["margin"], float) and isinstance(row["n_seeds"], int) for row in written)


def test_readme_table_has_a_column_an_arm_and_a_row_a_claim(monkeypatch):
    rows = claims.verdicts({"C1": [0.3, 0.31, 0.32], "C5": [0.1, 2.0, -1.0]}, "smollm2-135m, AdamW")
    monkeypatch.setattr(results, "verdicts", lambda _: rows)
    lines = told.markdown_for_readme(profiles.get("default")).splitlines()
    assert lines[0].count("|") == 3 + len(results.arms(profiles.get("default")))
    assert len(lines) == 2 + 2
    assert "**replicated** +0.31 [+0.29, +0.33]" in lines[2]
    assert lines[2].endswith("– | – | – |")


def test_forest_draws_every_claim_and_arm_with_its_word(verdicts_in):
    rows = list(verdicts_in(PRIVATE_FIRST).values())
    rows += [row | {"arm": "another", "ci_low": None, "ci_high": None} for row in rows]
    drawn = drawing.forest(rows)
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert sum(text in drawing.VERDICTS for text in texts) == len(rows)
    assert len(drawn.axes[0].get_yticks()) == len(rows)
    assert len(told.table(rows)) == len(rows)
