"""Where things live when the machine has no home, or lets nothing be written."""

import os
import pwd

import pytest

from unlearnkit import paths
from unlearnkit.errors import ConfigError


def test_an_empty_variable_means_the_checkout_and_not_the_current_folder(monkeypatch):
    for variable, place, usual in (("RUNS", paths.run_cache, "cache"), ("BUILD", paths.build, "build")):
        monkeypatch.setenv(f"UNLEARNKIT_{variable}", "")
        assert place() == paths.ROOT / usual


@pytest.fixture
def homeless(monkeypatch):
    """A user without HOME and without an entry in the system's list of users, as in some containers."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # KeyError


def test_without_a_home_the_cache_is_where_it_is_said_to_be(homeless, empty_cache):
    assert paths.user_cache() == empty_cache


def test_without_a_home_and_a_cache_the_error_says_what_to_set(homeless, monkeypatch):
    monkeypatch.delenv("UNLEARNKIT_CACHE", raising=False)
    for ask in (paths.user_cache, lambda: paths.expanded("~/model")):
        with pytest.raises(ConfigError, match="no home folder. Set HOME, or UNLEARNKIT_CACHE"):
            ask()
    assert str(paths.expanded("model/~")) == "model/~"


def test_a_place_is_writable_if_its_nearest_folder_is(tmp_path, monkeypatch):
    paths.require_writable(tmp_path, "PLACE")
    paths.require_writable(tmp_path / "a" / "b", "PLACE")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/a: .*file is not a folder. Set PLACE"):
        paths.require_writable(tmp_path / "file" / "a", "PLACE")
    (tmp_path / "shut").mkdir()
    # As root every folder would be writable.
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path / "shut")
    with pytest.raises(ConfigError, match="shut/a/b: .*shut is not writable. Set PLACE"):
        paths.require_writable(tmp_path / "shut" / "a" / "b", "PLACE")


def test_a_run_can_be_kept_below_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("UNLEARNKIT_BUILD", raising=False)
    before = paths.run_cache(), paths.build()
    with paths.runs_below(tmp_path):
        assert (paths.run_cache(), paths.build()) == (tmp_path / "cache", tmp_path / "build")
    assert (paths.run_cache(), paths.build()) == before
    assert "UNLEARNKIT_BUILD" not in os.environ
