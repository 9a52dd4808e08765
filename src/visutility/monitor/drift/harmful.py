"""Drift of softmax vectors, in the direction that harms: confidence that falls. And the predicted labels' histogram."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.core.errors import InvalidData
from visutility.core.rng import rng
from visutility.monitor.drift.embedding import (
    LEAST_CURRENT,
    LEAST_REFERENCE,
    checked,
    most_shifted,
    untested,
    usable,
)
from visutility.monitor.drift.ranks import with_fdr
from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding, Histogram, status_of
from visutility.monitor.state import Floats

DRAWS = 4999
NAMES = "confidence", "predicted labels"


@dataclass(frozen=True, slots=True)
class SoftmaxOutcome:
    """The report rows of both tests, and what they looked at."""

    rows: tuple[ColumnDrift, ...]  # of `NAMES`; none where too few vectors are usable
    entropies: Floats  # (k,) of the usable current vectors
    kept: NDArray[np.int64]  # (k,) their indices
    quality: tuple[Finding, ...]


def compare_softmax(
    reference: NDArray[Any], current: NDArray[Any], *, level: float = 0.05, seed: int = 0
) -> DriftReport:
    """Compare windows of softmax vectors, (m, k) and (n, k), in the harmful direction.

    Drifted when confidence fell (`confidence_drop`) or the predicted labels' histogram moved (`label_shift`), each at
    half the level. Confidence that rises is no drift here. Current vectors with values that are not finite are a
    "broken" finding and left out; where fewer than 10 others are left, nothing is tested. Raises `InvalidData` for
    vectors that are not probabilities and `EmptyWindow` for fewer than 50 and 10 rows.
    """
    found = softmax_tests(reference, current, seed)
    lengths = len(reference), len(current)
    if not found.rows:
        return untested("softmax", lengths, found.quality, level)
    rows = sorted(found.rows, key=lambda row: row.p_value)
    p = min(1.0, 2.0 * rows[0].p_value)
    drifted = p <= level
    what = "confidence fell" if rows[0].name == NAMES[0] else "the predicted labels changed"
    return DriftReport(
        kind="softmax",
        drifted=drifted,
        p_value=p,
        level=level,
        rows=lengths,
        verdict=f"Drift: {what} (p = {p:.2g})." if drifted else f"No harmful drift: p = {p:.2g}.",
        columns=with_fdr(rows, level if drifted else 0.0),
        quality=found.quality,
        shifted=most_shifted(found.entropies, found.kept) if drifted else (),
        status=status_of(drifted, found.quality),
    )


def softmax_tests(reference: NDArray[Any], current: NDArray[Any], seed: int) -> SoftmaxOutcome:
    """Run both tests; the rows' q-values are not adjusted yet (see `with_fdr`)."""
    old = probabilities(checked(reference, "reference", LEAST_REFERENCE), "reference")
    finite, kept, quality = usable(current, old.shape[1])
    if len(finite) < LEAST_CURRENT:
        return SoftmaxOutcome((), np.empty(0), kept, quality)
    new = probabilities(finite, "current")
    before, after = entropy(old), entropy(new)
    p, z = confidence_drop(before, after)
    edges = np.linspace(0.0, np.log(old.shape[1]) + 1e-9, 11)
    confidence = ColumnDrift(
        name=NAMES[0],
        kind="numeric",
        test="one-sided rank sum of the entropy",
        statistic=z,
        p_value=p,
        q_value=p,
        effect=float(new.max(1).mean() - old.max(1).mean()),
        effect_name="change of the mean confidence",
        drifted=False,
        reference=_histogram(before, edges),
        current=_histogram(after, edges),
        details={"reference confidence": float(old.max(1).mean()), "current confidence": float(new.max(1).mean())},
    )
    k = old.shape[1]
    counts = np.bincount(old.argmax(1), minlength=k), np.bincount(new.argmax(1), minlength=k)
    p, square = label_shift(*counts, seed=seed)
    shares = counts[0] / len(old), counts[1] / len(new)
    labels = tuple(str(at) for at in range(k))
    moved = ColumnDrift(
        name=NAMES[1],
        kind="categorical",
        test="chi-square by permutation",
        statistic=square,
        p_value=p,
        q_value=p,
        effect=float(np.abs(shares[0] - shares[1]).sum() / 2.0),
        effect_name="total variation distance",
        drifted=False,
        reference=Histogram(tuple(shares[0].tolist()), labels=labels),
        current=Histogram(tuple(shares[1].tolist()), labels=labels),
    )
    return SoftmaxOutcome((confidence, moved), after, kept, quality)


def confidence_drop(before: Floats, after: Floats) -> tuple[float, float]:
    """Return p-value and z of the one-sided rank sum test (Wilcoxon 1945) that entropies `after` (n,) are larger.

    Ties get their mean rank; mean and variance of the rank sum are those under permutation. Entropies that fall give
    p-values above one half.
    """
    pooled = np.concatenate([before, after])
    ordered = np.sort(pooled)
    ranks = (np.searchsorted(ordered, pooled, "left") + np.searchsorted(ordered, pooled, "right")) / 2.0
    n, total = len(after), len(pooled)
    deviation = float(ranks.std()) * (len(before) / (n * (total - 1.0))) ** 0.5
    if deviation == 0.0:
        return 1.0, 0.0
    z = float(ranks[len(before) :].mean() - ranks.mean()) / deviation
    return float(special.ndtr(-z)), z


def label_shift(before: NDArray[np.int64], after: NDArray[np.int64], seed: int = 0) -> tuple[float, float]:
    """Return p-value and chi-square of two histograms of labels, (k,) counts each.

    The law is that of windows drawn at random from both together, `DRAWS` of them: exact, rare labels included.
    """
    pooled = before + after
    n, total = int(after.sum()), int(pooled.sum())
    some = pooled > 0
    expected = pooled[some] * (n / total)
    draws = rng(seed, "labels").multivariate_hypergeometric(pooled[some], n, DRAWS, method="marginals")
    likely = np.sum((draws - expected) ** 2 / expected, axis=1)
    square = float(np.sum((after[some] - expected) ** 2 / expected))
    reached = int(np.count_nonzero(likely >= square - 1e-9))
    return (1 + reached) / (1 + DRAWS), square * total / (total - n)


def entropy(softmax: Floats) -> Floats:
    """Return the entropy of each row in nats."""
    return np.asarray(special.entr(softmax).sum(1), np.float64)


def probabilities(matrix: Floats, which: str) -> Floats:
    """Return the matrix (n, k), n above 0, if its rows are probabilities. Raises `InvalidData`."""
    sums = matrix.sum(1)
    if matrix.shape[1] < 2 or matrix.min() < 0.0 or np.abs(sums - 1.0).max() > 1e-2:
        raise InvalidData(
            f"{which} rows sum to {sums.min():.4g} … {sums.max():.4g} with a least value of {matrix.min():.4g}",
            hint="pass probabilities of shape (rows, classes): softmax, not logits",
        )
    return matrix


def _histogram(values: Floats, edges: Floats) -> Histogram:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return Histogram(tuple((counts / len(values)).tolist()), tuple(edges.tolist()))
