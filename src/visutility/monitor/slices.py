"""Which slice of the data explains an alarm: night images of camera 3, not "something".

Every value of every column is a slice, and every pair of values of two columns. For each, an e-value bets that its mean
loss is above the reference's; e-BH (Wang & Ramdas 2022, arXiv:2009.02824) keeps the false discovery rate although the
slices overlap. What is betted on grows with the size and the depth of the loss, so that the slice that holds the harm
and little else comes first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.monitor.many import e_bh
from visutility.monitor.risk import RiskState, advance, checked_losses, fractions_of, log_evidence
from visutility.monitor.state import Bools, Floats
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
    worse than in the reference is at most `level` on average: half of it is spent on the reference's bounds
    (Bonferroni), half on e-BH. Assumed: the reference's losses of a slice are independent draws. O(slices * n).
    Raises `InvalidObservation`, `InvalidSetting` (more than 10,000 slices among them) and `EmptyWindow`.
    """
    if not 0.0 < level < 1.0 or depth not in (1, 2) or smallest < 1:
        raise InvalidSetting(f"level {level!r}, smallest {smallest!r}, depth {depth!r}", hint="0.05, 20 and 1 or 2")
    now, before = checked_losses(losses, "losses"), checked_losses(reference_losses, "reference_losses")
    if len(now) == 0 or len(before) < 10:
        raise EmptyWindow(f"{len(before)} reference losses, {len(now)} current ones", hint="give at least 10 and 1")
    columns = {name: _column(values, name, len(now)) for name, values in slices.items()}
    missing = sorted(set(columns) - set(reference_slices))
    if missing:
        raise InvalidObservation(f"the reference has no column {missing[0]!r}", hint="give the same columns of both")
    known = {name: _column(reference_slices[name], name, len(before)) for name in columns}
    candidates = _candidates(columns, smallest, depth)
    if not candidates:
        return ()
    excess = float(now.sum()) - len(now) * float(before.mean())
    delta = level / (2.0 * len(candidates))
    found = [_judged(where, now, columns, before, known, delta, excess, smallest) for where in candidates]
    found.sort(key=lambda one: (-one.evidence, -one.share, str(one.where)))
    kept = e_bh([one.evidence for one in found], level / 2.0, logs=True)
    return tuple(_marked(one, kept[at]) for at, one in enumerate(found))


def _judged(
    where: dict[str, Any],
    now: Floats,
    columns: Mapping[str, NDArray[Any]],
    before: Floats,
    known: Mapping[str, NDArray[Any]],
    delta: float,
    excess: float,
    smallest: int,
) -> Slice:
    inside, old = now[_mask(where, columns)], before[_mask(where, known)]
    base = old if len(old) >= smallest else before
    mean, bound = float(base.mean()), mean_upper(base, delta)
    start = RiskState.start(fractions=fractions_of(before))
    steps = advance(start, inside, math.log(1e3))  # bets sized for evidence of a thousand to one
    evidence = float(log_evidence(bound, steps)[-1])
    more = float(inside.sum()) - len(inside) * mean
    return Slice(
        where, len(inside), float(inside.mean()), mean, more / excess if excess > 0.0 else 0.0, evidence, False
    )


def _marked(one: Slice, significant: bool) -> Slice:
    return Slice(one.where, one.rows, one.mean, one.reference, one.share, one.evidence, bool(significant))


def _candidates(columns: Mapping[str, NDArray[Any]], smallest: int, depth: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, values in columns.items():
        singles, counts = np.unique(values, return_counts=True)
        found += [{name: value} for value in singles[counts >= smallest].tolist()]
    singles_of = {name: [one[name] for one in found if name in one] for name in columns}
    if depth == 2:
        for one, other in combinations(columns, 2):
            pairs = [{one: a, other: b} for a in singles_of[one] for b in singles_of[other]]
            if len(found) + len(pairs) > _MOST:
                raise InvalidSetting(f"more than {_MOST} slices", hint="bin the columns, or ask for depth 1")
            found += [pair for pair in pairs if int(_mask(pair, columns).sum()) >= smallest]
    return found


def _mask(where: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> Bools:
    masks: Sequence[Bools] = [columns[name] == value for name, value in where.items()]
    return np.asarray(np.logical_and.reduce(masks), np.bool_)


def _column(values: ArrayLike, name: str, n: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n,):
        raise InvalidObservation(f"column {name!r} has shape {array.shape}, not ({n},)", hint="one value a row")
    return array
