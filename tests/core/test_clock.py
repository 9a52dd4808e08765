"""The simulated clock moves only when told to; both clocks speak UTC."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visutility.core.clock import SimulatedClock, SystemClock
from visutility.core.errors import InvalidSetting

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_it_moves_only_when_told_to():
    clock = SimulatedClock(START)
    assert [clock.now() for _ in range(3)] == [START] * 3
    assert clock.elapsed() == 0.0
    clock.advance(90)
    assert (clock.now(), clock.elapsed()) == (START + timedelta(seconds=90), 90.0)
    clock.sleep(0.5)
    assert (clock.now(), clock.elapsed()) == (START + timedelta(seconds=90.5), 90.5)


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_it_never_goes_back_and_both_readings_agree(steps):
    clock = SimulatedClock(START)
    for step in steps:
        before = clock.now()
        clock.advance(step)
        assert clock.now() >= before
    assert clock.now() == START + timedelta(seconds=clock.elapsed())
    assert clock.elapsed() == pytest.approx(math.fsum(steps))


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf])
def test_it_refuses_to_go_back_or_nowhere(seconds):
    clock = SimulatedClock(START)
    with pytest.raises(InvalidSetting, match="advance"):
        clock.advance(seconds)
    assert clock.now() == START


@pytest.mark.parametrize("clock", [SimulatedClock(START), SystemClock()], ids=["simulated", "system"])
def test_a_wait_that_is_over_already_returns_at_once(clock):
    before = clock.elapsed()
    clock.sleep(-5)
    assert clock.elapsed() >= before


def test_a_start_without_a_zone_is_refused_and_another_zone_becomes_utc():
    with pytest.raises(InvalidSetting, match="zone"):
        SimulatedClock(START.replace(tzinfo=None))
    there = SimulatedClock(START.astimezone(timezone(timedelta(hours=9)))).now()
    assert there == START
    assert there.tzinfo is UTC


def test_the_system_clock_speaks_utc_and_its_durations_never_shrink():
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    readings = [clock.elapsed() for _ in range(100)]
    assert readings == sorted(readings)
