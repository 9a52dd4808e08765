"""Time is passed in: the system's in production, a simulated one in tests and backtests."""

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, final

from visutility.core.errors import InvalidSetting


class Clock(Protocol):
    """Where every part of this package gets the time from."""

    def now(self) -> datetime:
        """Return the time, in UTC, with its zone."""

    def elapsed(self) -> float:
        """Return seconds since an arbitrary start; never goes back. For durations."""

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds of this clock; not at all when there are none left."""


@final
class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """Return the time, in UTC, with its zone."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """Return the monotonic clock, in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Give the processor to others for that many seconds."""
        time.sleep(max(0.0, seconds))


@final
class SimulatedClock:
    """A clock that moves only when told to; a `sleep` moves it at once."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise InvalidSetting(f"start {start!r} has no zone", hint="pass a datetime with tzinfo=UTC")
        self._start = start.astimezone(UTC)
        self._seconds = 0.0

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""
        return self._start + timedelta(seconds=self._seconds)

    def elapsed(self) -> float:
        """Return simulated seconds since the start."""
        return self._seconds

    def sleep(self, seconds: float) -> None:
        """Advance by that many seconds, at once."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Move forward. Raises `InvalidSetting` unless `seconds` is finite and not negative."""
        if not 0 <= seconds < math.inf:
            raise InvalidSetting(f"cannot advance by {seconds!r} seconds", hint="time only moves forward")
        self._seconds += seconds
