"""How `eprocess` takes batches of many values through the compiled loops: the same verdicts and states, to the bit."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from visutility.core.errors import InvalidObservation
from visutility.monitor import universal
from visutility.monitor.loops import BLOCK, Loops, Rows, Singles
from visutility.monitor.state import Ints, put, take
from visutility.monitor.universal import EProcessState
from visutility.monitor.verdicts import Verdict

Look = Callable[[EProcessState, Ints], list[Verdict]]  # rows that have just taken a block that ended at these positions
_SHIFT = 5  # 2^5 values to a block
_PIECE = 65_536  # blocks at a time: what is noted of them stays in the cache


class Piece(NamedTuple):
    """Closed blocks: `each` of every one of these rows, which may come again; their sums and places in the batch."""

    rows: Rows
    sums: Singles
    each: int = 1
    first: int = 0
    places: Ints | None = None  # where they do not follow each other from `first` on

    def take(self, which: Rows) -> tuple[Rows, Singles, Ints]:
        """Return rows, sums and places of some of the blocks."""
        at = which.astype(np.int64)
        places = at + self.first if self.places is None else self.places[at]
        return self.rows[at // self.each], self.sums[at], places


def dense(loops: Loops, work: EProcessState, units: Singles, least: np.float32, look: Look) -> list[Verdict]:
    """Take the next k values of every stream, (s, k), in [0, 1]; the alarms in order of arrival.

    `look` is asked about rows whose winnings reach `least` or whose rate is due. Raises `InvalidObservation`.
    """
    streams, k = units.shape
    sums, after, counts = _sums(loops, work, units)
    most = len(sums) // streams if counts is None else int(counts.max())
    work.part[:] = after
    work.seen[:] += k
    if most == 0:
        return []

    def pieces() -> Iterator[Piece]:
        done, step = 0, max(1, _PIECE // most)
        for first in range(0, streams, step):
            rows = np.arange(first, min(first + step, streams), dtype=np.uint32)
            if counts is not None:
                rows = np.repeat(rows, counts[first : first + step])
            each = most if counts is None else 1
            yield Piece(rows, sums[done : done + len(rows) * each], each, done)
            done += len(rows) * each

    def ends(places: Ints, rows: Ints) -> Ints:
        starts: Ints = rows * most if counts is None else (np.cumsum(counts) - counts)[rows]
        whole: Ints = (work.seen[rows] - k) >> _SHIFT
        return (whole + places - starts + 1) * BLOCK - 1

    found = _bet(loops, work, pieces(), ends, least, look)
    return sorted(found, key=lambda one: (one.position + k - int(work.seen[one.stream]), one.stream))


def ragged(
    loops: Loops, work: EProcessState, units: Singles, ids: Ints, least: np.float32, look: Look
) -> list[Verdict]:
    """Do what `dense` does for values (n,) in order of arrival, of the streams `ids` (n,)."""
    most = min(len(units), len(units) // BLOCK + len(work.seen))
    rows, sums, last = np.empty(most, np.uint32), np.empty(most, np.float32), np.empty(most, np.int64)
    closed = loops.ragged(units, ids, work.seen, work.part, rows, sums, last)
    _check(closed >= 0)
    pieces = [Piece(rows[:closed], sums[:closed])]
    return _bet(loops, work, pieces, lambda places, _: last[places], least, look)


def _sums(loops: Loops, work: EProcessState, units: Singles) -> tuple[Singles, Singles, Ints | None]:
    """Return the sums of the blocks that (s, k) values fill, stream by stream, and of those left open, (s,).

    Third, how many blocks each stream fills, where these are not all equally many.
    """
    streams, k = units.shape
    fill = loops.fill(work.seen)
    if fill >= 0 and fill + k <= BLOCK:
        total = np.empty(streams, np.float32)
        _check(loops.pieces(units, total))
        total += work.part
        return (total, np.zeros(streams, np.float32), None) if fill + k == BLOCK else (total[:0], total, None)
    if fill == 0 and k % BLOCK == 0:
        sums = np.empty(units.size // BLOCK, np.float32)
        _check(loops.pieces(units.reshape(-1, BLOCK), sums))
        return sums, work.part, None
    counts = ((work.seen & (BLOCK - 1)) + k) >> _SHIFT
    sums, after = np.empty(int(counts.sum()), np.float32), np.empty(streams, np.float32)
    _check(loops.rows(units, work.seen, work.part, sums, after))
    return sums, after, None if fill >= 0 else counts


def _check(fit: bool) -> None:
    if not fit:
        raise InvalidObservation("a value is not in range", hint="leave it out, or say low and high")


def _bet(
    loops: Loops,
    work: EProcessState,
    pieces: Iterable[Piece],
    ends: Callable[[Ints, Ints], Ints],
    least: np.float32,
    look: Look,
) -> list[Verdict]:
    """Take closed blocks, each row's in order; the alarms in the order of the blocks.

    `ends` gives the last positions of blocks by their places and rows. Rows that have to be looked at wait until all
    others have taken their blocks, and are then looked at together.
    """
    found: list[tuple[int, Verdict]] = []
    waiting = np.zeros(len(work.seen), np.uint8)
    columns = (work.wealth, work.scale, work.total, work.blocks, work.due)
    while True:
        special, later = [], []
        for piece in pieces:
            factor = np.multiply(piece.sums, universal.TILT)
            np.exp(factor, out=factor)
            noted, left = np.empty(len(factor), np.uint32), np.empty(len(factor), np.uint32)
            a, b = loops.bet(piece.rows, piece.each, piece.sums, factor, least, waiting, *columns, noted, left)
            special.append(piece.take(noted[:a]))
            later.append(piece.take(left[:b]))
        rows, _, at = _joined(special)
        if len(rows):
            chosen = rows.astype(np.int64)
            part = take(work, chosen)
            said = look(part, ends(at, chosen))
            put(work, chosen, part)
            waiting[chosen] = 0
            found += [(int(at[v.stream]), v._replace(stream=int(chosen[v.stream]))) for v in said]
        rows, sums, places = _joined(later)
        if len(rows) == 0:
            return [verdict for _, verdict in sorted(found, key=lambda one: one[0])]
        pieces = [Piece(rows, sums, places=places)]


def _joined(some: list[tuple[Rows, Singles, Ints]]) -> tuple[Rows, Singles, Ints]:
    rows, sums, places = zip(*some, strict=True)
    return np.concatenate(rows), np.concatenate(sums), np.concatenate(places)
