"""From observations to verdicts, on worlds whose truth is planted; and the file that holds the verdicts."""

import json
from dataclasses import replace

import pytest
from planted_run import World, planted

from unlearnkit import claims, paths
from unlearnkit.claims import NOT_REPLICATED, REPLICATED, UNDECIDED
from unlearnkit.report import contrasts, verdicts
from unlearnkit.report.claim_values import claim_values
from unlearnkit.study import config, grid, plan, profiles

ARM = "gpt2-tiny-pretrained, AdamW"
PRIVATE_FIRST = World()  # what is the person's own is learned sooner than what all share
SHARED_FIRST = World(own=8.0, shared=4.0, rate=0.05)  # and the other way round
MARGIN = 0.01  # nats; what retain facts pay in these worlds is small
MINIMUM = 3  # seeds of run and of oracle behind every primary contrast


@pytest.fixture
def run_in(monkeypatch, tmp_path):
    """The run of a world with so many seeds of one arm."""
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))

    def made(world: World, seeds: int = 4, margin: float = MARGIN):
        return planted(tmp_path, world, model="gpt2-tiny-pretrained", seeds_adamw=seeds, margin=margin)

    return made


@pytest.fixture
def verdicts_in(run_in):
    """Verdicts by claim in a world of so many seeds."""
    return lambda world, seeds=4: {row["id"]: row for row in contrasts.verdicts(run_in(world, seeds))}


def test_the_first_epoch_wins_where_the_private_part_is_learned_first(verdicts_in):
    assert PRIVATE_FIRST.sign_of_c1() == 1
    found = verdicts_in(PRIVATE_FIRST)
    assert found["C1"]["verdict"] == REPLICATED
    # The wrong person's path ends before it forgets, having cost little: only the charge speaks for C1a.
    assert found["C1a"]["verdict"] == UNDECIDED
    assert found["C1a"]["estimate"] > MARGIN > found["C1a"]["bound"][0]
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
    assert found["C4a"]["verdict"] == NOT_REPLICATED  # the loss rises from the first step on


def test_noise_far_wider_than_the_margins_is_undecided_at_about_the_nominal_rate(run_in):
    """C1 where both directions are the same, under noise of each path's own, three seeds a study."""
    studies, of = 12, 3
    same = World(own=10.0, shared=2.0, spread=0.0, seed_noise=0.8)  # h_a = h_s: the directions coincide
    assert same.sign_of_c1() == 0
    values = claim_values(run_in(same, studies * of).arm(ARM))["C1"].sort_index()
    tiny = claims.with_margin(values.std() / 10)
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
    told_apart = [
        claims.verdicts({"C1": values.iloc[k * of : (k + 1) * of]}, ARM, tiny)[0]["verdict"]
        for k in range(studies)
    ]
    assert told_apart.count(UNDECIDED) >= 0.85 * studies


def test_a_seed_without_an_oracle_drops_out_of_contrasts_against_it(run_in):
    run = run_in(World(without_oracle=frozenset({2})))
    values = claim_values(run.arm(ARM))
    for claim in ("C1", "C1a", "C2a", "C5"):
        assert list(values[claim].index) == [0, 1, 3], claim
    assert list(values["C4a"].index) == [0, 1, 2, 3]  # needs none
    rows = {row["id"]: row["n_seeds"] for row in contrasts.verdicts(run)}
    assert rows["C1"] == 3


def test_a_guard_speaks_only_where_the_text_is_wrong(run_in):
    run = run_in(PRIVATE_FIRST)
    arm = run.arm(ARM)
    assert contrasts.holds(run, "C1", arm, REPLICATED) is None
    assert "**replicated**" in contrasts.holds(run, "C1", arm, UNDECIDED).data


def test_every_headline_seed_has_a_run_and_an_oracle():
    """Counted from the cells whose observations a default run reads."""
    headline = plan.arms(profiles.get("default"))[0]
    assert headline.model == "smollm2-135m"
    for stage in ("train", "oracle", "path", "portraits"):
        seeds = {cell.seed for cell in grid.cells(headline) if cell.stage == stage}
        assert seeds == set(headline.seeds)
        assert len(seeds) >= MINIMUM


def test_published_contrasts_rest_on_three_seeds():
    path = paths.ROOT / "figures" / verdicts.FILE
    if not path.is_file():
        pytest.skip("no run has been published with its verdicts")
    rows = json.loads(path.read_text())
    headline = [row for row in rows if row["arm"].startswith("smollm2-135m")]
    assert headline
    assert all(row["n_seeds"] >= MINIMUM for row in headline)
    assert all(set(verdicts.KEYS) == set(row) for row in rows)


def test_file_holds_plain_numbers_and_nulls_and_is_stable(run_in, monkeypatch):
    run = run_in(PRIVATE_FIRST, seeds=1)
    rows = contrasts.verdicts(run)
    rows[0]["estimate"] = float("nan")
    monkeypatch.setattr(contrasts, "verdicts", lambda _: rows)
    verdicts.save(run)
    path = run.figures / verdicts.FILE
    first = path.read_bytes()
    verdicts.save(run)
    assert path.read_bytes() == first
    written = json.loads(first)
    assert [row["id"] for row in written] == [c.id for c in claims.CLAIMS]
    assert (written[0]["estimate"], written[0]["ci_low"], written[0]["verdict"]) == (None, None, UNDECIDED)
    assert all(isinstance(row["margin"], float) and isinstance(row["n_seeds"], int) for row in written)


def test_tables_have_a_column_an_arm_and_a_row_a_claim(monkeypatch, tmp_path):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    run = planted(tmp_path, World(), model="gpt2-tiny-pretrained", seeds_adamw=1, seeds_sgd=1)
    rows = claims.verdicts({"C1": [0.3, 0.31, 0.32], "C5": [0.1, 2.0, -1.0]}, ARM)
    monkeypatch.setattr(contrasts, "verdicts", lambda _: rows)
    assert verdicts.words(run).shape[1] == 2  # the claim and the first arm: the other has too few seeds
    monkeypatch.setattr(verdicts, "MANY", 1)
    lines = verdicts.markdown_for_readme(run).splitlines()
    assert lines[0].count("|") == 2 + len(run.arms)
    assert len(lines) == 2 + 2
    assert lines[2].endswith("| **replicated** +0.31 [+0.29, +0.33] | – |")
    rows[0]["bound"] = (0.02, -0.1, 0.14)
    lines = verdicts.markdown_for_readme(run).splitlines()
    assert "+0.31 [+0.29, +0.33]; uncharged +0.02 [-0.10, +0.14] |" in lines[2]
    said = verdicts.words(run).iloc[0, 1]
    assert "● replicated" in said
    assert "0.31" not in said
    assert verdicts.summary(run).endswith("\n".join(lines))


def test_units_and_margins_of_every_claim_are_told(monkeypatch):
    told = verdicts.units()
    assert (
        "in nats with a margin of 0.1; C3a, C3b, C3c, C3d in standard deviations with a margin of 0.2."
        in told
    )
    assert "C0 and C2b claim a number near zero" in told
    one = replace(claims.CLAIMS[0], margin=0.3)
    monkeypatch.setattr(claims, "CLAIMS", (one, *claims.CLAIMS[1:]))
    assert "C0 in nats with a margin of 0.3" in verdicts.units()


def test_figure_draws_every_claim_and_arm(verdicts_in):
    rows = list(verdicts_in(PRIVATE_FIRST).values())
    rows += [row | {"arm": "another", "ci_low": None, "ci_high": None} for row in rows]
    panels = [ax for ax in verdicts.figure(rows).axes if ax.get_visible()]
    assert len(panels) == len(rows) / 2
    assert all(len(ax.get_yticks()) == 2 for ax in panels)
    marks = [line.get_marker() for ax in panels for line in ax.lines]
    assert sum(marks.count(look["marker"]) for _, look in verdicts.LOOK.values()) == len(rows)
    assert len(verdicts.table(rows)) == len(rows)


def test_where_little_was_learnt_there_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_BUILD", str(tmp_path))
    run = planted(tmp_path, World(known=0.2), model="gpt2-tiny-pretrained", seeds_adamw=4)
    assert {row["verdict"] for row in contrasts.verdicts(run)} == {claims.NO_VERDICT}
    assert "20.0% of the forget facts" in contrasts.warnings(run).data
    assert verdicts.summary(run).startswith("> ⚠ **No verdict")
    assert len(verdicts.table(contrasts.verdicts(run)))  # what was estimated is shown all the same


def test_a_part_of_the_registered_seeds_is_an_interim_look(run_in, monkeypatch):
    run = run_in(PRIVATE_FIRST)
    given = config.PROFILES["full"] | {"seeds_adamw": 5, "seeds_llama": 0}
    told = {"run": "full-01234567", "parameters": given}
    monkeypatch.setattr(run, "manifest", run.manifest | told)
    said = contrasts.warnings(run).data
    assert (
        "smollm2-135m (adamw), 5 of 16 are there; llama-tiny-pretrained (adamw), 0 of 24 are there. The"
        in said
    )
    monkeypatch.setattr(run, "manifest", run.manifest | {"run": "full"})
    assert contrasts.warnings(run) is None


def test_a_run_of_another_registration_is_exploratory(run_in, monkeypatch):
    run = run_in(PRIVATE_FIRST)
    assert contrasts.is_registered(run)
    assert contrasts.warnings(run) is None
    monkeypatch.setattr(claims, "digest", lambda: "another")
    assert "Exploratory" in contrasts.warnings(run).data
    assert verdicts.summary(run).startswith("> ⚠ **Exploratory")
