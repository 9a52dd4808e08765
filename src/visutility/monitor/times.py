"""When each value was: seconds since 1970 UTC, and which part of an hour, a day or a week that is in some zone."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.monitor.detector import unmasked
from visutility.monitor.state import Floats, Ints

SEASONS = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0}  # in seconds
MONDAY = 4 * 86_400.0  # seasons are counted from 5 January 1970, 0:00
_UNITS = {"Y": 31_556_952.0, "M": 2_629_746.0, "W": 604_800.0, "D": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_UNITS |= {"ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15, "as": 1e-18}  # of datetime64, in seconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR = 2.6e11  # seconds: beyond the years 1 to 9999; what is given in milliseconds since 1970 is further away
_QUARTER = 900.0  # seconds: clocks are put forward and back at quarters of an hour
_FIRST, _LAST = -69_000_000, 281_500_000  # quarters of an hour within the years 2 to 9998


def seconds(at: ArrayLike | None, shape: tuple[int, ...]) -> Floats:
    """Return the times of a batch of that shape, in seconds since 1970 UTC, as new floats.

    One for each value, or one for each column, or one for all. Numbers, NumPy's datetime64 (which is UTC) or datetimes
    with a zone. Raises `InvalidObservation`.
    """
    if at is None:
        raise InvalidObservation(
            "the values came without their times",
            hint="this detector goes by the clock: pass at=, seconds since 1970 UTC, one for each value or one for all",
        )
    times = _numbers(unmasked(at, "at"))
    if times.shape not in (shape, shape[-1:], ()):
        raise InvalidObservation(
            f"at has shape {times.shape} for values of shape {shape}",
            hint="pass one time for each value, or one for all of them",
        )
    good = np.abs(times) <= _FAR  # not NaN
    if not good.all():
        wrong = float(times[~good][0])
        raise InvalidObservation(
            f"at has {wrong!r} at position {int(np.argmin(good))}" + (": that time is missing" * math.isnan(wrong)),
            hint="times are finite, in seconds since 1970 UTC, within the years 1 to 9999; milliseconds / 1000",
        )
    return np.broadcast_to(times, shape).copy()


@final
@dataclass(frozen=True, slots=True)
class Clock:
    """The `phases` equal parts of a season of `season` seconds ("hour", "day", "week"), as clocks show it in `zone`.

    Seasons begin where one begins on Monday, 5 January 1970, 0:00 local time: a week on Mondays. Which part a time
    falls in depends on nothing but the time. Raises `InvalidSetting`.
    """

    season: str | float
    phases: int
    zone: str = "UTC"

    def __post_init__(self) -> None:
        given: Any = self.season
        real = isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)
        number = real and 0.0 < given <= _FAR
        if not number and not (isinstance(given, str) and given in SEASONS):
            raise InvalidSetting(
                f"season {given!r:.80} is unknown", hint=f"use {', '.join(SEASONS)}, or its length in seconds"
            )
        _known(self.zone)

    @property
    def length(self) -> float:
        """The length of the season in seconds."""
        return SEASONS[self.season] if isinstance(self.season, str) else float(self.season)

    def part(self, at: Floats) -> Ints:
        """Return the part of the season, from 0, that each of these times falls in."""
        local = at if self.zone == "UTC" else at + offsets(at, self.zone)
        into = np.mod(local - MONDAY, self.length)
        return np.minimum(into * self.phases // self.length, self.phases - 1).astype(np.int64)


def offsets(at: Floats, zone: str) -> Floats:
    """Return the seconds that clocks in the zone are ahead of UTC at these times, as at the last quarter of an hour."""
    quarters, which = np.unique(np.floor_divide(at, _QUARTER).astype(np.int64), return_inverse=True)
    ahead = [_offset(zone, quarter) for quarter in quarters.clip(_FIRST, _LAST).tolist()]
    return np.array(ahead, np.float64)[which.reshape(at.shape)]


@lru_cache(maxsize=100_000)
def _offset(zone: str, quarter: int) -> float:
    there = (_EPOCH + timedelta(seconds=quarter * _QUARTER)).astimezone(ZoneInfo(zone)).utcoffset()
    return 0.0 if there is None else there.total_seconds()


def _known(zone: object) -> None:
    if zone == "UTC":
        return
    if zone in ("localtime", "posixrules"):
        raise InvalidSetting(
            f"zone {zone!r} is the machine's own", hint="name it, like Europe/Berlin: another machine may have another"
        )
    try:
        ZoneInfo(zone)  # type: ignore[arg-type]
    except (KeyError, ValueError, OSError, TypeError, AttributeError):
        raise InvalidSetting(
            f"zone {zone!r:.80} is unknown",
            hint="use a name like Europe/Berlin; a machine without a database of zones needs pip install tzdata",
        ) from None


def _numbers(at: ArrayLike) -> Floats:
    """Return times of any accepted type as seconds."""
    try:
        array = np.asarray(at)
    except (TypeError, ValueError, OverflowError):
        raise InvalidObservation(
            "at does not hold times of one shape", hint="pass one time for each value, or one for all of them"
        ) from None
    if array.dtype.kind == "O":
        array = np.array([_stamp(one) for one in array.flat], np.float64).reshape(array.shape)
    if array.dtype.kind == "M":
        return _of_stamps(array)
    if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and array.dtype.itemsize < 8 and array.size):
        raise InvalidObservation(
            f"at is of type {array.dtype}",
            hint="pass seconds since 1970 UTC as int64 or float64: shorter floats are minutes off",
        )
    return np.asarray(array, np.float64)


def _of_stamps(stamps: NDArray[Any]) -> Floats:
    """Return datetime64 as seconds, NaN for NaT; those too far away for microseconds, about, instead of wrapped."""
    unit, many = np.datetime_data(stamps.dtype)
    count = stamps.astype(np.int64)
    about = count * (many * _UNITS.get(unit, 1.0))
    far = np.abs(about) > _FAR
    exact = np.where(far, 0, count).astype(stamps.dtype).astype("M8[us]").astype(np.int64) / 1e6
    return np.asarray(np.where(np.isnat(stamps), np.nan, np.where(far, about, exact)), np.float64)


def _stamp(one: Any) -> float:
    """Return what one datetime, or number, is in seconds since 1970; NaN for pandas' NaT, which equals nothing."""
    if isinstance(one, datetime) and one != one:
        return math.nan
    try:
        if isinstance(one, np.datetime64):
            return float(_of_stamps(np.asarray(one)))
        if isinstance(one, datetime) and one.utcoffset() is not None:
            return (one - _EPOCH).total_seconds()
        if isinstance(one, int | float | np.integer | np.floating) and not isinstance(one, bool):
            return float(one)
    except OverflowError:
        raise InvalidObservation(
            "at has a number too large for a time", hint="pass seconds since 1970 UTC, within the years 1 to 9999"
        ) from None
    except (TypeError, ValueError):  # of a zone that does not say its offset
        pass
    else:
        if isinstance(one, datetime):
            raise InvalidObservation(
                f"at has a time without a zone: {one}", hint="say which: .replace(tzinfo=UTC), or a ZoneInfo"
            )
    raise InvalidObservation(
        f"at has {one!r:.80}", hint="pass seconds since 1970 UTC, datetimes with a zone, or datetime64"
    )
