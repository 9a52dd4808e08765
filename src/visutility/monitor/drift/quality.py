"""Is it the data that broke? Checks of a table as data, each a `Finding`; "broken" means: do not learn from this.

A check speaks when what it sees has next to no chance (about one in a million per column) under "no change", and
when it is large: small changes are drift, for the tests to tell.
"""

import math
from collections.abc import Iterator

from visutility.monitor.drift.columns import LabelSketch, NumberSketch
from visutility.monitor.drift.report import Finding, Severity
from visutility.monitor.drift.sketch import ColumnSketch, TableSketch
from visutility.monitor.drift.tables import is_retyped
from visutility.monitor.drift.tests import share

CHANCE = 1e-6  # of a finding without a change, per column and check
MORE_NULLS = 0.3  # a share of missing values, or of infinite ones, that rises by this much is broken
FAR = 0.01  # a share of values farther outside the reference range than it is wide, from which the column is broken
MORE_DUPLICATES = (0.1, 0.5)  # rise of the share of repeated rows: a warning, broken


def findings(reference: TableSketch, current: TableSketch) -> tuple[Finding, ...]:
    """Return what is wrong with the current window as data, worst first."""
    found = list(_schema(reference, current))
    for name, kind in reference.types.items():
        before, after = reference.columns.get(name), current.columns.get(name)
        if before is not None and after is not None and not is_retyped(kind, current.types[name]):
            found += _column(name, before, after, timed=kind == "time")
    found += _duplicates(reference, current)
    return tuple(sorted(found, key=lambda one: (one.severity != "broken", -one.share, one.check, one.column)))


def _schema(reference: TableSketch, current: TableSketch) -> Iterator[Finding]:
    for name, kind in reference.types.items():
        now = current.types.get(name)
        if now is None:
            yield Finding("schema", name, "broken", 1.0, "the column is gone")
        elif kind == "other":
            yield Finding("not compared", name, "warning", 1.0, "neither numbers nor labels nor times")
        elif is_retyped(kind, now):
            yield Finding("schema", name, "broken", 1.0, f"the column holds {now}, not {kind}")
    for name in current.types:
        if name not in reference.types:
            yield Finding("schema", name, "warning", 1.0, "the column is new")


def _column(name: str, before: ColumnSketch, after: ColumnSketch, *, timed: bool) -> Iterator[Finding]:
    if after.nulls:
        yield from _nulls(name, before, after)
    if isinstance(before, NumberSketch) and isinstance(after, NumberSketch):
        yield from _infinite(name, before, after)
        if before.n and after.n and not timed:
            yield from _range(name, before, after)
    if before.n and after.n:
        yield from _constant(name, before, after)


def _nulls(name: str, before: ColumnSketch, after: ColumnSketch) -> Iterator[Finding]:
    n, m = before.size, after.size
    was, now = before.nulls / n, after.nulls / m
    if now > was and share(before.nulls, n, after.nulls, m).p_value < CHANCE:
        severity: Severity = "broken" if now == 1.0 or now - was >= MORE_NULLS else "warning"
        said = "every value is missing" if now == 1.0 else f"{now:.1%} are missing"
        yield Finding("nulls", name, severity, now, f"{said}, {was:.1%} in the reference window")


def _constant(name: str, before: ColumnSketch, after: ColumnSketch) -> Iterator[Finding]:
    """One value alone, where the reference window has several, and where chance would not explain it."""
    if isinstance(before, NumberSketch) and isinstance(after, NumberSketch):
        if after.low < after.high or before.low == before.high:
            return
        value, often = f"{after.low:.6g}", int(before.counts[_bin(before, after.low)])
    elif isinstance(before, LabelSketch) and isinstance(after, LabelSketch):
        labels = [label for label, count in after.counts.items() if count]
        if len(labels) != 1 or not after.whole or after.distinct != 1.0 or before.distinct < 2.0:
            return
        value, often = repr(labels[0]), before.counts.get(labels[0], 0)
    else:
        return
    if share(often, before.n, after.n, after.n).p_value < CHANCE:
        yield Finding("constant", name, "broken", 1.0, f"all values are {value}; the reference window has more")


def _bin(column: NumberSketch, value: float) -> int:
    return 0 if column.edges is None else int(column.edges.searchsorted(value, "right"))


def _infinite(name: str, before: NumberSketch, after: NumberSketch) -> Iterator[Finding]:
    if not after.infinite:
        return
    was, now = before.infinite / max(before.size, 1), after.infinite / after.size
    if not before.infinite:
        detail = f"{after.infinite} values are infinite, none in the reference window"
        yield Finding("impossible", name, "broken" if now >= FAR else "warning", now, detail)
    elif now > was and share(before.infinite, before.size, after.infinite, after.size).p_value < CHANCE:
        severity: Severity = "broken" if now == 1.0 or now - was >= MORE_NULLS else "warning"
        yield Finding("impossible", name, severity, now, f"{now:.1%} are infinite, {was:.1%} in the reference window")


def _range(name: str, before: NumberSketch, after: NumberSketch) -> Iterator[Finding]:
    """Values outside the reference range: some are to be expected, k of m with probability about (m / (n + m))^k."""
    outside, far = after.outside()
    odds = math.log(after.n / (before.n + after.n))
    if outside * odds + math.log(2.0 * (outside + 1.0)) >= math.log(CHANCE) or before.low == before.high:
        return
    said = f"{outside / after.n:.1%} lie outside {before.low:.6g} to {before.high:.6g}"
    if far / after.n >= FAR:
        detail = f"{said}, {far / after.n:.1%} by more than its width: other units, or a broken source"
        yield Finding("range", name, "broken", far / after.n, detail)
    else:
        yield Finding("range", name, "warning", outside / after.n, said)


def _duplicates(reference: TableSketch, current: TableSketch) -> Iterator[Finding]:
    """Rows that repeat: more than in the reference window, and more than a larger window alone would bring."""
    was, now = reference.duplicates, current.duplicates
    n, m = reference.rows, current.rows
    pairs = was * n + 10.0  # as if a few more rows had been repeated
    by_size = min(1.0, pairs / (n * max(n - 1.0, 1.0)) * m) if m > n else 0.0
    rise = now - max(was, by_size)
    if rise >= MORE_DUPLICATES[0] and m * rise >= 20.0:
        severity: Severity = "broken" if rise >= MORE_DUPLICATES[1] else "warning"
        detail = f"{now:.1%} of the rows repeat an earlier one, {was:.1%} in the reference window"
        yield Finding("duplicates", "", severity, now, detail)
