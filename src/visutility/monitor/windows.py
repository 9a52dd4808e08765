"""How a batch of interleaved streams becomes dense blocks, whatever its cut."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from visutility.monitor.state import Floats, Ints


@dataclass(frozen=True, slots=True)
class Lanes:
    """One lane per stream that a batch touches, the longest lane first.

    `rows` (a,) names the stream of each lane, `counts` (a,) how many values it has, in falling order; `order` (n,)
    lists the batch's indices lane after lane, each lane in arrival order, and `starts` (a,) where each lane begins.
    """

    rows: Ints
    counts: Ints
    starts: Ints
    order: Ints

    @classmethod
    def of(cls, ids: Ints) -> "Lanes":
        """Sort a batch by stream, keeping arrival order within each. O(n log n)."""
        by_stream = np.argsort(ids, kind="stable").astype(np.int64, copy=False)
        rows, firsts, counts = np.unique(ids[by_stream], return_index=True, return_counts=True)
        longest = np.argsort(-counts, kind="stable")
        return cls(
            rows[longest].astype(np.int64, copy=False),
            counts[longest].astype(np.int64, copy=False),
            firsts[longest].astype(np.int64, copy=False),
            by_stream,
        )

    def blocks(self) -> Iterator[Ints]:
        """Yield indices into the batch, shape (k, a): k steps of the first `a` lanes, until all are spent.

        There are as many blocks as distinct lane lengths, so that a dense batch is one block.
        """
        first = 0
        for last in np.unique(self.counts).tolist():
            active = int(np.searchsorted(-self.counts, -last, side="right"))
            yield self.order[self.starts[:active] + np.arange(first, last)[:, None]]
            first = last


def growing(n: int, least: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield [first, last) pieces of n values, each twice as long as the one before until `most`.

    Work done in vain beyond a verdict stays in proportion to what led up to it.
    """
    first = 0
    while first < n:
        last = min(first + least, n)
        yield first, last
        first, least = last, min(2 * least, most)


def sum_rows(parts: Floats) -> Floats:
    """Return the sum over the first axis, added strictly in order.

    `numpy.sum` adds in an order that depends on the shape, so that one stream alone could differ in the last bit
    from the same stream in a fleet.
    """
    total: Floats = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total
