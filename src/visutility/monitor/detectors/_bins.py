"""Ranks of values among all that came before, from bounded memory.

The first 96 values of a stream become the edges of 97 bins, and later values are counted in them. If the values are
independent draws from one distribution without ties, the shares of the bins are what uniform spacings are,
Dirichlet(1, …, 1), so that given the bins of the past the next value falls in a bin with c values with probability
(c + 1) / (n + 1), n being all values so far: exactly, whatever the distribution. That is Pólya's urn (Blackwell &
MacQueen 1973), and Bayes' rule with Hill's A(n) for a prior. Tied values are put in order by a fixed pseudo-random
number of their position; bins whose two edges are the same value are counted as one.
"""

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.state import Bools, Floats, Ints

EDGES = 96
FULL = 2**32 - 2  # values counted; the counts stand still after that


def ties_of(position: Ints) -> NDArray[np.uint16]:
    """Return the number that orders a value among equal ones, of its position in the baseline: SplitMix64."""
    z = (position.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(48)).astype(np.uint16)


def edges_of(values: Floats) -> tuple[Floats, NDArray[np.uint16], NDArray[np.uint32]]:
    """Return edges, their ties and how many of the values + 1 lie below each; all (96, s), of values (96, s)."""
    at = np.arange(len(values))[:, None]
    ties = np.broadcast_to(ties_of(at), values.shape)
    order = np.lexsort((ties, values), axis=0)
    edges, ties = np.take_along_axis(values, order, axis=0), np.take_along_axis(ties, order, axis=0)
    below = np.broadcast_to(at + 1, values.shape)
    new = np.ones((1, values.shape[1]), np.bool_)
    same: Bools = edges[1:] == edges[:-1]
    first = np.concatenate((new, ~same))
    inner = ~first & ~np.concatenate((~same, new))
    start = np.maximum.accumulate(np.where(first, at, 0), axis=0)
    ties = np.where(inner, np.take_along_axis(ties, start, axis=0), ties)
    return edges, ties, np.where(inner, np.take_along_axis(below, start, axis=0), below).astype(np.uint32)


def rank_step(
    edges: Floats, ties: NDArray[np.uint16], below: NDArray[np.uint32], count: Ints, values: Floats
) -> tuple[Ints, Ints]:
    """Return what lies below and not above each stream's value, of count + 1; counts the values into `below`.

    Shapes: (96, s) and (s,). The value's rank is anywhere between the two.
    """
    less = values < edges
    same = values == edges
    if same.any():
        less |= same & (ties_of(count) < ties)
    index = EDGES - np.add.reduce(less, axis=0, dtype=np.int64)
    row = np.arange(len(values))
    low = np.where(index > 0, below[index - 1, row], 0)
    high = np.where(index < EDGES, below[np.minimum(index, EDGES - 1), row], count + 1)
    if count.max() >= FULL:
        less &= count < FULL
    below += less
    return low.astype(np.int64), high.astype(np.int64)


def bins(edges: Floats, ties: NDArray[np.uint16], count: int, values: Floats) -> Ints:
    """Return the bin, 0 to 96, of each of one stream's next values, shape (k,); edges and ties (96,)."""
    first = np.searchsorted(edges, values, side="left")
    last = np.searchsorted(edges, values, side="right")
    tied = np.flatnonzero(first < last)
    found = last.astype(np.int64)
    if len(tied):
        mine, low, high = ties_of(count + tied), first[tied], last[tied]
        found[tied] = np.where(mine < ties[low], low, np.where(mine < ties[high - 1], high - 1, high))
    return found


def rank_run(below: NDArray[np.uint32], count: int, found: Ints) -> tuple[Ints, Ints]:
    """Return what `rank_step` does for one stream's next values in these bins; counts nothing."""
    padded = np.concatenate((np.zeros(1, np.int64), below.astype(np.int64), np.zeros(1, np.int64)))
    earlier = np.tri(len(found), k=-1, dtype=np.bool_)
    low = padded[found] + np.add.reduce(earlier & (found < found[:, None]), axis=1, dtype=np.int64)
    high = padded[found + 1] + np.add.reduce(earlier & (found <= found[:, None]), axis=1, dtype=np.int64)
    top = found == EDGES
    high[top] = count + 1 + np.flatnonzero(top)
    return low, high


def tally(below: NDArray[np.uint32], count: int, found: Ints) -> None:
    """Count one stream's values in these bins into `below`, in place."""
    room = max(min(len(found), FULL - count), 0)
    below += np.cumsum(np.bincount(found[:room], minlength=EDGES + 1))[:EDGES].astype(np.uint32)


def quantile(edges: Floats, below: NDArray[np.uint32], count: int, share: float) -> float:
    """Return the least edge of one stream that this share of its baseline lies below; the last edge if none is."""
    at = int(np.searchsorted(below, share * (min(count, FULL) + 1), side="left"))
    return float(edges[min(at, EDGES - 1)])
