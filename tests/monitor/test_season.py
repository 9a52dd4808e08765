"""`seasonality`: is there an hour of the day or a day of the week in a history, and what to watch it with."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from visutility.core.errors import EmptyWindow, InvalidObservation
from visutility.core.rng import rng
from visutility.monitor import make_detector, seasonality

DAY = 86_400
MONDAY = datetime(2026, 1, 5, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


def moments(draw, days, each=100):
    """Times over so many days, fewer by night and on calm days."""
    busy = np.repeat(draw.lognormal(sigma=0.4, size=days), 24) * np.tile(np.repeat([0.3, 1.0, 0.6], [8, 12, 4]), days)
    hours = draw.choice(24 * days, p=busy / busy.sum(), size=days * each)
    return np.sort(MONDAY + 3600.0 * (hours + draw.random(hours.shape)))


def chained(draw, n, span):
    """Autocorrelated values: what is left of one after `span` more is 1 / e."""
    return lfilter([1.0], [1.0, -np.exp(-1.0 / span)], draw.standard_normal(n))


def test_a_day_is_found_and_the_settings_watch_it():
    draw = rng(0, "season", "day")
    at = moments(draw, 84, 80)
    values = np.sin(2 * np.pi * (at - MONDAY) / DAY) + draw.standard_normal(at.shape)
    found = seasonality(values, at, zone="Europe/Berlin")
    assert found.season == "day"
    assert found.settings == {"season": "day", "phases": 8, "zone": "Europe/Berlin"}
    assert make_detector("seasonal", **found.settings).phases == 8
    assert found.day.explained == pytest.approx(1 / 3, abs=0.05)  # the wave's variance is .5, the noise's 1
    assert np.argmax(found.day.medians) in (5, 6, 7)
    assert found.week.p_value > 0.005
    assert "the hour of the day explains" in found.words
    assert "make_detector(\"seasonal\", season='day', phases=8, zone='Europe/Berlin')" in found.words
    shuffled = draw.permutation(len(at))
    assert seasonality(values[shuffled], at[shuffled], zone="Europe/Berlin").day.p_value == found.day.p_value


def test_a_week_is_found_beside_the_day():
    draw = rng(0, "season", "week")
    at = moments(draw, 7 * 14)
    weekday = (at - MONDAY) // DAY % 7
    values = np.where(weekday >= 5, 1.0, 0.0) + draw.standard_normal(at.shape)
    found = seasonality(values, at, zone="Europe/Berlin")
    assert (found.season, found.settings["season"], found.settings["phases"]) == ("week", "week", 14)
    assert found.day.p_value > 0.005
    assert min(found.week.medians[5:]) > max(found.week.medians[:5])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["independent", "hours", "days", "walk", "trend"])
def test_what_has_no_season_is_seldom_said_to_have_one(kind):
    """Of 200 histories one in 200 for each test; 11 or more have probability 1e-5 at one in a hundred."""
    said = 0
    for run in range(200):
        draw = rng(0, "season", "none", kind, run)
        at = moments(draw, 42, 50)
        values = draw.standard_normal(at.shape)
        if kind in ("hours", "days"):
            values = chained(draw, len(at), {"hours": 8, "days": 60}[kind])
        elif kind == "walk":
            values = values.cumsum()
        elif kind == "trend":
            values += (at - MONDAY) / (30 * DAY)
        said += seasonality(values, at).season is not None
    assert said <= stats.binom.isf(1e-5, 200, 0.01)


def test_few_weeks_say_nothing_of_weekdays():
    draw = rng(0, "season", "few")
    at = moments(draw, 30)
    found = seasonality(draw.standard_normal(at.shape), at)
    assert found.settings is None
    assert np.isnan(found.week.p_value)
    assert "weeks are too few to tell of the day of the week" in found.words
    assert found.words.endswith("no season beyond chance, auto will do")


def test_a_constant_has_no_season():
    found = seasonality(np.ones(2000), MONDAY + 3600.0 * np.arange(2000))
    assert found.season is None
    assert found.day.explained == 0.0


@pytest.mark.parametrize(
    ("values", "at", "error", "message"),
    [
        (np.ones(50), np.arange(50) * 3600.0, EmptyWindow, "on 3 days"),
        ([], [], EmptyWindow, "on 0 days"),
        (np.ones((2, 5)), np.ones((2, 5)), InvalidObservation, "shape"),
        ([1.0, np.nan], [0.0, 1.0], InvalidObservation, "the history has nan at position 1"),
        ([-np.inf, np.nan], [0.0, 1.0], InvalidObservation, "the history has -inf at position 0"),
        (["a"], [0.0], InvalidObservation, "finite"),
        ([[1.0, 2.0], [3.0]], [0.0, 1.0], InvalidObservation, "no row of finite numbers"),
        ([1.0, 2.0], [[0.0, 1.0], [2.0]], InvalidObservation, "times of one shape"),
        (np.ones(5), np.ones(4), InvalidObservation, "at has shape"),
        (np.ones(5), None, InvalidObservation, "without their times"),
        (np.ma.array([1.0, 2.0], mask=[True, False]), [0.0, 1.0], InvalidObservation, "masked"),
    ],
)
def test_what_is_no_history_is_refused(values, at, error, message):
    with pytest.raises(error, match=message):
        seasonality(values, at)
