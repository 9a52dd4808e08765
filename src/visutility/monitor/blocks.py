"""How batches become the sums of fixed blocks of each stream, the same to the bit however they were cut.

Every stream is cut into blocks of `BLOCK` values, counted from its start. Values in [0, 1] are rounded to the nearest
multiple of `GRID`, so that sums of them are exact in float32 and float64, in any order. Work goes through pieces that
fit the cache: a batch is read from memory once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.loops import BLOCK, GRID, ROUND, Singles
from visutility.monitor.state import Floats, Ints

__all__ = ["BLOCK", "GRID", "ROUND", "Closed", "Singles", "block_sums", "dense", "from_unit", "on_grid", "ragged"]

_ONE = np.float32(1.0).view(np.uint32)
_PIECE = 1 << 17  # values at a time
_SHIFT = 5  # 2^5 values to a block
_NONE = 65_535
_PACK = 1 << 20  # a packed count and sum are exact for fewer values than this
_ONES = np.ones(BLOCK, np.float32)

Unit = Callable[[NDArray[Any], Singles], None]  # checks values and writes them, scaled to [0, 1], into the second


@dataclass(frozen=True, slots=True)
class Closed:
    """Blocks that a batch has filled: the next n blocks of each of these rows."""

    rows: slice | Ints  # r of them
    sums: Singles  # (r, n)


def dense(values: NDArray[Any], seen: Ints, part: Singles, unit: Unit) -> tuple[list[Closed], Singles]:
    """Return the blocks filled by the next k values of every stream, values (s, k), and the new open sums (s,).

    `seen` (s,) is how many values each stream had and `part` (s,) the sum of its open block. O(s k).
    """
    if len(seen) == 0 or values.shape[1] == 0:
        return [], part
    if (seen == seen[0]).all():
        closed, after = _aligned(values, int(seen[0]) % BLOCK, part, unit)
        return [closed] if closed.sums.size else [], after
    after, found, fill = part.copy(), [], seen & (BLOCK - 1)
    for at in np.unique(fill).tolist():
        rows = np.flatnonzero(fill == at)
        closed, after[rows] = _aligned(values[rows], at, part[rows], unit)
        if closed.sums.size:
            found.append(Closed(rows, closed.sums))
    return found, after


def _aligned(values: NDArray[Any], fill: int, part: Singles, unit: Unit) -> tuple[Closed, Singles]:
    """Do what `dense` does for streams whose open blocks have equally many values."""
    size, k = values.shape
    head = min(BLOCK - fill, k) if fill else 0
    whole = (k - head) // BLOCK
    tail = k - head - whole * BLOCK
    closing = int(fill > 0 and fill + head == BLOCK)
    sums = np.empty((size, closing + whole), np.float32)
    lead, rest = part.copy(), np.zeros(size, np.float32)
    step = max(_PIECE // k, 1)
    buffer = np.empty((min(step, size), k), np.float32)
    for first in range(0, size, step):
        last = min(first + step, size)
        units = buffer[: last - first]
        unit(values[first:last], units)
        if whole and not closing and not tail:
            block_sums(units, sums[first:last])
        elif whole:
            middle = np.ascontiguousarray(units[:, head : head + whole * BLOCK])
            sums[first:last, closing:] = block_sums(middle, np.empty((last - first, whole), np.float32))
        if head:
            lead[first:last] += units[:, :head] @ np.ones(head, np.float32)
        if tail:
            rest[first:last] = units[:, k - tail :] @ np.ones(tail, np.float32)
    if closing:
        sums[:, 0] = lead
    return Closed(slice(None), sums), rest if sums.size else lead + rest


def block_sums(units: Singles, out: Singles) -> Singles:
    """Write the sums of the blocks of values on the grid, shape (a, b BLOCK) -> (a, b); both without gaps in memory."""
    np.matmul(units.reshape(-1, BLOCK), _ONES, out=out.reshape(-1))
    return out


def from_unit(values: NDArray[Any], out: Singles) -> bool:
    """Write values on the grid and say whether they are in [0, 1], but for what rounding takes away at the ends."""
    if values.dtype == np.float32:
        np.add(values, ROUND, out=out)
        np.subtract(out, ROUND, out=out)
    else:
        with np.errstate(over="ignore"):  # what is too large for float32 is outside anyway
            out[...] = values
        if values.dtype.kind == "f":
            on_grid(out)
    return out.size == 0 or bool(out.view(np.uint32).max() <= _ONE)  # the bits of floats from 0 on are in their order


def on_grid(values: Singles) -> None:
    """Round values in [0, 1] to the nearest multiple of `GRID`, in place; halves go to the even one."""
    values += ROUND
    values -= ROUND


def ragged(units: Singles, ids: Ints, fill: Ints, part: Singles) -> tuple[list[Closed], Ints, Singles]:
    """Return the blocks filled by values of interleaved streams, each stream's number of values and new open sum.

    `units` (n,) are on the grid, `ids` (n,) name rows of `fill` and `part`, shape (s,). Only the values of streams
    whose block ends within the batch are put in order. O(n + s).
    """
    counts, sums = _counts_and_sums(units, ids, len(fill))
    filled = fill + counts
    closes = filled >> _SHIFT
    after = part + sums
    found: list[Closed] = []
    if not closes.any():
        return found, counts, after
    crossed = np.flatnonzero(filled > BLOCK)
    once = np.flatnonzero(closes == 1)
    first = after[once]
    after[once] = 0.0
    if len(crossed):
        running, starts = _running(units, ids, crossed, counts)
        for many in np.flatnonzero(np.bincount(closes[crossed])).tolist():
            which = np.flatnonzero(closes[crossed] == many)
            rows, start = crossed[which], starts[which]
            ends = start + (BLOCK - fill[rows]) + BLOCK * np.arange(many)[:, None]
            levels = running[np.concatenate((start[None], ends))]
            sums = np.diff(levels, axis=0)
            sums[0] += part[rows]
            after[rows] = running[start + counts[rows]] - levels[-1]
            if many == 1:
                first[np.searchsorted(once, rows)] = sums[0]
            else:
                found.append(Closed(rows, sums.T.astype(np.float32)))
    if len(once):
        found.append(Closed(once, first[:, None]))
    return found, counts, after


def _counts_and_sums(units: Singles, ids: Ints, s: int) -> tuple[Ints, Singles]:
    """Return how many values each stream has in the batch and their sums, both (s,)."""
    if len(units) >= _PACK:
        sums = np.bincount(ids, units, s)
        return np.bincount(ids, minlength=s), sums.astype(np.float32)
    packed = np.bincount(ids, np.add(units, float(_PACK), dtype=np.float64), s)  # multiples of 2^-12 below 2^41
    counts = (packed * (1.0 / _PACK)).astype(np.int64)
    return counts, (packed - counts * float(_PACK)).astype(np.float32)


def _running(units: Singles, ids: Ints, rows: Ints, counts: Ints) -> tuple[Floats, Ints]:
    """Return the running sum, from 0, over these rows' values, row after row in arrival order; and where rows start."""
    if len(rows) < _NONE:
        place = np.full(len(counts), _NONE, np.uint16)
        place[rows] = np.arange(len(rows), dtype=np.uint16)
        places = place[ids]
        chosen = np.flatnonzero(places != _NONE)
        order = np.argsort(places[chosen], kind="stable")  # by radix, as every sort of 16 bits
    else:
        wide = np.full(len(counts), -1, np.int32)
        wide[rows] = np.arange(len(rows), dtype=np.int32)
        where = wide[ids]
        chosen = np.flatnonzero(where >= 0)
        low, high = (where[chosen] & 0xFFFF).astype(np.uint16), (where[chosen] >> 16).astype(np.uint16)
        order = np.argsort(low, kind="stable")
        order = order[np.argsort(high[order], kind="stable")]
    running = np.zeros(len(chosen) + 1)
    np.cumsum(units[chosen][order], dtype=np.float64, out=running[1:])
    starts = np.cumsum(counts[rows]) - counts[rows]
    return running, starts
