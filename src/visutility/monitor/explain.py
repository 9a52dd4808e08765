"""Which groups of streams explain the alarms: a camera, a slice, a model, or two of these together.

Kulldorff (1997), "A spatial scan statistic", Communications in Statistics 26(6): a group is judged by how much likelier
the alarms are with one rate inside it and another outside than with one rate everywhere.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import Invalid, InvalidSetting
from visutility.monitor.state import Floats, Ints

LIFT = 2.0  # times as large as outside has the share of alarming streams to be inside
SURE = 3.0  # log-likelihood ratio beyond the logarithm of the number of groups there are: a chance of about .05


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """Streams that alarm together. No `keys`: every stream there is; `size` 1: a stream of its own."""

    keys: tuple[tuple[str, str], ...]
    rows: tuple[int, ...]  # the alarming streams in it
    size: int  # streams in it, alarming or not
    elsewhere: float  # share of the other streams that alarm


@final
class Groups:
    """Streams by their keys, such as model, slice and camera; groups are of one key or of up to `depth` together.

    `keys` maps each key's name to one value a stream, shape (n,) each. Construction is O(n log n) a combination.
    """

    def __init__(self, keys: Mapping[str, Sequence[str] | NDArray[Any]], *, depth: int = 2) -> None:
        if not keys or depth < 1:
            raise InvalidSetting(f"{len(keys)} keys, depth {depth!r}", hint="give at least one key, and a depth from 1")
        self.names = tuple(keys)
        self.depth = depth
        found = [np.unique(np.asarray(values, np.str_), return_inverse=True) for values in keys.values()]
        self.values = tuple(tuple(values.tolist()) for values, _ in found)
        self.codes: Ints = np.array([codes.reshape(-1) for _, codes in found], np.int64)
        self._sizes = {which: np.unique(self._joined(which), return_counts=True) for which in self._which()}

    @staticmethod
    def check(keys: Mapping[str, Sequence[str] | NDArray[Any]]) -> None:
        """Raise `Invalid` unless every key has one value for each of the same streams, at least one."""
        lengths = {name: len(values) for name, values in keys.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise Invalid(f"keys have {lengths} values", hint="give every key one value a stream")

    def __len__(self) -> int:
        return int(self.codes.shape[1])

    def of(self, row: int) -> tuple[tuple[str, str], ...]:
        """Return the keys of one stream."""
        return self._named(range(len(self.names)), row)

    def size_of(self, keys: Sequence[tuple[str, str]]) -> int:
        """Return how many streams have all these keys; 0 where a key or value is not known."""
        inside = np.ones(len(self), np.bool_)
        for name, value in keys:
            if name not in self.names or value not in self.values[self.names.index(name)]:
                return 0
            at = self.names.index(name)
            inside &= self.codes[at] == self.values[at].index(value)
        return int(inside.sum())

    def explain(self, rows: Ints) -> list[Explanation]:
        """Return groups and single streams that together hold these alarming streams, each once; best group first.

        Greedy: the group with the largest likelihood ratio is taken and its streams are left out, as long as one is
        beyond chance; simpler groups win ties. What remains is "every stream" when it is half of all, else singles.
        """
        left, found = np.unique(rows), []
        while len(left) > 1 and (best := self._best(left)) is not None:
            inside = self._joined(best[0], left) == best[1]
            found.append(self._explanation(best[0], best[1], left[inside], len(left)))
            left = left[~inside]
        if len(left) > 1 and 2 * len(left) >= len(self):
            found.append(Explanation((), tuple(left.tolist()), len(self), 0.0))
            return found
        elsewhere = max(len(left) - 1, 0) / max(len(self) - 1, 1)
        return found + [Explanation(self.of(row), (row,), 1, elsewhere) for row in left.tolist()]

    def _which(self) -> Iterator[tuple[int, ...]]:
        for count in range(1, min(self.depth, len(self.names)) + 1):
            yield from combinations(range(len(self.names)), count)

    def _joined(self, which: tuple[int, ...], rows: Ints | None = None) -> Ints:
        """Return one number a stream that names its group by these keys."""
        joined = np.zeros(len(self) if rows is None else len(rows), np.int64)
        for key in which:
            joined = joined * len(self.values[key]) + (self.codes[key] if rows is None else self.codes[key, rows])
        return joined

    def _best(self, left: Ints) -> tuple[tuple[int, ...], int] | None:
        """Return the group that explains these streams best, as keys and number; None when it may be chance."""
        groups = sum(len(names) for names, _ in self._sizes.values())
        best, least = None, math.log(groups) + SURE
        for which, (names, sizes) in self._sizes.items():
            codes, alarming = np.unique(self._joined(which, left), return_counts=True)
            ratio = _ratios(alarming, sizes[np.searchsorted(names, codes)], len(left), len(self))
            ratio[alarming < 2] = -math.inf
            at = int(np.argmax(ratio))
            if ratio[at] > least + 1e-9:
                best, least = (which, int(codes[at])), float(ratio[at])
        return best

    def _explanation(self, which: tuple[int, ...], code: int, rows: Ints, total: int) -> Explanation:
        names, sizes = self._sizes[which]
        size = int(sizes[np.searchsorted(names, code)])
        elsewhere = (total - len(rows)) / max(len(self) - size, 1)
        return Explanation(self._named(which, int(rows[0])), tuple(rows.tolist()), size, elsewhere)

    def _named(self, which: Sequence[int], row: int) -> tuple[tuple[str, str], ...]:
        return tuple((self.names[key], self.values[key][int(self.codes[key, row])]) for key in which)


def _ratios(inside: Ints, sizes: Ints, total: int, streams: int) -> Floats:
    """Return log-likelihood ratios (Kulldorff 1997, Bernoulli model); -inf where the share inside is no larger.

    `inside` of a group's `sizes` streams alarm, `total` of all `streams`.
    """
    outside, others = total - inside, streams - sizes
    ratio = _likelihood(inside, sizes) + _likelihood(outside, others)
    ratio = ratio - _likelihood(np.array([total]), np.array([streams]))
    larger = inside * np.maximum(others, 1) >= LIFT * outside * sizes
    return np.where(larger & (others > 0), ratio, -math.inf)


def _likelihood(ones: Ints, n: Ints) -> Floats:
    """Return the largest log-likelihood of `ones` in `n` draws of one rate."""
    from scipy.special import xlogy

    size = np.maximum(n, 1)
    return np.asarray(xlogy(ones, ones / size) + xlogy(n - ones, (n - ones) / size), np.float64)
