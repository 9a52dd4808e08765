"""What is kept of one column: counts in fixed bins or per label, and a few moments. Bounded, mergeable, exact to save.

Counts are exact, whatever the cut into batches; means and variances are exact up to rounding; the number of
different values is an estimate from the least hashes (Bar-Yossef et al. 2002), exact up to 256.
"""

import math
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visutility.core import codec
from visutility.core.errors import Invalid
from visutility.monitor.drift.tables import Labels
from visutility.monitor.state import Floats, Ints

Hashes = NDArray[np.uint64]
BINS = 256  # bins of equal share that a numeric column is cut into
LARGEST = float(np.finfo(np.float64).max)
KEPT = 256  # least hashes kept for the number of different values
LABELS = 4096  # labels counted one by one; later ones are counted per bucket
BUCKETS = 256
_ODD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def _no_hashes(n: int = 0) -> Hashes:
    return np.zeros(n, np.uint64)


@dataclass
class NumberSketch:
    """Numbers: counts between edges, moments, range. `edges` is None until the first finite value is seen.

    `below` (e,) counts the finite values below each edge; `n` all finite ones; `low`, `high`, `mean` and `m2` (the sum
    of squared deviations) are of the finite values and mean nothing while n is 0. `nulls` are missing values and NaN.
    A fresh sketch of a current window has `guards`: the range of the reference window, and that range widened by
    its own width on both sides; `beyond` counts the values below each of the four, in rising order.
    """

    edges: Floats | None = None
    below: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    n: int = 0
    nulls: int = 0
    infinite: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    m2: float = 0.0
    least: Hashes = field(default_factory=_no_hashes)
    guards: Floats = field(default_factory=lambda: np.empty(0))
    beyond: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def counts(self) -> Ints:
        """Finite values per bin, shape (e + 1,): below the first edge, …, from the last edge on."""
        return np.diff(self.below, prepend=0, append=self.n)

    @property
    def size(self) -> int:
        """All values, missing and infinite ones included."""
        return self.n + self.nulls + self.infinite

    @property
    def distinct(self) -> float:
        """Different finite values: exact below 256, an estimate (standard error 6 %) above."""
        return distinct(self.least)

    @property
    def sd(self) -> float:
        """Standard deviation of the finite values; 0 for fewer than two."""
        return math.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else 0.0

    def learn(self, sample: Floats) -> None:
        """Choose the edges from a sample: quantiles, or each different value where there are at most 256."""
        if self.edges is None and len(finite := np.sort(sample[np.isfinite(sample)])):
            self.edges = edges_of(finite)
            self.below = np.zeros(len(self.edges), np.int64)

    def fresh(self) -> "NumberSketch":
        """Return an empty sketch with the same edges, guarded by the range of this one."""
        guards = self.guards
        if self.n:
            wide, above = self.high - self.low, math.nextafter(self.high, math.inf)
            guards = np.array([self.low - wide, self.low, above, max(above, self.high + wide)])
        return NumberSketch(
            self.edges, np.zeros_like(self.below), guards=guards, beyond=np.zeros(len(guards), np.int64)
        )

    def fits(self, other: "NumberSketch") -> bool:
        """Return whether the counts of both are in the same bins; without a finite value any bins do."""
        if self.edges is None or other.edges is None:
            return True
        return np.array_equal(self.edges, other.edges)

    def outside(self) -> tuple[int, int]:
        """Return how many values lie outside the guarded range, and how many farther out than it is wide."""
        if not len(self.guards):
            return 0, 0
        far_below, below, above, far_above = self.beyond.tolist()
        return below + self.n - above, far_below + self.n - far_above

    def update(self, values: Floats, hashes: Hashes, spare: Floats) -> None:
        """Count the values (n,), which are sorted in place; `hashes` are theirs, `spare` (n,) is written over."""
        self.learn(values)
        missing = int(np.count_nonzero(np.isnan(values)))
        hashes = hashes[hashes != _HASHED_NAN] if missing else hashes
        self.least = least(self.least, hashes)
        values.sort()  # NaN last
        there = values[: len(values) - missing]
        if len(there) and (there[0] == -math.inf or there[-1] == math.inf):
            start, stop = np.searchsorted(there, -math.inf, "right"), np.searchsorted(there, math.inf, "left")
            self.infinite += len(there) - int(stop - start)
            there = there[start:stop]
        self.nulls += missing
        if not len(there) or self.edges is None:
            return
        self.below += np.searchsorted(there, self.edges)
        self.beyond += np.searchsorted(there, self.guards)
        mean = float(there.mean())
        deviations = np.subtract(there, mean, out=spare[: len(there)])
        np.multiply(deviations, deviations, out=deviations)
        self._moments(len(there), float(there[0]), float(there[-1]), mean, float(deviations.sum()))

    def _moments(self, n: int, low: float, high: float, mean: float, m2: float) -> None:
        """Take in the moments of n more values. Chan, Golub & LeVeque (1979), equations 1.5."""
        whole = self.n + n
        apart = mean - self.mean
        self.m2 += m2 + apart * apart * self.n * n / whole
        self.mean += apart * n / whole
        self.n, self.low, self.high = whole, min(self.low, low), max(self.high, high)

    def merge(self, other: "NumberSketch") -> "NumberSketch":
        """Return the sketch of both. Raises `Invalid` when their edges differ."""
        first, second = (other, self) if self.edges is None else (self, other)  # without edges nothing was counted
        both = replace(first, least=least(first.least, second.least))
        if first.edges is not None and second.edges is not None:
            if not (first.fits(second) and np.array_equal(first.guards, second.guards)):
                raise Invalid("sketches with other edges do not merge", hint="start both from one sketch, by fresh()")
            both.below, both.beyond = first.below + second.below, first.beyond + second.beyond
        both.nulls += second.nulls
        both.infinite += second.infinite
        if second.n:
            both._moments(second.n, second.low, second.high, second.mean, second.m2)
        return both

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it as arrays, for `of_arrays`."""
        numbers = np.array([self.low, self.high, self.mean, self.m2])
        edges = np.empty(0) if self.edges is None else self.edges
        whole = np.array([self.n, self.nulls, self.infinite], np.int64)
        return {"edges": edges, "below": self.below, "whole": whole, "numbers": numbers, "least": self.least} | {
            "guards": self.guards,
            "beyond": self.beyond,
        }

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "NumberSketch":
        """Return the sketch that `arrays` was called on."""
        n, nulls, infinite = arrays["whole"].tolist()
        edges = arrays["edges"] if len(arrays["edges"]) else None
        return cls(
            edges,
            arrays["below"],
            n,
            nulls,
            infinite,
            *arrays["numbers"].tolist(),
            *(arrays[part] for part in ("least", "guards", "beyond")),
        )


@dataclass
class LabelSketch:
    """Labels: counts of the first 4,096 different ones; later ones are counted in 256 buckets by their hash."""

    counts: dict[str, int] = field(default_factory=dict)
    buckets: Ints = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    nulls: int = 0
    least: Hashes = field(default_factory=_no_hashes)

    @property
    def n(self) -> int:
        """Values that are there."""
        return sum(self.counts.values()) + int(self.buckets.sum())

    @property
    def size(self) -> int:
        """All values, missing ones included."""
        return self.n + self.nulls

    @property
    def distinct(self) -> float:
        """Different labels: exact below 256, an estimate (standard error 6 %) above."""
        return distinct(self.least)

    @property
    def whole(self) -> bool:
        """Whether every label that was seen is counted by itself."""
        return not self.buckets.any()

    def fresh(self) -> "LabelSketch":
        """Return an empty sketch that counts the same labels."""
        return LabelSketch(dict.fromkeys(self.counts, 0))

    def update(self, labels: Labels, hashes: Hashes) -> None:
        """Count the labels; `hashes` are those of its names."""
        counted = np.bincount(labels.codes + 1, minlength=len(labels.names) + 1)
        self.nulls += int(counted[0])
        self.least = least(self.least, hashes[counted[1:] > 0])
        for name, count in zip(labels.names, counted[1:].tolist(), strict=True):
            if count:
                self._count(name, count)

    def _count(self, name: str, count: int) -> None:
        if name in self.counts or len(self.counts) < LABELS:
            self.counts[name] = self.counts.get(name, 0) + count
        else:
            self.buckets[bucket(name)] += count

    def merge(self, other: "LabelSketch") -> "LabelSketch":
        """Return the sketch of both."""
        both = LabelSketch({}, self.buckets + other.buckets, self.nulls + other.nulls, least(self.least, other.least))
        for name in dict.fromkeys([*self.counts, *other.counts]):
            known = (name in self.counts or self.whole) and (name in other.counts or other.whole)
            count = self.counts.get(name, 0) + other.counts.get(name, 0)
            if known:
                both._count(name, count)
            else:
                both.buckets[bucket(name)] += count
        return both

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it as arrays, for `of_arrays`."""
        names = np.frombuffer(codec.dumps(list(self.counts)).encode(), np.uint8)
        counts = np.array(list(self.counts.values()), np.int64)
        nulls = np.array([self.nulls], np.int64)
        return {"names": names, "counts": counts, "buckets": self.buckets, "nulls": nulls, "least": self.least}

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "LabelSketch":
        """Return the sketch that `arrays` was called on."""
        counts = dict(zip(codec.loads(arrays["names"].tobytes()), arrays["counts"].tolist(), strict=True))
        return cls(counts, arrays["buckets"], int(arrays["nulls"][0]), arrays["least"])


def edges_of(finite: Floats) -> Floats:
    """Return rising edges for a sorted sample: its quantiles; a value that repeats much has its own bin."""
    values = different(finite)
    if len(values) <= BINS:
        return np.unique(np.concatenate((values, _after(values))))
    at = (np.arange(1, BINS) * len(finite)) // BINS
    cuts, repeats = np.unique(finite[at], return_counts=True)
    return np.unique(np.concatenate((cuts, _after(cuts[repeats > 1]))))


def _after(values: Floats) -> Floats:
    """Return the next larger number of each; the largest there is has none."""
    return np.nextafter(values[values < LARGEST], math.inf)


def hash_numbers(values: Floats, out: Hashes, spare: Hashes) -> Hashes:
    """Return the hashes of numbers (n,), in `out`: equal for equal numbers, zero and minus zero included."""
    np.add(values, 0.0, out=out.view(np.float64))
    out *= _ODD
    np.right_shift(out, _HALF, out=spare)
    out ^= spare
    out *= _MIX
    return out


def hash_labels(names: tuple[str, ...]) -> Hashes:
    """Return the hashes of texts, the same in every process."""
    coded = [name.encode() for name in names]
    sums = [zlib.crc32(text) << 32 | zlib.adler32(text) for text in coded]
    out = np.array(sums, np.uint64) * _ODD
    out ^= out >> _HALF
    return out * _MIX


_HASHED_NAN = hash_numbers(np.full(1, np.nan), _no_hashes(1), _no_hashes(1))[0]


def bucket(name: str) -> int:
    """Return the bucket of a label."""
    return zlib.crc32(name.encode()) % BUCKETS


def least(kept: Hashes, more: Hashes) -> Hashes:
    """Return the least 256 different hashes of both, in rising order."""
    if len(kept) == KEPT:
        more = more[more < kept[-1]]
    return different(np.sort(np.concatenate((kept, more))))[:KEPT] if len(more) else kept


def different(ordered: NDArray[Any]) -> NDArray[Any]:
    """Return the different values of an array in rising order."""
    return ordered[np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def distinct(kept: Hashes) -> float:
    """Return how many different hashes there were: (k - 1) / (the k-th least, as a share of all hashes)."""
    return float(len(kept)) if len(kept) < KEPT else (KEPT - 1) / (float(kept[-1]) / 2.0**64)
