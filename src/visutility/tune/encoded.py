"""Encoded trials in buffers that the states of one study share, so that a tell need not copy what was told before.

A buffer's first rows belong to every state that saw them told and never change. The state that first appends behind
them takes the next row; one that comes second, because two states grew from the same one, gets a copy. So each state
sees a value of its own, and a study of n trials costs O(n d) in all. A row is encoded when somebody first looks at it
or one behind it: strategies that learn nothing never do.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Mask, Space, Units
from visutility.tune.values import Value

LEAST: Final = 64  # rows of the first buffer


class Seen(Protocol):
    """A trial that ended: a valid configuration, and a value unless it failed. Nobody changes it."""

    @property
    def params(self) -> Mapping[str, Value]:
        """The configuration."""

    @property
    def value(self) -> float | None:
        """The value."""


@final
class Encoded:
    """The first `count` rows of shared buffers: `units` (n, d), `masks` (n, d), `values` (n,), all read-only."""

    __slots__ = ("_buffer", "count")

    def __init__(self, buffer: "_Buffer", count: int) -> None:
        self._buffer = buffer
        self.count = count

    @classmethod
    def of(cls, units: Units, masks: Mask, values: NDArray[np.float64]) -> "Encoded":
        """Return these rows in a buffer of their own."""
        return cls(_Buffer(units, masks, values), len(values))

    @classmethod
    def later(cls, space: Space, observed: Iterable[Seen]) -> "Encoded":
        """Return rows of these trials, each encoded once it is looked at."""
        found = cls.of(np.empty((0, space.dim)), np.empty((0, space.dim), dtype=bool), np.empty(0))
        for seen in observed:
            found._buffer.takes(found.count, space, seen)
            found.count += 1
        return found

    @property
    def units(self) -> Units:
        """The places (n, d)."""
        return _read_only(self._buffer.filled(self.count)[0][: self.count])

    @property
    def masks(self) -> Mask:
        """Which columns are active (n, d)."""
        return _read_only(self._buffer.filled(self.count)[1][: self.count])

    @property
    def values(self) -> NDArray[np.float64]:
        """The values (n,), NaN for a failed trial."""
        return _read_only(self._buffer.filled(self.count)[2][: self.count])

    def with_trial(self, space: Space, seen: Seen) -> "Encoded":
        """Return these rows and one more. O(1), and O(d) on average once it is looked at, along a chain of calls."""
        buffer = self._buffer
        if not buffer.takes(self.count, space, seen):
            buffer = _Buffer(self.units, self.masks, self.values)
            buffer.takes(self.count, space, seen)
        return Encoded(buffer, self.count + 1)

    def __reduce__(self) -> tuple[object, ...]:
        return Encoded.of, (np.array(self.units), np.array(self.masks), np.array(self.values))


class _Buffer:
    """Rows that were looked at, in arrays with room for more, and the trials that the others will be made of.

    Who takes a row first is settled by one atomic step of a dict. Threads that fill the same row write the same, and
    each goes on with the arrays that it filled.
    """

    __slots__ = ("_filled", "_first", "_taken")

    def __init__(self, units: Units, masks: Mask, values: NDArray[np.float64]) -> None:
        self._first = len(values)
        self._filled = (units, masks, values, self._first)
        self._taken: dict[int, tuple[Space, Seen]] = {}

    def takes(self, at: int, space: Space, seen: Seen) -> bool:
        """Whether this trial is the one at this place now."""
        return at >= self._first and self._taken.setdefault(at, (space, seen))[1] is seen

    def filled(self, count: int) -> tuple[Units, Mask, NDArray[np.float64], int]:
        """Return arrays whose first `count` rows, at least, are final. Those that were returned before keep theirs."""
        filled = self._filled
        if filled[3] < count:
            units, masks, values, start = filled if count <= len(filled[2]) else _grown(filled, max(LEAST, 2 * count))
            for at in range(start, count):
                space, seen = self._taken[at]
                units[at], masks[at] = space.encode(seen.params)
                values[at] = math.nan if seen.value is None else seen.value
            self._filled = filled = (units, masks, values, count)
        return filled


def _grown(
    filled: tuple[Units, Mask, NDArray[np.float64], int], room: int
) -> tuple[Units, Mask, NDArray[np.float64], int]:
    """The same rows in larger arrays."""
    units, masks, values, count = filled
    new = np.zeros((room, units.shape[1])), np.zeros((room, units.shape[1]), dtype=bool), np.full(room, np.nan)
    for to, of in zip(new, (units, masks, values), strict=True):
        to[:count] = of[:count]
    return (*new, count)


def _read_only(view: NDArray[Any]) -> NDArray[Any]:
    view.flags.writeable = False
    return view
