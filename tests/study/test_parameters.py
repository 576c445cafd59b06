"""Parameters as users write them: read, and refused by name where a run could not use them."""

import pytest

from unlearnkit.errors import ConfigError
from unlearnkit.study import config, parameters


def test_values_take_the_type_of_the_default():
    assert parameters.parse_value("a", "3", 1.0) == 3.0
    assert parameters.parse_value("a", "3", "text") == "3"
    assert parameters.parse_value("a", "[1, 2]", []) == [1, 2]
    assert parameters.parse_value("a", "true", False) is True
    for text, default in (("1.5", 1), ("true", 1), ("1", True)):
        with pytest.raises(ConfigError, match="not of type"):
            parameters.parse_value("a", text, default)


def test_assignments_name_known_parameters():
    assert parameters.parse_overrides({"a": 1, "b": ""}, ["a=2", "b=x=y"]) == {"a": 2, "b": "x=y"}
    with pytest.raises(ConfigError, match="not of the form name=value"):
        parameters.parse_overrides({"a": 1}, ["a"])
    with pytest.raises(ConfigError, match="unknown parameter 'seds'; did you mean 'seeds'"):
        parameters.parse_overrides({"seeds": 1}, ["seds=1"])


@pytest.mark.parametrize("text", ["(" * 300, "9" * 5000, "{[]: 1}", "1 +", "\0", "[" * 100_000])
def test_what_python_cannot_read_is_refused_like_a_wrong_type(text):
    with pytest.raises(ConfigError, match="parameter a: .* is not of type float"):
        parameters.parse_value("a", text, 1.0)


def test_several_assignments_stand_in_one_text():
    """As make hands them over: spaces and quotes belong to the value before them."""
    assert parameters.split("lr=1e-4 epochs=3") == ["lr=1e-4", "epochs=3"]
    assert parameters.split(' forget=Ada "the Bee" O\'Hara  lr=2 ') == [
        'forget=Ada "the Bee" O\'Hara',
        "lr=2",
    ]
    assert parameters.split('layers=["all", "last2"] a=b=c') == ['layers=["all", "last2"]', "a=b=c"]
    assert parameters.split("") == []


@pytest.mark.parametrize(
    ("name", "fine", "bad"),
    [
        ("lr", [1e-4, 1, None], [0, 0.0, -1e-4, float("inf"), float("nan"), "fast", True, 1e300]),
        ("epochs", [2, 30, None], [0, 1, -3, 2.5, "many", True, 10**9]),
        ("batch_size", [1, 64, None], [0, -8, 1.5, "big"]),
        ("optimizer", ["adamw", "sgd", None], ["adam", "", 1, ["sgd"]]),
        ("seeds", [0, 5], [-1, 0.5, 10**9, None]),
        ("seeds_adamw", [0, 5], [-1, "two", 10**9]),
        ("damage", [0.05, 1], [0, -0.1, float("inf")]),
        ("margin", [0, 0.1], [-0.1, float("nan")]),
        ("shown", [1], [0, -2]),
        ("layers", [[], ["all", "block.3"]], ["all", ["al"], [3], None]),
        ("whole_map", [True, False], [1, "yes"]),
    ],
)
def test_values_that_no_run_could_use_are_refused_by_name(name, fine, bad):
    for value in fine:
        parameters.require_allowed({name: value})
    for value in bad:
        with pytest.raises(ConfigError, match=f"parameter {name}=.*: use "):
            parameters.require_allowed({name: value})


def test_every_parameter_of_a_profile_has_a_rule_or_is_a_text():
    for profile in config.PROFILES.values():
        assert all(isinstance(v, str) or k in parameters.RULES for k, v in profile.items())
        parameters.require_allowed(profile)
