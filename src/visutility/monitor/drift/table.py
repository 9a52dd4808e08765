"""Two tables compared: a row per column, its missing values and its schema; one verdict with a calibrated size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visutility.core.errors import InvalidData
from visutility.monitor.drift import tests
from visutility.monitor.drift.columns import LARGEST, LabelSketch, NumberSketch, bucket
from visutility.monitor.drift.fdr import benjamini_hochberg, simes
from visutility.monitor.drift.multivariate import Pair, correlations
from visutility.monitor.drift.quality import findings
from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding, Histogram, RowKind, Status, status_of
from visutility.monitor.drift.sketch import ColumnSketch, TableSketch, sketch, sketch_like
from visutility.monitor.drift.tables import is_retyped
from visutility.monitor.drift.tests import Tested
from visutility.monitor.state import Floats, Ints

# The p-value is this times Simes'. It pays for what is approximate in the tests of finite windows, and for repetitions:
# a share of alarms that is to be seen below the level has to be a little below it.
MARGIN = 1.4
BARS = 30  # bins of a histogram in the report
SHOWN = 20  # labels of a histogram in the report; the others are one


def compare_tables(
    reference: Any,
    current: Any,
    *,
    level: float = 0.05,
    seed: int = 0,
    names: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    joint: bool = True,
) -> DriftReport:
    """Compare two tables, or sketches of them, column by column.

    `reference` and `current` are tables, iterators of tables (larger than memory) or sketches; the current sketch
    must come from `fresh()` of the reference one. `names` names the columns of a NumPy array; columns in
    `categorical` are labels whatever they hold; `joint` asks for the test of correlations, which has one row; `seed`
    draws the rows that the bins are chosen from. A reference that is a sketch already has its own settings.

    Raises `EmptyWindow` for a window without rows, `InvalidData` for what is no table, mixes types, or has no column
    in common with the other, `InvalidSetting` for a name in `categorical` that is no column of the reference.
    """
    before = (
        reference
        if isinstance(reference, TableSketch)
        else sketch(reference, names=names, categorical=categorical, joint=joint, seed=seed)
    )
    after = sketch_like(before, current)
    if not set(before.types) & set(after.types):
        raise InvalidData(
            f"no column in common: {sorted(before.types)[:5]} and {sorted(after.types)[:5]}",
            hint="name the columns alike",
        )
    schema, tested = list(_schema(before, after)), list(rows(before, after))
    p_values = [row.p_value for row in tested]
    q_values, p_value = benjamini_hochberg(p_values).tolist(), min(1.0, MARGIN * simes(p_values))
    flag = level if p_value <= level else 0.0  # a data set without drift has no drifted columns
    judged = [replace(row, q_value=q, drifted=q <= flag) for row, q in zip(tested, q_values, strict=True)]
    p_value = min([p_value, *(row.p_value for row in schema)])
    ordered = tuple(schema + sorted(judged, key=lambda row: (row.q_value, row.p_value, -abs(row.effect))))
    quality, drifted = findings(before, after), p_value <= level
    status = status_of(drifted, quality)
    verdict = _verdict(ordered, quality, status)
    return DriftReport(
        "table", drifted, p_value, level, (before.rows, after.rows), verdict, ordered, quality, status=status
    )


def _verdict(ordered: tuple[ColumnDrift, ...], quality: tuple[Finding, ...], status: Status) -> str:
    """Return the verdict in a sentence."""
    if status == "data broken":
        worst = quality[0]
        what = f"'{worst.column}': {worst.detail}" if worst.column else worst.detail
        return f"The data look broken: {worst.check}, {what}."
    moved = [row for row in ordered if row.drifted]
    if status == "ok" or not moved:
        return f"No drift: none of {len(ordered)} rows changed more than chance explains."
    worst_row = moved[0]
    said = f"{worst_row.test}, {worst_row.effect_name} {worst_row.effect:.3g}, p = {worst_row.p_value:.2g}"
    return f"Drift in {len(moved)} of {len(ordered)} rows, most of all in '{worst_row.name}' ({said})."


def _schema(before: TableSketch, after: TableSketch) -> Iterator[ColumnDrift]:
    """A change of schema is seen, not inferred: its p-value is 0; a column that is new is no drift of the others."""
    types, now = before.types, after.types
    changes = {name: "added" for name in now if name not in types}
    for name, kind in types.items():
        if name not in now:
            changes[name] = "removed"
        elif is_retyped(kind, now[name]):
            changes[name] = f"{kind} to {now[name]}"
    for name, change in changes.items():
        p = 1.0 if change == "added" else 0.0
        yield ColumnDrift(name, "schema", "schema", 1.0, p, p, 1.0, change, p == 0.0)


def rows(before: TableSketch, after: TableSketch) -> Iterator[ColumnDrift]:
    """Yield the tested rows: each column that both windows have, and the missing values of each that has some.

    Times always move on, so they are not tested; their missing values are.
    """
    for name, old in before.columns.items():
        new = after.columns.get(name)
        if new is None or is_retyped(before.types[name], after.types[name]):
            continue
        if old.n and new.n and before.types[name] != "time":
            if isinstance(old, NumberSketch) and isinstance(new, NumberSketch):
                yield _numeric(name, old, new)
            elif isinstance(old, LabelSketch) and isinstance(new, LabelSketch):
                yield _categorical(name, old, new)
        if old.nulls or new.nulls:
            yield _missing(name, old, new)
    if before.joint is not None and after.joint is not None and (pair := correlations(before.joint, after.joint)):
        yield _together(pair)


def _together(pair: Pair) -> ColumnDrift:
    decided = Tested("correlation", pair.z, pair.p_value)
    name, change = f"{pair.first}, {pair.second}", pair.current - pair.reference
    details = {"correlation_reference": pair.reference, "correlation_current": pair.current}
    empty = [Histogram(), Histogram()]
    return _row(name, "joint", decided, pair.p_value, change, "change of the correlation", empty, details)


def _missing(name: str, before: ColumnSketch, after: ColumnSketch) -> ColumnDrift:
    n, m = before.size, after.size
    one = tests.share(before.nulls, n, after.nulls, m)
    was, now = before.nulls / n, after.nulls / m
    bars = [Histogram((1.0 - part, part), labels=("there", "missing")) for part in (was, now)]
    details = {"share_reference": was, "share_current": now}
    return _row(name, "missing", one, one.p_value, now - was, "change of the missing share", bars, details)


def _numeric(name: str, before: NumberSketch, after: NumberSketch) -> ColumnDrift:
    old, new = before.counts, after.counts
    tested = tests.numeric(old, new)
    decided, p = tests.combine(tested)
    details = {
        "mean_reference": before.mean,
        "mean_current": after.mean,
        "sd_reference": before.sd,
        "sd_current": after.sd,
        "cliffs_delta": tests.delta(old, new),
        "ks_distance": tests.distance(old, new),
    }
    details |= {f"p_{one.test}": one.p_value for one in tested}
    if before.sd > 0.0 and math.isfinite(gap := (after.mean - before.mean) / before.sd):
        details["standardised_mean_difference"] = gap
    if before.sd > 0.0 and after.sd > 0.0 and 0.0 < (ratio := after.sd / before.sd) < math.inf:
        details["log_sd_ratio"] = math.log(ratio)
    effect, effect_name = _effect(decided.test, details)
    details = {key: value for key, value in details.items() if math.isfinite(value)}
    return _row(name, "numeric", decided, p, effect, effect_name, bars(before, after), details)


def _effect(test: str, details: dict[str, float]) -> tuple[float, str]:
    """Return the effect that belongs to the test that decided."""
    if test == "spread" and "log_sd_ratio" in details:
        return details["log_sd_ratio"], "log ratio of standard deviations"
    if test in ("location", "share", "none") and "standardised_mean_difference" in details:
        return details["standardised_mean_difference"], "standardised mean difference"
    if test == "location":
        return details["cliffs_delta"], "Cliff's delta"
    return details["ks_distance"], "Kolmogorov-Smirnov distance"


def _categorical(name: str, before: LabelSketch, after: LabelSketch) -> ColumnDrift:
    old, new = aligned(before, after)
    decided, p = tests.combine(tests.categorical(old, new))
    moved = tests.variation(old, new)
    top = sorted(
        {*before.counts, *after.counts}, key=lambda label: (-_share(before, label) - _share(after, label), label)
    )[:SHOWN]
    others = "(others)"
    while others in top:  # a label may have this name
        others = f"({others})"
    histograms = []
    for sketched in (before, after):
        shares = [_share(sketched, label) for label in top]
        rest = max(1.0 - sum(shares), 0.0)
        histograms.append(Histogram((*shares, rest), labels=(*top, others)))
    details = {"labels_reference": before.distinct, "labels_current": after.distinct, "total_variation": moved}
    details["cramers_v"] = tests.cramers_v(old, new)
    fresh = sum(count for label, count in after.counts.items() if label not in before.counts) if before.whole else 0
    details["share_of_new_labels"] = fresh / after.n
    return _row(name, "categorical", decided, p, moved, "total variation", histograms, details)


def _share(sketched: LabelSketch, label: str) -> float:
    return sketched.counts.get(label, 0) / sketched.n


def aligned(before: LabelSketch, after: LabelSketch) -> tuple[Ints, Ints]:
    """Return counts of both windows in the same cells, each large enough to expect 5 in the smaller window.

    A label has its own cell where both windows count it by itself and it is frequent in both together; all others are
    put together by their hash. Which label goes where depends on the two windows' sum alone, so that the counts keep
    their permutation law.
    """
    n, m = before.n, after.n
    wanted = tests.LEAST_EXPECTED * (n + m) / min(n, m)
    pooled_old, pooled_new = before.buckets.copy(), after.buckets.copy()
    old, new = [], []
    for label in sorted({*before.counts, *after.counts}):
        exact = (label in before.counts or before.whole) and (label in after.counts or after.whole)
        x, y = before.counts.get(label, 0), after.counts.get(label, 0)
        if exact and x + y >= wanted:
            old.append(x)
            new.append(y)
        else:
            at = bucket(label)
            pooled_old[at] += x
            pooled_new[at] += y
    rest = tests.merged(pooled_old, pooled_new, wanted)
    if len(old) > 1 and len(rest[0]) == 1 and rest[0][0] + rest[1][0] < wanted:
        least = int(np.argmin(np.add(old, new)))
        old[least] += int(rest[0][0])
        new[least] += int(rest[1][0])
        rest = rest[0][:0], rest[1][:0]
    return np.array([*old, *rest[0]], np.int64), np.array([*new, *rest[1]], np.int64)


def bars(before: NumberSketch, after: NumberSketch) -> list[Histogram]:
    """Return both windows over the same 30 bars for people: from the 0.5 % to the 99.5 % quantile, and the tails."""
    if before.edges is None:
        return [Histogram(), Histogram()]
    low, high = min(before.low, after.low), max(before.high, after.high)
    if high - low > LARGEST / 2.0 or len(before.edges) < 2:  # too far apart to draw, or all the largest there is
        return [Histogram((1.0,), edges=(low, high)), Histogram((1.0,), edges=(low, high))]
    inner = before.edges[(before.edges > low) & (before.edges < high)]
    knots = np.concatenate(([low], inner, [high]))
    laws = [_law(one, knots) for one in (before, after)]
    both = (laws[0] + laws[1]) / 2.0
    size = max(abs(low), abs(high)) or 1.0  # by which the largest numbers are brought to where nothing overflows
    first, last = np.clip(np.interp((0.005, 0.995), both, knots / size) * size, low, high)
    if last - first <= 1e-9 * (high - low):  # nearly all values are one: bars about it could not be seen
        edges = np.unique(np.linspace(low, high, BARS + 1))
    else:
        edges = np.unique(np.concatenate(([low], np.linspace(first, last, BARS - 1), [high])))
    if len(edges) < 2:
        return [Histogram((1.0,), edges=(low, high)), Histogram((1.0,), edges=(low, high))]
    shares = [np.diff(np.append(_at(edges[:-1], knots, law), 1.0)) for law in laws]  # the last bar holds the maximum
    return [Histogram(tuple(np.clip(part, 0.0, 1.0).tolist()), edges=tuple(edges.tolist())) for part in shares]


def _law(sketched: NumberSketch, knots: Floats) -> Floats:
    """Return the share of values below each knot: 0 at the first; at the last what is known to lie below it."""
    edges = np.empty(0) if sketched.edges is None else sketched.edges
    below = _at(knots, edges, sketched.below / sketched.n)
    below[0] = 0.0
    if knots[-1] not in edges:
        below[-1] = 1.0
    return below


def _at(places: Floats, knots: Floats, law: Floats) -> Floats:
    """Return the law at each place, even between two knots; `np.interp` overflows between the smallest numbers."""
    places = np.clip(places, knots[0], knots[-1])
    right = np.clip(np.searchsorted(knots, places, "right"), 1, len(knots) - 1)
    part = (places - knots[right - 1]) / (knots[right] - knots[right - 1])
    return np.asarray(law[right - 1] + part * (law[right] - law[right - 1]), np.float64)


def _row(
    name: str,
    kind: RowKind,
    decided: Tested,
    p_value: float,
    effect: float,
    effect_name: str,
    histograms: list[Histogram],
    details: dict[str, float],
) -> ColumnDrift:
    """Return a row that waits for its q-value."""
    old, new = histograms
    told = (decided.test, decided.statistic, p_value, p_value, effect, effect_name)
    return ColumnDrift(name, kind, *told, drifted=False, reference=old, current=new, details=details)
