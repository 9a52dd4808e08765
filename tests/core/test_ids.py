"""Ids sort by time and never repeat; names fit one pattern."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visutility.core.errors import InvalidName
from visutility.core.ids import checked_name, new_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
milliseconds = st.integers(0, 200 * 365 * 86_400_000)


@given(milliseconds, milliseconds)
def test_ids_of_different_milliseconds_sort_by_time(a, b):
    first, second = (new_id(EPOCH + timedelta(milliseconds=at)) for at in (a, b))
    if a != b:
        assert (first < second) == (a < b)


@given(milliseconds)
def test_neighbouring_milliseconds_sort(a):
    """A float timestamp rounds some milliseconds down to the one before."""
    first, second = (new_id(EPOCH + timedelta(milliseconds=at)) for at in (a, a + 1))
    assert first[:10] < second[:10]


def test_ids_have_one_shape_and_do_not_repeat():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = {new_id(now) for _ in range(10_000)}  # 80 random bits: a repeat has probability 4e-17
    assert len(made) == 10_000
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{26}", one) for one in made)


def test_the_zone_does_not_matter_but_must_be_there():
    utc = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert new_id(utc)[:10] == new_id(utc.astimezone(timezone(timedelta(hours=-7))))[:10]
    with pytest.raises(TypeError):
        new_id(utc.replace(tzinfo=None))


@given(st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True))
def test_a_name_that_fits_comes_back(name):
    assert checked_name(name, "model") == name


@given(st.text(st.sampled_from("aZ0.-_ /\n\tß~é\x00"), max_size=70))
def test_a_name_passes_exactly_when_the_rule_in_words_says_so(name):
    ends = "abcdefghijklmnopqrstuvwxyz0123456789"
    fits = 1 <= len(name) <= 64 and set(name) <= set(ends + "._-") and name[0] in ends and name[-1] in ends
    if fits:
        assert checked_name(name, "model") == name
    else:
        with pytest.raises(InvalidName, match="model name"):
            checked_name(name, "model")


@pytest.mark.parametrize("name", ["", "-a", "a.", "A", "a b", "a\n", "../a", "a" * 65, 7, None, b"a"])
def test_a_name_that_does_not_fit_is_shown(name):
    with pytest.raises(InvalidName, match=re.escape(repr(name))) as caught:
        checked_name(name, "alias")
    assert "alias" in str(caught.value)
    assert "1 to 64" in caught.value.hint


def test_ids_of_one_millisecond_sort_by_the_order_they_were_made_in():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = [new_id(now) for _ in range(1000)]
    assert made == sorted(set(made))
