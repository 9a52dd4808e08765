"""Ranks of values among all that came before, from bounded memory.

The first 96 values of a stream become the edges of 97 bins, and later values are counted in them. If the values are
independent draws from one distribution without ties, the shares of the bins are what uniform spacings are,
Dirichlet(1, …, 1), so that given the bins of the past the next value falls in a bin with c values with probability
(c + 1) / (n + 1), n being all values so far: exactly, whatever the distribution. That is Pólya's urn (Blackwell &
MacQueen 1973), and Bayes' rule with Hill's A(n) for a prior.

Ties are put in no order. A value that is there twice or more among the edges is a bin of its own, and its rank is
anywhere from the number of values below it to that of those not above it, the new one included (the smoothed rank of
Vovk, Gammerman & Shafer 2005): a constant stream has ranks from 0 to 1. Any other edge belongs to the bin below it.
"""

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.state import Bools, Floats, Ints, agree

EDGES = 96
FULL = 2**32 - 2  # values counted; the counts stand still after that
_LEAST = float(np.finfo(np.float64).tiny)


def edges_of(values: Floats) -> tuple[Floats, NDArray[np.uint32]]:
    """Return edges and how many of the values + 1 lie below each; both (96, s), of values (96, s).

    A value lies below an edge when it is less. So that an edge's own value does, the edge is the next larger number;
    of equal ones all but the last are left as they are, and the value's own bin lies between the two. No edge is
    subnormal, which a processor may be told to take for 0.
    """
    edges = np.sort(np.where(np.abs(values) < _LEAST, 0.0, values), axis=0)
    at = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    new = np.ones((1, values.shape[1]), np.bool_)
    differs: Bools = edges[1:] != edges[:-1]
    first, last = np.concatenate((new, differs)), np.concatenate((differs, new))
    start = np.maximum.accumulate(np.where(first, at, 0), axis=0)
    return np.where(last, _above(edges), edges), (np.where(last, at, start) + 1).astype(np.uint32)


def check_bins(edges: Floats, below: NDArray[np.uint32], count: Ints) -> None:
    """Raise `Invalid` where `edges_of` and `rank_step` come to no such edges and counts; all (96, s) but `count` (s,).

    Counts rise from edge to edge, and stay the same at most between equal ones.
    """
    there = count >= EDGES
    if not there.all():
        agree(np.isfinite(edges) | there, "values that are not finite")
        edges, below, count = edges[:, there], below[:, there], count[there]
    agree(edges[0] > -np.inf, "values that are not finite")
    agree((below[0] > 0) & (below[-1] <= count), "ranks of more values than there were")
    rises: Bools = below[1:] > below[:-1]
    if not rises.all():
        rises |= (below[1:] == below[:-1]) & (edges[1:] == edges[:-1])
    agree(rises & (edges[1:] >= edges[:-1]), "edges or ranks out of order")


def _above(values: Floats) -> Floats:
    """Return the next larger numbers that are not subnormal."""
    with np.errstate(over="ignore"):  # above the largest number is infinity
        above = np.nextafter(values, np.inf)
    return np.where(np.abs(above) < _LEAST, np.where(values < 0.0, 0.0, _LEAST), above)


def rank_step(edges: Floats, below: NDArray[np.uint32], count: Ints, values: Floats) -> tuple[Ints, Ints]:
    """Return what lies below and not above each stream's value, of count + 1; counts the values into `below`.

    Shapes: (96, s) and (s,). The value's rank is anywhere between the two.
    """
    less = values < edges
    index = EDGES - np.add.reduce(less, axis=0, dtype=np.int64)
    row = np.arange(len(values))
    alone = (edges[index - 1, row] == values) & (index < EDGES)
    low = np.where(index > 0, below[index - 1, row], 0)
    high = np.where(index < EDGES, below[np.minimum(index, EDGES - 1), row], count + 1)
    if count.max() >= FULL:
        less &= count < FULL
    below += less
    return low.astype(np.int64) - alone, high.astype(np.int64) + alone


def bins(edges: Floats, values: Floats) -> tuple[Ints, Bools]:
    """Return the bin, 0 to 96, of each of one stream's values, shape (k,), and whether it is of that value alone."""
    found = np.searchsorted(edges, values, side="right").astype(np.int64)
    return found, (edges[found - 1] == values) & (found < EDGES)


def rank_run(below: NDArray[np.uint32], count: int, found: Ints, alone: Bools) -> tuple[Ints, Ints]:
    """Return what `rank_step` does for one stream's next values in these bins; counts nothing."""
    padded = np.concatenate((np.zeros(1, np.int64), below.astype(np.int64), np.zeros(1, np.int64)))
    earlier = np.tri(len(found), k=-1, dtype=np.bool_)
    low = padded[found] + np.add.reduce(earlier & (found < found[:, None]), axis=1, dtype=np.int64)
    high = padded[found + 1] + np.add.reduce(earlier & (found <= found[:, None]), axis=1, dtype=np.int64)
    top = found == EDGES
    high[top] = count + 1 + np.flatnonzero(top)
    return low - alone, high + alone


def tally(below: NDArray[np.uint32], count: int, found: Ints) -> None:
    """Count one stream's values in these bins into `below`, in place."""
    room = max(min(len(found), FULL - count), 0)
    below += np.cumsum(np.bincount(found[:room], minlength=EDGES + 1))[:EDGES].astype(np.uint32)


def quantile(edges: Floats, below: NDArray[np.uint32], count: int, share: float) -> float:
    """Return the least edge of one stream that this share of its baseline lies below; the last edge if none is."""
    at = min(int(np.searchsorted(below, share * (min(count, FULL) + 1), side="left")), EDGES - 1)
    edge = float(edges[at])
    if at < EDGES - 1 and float(edges[at + 1]) <= float(_above(edges[at])):
        return edge  # the first of equal ones
    return 0.0 if edge == _LEAST else float(np.nextafter(edge, -np.inf))
