"""Encoded trials in buffers that the states of one study share, so that a tell need not copy what was told before.

A buffer's first rows belong to every state that saw them told and never change. The state that first appends behind
them takes the next row; one that comes second, because two states grew from the same one, gets a copy. So each state
sees a value of its own, and a study of n trials costs O(n d) in all. A row is encoded when somebody first looks at it
or one behind it: strategies that learn nothing never do.
"""

import math
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Mask, Space, Units
from visutility.tune.values import Value

LEAST: Final = 64  # rows of the first buffer


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
    def later(cls, space: Space, trials: Iterable[tuple[Mapping[str, Value], float | None]]) -> "Encoded":
        """Return rows of these (valid configuration, value), each encoded once it is looked at."""
        buffer = _Buffer(np.empty((0, space.dim)), np.empty((0, space.dim), dtype=bool), np.empty(0))
        count = 0
        for params, value in trials:
            buffer.takes(count, _Row(space, params, math.nan if value is None else value))
            count += 1
        return cls(buffer, count)

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

    def with_trial(self, space: Space, params: Mapping[str, Value], value: float | None) -> "Encoded":
        """Return these rows and one more. O(1), and O(d) on average once it is looked at, along a chain of calls.

        `params` is a valid configuration that nobody changes any more.
        """
        buffer, row = self._buffer, _Row(space, params, math.nan if value is None else value)
        if not buffer.takes(self.count, row):
            buffer = _Buffer(self.units, self.masks, self.values)
            buffer.takes(self.count, row)
        return Encoded(buffer, self.count + 1)

    def __reduce__(self) -> tuple[object, ...]:
        return Encoded.of, (np.array(self.units), np.array(self.masks), np.array(self.values))


class _Row(NamedTuple):
    """What a row of the arrays will be made of."""

    space: Space
    params: Mapping[str, Value]
    value: float


class _Buffer:
    """Rows that were looked at, in arrays with room for more, and what the others will be made of.

    Who takes a row first is settled by one atomic step of a dict.
    """

    __slots__ = ("_arrays", "_count", "_first", "_lock", "_taken")

    def __init__(self, units: Units, masks: Mask, values: NDArray[np.float64]) -> None:
        self._arrays = (units, masks, values)
        self._first = self._count = len(values)
        self._taken: dict[int, _Row | None] = {}  # None: it is in the arrays
        self._lock = Lock()

    def takes(self, at: int, row: "_Row") -> bool:
        """Whether `row` is the one at this place now."""
        return at >= self._first and self._taken.setdefault(at, row) is row

    def filled(self, count: int) -> tuple[Units, Mask, NDArray[np.float64]]:
        """Return arrays whose first `count` rows are final. Those that were returned before keep theirs."""
        if self._count < count:
            with self._lock:
                if count > len(self._arrays[2]):
                    self._arrays = self._grown(max(LEAST, 2 * count))
                units, masks, values = self._arrays
                for at in range(self._count, count):
                    row = self._taken[at]
                    if row is not None:
                        units[at], masks[at] = row.space.encode(row.params)
                        values[at] = row.value
                        self._taken[at] = None
                self._count = max(count, self._count)
        return self._arrays

    def _grown(self, room: int) -> tuple[Units, Mask, NDArray[np.float64]]:
        old, dim = self._arrays, self._arrays[0].shape[1]
        new = np.zeros((room, dim)), np.zeros((room, dim), dtype=bool), np.full(room, np.nan)
        for to, of in zip(new, old, strict=True):
            to[: self._count] = of[: self._count]
        return new


def _read_only(view: NDArray[Any]) -> NDArray[Any]:
    view.flags.writeable = False
    return view
