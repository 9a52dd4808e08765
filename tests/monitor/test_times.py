"""Times of values: what is taken for one, and which part of a season it falls in, as clocks show it somewhere."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor.times import Clock, offsets, seconds

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Lost(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, when):
        return None


class Strange(tzinfo):
    """A zone that gives no time for its offset."""

    def utcoffset(self, when):
        return 3600


def test_a_time_each_or_one_for_a_column_or_for_all():
    each = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(seconds(each, (2, 3)), each)
    np.testing.assert_array_equal(seconds([1, 2, 3], (2, 3)), [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_array_equal(seconds(7, (2, 3)), np.full((2, 3), 7.0))
    np.testing.assert_array_equal(seconds([4, 5], (2,)), [4, 5])
    given = np.zeros(2)
    seconds(given, (2,))[:] = 1.0
    assert given.tolist() == [0.0, 0.0]


def test_datetimes_of_any_zone_are_seconds_since_1970():
    wanted = [NOON.timestamp(), NOON.timestamp() + 1.5]
    later = NOON + timedelta(seconds=1.5)
    for at in (
        [NOON, later],
        [NOON.astimezone(ZoneInfo("Asia/Kolkata")), later.astimezone(timezone(timedelta(hours=-3)))],
        np.array(["2026-06-01T12:00:00", "2026-06-01T12:00:01.5"], "M8[ms]"),
        np.array(wanted, object),
        np.array([np.datetime64("2026-06-01T12:00"), later], object),
    ):
        assert seconds(at, (2,)).tolist() == wanted
    assert seconds(NOON, (1, 2)).tolist() == [wanted[:1] * 2]
    assert seconds(np.int64(5), (1,)).tolist() == [5.0]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (None, "without their times"),
        ([0.0, np.nan], "nan at position 1"),
        ([np.inf, 0.0], "inf at position 0"),
        ([0.0, 1.7e12], "1700000000000.0 at position 1"),  # milliseconds
        ([0.0], "shape"),
        ([[0.0, 1.0]], "shape"),
        (np.ma.array([0.0, 1.0], mask=[True, False]), "masked"),
        ([NOON, NOON.replace(tzinfo=None)], "without a zone"),
        (np.array(["2026-06-01", "NaT"], "M8[D]"), "nan at position 1"),
        (np.float32([0.0, 1.0]), "float32"),
        ([True, False], "bool"),
        (["noon", "one"], "type <U4"),
        ([NOON, "one"], "'one'"),
        ([NOON, None], "None"),
        ([NOON, True], "True"),
        ([[1.0, 2.0], [3.0]], "times of one shape"),
        ([0, 10**400], "too large"),
        ([NOON, 10**400], "too large"),
        ([NOON, NOON.replace(tzinfo=Lost())], "without a zone"),
        ([NOON, NOON.replace(tzinfo=Strange())], "at has datetime"),
        ([NOON, 2j], "2j"),
        ([NOON, np.datetime64("NaT")], "nan at position 1: that time is missing"),
        ([[[np.ma.array([0.0, 1.0], mask=[True, False])]]], "masked"),
    ],
)
def test_what_is_no_time_is_refused(at, message):
    with pytest.raises(InvalidObservation, match=message) as caught:
        seconds(at, (2,))
    assert caught.value.hint


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "3s", "ms", "us"])
@pytest.mark.parametrize("sign", [1, -1])
def test_stamps_too_far_away_are_refused_in_any_unit(unit, sign):
    """Not taken for 1970, to which they come around when their unit is changed."""
    for power in (*range(59, 63), 62.5):
        far = np.array([sign * int(2.0**power)], f"M8[{unit}]")
        with pytest.raises(InvalidObservation, match="position 0"):
            seconds(far, (1,))


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"])
def test_stamps_of_any_unit_are_seconds(unit):
    given = np.array(["1970-01-01", "2026-06-01T12:00:00.25", "1912-03-04"], f"M8[{unit}]")
    assert seconds(given, (3,)).tolist() == (given.astype("M8[us]").astype(np.int64) / 1e6).tolist()
    assert seconds(given[1], (2,)).tolist() == seconds(given[1:2], (1,)).tolist() * 2


class Missing(datetime):
    """What pandas puts where a datetime is missing: not itself, and without an offset."""

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True

    def utcoffset(self):
        raise ValueError("does not support utcoffset")

    __hash__ = datetime.__hash__


def test_a_missing_datetime_is_said_to_be_missing():
    with pytest.raises(InvalidObservation, match="nan at position 1: that time is missing"):
        seconds([NOON, Missing(2026, 6, 1)], (2,))


def test_parts_are_those_of_the_calendar():
    draw = rng(0, "calendar")
    at = draw.uniform(-3e9, 9e9, 2000)
    for zone in ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"):
        there = [datetime.fromtimestamp(one, ZoneInfo(zone)) for one in at.tolist()]
        assert Clock("day", 24, zone).part(at).tolist() == [one.hour for one in there]
        assert Clock("week", 7, zone).part(at).tolist() == [one.weekday() for one in there]
        assert Clock("hour", 4, zone).part(at).tolist() == [one.minute // 15 for one in there]
        assert Clock(86_400 * 7.0, 7, zone).part(at).tolist() == [one.weekday() for one in there]


def test_summer_time_moves_the_hours():
    berlin = Clock("day", 24, "Europe/Berlin")
    noon = [datetime(2026, month, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() for month in (1, 7)]
    assert berlin.part(np.array(noon)).tolist() == [12, 12]
    assert Clock("day", 24).part(np.array(noon)).tolist() == [11, 10]
    changed = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()  # two o'clock there, which becomes three
    assert berlin.part(np.array([changed - 1.0, changed])).tolist() == [1, 3]
    assert offsets(np.array([[changed - 1.0, changed]]), "Europe/Berlin").tolist() == [[3600.0, 7200.0]]


def test_every_time_has_a_part():
    """Also just below a boundary, where the remainder is rounded up to the whole season, and at the ends of time."""
    for season in ("hour", "day", "week", 1e-3, 7.7, 1e11):
        clock = Clock(season, 7, "Asia/Tokyo")
        edges = [-1e-12, 0.0, 345_600.0, np.nextafter(345_600.0, 0.0), -2.6e11, 2.6e11]
        parts = clock.part(np.array(edges))
        assert parts.dtype == np.int64
        assert ((parts >= 0) & (parts < 7)).all()
    ends = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)]
    assert Clock("day", 24).part(seconds(ends, (2,))).tolist() == [0, 23]


@pytest.mark.parametrize(
    "season", ["month", "", 0, -5.0, float("nan"), float("inf"), True, None, [3600], np.complex128(3), 10**400]
)
def test_unknown_seasons_are_refused(season):
    with pytest.raises(InvalidSetting, match=r"season .* is unknown") as caught:
        Clock(season, 24)
    assert "hour, day, week" in caught.value.hint


@pytest.mark.parametrize("zone", ["localtime", "posixrules"])
def test_zones_that_are_others_on_another_machine_are_refused(zone):
    with pytest.raises(InvalidSetting, match=r"zone .* is the machine's own") as caught:
        Clock("day", 24, zone)
    assert "Europe/Berlin" in caught.value.hint


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "/etc/passwd", "../UTC", "Europe", None, 2])
def test_unknown_zones_are_refused(zone):
    with pytest.raises(InvalidSetting, match=r"zone .* is unknown") as caught:
        Clock("day", 24, zone)
    assert "Europe/Berlin" in caught.value.hint
