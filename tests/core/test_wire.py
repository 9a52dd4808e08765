"""What a serving process sends: checked field by field, the same after a trip as JSON."""

import math
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visutility.core.errors import Invalid, InvalidData, InvalidName, InvalidObservation
from visutility.core.wire import MAX_VALUES, Actor, MetricsEvent

GOOD = {
    "id": "e-1",
    "model": "digits",
    "version": 3,
    "metric": "correct",
    "values": [1.0, 0.0],
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "prediction_ids": ["p-1", "p-2"],
}


def test_a_good_event_passes_unchanged():
    event = MetricsEvent(**GOOD)
    assert event.checked() == event
    assert MetricsEvent(**{**GOOD, "prediction_ids": None}).checked().prediction_ids is None
    longest = {"id": "x" * 128, "prediction_ids": ["p" * 128, "p"]}
    assert MetricsEvent(**{**GOOD, **longest}).checked().id == "x" * 128
    largest = [0.5] * MAX_VALUES
    assert MetricsEvent(**{**GOOD, "values": largest, "prediction_ids": None}).checked().values == largest


def test_whole_numbers_become_floats():
    assert [type(v) for v in MetricsEvent(**{**GOOD, "values": [1, 0]}).checked().values] == [float, float]


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("id", "", InvalidData),
        ("id", "x" * 129, InvalidData),
        ("id", "a\nb", InvalidData),
        ("id", 7, InvalidData),
        ("model", "Digits", InvalidName),
        ("model", None, InvalidData),
        ("metric", "a metric", InvalidName),
        ("metric", 1, InvalidData),
        ("version", 0, InvalidData),
        ("version", -1, InvalidData),
        ("version", 2**31, InvalidData),
        ("version", "3", InvalidData),
        ("version", True, InvalidData),
        ("at", GOOD["at"].replace(tzinfo=None), InvalidData),
        ("at", 1767225600, InvalidData),
        ("values", [], InvalidData),
        ("values", [0.5] * (MAX_VALUES + 1), InvalidData),
        ("values", [0.5, "0.5"], InvalidData),
        ("values", [0.5, None], InvalidData),
        ("values", [True, False], InvalidData),
        ("values", np.array([0.5, 0.5]), InvalidData),
        ("values", 0.5, InvalidData),
        ("values", [0.5, math.nan], InvalidObservation),
        ("values", [math.inf, 0.5], InvalidObservation),
        ("values", [-math.inf, 0.5], InvalidObservation),
        ("prediction_ids", ["p-1"], InvalidData),
        ("prediction_ids", [], InvalidData),
        ("prediction_ids", ["p-1", "p-2", "p-3"], InvalidData),
        ("prediction_ids", ["p-1", 2], InvalidData),
        ("prediction_ids", ["p-1", ""], InvalidData),
        ("prediction_ids", ["p-1", "p" * 129], InvalidData),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_bad_field_is_refused_by_name(field, value, kind):
    with pytest.raises(kind, match=field) as caught:
        MetricsEvent(**{**GOOD, field: value}).checked()
    assert isinstance(caught.value, Invalid)
    assert caught.value.hint
    assert len(str(caught.value)) < 500


def test_the_position_of_a_bad_value_is_told():
    with pytest.raises(InvalidObservation, match="nan at position 1 of the values of event 'e-1'"):
        MetricsEvent(**{**GOOD, "values": [0.5, math.nan]}).checked()


def test_a_sum_that_overflows_is_not_a_bad_value():
    huge = [1.7e308, 1.7e308]
    assert MetricsEvent(**{**GOOD, "values": huge}).checked().values == huge


events = st.builds(
    MetricsEvent,
    id=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=128),
    model=st.just("digits"),
    version=st.integers(1, 2**31 - 1),
    metric=st.just("loss"),
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9),
    at=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
    prediction_ids=st.none(),
)


@given(events)
def test_an_event_is_the_same_after_a_trip_as_json(event):
    again = msgspec.json.decode(msgspec.json.encode(event), type=MetricsEvent)
    assert again == event
    assert again.checked() == event


def test_an_event_cannot_be_changed():
    with pytest.raises(AttributeError):
        MetricsEvent(**GOOD).values = []


def test_an_actor_needs_no_reason():
    assert Actor("ada") == Actor(by="ada", why="")
