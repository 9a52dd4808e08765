"""Encoded trials in buffers that the states of one study share, so that a tell need not copy what was told before.

A buffer's first rows belong to every state that saw them told and never change. The state that first appends behind
them takes the next row; one that comes second, because two states grew from the same one, gets a copy. So each state
sees a value of its own, and a study of n trials costs O(n d) in all.
"""

from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Mask, Units

LEAST: Final = 64  # rows of the first buffer


@final
class Encoded:
    """The first `count` rows of shared buffers: `units` (n, d), `masks` (n, d), `values` (n,), all read-only."""

    __slots__ = ("_buffer", "count", "masks", "units", "values")

    units: Units
    masks: Mask
    values: NDArray[np.float64]  # NaN for a failed trial

    def __init__(self, buffer: "_Buffer", count: int) -> None:
        self._buffer = buffer
        self.count = count
        self.units, self.masks, self.values = (
            _read_only(whole[:count]) for whole in (buffer.units, buffer.masks, buffer.values)
        )

    @classmethod
    def of(cls, units: Units, masks: Mask, values: NDArray[np.float64]) -> "Encoded":
        """Return these rows in a buffer of their own."""
        return cls(_Buffer(units, masks, values), len(values))

    def with_row(self, unit: Units, mask: Mask, value: float) -> "Encoded":
        """Return these rows and one more. O(d) on average along a chain of calls."""
        buffer = self._buffer
        if not buffer.takes(self.count):
            buffer = _Buffer(self.units, self.masks, self.values)
            buffer.takes(self.count)
        buffer.units[self.count] = unit
        buffer.masks[self.count] = mask
        buffer.values[self.count] = value
        return Encoded(buffer, self.count + 1)

    def __reduce__(self) -> tuple[object, ...]:
        return Encoded.of, (np.array(self.units), np.array(self.masks), np.array(self.values))


class _Buffer:
    """Room for twice the rows it starts with; who takes a row first is settled by one atomic step of a dict."""

    __slots__ = ("masks", "taken", "units", "values")

    def __init__(self, units: Units, masks: Mask, values: NDArray[np.float64]) -> None:
        count, dim = units.shape
        room = max(LEAST, 2 * count)
        self.units = np.zeros((room, dim))
        self.masks = np.zeros((room, dim), dtype=bool)
        self.values = np.full(room, np.nan)
        self.units[:count], self.masks[:count], self.values[:count] = units, masks, values
        self.taken: dict[int, object] = {}

    def takes(self, row: int) -> bool:
        mine = object()
        return row < len(self.values) and self.taken.setdefault(row, mine) is mine


def _read_only(view: NDArray[Any]) -> NDArray[Any]:
    view.flags.writeable = False
    return view
