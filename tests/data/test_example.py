"""Examples, and picking some of many."""

from unlearnkit import data


def test_spread_takes_as_many_from_everywhere():
    for n in (0, 1, 2, 7, 20, 101):
        items = list(range(n))
        for count in (1, 3, 20):
            found = data.spread(items, count)
            assert len(found) == min(n, count) == len(set(found))
            assert found == sorted(found)
            for k, item in enumerate(found):  # one from each of `count` equal parts
                assert k * n <= item * len(found) < (k + 1) * n
    assert data.spread(["a", "b", "c"], 1) == ["b"]
