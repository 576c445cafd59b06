"""Results in files."""

import pytest

from unlearnkit.bench import cases
from unlearnkit.errors import DataError


def test_a_file_that_is_no_result_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match=r"x\.json is no result of a benchmark"):
        cases.load(tmp_path)


def test_what_is_lacking_is_a_command():
    lines = cases.lacking(cases.load())
    assert lines == []
    assert len(cases.lacking({})) == 12
    assert all(line.startswith("python -m unlearnkit bench ") for line in cases.lacking({}))
