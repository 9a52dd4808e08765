"""How `eprocess` takes batches of many values through the compiled loops: the same verdicts and states, to the bit."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidObservation
from visutility.monitor import universal
from visutility.monitor.loops import AHEAD, BLOCK, GRID, WHOLE, Loops, Opened, Rows, Singles
from visutility.monitor.state import Floats, Ints, put, take
from visutility.monitor.universal import EProcessState
from visutility.monitor.verdicts import Verdict

Look = Callable[[EProcessState, Ints], list[Verdict]]  # rows that have just taken a block that ended at these positions
Flags = NDArray[np.uint8]
_SHIFT = 5  # 2^5 values to a block
_PIECE = 65_536  # blocks at a time: what is noted of them stays in the cache
_ROWS = 32_768  # rows at a time: what is worked out for each stays in the cache


class Blocks(NamedTuple):
    """Closed blocks, each row's in order, with their places in the batch."""

    rows: Rows
    sums: Singles
    places: Ints

    def some(self, which: Rows | slice) -> "Blocks":
        """Return some of them."""
        return Blocks(self.rows[which], self.sums[which], self.places[which])


class Sums(NamedTuple):
    """The sums of the next k values of every stream, up to where blocks end: `each` of every stream, or `counts`."""

    closed: Singles  # stream by stream, each one's in order
    opened: Singles  # (s,) of the values that follow; empty where there are none
    each: int
    counts: Ints  # (s,); empty where all streams fill equally many blocks

    @property
    def starts(self) -> Ints:
        """Where each stream's blocks start in `closed`, (s,)."""
        return np.cumsum(self.counts) - self.counts


def dense(
    loops: Loops, work: EProcessState, units: Singles, least: np.float32, look: Look
) -> tuple[list[Verdict], Floats]:
    """Take the next k values of every stream, (s, k), in [0, 1]; the alarms in order of arrival, and all scores.

    `look` is asked about rows whose winnings reach `least` or whose rate is due. Raises `InvalidObservation`.
    """
    streams, k = units.shape
    sums, scores = _sums(loops, work, units), np.empty(streams)
    if len(sums.closed) == 0:
        _hold(loops, work, sums.opened, k, scores)
        return [], scores

    def ends(blocks: Blocks) -> Ints:
        rows = blocks.rows.astype(np.int64)
        starts = sums.starts[rows] if len(sums.counts) else rows * sums.each
        whole: Ints = (work.seen[rows] - k) >> _SHIFT
        return (whole + blocks.places - starts + 1) * BLOCK - 1

    special, later = _step(loops, work, sums, k, least, scores)
    found, touched = _settle(loops, work, special, later, ends, least, look)
    if len(touched):
        anew = np.empty(len(touched))
        loops.scores(np.take(work.wealth, touched, axis=1), 0, np.exp(-work.regret[touched]), anew)
        scores[touched] = anew
    return sorted(found, key=lambda one: (one.position + k - int(work.seen[one.stream]), one.stream)), scores


def ragged(
    loops: Loops, work: EProcessState, units: Singles, ids: Ints, least: np.float32, look: Look
) -> tuple[list[Verdict], Floats]:
    """Do what `dense` does for values (n,) in order of arrival, of the streams `ids` (n,)."""
    streams, n, closed = len(work.seen), len(units), -2
    most = min(n, n // BLOCK + streams + AHEAD)
    rows, sums, shift = np.empty(most, np.uint32), np.empty(most, np.float32), WHOLE
    opened: Opened = np.empty(0, np.uint16)
    if np.isin(units[:AHEAD], (0.0, 1.0)).all():  # then most likely all are, and open blocks take half the memory
        opened = np.empty(streams, np.uint16)
        closed, _ = loops.ragged(units, ids, work.seen, work.part, shift, opened, rows, sums)
    if closed == -2:
        opened, shift = np.empty(streams, np.uint32), 0
        closed, _ = loops.ragged(units, ids, work.seen, work.part, shift, opened, rows, sums)
    _check(closed >= 0)
    order = _by_row(rows[:closed], streams)
    blocks = Blocks(rows[order], sums[order], order)
    last = np.empty(closed, np.int64)
    loops.close(blocks.rows, shift, opened, work.seen, work.part, last)
    ends = np.empty(closed, np.int64)
    ends[order] = last
    special, later = _bet(loops, work, blocks, least, np.zeros(streams, np.uint8))
    found, _ = _settle(loops, work, special, later, lambda some: ends[some.places], least, look)
    scores = np.empty(streams)
    for first in range(0, streams, _ROWS):
        _score(loops, work, slice(first, min(first + _ROWS, streams)), scores)
    return found, scores


def _by_row(rows: Rows, streams: int) -> Ints:
    """Return the order in which neighbours in memory come together, and blocks of one row stay in order."""
    near = (rows >> np.uint32(max(0, streams.bit_length() - 16))).astype(np.uint16)
    return np.argsort(near, kind="stable")  # by radix, as every sort of 16 bits


def _sums(loops: Loops, work: EProcessState, units: Singles) -> Sums:
    streams, k = units.shape
    fill, none = loops.fill(work.seen), np.empty(0, np.float32)
    equal = np.empty(0, np.int64)
    if fill >= 0 and fill + k <= BLOCK:
        total = np.empty(streams, np.float32)
        _check((loops.sixteens if k == 16 else loops.pieces)(units, total))
        return Sums(total, none, 1, equal) if fill + k == BLOCK else Sums(none, total, 0, equal)
    if fill == 0 and k % BLOCK == 0:
        closed = np.empty(units.size // BLOCK, np.float32)
        _check(loops.pieces(units.reshape(-1, BLOCK), closed))
        return Sums(closed, none, k // BLOCK, equal)
    counts = ((work.seen & (BLOCK - 1)) + k) >> _SHIFT
    closed, opened = np.empty(int(counts.sum()), np.float32), np.empty(streams, np.float32)
    _check(loops.rows(units, work.seen, closed, opened))
    return Sums(closed, opened, (fill + k) // BLOCK, equal) if fill >= 0 else Sums(closed, opened, 0, counts)


def _check(fit: bool) -> None:
    if not fit:
        raise InvalidObservation("a value is not in range", hint="leave it out, or say low and high")


def _hold(loops: Loops, work: EProcessState, opened: Singles, k: int, scores: Floats) -> None:
    """Take k values of every stream that end no block."""
    for first in range(0, len(scores), _ROWS):
        rows = slice(first, min(first + _ROWS, len(scores)))
        work.seen[rows] += k
        work.part[rows] += opened[rows]
        _score(loops, work, rows, scores)


def _step(
    loops: Loops, work: EProcessState, sums: Sums, k: int, least: np.float32, scores: Floats
) -> tuple[list[Blocks], list[Blocks]]:
    """Take k values of every stream; the blocks after which a row has to be looked at, and those that have to wait."""
    special: list[Blocks] = []
    later: list[Blocks] = []
    table, done = _factors(), 0
    most = max(1, int(sums.counts.max()) if len(sums.counts) else sums.each)
    step = min(_ROWS, max(1, _PIECE // most))
    for first in range(0, len(scores), step):
        rows = slice(first, min(first + step, len(scores)))
        counts = sums.counts[rows]
        size = int(counts.sum()) if len(counts) else sums.each * (rows.stop - first)
        closed, opened = sums.closed[done : done + size], sums.opened[rows]
        noted, left = np.empty(size, np.uint32), np.empty(size, np.uint32)
        columns = (work.seen, work.part, work.total, work.blocks, work.due)
        these = (*(column[rows] for column in columns), _worth(work, rows), scores[rows])
        given = (k, sums.each, counts, closed, opened, table, least)
        found = loops.step(first, *given, work.wealth, work.scale, these, noted, left)
        for blocks, places, number in zip((special, later), (noted, left), found, strict=True):
            if number:
                at = places[:number].astype(np.int64)
                named = np.repeat(np.arange(first, rows.stop), counts)[at] if len(counts) else at // sums.each + first
                blocks.append(Blocks(named.astype(np.uint32), closed[at], at + done))
        done += size
    return special, later


def _bet(
    loops: Loops, work: EProcessState, blocks: Blocks, least: np.float32, waiting: Flags
) -> tuple[list[Blocks], list[Blocks]]:
    """Do what `_step` does for closed blocks, in whatever order the rows come."""
    special: list[Blocks] = []
    later: list[Blocks] = []
    table, columns = _factors(), (work.wealth, work.scale, work.total, work.blocks, work.due)
    noted, left = np.empty(_PIECE, np.uint32), np.empty(_PIECE, np.uint32)
    for first in range(0, len(blocks.rows), _PIECE):
        some = blocks.some(slice(first, first + _PIECE))
        found = loops.bet(some.rows, some.sums, table, least, waiting, *columns, noted, left)
        for group, places, number in zip((special, later), (noted, left), found, strict=True):
            if number:
                group.append(some.some(places[:number]))
    return special, later


def _settle(
    loops: Loops,
    work: EProcessState,
    special: list[Blocks],
    later: list[Blocks],
    ends: Callable[[Blocks], Ints],
    least: np.float32,
    look: Look,
) -> tuple[list[Verdict], Ints]:
    """Look at the rows that have to be, then take the blocks that waited for it, and so on.

    Returns the alarms in the order of the blocks, and the rows looked at. `ends` gives the last positions of blocks.
    """
    found: list[tuple[int, Verdict]] = []
    touched = [np.empty(0, np.int64)]
    while special:
        blocks = _joined(special)
        chosen = blocks.rows.astype(np.int64)
        part = take(work, chosen)
        said = look(part, ends(blocks))
        put(work, chosen, part)
        found += [(int(blocks.places[v.stream]), v._replace(stream=int(chosen[v.stream]))) for v in said]
        touched.append(chosen)
        if not later:
            break
        special, later = _bet(loops, work, _joined(later), least, np.zeros(len(work.seen), np.uint8))
    return [verdict for _, verdict in sorted(found, key=lambda one: one[0])], np.concatenate(touched)


def _joined(some: Iterable[Blocks]) -> Blocks:
    rows, sums, places = zip(*some, strict=True)
    return Blocks(np.concatenate(rows), np.concatenate(sums), np.concatenate(places))


def _score(loops: Loops, work: EProcessState, rows: slice, scores: Floats) -> None:
    """Write the scores of rows that follow each other."""
    loops.scores(work.wealth, rows.start, _worth(work, rows), scores[rows])


def _worth(work: EProcessState, rows: slice) -> Singles:
    """Return exp(-regret)."""
    worth: Singles = np.negative(work.regret[rows])
    np.exp(worth, out=worth)
    return worth


@cache
def _factors() -> Singles:
    """Return exp(tilt S) of the smallest tilt for every sum S that a block can have."""
    factors = np.arange(BLOCK / GRID + 1, dtype=np.float32) * np.float32(GRID)
    factors *= universal.TILT
    np.exp(factors, out=factors)
    return factors
