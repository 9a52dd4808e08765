"""Which slice of the data explains an alarm: night images of camera 3, not "something".

Every value of every column is a slice, and every pair of values of two columns. For each, an e-value bets that its mean
loss is above the reference's; e-BH (Wang & Ramdas 2022, arXiv:2009.02824) keeps the false discovery rate although the
slices overlap. What is betted on grows with the size and the depth of the loss, so that the slice that holds the harm
and little else comes first.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.monitor.many import e_bh
from visutility.monitor.risk import RiskState, advance, checked_losses, fractions_of, log_evidence
from visutility.monitor.state import Floats, Ints
from visutility.monitor.stats import mean_upper

_MOST = 10_000  # slices


@final
@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of the current window. `significant`: found at the false discovery rate that was asked for."""

    where: Mapping[str, Any]  # column -> value
    rows: int
    mean: float  # loss in the current window
    reference: float  # loss of the same slice in the reference, or of all of it where that has too few rows
    share: float  # of the excess loss of all rows; slices overlap, and where others got better it may be above 1
    evidence: float  # log e-value against "no worse than the reference's upper bound"
    significant: bool

    @property
    def words(self) -> str:
        """The slice in one sentence."""
        name = " and ".join(f"{column} = {value}" for column, value in self.where.items())
        return (
            f"{name} explains {100.0 * self.share:.0f} % of the excess loss: "
            f"{self.rows} rows with a mean loss of {self.mean:.3f}, {self.reference:.3f} in the reference."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the slice as plain data."""
        return asdict(self) | {"where": {name: str(value) for name, value in self.where.items()}}


def explain_by_slice(
    losses: ArrayLike,
    slices: Mapping[str, ArrayLike],
    reference_losses: ArrayLike,
    reference_slices: Mapping[str, ArrayLike],
    *,
    level: float = 0.05,
    smallest: int = 20,
    depth: int = 2,
) -> tuple[Slice, ...]:
    """Return the slices, the one that explains most first.

    `losses` (n,) in [0, 1] (or 0/1 alarms) in order of arrival, and for each column of `slices` its value in every
    row; the same of the reference window. Slices of fewer than `smallest` rows are left out; `depth` 2 adds pairs of
    columns. Ranked by evidence, the significant ones first. Among the significant ones the share of slices that are no
    worse than in the reference (than all of it, for a slice of fewer than `smallest` rows there) is at most `level` on
    average: half of it is spent on the reference's bounds (Bonferroni), half on e-BH. Assumed: the reference's losses
    of a slice are independent draws. None, NaN and NaT are one value. O(n log n) for each column and pair of columns.
    Raises `InvalidObservation`, `InvalidSetting` (more than 10,000 slices among them) and `EmptyWindow`.
    """
    if not 0.0 < level < 1.0 or depth not in (1, 2) or smallest < 1:
        raise InvalidSetting(f"level {level!r}, smallest {smallest!r}, depth {depth!r}", hint="0.05, 20 and 1 or 2")
    now, before = checked_losses(losses, "losses"), checked_losses(reference_losses, "reference_losses")
    if len(now) == 0 or len(before) < 10:
        raise EmptyWindow(f"{len(before)} reference losses, {len(now)} current ones", hint="give at least 10 and 1")
    missing = sorted(set(slices) - set(reference_slices))
    if missing:
        raise InvalidObservation(f"the reference has no column {missing[0]!r}", hint="give the same columns of both")
    columns = {
        name: _coded(_column(values, name, len(now)), _column(reference_slices[name], name, len(before)), name)
        for name, values in slices.items()
    }
    names = [which for count in range(1, depth + 1) for which in combinations(columns, count)]
    chosen = [{name: columns[name] for name in which} for which in names]
    candidates = _count(chosen, smallest)
    if not candidates:
        return ()
    excess = float(now.sum()) - len(now) * float(before.mean())
    delta = level / (2.0 * candidates)
    start = RiskState.start(fractions=fractions_of(before))
    found = []
    for where, rows, rows_before in _candidates(chosen, smallest):
        base = before[rows_before] if len(rows_before) >= smallest else before
        found.append(_judged(where, now[rows], base, delta, excess, start))
    found.sort(key=lambda one: (-one.evidence, -one.share, str(one.where)))
    significant = e_bh([one.evidence for one in found], level / 2.0, logs=True)
    return tuple(replace(one, significant=bool(significant[at])) for at, one in enumerate(found))


def _judged(
    where: dict[str, Any], inside: Floats, base: Floats, delta: float, excess: float, start: RiskState
) -> Slice:
    mean, bound = float(base.mean()), mean_upper(base, delta)
    steps = advance(start, inside, math.log(1e3))  # bets sized for evidence of a thousand to one
    evidence = float(log_evidence(bound, steps)[-1])
    more = float(inside.sum()) - len(inside) * mean
    return Slice(
        where, len(inside), float(inside.mean()), mean, more / excess if excess > 0.0 else 0.0, evidence, False
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """A column of both windows as numbers of its values."""

    values: list[Any]
    now: Ints
    before: Ints


def _coded(now: NDArray[Any], before: NDArray[Any], name: str) -> _Coded:
    """Number the values of a column; whatever is missing (None, NaN, NaT) is one value."""
    kinds = ["f" if column.dtype.kind in "biuf" else column.dtype.kind for column in (now, before)]
    if "O" in kinds:
        return _coded_objects([*now.tolist(), *before.tolist()], len(now), name)
    if kinds[0] != kinds[1]:
        raise InvalidObservation(
            f"column {name!r} holds {now.dtype} now and {before.dtype} in the reference", hint="give both one type"
        )
    unique, codes = np.unique(np.concatenate([now, before]), return_inverse=True)
    values = list(unique) if kinds[0] in "mM" else unique.tolist()  # times would become whole numbers
    return _Coded(values, codes[: len(now)], codes[len(now) :])


def _coded_objects(values: list[Any], n: int, name: str) -> _Coded:
    known: dict[Any, int] = {}
    try:
        found = [None if _missing(value) else value for value in values]
        codes = np.array([known.setdefault(value, len(known)) for value in found], np.int64)
    except TypeError:
        raise InvalidObservation(
            f"column {name!r} holds values that cannot be compared", hint="numbers or text"
        ) from None
    return _Coded(list(known), codes[:n], codes[n:])


def _missing(value: Any) -> bool:
    """Whether this is None, NaN, NaT (which differ from themselves) or the NA of pandas (which nothing compares to)."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _count(which: Sequence[Mapping[str, _Coded]], smallest: int) -> int:
    """Return how many slices have enough rows; `InvalidSetting` where they are too many."""
    total = 0
    for columns in which:
        total += int((np.unique(_joined(columns, "now"), return_counts=True)[1] >= smallest).sum())
        if total > _MOST:
            raise InvalidSetting(f"more than {_MOST} slices", hint="bin the columns, or ask for depth 1")
    return total


def _candidates(which: Sequence[Mapping[str, _Coded]], smallest: int) -> Iterator[tuple[dict[str, Any], Ints, Ints]]:
    """Give each slice of enough rows with its rows now, in order of arrival, and those of the reference."""
    for columns in which:
        now, before = (_joined(columns, window) for window in ("now", "before"))
        order, order_before = np.argsort(now, kind="stable"), np.argsort(before, kind="stable")
        codes, first, counts = np.unique(now[order], return_index=True, return_counts=True)
        enough = counts >= smallest
        ends = np.searchsorted(before[order_before], [codes, codes + 1])
        for code, at, count, low, high in zip(
            codes[enough], first[enough], counts[enough], *ends[:, enough], strict=True
        ):
            yield _named(columns, int(code)), order[at : at + count], order_before[low:high]


def _joined(columns: Mapping[str, _Coded], window: Literal["now", "before"]) -> Ints:
    """Return one number a row that names its slice by these columns."""
    codes: Ints = np.zeros(1, np.int64)
    for column in columns.values():
        codes = codes * len(column.values) + getattr(column, window)
    return codes


def _named(columns: Mapping[str, _Coded], code: int) -> dict[str, Any]:
    named = {}
    for name, column in reversed(list(columns.items())):
        code, at = divmod(code, len(column.values))
        named[name] = column.values[at]
    return dict(reversed(list(named.items())))


def _column(values: ArrayLike, name: str, n: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n,):
        raise InvalidObservation(f"column {name!r} has shape {array.shape}, not ({n},)", hint="one value a row")
    return array
