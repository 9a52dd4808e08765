"""Loops over values and blocks that NumPy cannot fuse, for large batches; compiled where Numba is installed.

Written in plain Python within what Numba takes, on the arrays of `universal.EProcessState`, which they change in place.
They do the float32 arithmetic of `blocks.py` and `universal.py` operation by operation, so that both give the same
bits: which one takes a batch is a matter of speed alone. Sums of values on the grid are exact in any order.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.state import Floats, Ints

Singles = NDArray[np.float32]
Rows = NDArray[np.uint32]
Counts = NDArray[np.int32]
Opened = NDArray[np.unsignedinteger[Any]]

# Every constant of the loops stands in this file: Numba takes a file's date for that of what it has compiled of it.
BLOCK = 32
GRID = 2.0**-12
ROUND = np.float32(2.0**11)  # float32 from 2^11 to 2^12 are the multiples of 2^-12
WHOLE = 12  # 4096ths are 0 or 1 of 2^12
ENOUGH = 65_536  # values in a batch: below, NumPy is as fast and nothing needs to be compiled
AHEAD = 1024  # values whose places are read before they are written to
_BASE = ROUND.view(np.uint32)  # the bits of v + 2^11 less these count the 4096ths of v; above 4096: v is outside [0, 1]
_GRID = np.float32(GRID)
_FILL = np.int64(BLOCK - 1)
_BLOCK = np.float32(BLOCK)
_TILE = 4096  # values that are checked and then added up
_NEAR = 1 << 18  # streams whose open blocks the cache holds
_NONE = np.float32(0.0)
_ZERO = np.uint32(0)
_UNITS = np.float32(1.0 / GRID)
_SHARE = np.float32(0.25)  # of each of the four bets in the score
_SUM = 18  # bits that hold up to 32 times 4096 units; those above count the values of an open block
_MOST = np.uint32(1.0 / GRID)  # 4096ths in 1


class Loops(NamedTuple):
    """The functions of this module, compiled."""

    fill: Callable[[Ints], int]
    pieces: Callable[[Singles, Singles], bool]
    sixteens: Callable[[Singles, Singles], bool]
    rows: Callable[[Singles, Ints, Singles, Singles], bool]
    ragged: Callable[[Singles, Ints, Ints, Singles, int, Opened, Rows, Singles], tuple[int, int]]
    close: Callable[[Rows, int, Opened, Ints, Singles, Ints], None]
    bet: Callable[..., tuple[int, int]]
    step: Callable[..., tuple[int, int]]
    scores: Callable[[Singles, int, Singles, Floats], None]


@cache
def compiled() -> Loops | None:
    """Return the loops, compiled when first called and kept on disk; None without Numba, or where that is off."""
    try:
        import numba
    except ImportError:
        return None
    return _with(numba)


def _with(numba: Any) -> Loops | None:
    if numba.config.DISABLE_JIT:
        return None
    try:
        return _tried(Loops(*(numba.njit(cache=True)(loop) for loop in PLAIN)))
    except (RuntimeError, OSError):  # no folder to keep them in, or no room there
        return _tried(Loops(*(numba.njit(loop) for loop in PLAIN)))


def _tried(loops: Loops) -> Loops:
    """Return the loops when each was called on a value or two, so that none is compiled in the midst of a batch."""
    values, sums, none = np.zeros((1, 16), np.float32), np.zeros(1, np.float32), np.zeros(0, np.float32)
    seen, part, total, counts = np.zeros(1, np.int64), sums.copy(), np.zeros(1), np.zeros(0, np.int64)
    rows, places, scores = np.zeros(1, np.uint32), np.zeros(1, np.uint32), np.zeros(1)
    blocks, due, least = np.zeros(1, np.int32), np.full(1, 9, np.int32), np.float32(9.0)
    wealth, scale = np.zeros((4, 1), np.float32), np.ones((4, 1), np.float32)
    loops.fill(seen)
    loops.pieces(values, sums)
    loops.sixteens(values, sums)
    loops.rows(values, seen, sums, part)
    for shift, opened in ((WHOLE, np.zeros(1, np.uint16)), (0, np.zeros(1, np.uint32))):
        loops.ragged(values[0], np.zeros(16, np.int64), seen, part, shift, opened, rows, sums)
        loops.close(rows[:0], shift, opened, seen, part, counts)
    waiting = np.zeros(1, np.uint8)
    loops.bet(rows[:0], none, sums, least, waiting, wealth, scale, total, blocks, due, rows, places)
    columns = (seen, part, total, blocks, due, sums, scores)
    loops.step(0, 16, 0, counts, none, none, sums, least, wealth, scale, columns, rows, places)
    loops.scores(wealth, 0, sums, scores)
    return loops


def fill_of_all(seen: Ints) -> int:
    """Return how many values the open block of every stream has, or -1 where they are not all equally many."""
    first, others = seen[0] & _FILL, np.int64(0)
    for row in range(len(seen)):
        others |= (seen[row] & _FILL) ^ first
    return int(first) if others == 0 else -1


def sums_of_pieces(values: Singles, sums: Singles) -> bool:
    """Write the sum of each row of values, (m, k), k at most 32; return whether all are in [0, 1].

    Values are first checked, some thousands at a time, and then added up out of the cache: the simpler the loop that
    reads from memory, the faster it is.
    """
    worst = _ZERO
    step = max(1, _TILE // max(1, values.shape[1]))
    for start in range(0, values.shape[0], step):
        tile, into = values[start : start + step], sums[start : start + step]
        flat = tile.reshape(-1)
        for at in range(len(flat)):
            worst = max(worst, np.uint32(np.float32(flat[at] + ROUND).view(np.uint32) - _BASE))
        for row in range(len(into)):
            each, units = tile[row], _ZERO
            for at in range(len(each)):
                units = np.uint32(units + np.uint32(np.float32(each[at] + ROUND).view(np.uint32) - _BASE))
            into[row] = np.float32(units) * _GRID
    return bool(worst <= _MOST)


def sums_of_sixteens(values: Singles, sums: Singles) -> bool:
    """Do what `sums_of_pieces` does for rows of 16: four values at a time, then four of these, as vectors can."""
    worst, fours = _ZERO, np.empty(_TILE // 4, np.uint32)
    for start in range(0, values.shape[0], _TILE // 16):
        into = sums[start : start + _TILE // 16]
        tile = values[start : start + _TILE // 16].reshape(-1)
        for at in range(len(tile)):
            worst = max(worst, np.uint32(np.float32(tile[at] + ROUND).view(np.uint32) - _BASE))
        for at in range(4 * len(into)):
            a = np.uint32(np.float32(tile[4 * at] + ROUND).view(np.uint32) - _BASE)
            b = np.uint32(np.float32(tile[4 * at + 1] + ROUND).view(np.uint32) - _BASE)
            c = np.uint32(np.float32(tile[4 * at + 2] + ROUND).view(np.uint32) - _BASE)
            d = np.uint32(np.float32(tile[4 * at + 3] + ROUND).view(np.uint32) - _BASE)
            fours[at] = np.uint32(np.uint32(a + b) + np.uint32(c + d))
        for at in range(len(into)):
            first = np.uint32(fours[4 * at] + fours[4 * at + 1])
            into[at] = np.float32(np.uint32(first + np.uint32(fours[4 * at + 2] + fours[4 * at + 3]))) * _GRID
    return bool(worst <= _MOST)


def sums_of_rows(values: Singles, seen: Ints, sums: Singles, after: Singles) -> bool:
    """Write the sums of the next k values of every stream, (s, k), up to where a block of it ends, stream by stream.

    `after` (s,) gets the sums of those that follow. Returns whether all values are in [0, 1].
    """
    worst, closed, k = _ZERO, 0, np.uint64(values.shape[1])
    step = max(1, _TILE // max(1, values.shape[1]))
    for start in range(0, values.shape[0], step):
        tile = values[start : start + step].reshape(-1)
        for at in range(len(tile)):
            worst = max(worst, np.uint32(np.float32(tile[at] + ROUND).view(np.uint32) - _BASE))
        for row in range(start, min(start + step, values.shape[0])):
            each, total = values[row], _NONE
            first, room = np.uint64(0), np.uint64(BLOCK - (seen[row] & _FILL))
            while first < k:
                last = min(first + room, k)
                units = _ZERO
                for at in range(first, last):
                    units = np.uint32(units + np.uint32(np.float32(each[at] + ROUND).view(np.uint32) - _BASE))
                total = np.float32(units) * _GRID
                if last - first == room:
                    sums[closed] = total
                    closed += 1
                    total = _NONE
                first, room = last, np.uint64(BLOCK)
            after[row] = total
    return bool(worst <= _MOST)


def sums_of_streams(
    values: Singles, ids: Ints, seen: Ints, part: Singles, shift: int, opened: Opened, rows: Rows, sums: Singles
) -> tuple[int, int]:
    """Write the blocks that values (n,) of interleaved streams fill, in order of arrival: their streams and sums.

    `opened` (s,) gets the count and the sum of each open block, in one number, so that a value has to find one place in
    memory. With a `shift` the sum is in units of 2^shift. Where these are more than the cache holds, places are first
    read, many at once, and then written to. Returns how many blocks there are, or -1 where a value is not in [0, 1], or
    -2 where one is no multiple of its unit; and what was read ahead, or it would not be read.
    """
    one, full, rest = np.uint32(1 << (_SUM - shift)), np.uint32(BLOCK << (_SUM - shift)), np.uint32((1 << shift) - 1)
    grid, closed, ahead, worst, odd = np.float32(GRID * 2.0**shift), 0, _ZERO, _ZERO, _ZERO
    for row in range(len(seen)):
        units = np.uint32(part[row] * _UNITS)
        odd |= units & rest
        opened[row] = np.uint32(seen[row] & _FILL) * one + (units >> np.uint32(shift))
    for start in range(0, len(values), AHEAD):
        some, named = values[start : start + AHEAD], ids[start : start + AHEAD]
        if len(seen) > _NEAR:
            for at in range(len(named)):
                ahead |= np.uint32(opened[np.uint64(named[at])])
        for at in range(len(some)):
            stream = np.uint64(named[at])
            units = np.uint32(np.float32(some[at] + ROUND).view(np.uint32) - _BASE)
            worst = max(worst, units)
            odd |= units & rest
            block = np.uint32(np.uint32(opened[stream]) + (units >> np.uint32(shift)) + one)
            if block >= full:
                rows[closed] = stream
                sums[closed] = np.float32(block - full) * grid
                closed += 1
                block = _ZERO
            opened[stream] = block
        if worst > _MOST:
            return -1, int(ahead)
        if odd:
            return -2, int(ahead)
    return closed, int(ahead)


def close_streams(rows: Rows, shift: int, opened: Opened, seen: Ints, part: Singles, last: Ints) -> None:
    """Take what `sums_of_streams` found into `seen` and `part`; write the last position of each block, (m,).

    `rows` (m,) are the streams of the blocks, each one's in order.
    """
    one, grid = np.uint32(1 << (_SUM - shift)), np.float32(GRID * 2.0**shift)
    for at in range(len(rows)):
        stream = np.uint64(rows[at])
        seen[stream] = (seen[stream] | _FILL) + 1
        last[at] = seen[stream] - 1
    for row in range(len(seen)):
        block = np.uint32(opened[row])
        seen[row] = (seen[row] & ~_FILL) + np.int64(block >> np.uint32(_SUM - shift))
        part[row] = np.float32(block & np.uint32(one - np.uint32(1))) * grid


def bet_on_each(
    rows: Rows,
    sums: Singles,
    factors: Singles,
    least: np.float32,
    waiting: NDArray[np.uint8],
    wealth: Singles,
    scale: Singles,
    total: Floats,
    blocks: Counts,
    due: Counts,
    special: Rows,
    later: Rows,
) -> tuple[int, int]:
    """Take closed blocks of these rows, one after the other, as `universal.bet` and `universal.add` do.

    `factors` has exp(tilt S) of the smallest tilt, by 4096ths of S. A row whose winnings reach `least`, or whose rate
    is due, waits: the place of its block goes to `special`, those of its blocks that follow to `later`. Returns how
    many each has.
    """
    noted, left = 0, 0
    for at in range(len(rows)):
        row = np.uint64(rows[at])
        if waiting[row]:
            later[left] = at
            left += 1
            continue
        one = factors[np.uint32(sums[at] * _UNITS)]
        two = one * one
        three = two * two
        four = three * three
        one = (wealth[0, row] + _BLOCK) * (one * scale[0, row])
        two = (wealth[1, row] + _BLOCK) * (two * scale[1, row])
        three = (wealth[2, row] + _BLOCK) * (three * scale[2, row])
        four = (wealth[3, row] + _BLOCK) * (four * scale[3, row])
        wealth[0, row], wealth[1, row], wealth[2, row], wealth[3, row] = one, two, three, four
        total[row] += sums[at]
        count = np.int32(blocks[row] + 1)
        blocks[row] = count
        if one + two + three + four >= least or count == due[row]:
            waiting[row] = 1
            special[noted] = at
            noted += 1
    return noted, left


def bet_in_step(
    first: int,
    k: int,
    each: int,
    counts: Ints,
    sums: Singles,
    opened: Singles,
    factors: Singles,
    least: np.float32,
    wealth: Singles,
    scale: Singles,
    columns: tuple[Ints, Singles, Floats, Counts, Counts, Singles, Floats],
    special: Rows,
    later: Rows,
) -> tuple[int, int]:
    """Take the next k values of rows that follow each other from `first` on, as `bet_on_each` and `scores_of` do.

    They are in `sums` up to where blocks end, `each` of every row, or `counts` where given; and in `opened` from there
    on, where given. `wealth` and `scale` are of all rows. While a row is worked out, the next ones come from memory.
    """
    seen, part, total, blocks, due, worth, scores = columns
    wealth_1, wealth_2, wealth_3, wealth_4 = wealth[0, first:], wealth[1, first:], wealth[2, first:], wealth[3, first:]
    scale_1, scale_2, scale_3, scale_4 = scale[0, first:], scale[1, first:], scale[2, first:], scale[3, first:]
    noted, left, at = 0, 0, 0
    for row in range(len(seen)):
        waits, carried = False, part[row]
        won = wealth_1[row] + wealth_2[row] + wealth_3[row] + wealth_4[row]
        for _ in range(counts[row] if len(counts) else each):
            if waits:
                later[left], left = at, left + 1
            else:
                taken = sums[at] + carried
                one = factors[np.uint32(taken * _UNITS)]
                two = one * one
                three = two * two
                four = (wealth_4[row] + _BLOCK) * (three * three * scale_4[row])
                one = (wealth_1[row] + _BLOCK) * (one * scale_1[row])
                two = (wealth_2[row] + _BLOCK) * (two * scale_2[row])
                three = (wealth_3[row] + _BLOCK) * (three * scale_3[row])
                wealth_1[row], wealth_2[row], wealth_3[row], wealth_4[row] = one, two, three, four
                total[row] += taken
                blocks[row] += np.int32(1)
                won, carried = one + two + three + four, _NONE
                if won >= least or blocks[row] == due[row]:
                    waits, special[noted], noted = True, at, noted + 1
            at += 1
        scores[row] = np.float32(won * _SHARE) * worth[row]
        part[row] = carried + opened[row] if len(opened) else carried
        seen[row] += k
    return noted, left


def scores_of(wealth: Singles, first: int, worth: Singles, scores: Floats) -> None:
    """Write the mean of M_1 to M_4, times worth, of rows that follow each other from `first` on, out of all wealth."""
    one, two, three, four = wealth[0, first:], wealth[1, first:], wealth[2, first:], wealth[3, first:]
    for row in range(len(scores)):
        total = one[row] + two[row] + three[row] + four[row]
        scores[row] = np.float32(total * _SHARE) * worth[row]


PLAIN = Loops(
    fill_of_all,
    sums_of_pieces,
    sums_of_sixteens,
    sums_of_rows,
    sums_of_streams,
    close_streams,
    bet_on_each,
    bet_in_step,
    scores_of,
)
