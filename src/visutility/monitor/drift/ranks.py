"""Report rows of numeric columns by one rank test, for location and spread at once."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from visutility.monitor.drift.fdr import benjamini_hochberg
from visutility.monitor.drift.report import ColumnDrift, Histogram
from visutility.monitor.state import Floats

BINS = 10


def rank_rows(names: Sequence[str], reference: Floats, current: Floats, level: float) -> tuple[ColumnDrift, ...]:
    """Return a row per column of (m, p) against (n, p), most suspicious first, q-values and verdicts included."""
    rows = [_row(name, reference[:, at], current[:, at]) for at, name in enumerate(names)]
    return with_fdr(sorted(rows, key=lambda row: row.p_value), level)


def with_fdr(rows: Iterable[ColumnDrift], level: float) -> tuple[ColumnDrift, ...]:
    """Return the rows with q-values (Benjamini & Hochberg 1995) over all of them, flagged where at most `level`.

    A report without drift has no drifted rows: pass a level of 0 then.
    """
    listed = list(rows)
    q_values = benjamini_hochberg([row.p_value for row in listed]).tolist()
    return tuple(replace(row, q_value=q, drifted=q <= level) for row, q in zip(listed, q_values, strict=True))


def location_and_spread(before: Floats, after: Floats) -> tuple[float, float]:
    """Return p-value and statistic of the rank test with the scores u - 1/2 (Wilcoxon) and (u - 1/2)^2 (Mood).

    u are mid-ranks of both windows together, in (0, 1). The statistic is the squared length of the two mean scores of
    `after`, whitened by their exact covariance under permutation, ties included (as in Lepage 1971); its law is close
    to chi-square with two degrees of freedom.
    """
    pooled = np.concatenate([before, after])
    ordered = np.sort(pooled)
    total, n = len(pooled), len(after)
    u = (np.searchsorted(ordered, pooled, "left") + np.searchsorted(ordered, pooled, "right")) / (2.0 * total) - 0.5
    scores = np.stack([u, u * u], 1)
    scores -= scores.mean(0)
    covariance = scores.T @ scores * (len(before) / (n * total * (total - 1.0)))
    found = scores[len(before) :].mean(0)
    statistic = max(float(found @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ found), 0.0)
    return float(np.exp(-statistic / 2.0)), statistic


def _row(name: str, before: Floats, after: Floats) -> ColumnDrift:
    p, statistic = location_and_spread(before, after)
    edges = np.unique(np.quantile(before, np.linspace(0.0, 1.0, BINS + 1)))
    edges = edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1e-6])
    edges[0], edges[-1] = min(edges[0], after.min()), max(edges[-1], after.max())
    change = float(after.mean() - before.mean())
    deviation, of = _deviation(before, after)
    return ColumnDrift(
        name=name,
        kind="numeric",
        test="rank test of location and spread",
        statistic=statistic,
        p_value=p,
        q_value=p,
        effect=change / deviation if deviation > 0.0 else 0.0,
        effect_name=f"change of the mean in {of}",
        drifted=False,
        reference=_histogram(before, edges),
        current=_histogram(after, edges),
        details={"reference mean": float(before.mean()), "current mean": float(after.mean())},
    )


def _deviation(before: Floats, after: Floats) -> tuple[float, str]:
    """Return the unit of the effect and its name: a reference that does not vary gives none."""
    deviation = float(before.std())
    if deviation > 1e-9 * float(np.abs(before).max()):
        return deviation, "reference deviations"
    return float(np.concatenate([before, after]).std()), "deviations of both windows"


def _histogram(values: Floats, edges: Floats) -> Histogram:
    return Histogram(tuple((np.histogram(values, edges)[0] / len(values)).tolist()), tuple(edges.tolist()))
