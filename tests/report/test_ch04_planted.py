"""Chapter 04, planted layers: rules that find them, one that does not, and what right layers are worth."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import pytest
from planted_run import MISLEADS, World, standing

from unlearnkit.report import ch04_planted as chapter
from unlearnkit.study import config
from unlearnkit.study.variants import candidates, planted_in

SEEDS = 9


@dataclass(frozen=True)
class Located(World):
    """Steps on the embedding forget cheaply, on all layers less so, elsewhere dearly."""

    def direction(self, method: str, layers: str) -> tuple[float, float, float]:
        return 1.0, {"embedding": 0.1, "all": 0.3}.get(layers, 0.6), 0.0


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    with standing(tmp_path_factory, Located(), seeds_adamw=1, seeds_planted=SEEDS) as run:
        yield chapter.of_run(run)


def test_the_truth_is_where_each_seed_planted(arm):
    assert chapter.truth(arm) == {seed: planted_in(seed) for seed in range(SEEDS)}
    assert list(chapter.RULES) == ["cheapest", "nearest", *config.LAYER_RULES]


def test_rules_hit_as_often_as_they_name_the_right_layers(arm):
    table = chapter.hit_rates(arm).set_index("rule")
    of_embedding = sum(planted_in(seed) == "embedding" for seed in range(SEEDS))
    assert table.loc["cheapest", "hits"] == of_embedding
    assert not table.loc["cheapest", "finds"]
    for rule in config.LAYER_RULES:
        assert table.loc[rule, "hits"] == (0 if rule == MISLEADS else SEEDS)
        assert table.loc[rule, "finds"] == (rule != MISLEADS)
    chosen = chapter.choices(arm)
    assert set(chosen[chosen["rule"] == "cheapest"]["chosen"]) == {"embedding"}
    far_beyond = chosen[chosen["rule"] == "nearest"]  # what is so cheap has gone far past the oracle there
    assert "embedding" not in set(far_beyond["chosen"])


def test_wilson_s_interval_decides(arm):
    table = chapter.rule_table(arm).set_index("rule")
    assert table.loc[chapter.RULES["moved"], "share [95 %]"] == "100% [70%, 100%]"
    assert table.loc["chance", "share [95 %]"] == "14%"


def test_contrasts_are_of_each_seed_s_own_right_layers(arm):
    """Where the embedding is right, others pay more; where blocks are, the embedding pays less than they."""
    found = chapter.contrasts(arm)
    assert found["V3a"].index.tolist() == found["V3b"].index.tolist() == list(range(SEEDS))
    for seed in range(SEEDS):
        is_embedding = planted_in(seed) == "embedding"
        assert (found["V3b"][seed] > 0) == is_embedding
        assert (found["V3a"][seed] > 0) == is_embedding


def test_places_are_told_apart(arm):
    table = chapter.by_place(arm)
    elsewhere = sum(planted_in(seed) != "embedding" for seed in range(SEEDS))
    assert table["place"].value_counts().to_dict() == {
        chapter.RIGHT: SEEDS,
        chapter.EMBEDDING: elsewhere,
        chapter.WRONG: 6 * SEEDS - elsewhere,
        chapter.ALL: SEEDS,
    }
    told = chapter.place_table(arm)
    assert told["unlearnt on"].tolist() == list(chapter.PLACES)
    assert told["forgets on the mean in"].tolist()[1] == f"{elsewhere} of {elsewhere} paths"
    assert len(chapter.answers(arm)) == 2
    assert len(candidates()) == round(1 / chapter.registered.CHANCE)


def test_the_rule_of_the_nearest_depends_on_where_it_is_read(arm):
    """The embedding is nearest at a little damage; at more it has gone past the oracle."""
    found = chapter.nearest_hits(arm)
    assert list(found) == list(chapter.READ_AT)
    assert found[0.05] == sum(planted_in(seed) == "embedding" for seed in range(SEEDS))
    nearest = chapter.hit_rates(arm).set_index("rule").loc["nearest", "hits"]
    assert found[chapter.registered.STAGE_DAMAGE] == nearest


def test_figures_show_every_rule_and_every_path(arm):
    drawn = chapter.figure(arm)
    assert len(drawn.axes[0].lines) == 2 * len(chapter.RULES) + 1
    places = chapter.place_figure(arm)
    assert sum(len(dots.get_offsets()) for dots in places.axes[0].collections) == 8 * SEEDS
    plt.close("all")
