"""Files that are written whole or not at all."""

import os

import pytest

from unlearnkit import files


def test_a_file_is_replaced_with_the_content_given(tmp_path):
    path = tmp_path / "told.json"
    for text in ("first", "zweite Zeile:\r\n\u0142\n"):
        files.write_text(path, text)
        assert path.read_bytes() == text.encode()
    files.write_bytes(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["told.json"]


@pytest.mark.parametrize("failure", [OSError("full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_alone(failure, tmp_path):
    path = tmp_path / "told.json"
    path.write_text("old")

    def fail_half_way():
        with files.replacing(path) as partial:
            partial.write_text("half")
            assert partial.suffix == files.PARTIAL
            raise failure

    with pytest.raises(type(failure)):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["told.json"]


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        files.write_text(tmp_path / "file" / "x", "text")


def test_missing_folders_are_made(tmp_path):
    files.write_text(tmp_path / "missing" / "x", "text")
    assert (tmp_path / "missing" / "x").read_text() == "text"


def test_two_at_once_do_not_meet(tmp_path, monkeypatch):
    """Of two processes that replace one file each writes its own; the last to finish stays."""
    path = tmp_path / "told.json"
    with files.replacing(path) as first:
        first.write_text("first, half")
        monkeypatch.setattr(os, "getpid", lambda: 7)
        files.write_text(path, "second")
        first.write_text("first")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["told.json"]
