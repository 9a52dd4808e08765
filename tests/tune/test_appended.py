"""A sequence that shares what it grew from is a value like any tuple."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visutility.tune.appended import Appended


@given(st.lists(st.tuples(st.integers(0, 30), st.integers()), max_size=60))
def test_whatever_grows_from_whatever_it_equals_a_tuple(steps: list[tuple[int, int]]) -> None:
    grown, tuples = [Appended[object]()], [()]
    for at, number in steps:
        item = (number,)
        grown.append(grown[at % len(grown)].with_item(item))
        tuples.append((*tuples[at % len(tuples)], item))
    for one, expected in zip(grown, tuples, strict=True):
        assert one == expected
        assert expected == one
        assert (len(one), list(one), one[::2], repr(one)) == (
            len(expected),
            list(expected),
            expected[::2],
            repr(expected),
        )
        assert [one[at] for at in range(-len(one), len(one))] == [*expected, *expected]
        assert pickle.loads(pickle.dumps(one)) == one
        assert hash(one) == hash(expected)
    assert [one == grown[0] for one in grown] == [one == tuples[0] for one in tuples]


def test_a_long_one_shares_its_items() -> None:
    first = Appended(range(5))
    second = first.with_item(5)
    third = first.with_item(6)
    assert second._shared is first._shared
    assert third._shared is not first._shared
    assert (list(first), list(second), list(third)) == ([*range(5)], [*range(6)], [*range(5), 6])
    for place in (5, -6):
        with pytest.raises(IndexError):
            first[place]
    assert first != list(range(5))
