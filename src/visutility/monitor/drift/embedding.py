"""Drift of embeddings: has the mean of the vectors moved, or how far they lie from the middle?

Two tests share the level. One is of the mean of x and |x|^(1/2), feature by feature (`whitened`). The other is of the
log of each vector's squared Mahalanobis distance, at two shrinkages of the covariance: one weighs all directions alike,
the other the strong ones. Distances of the reference's own rows are taken from covariances that have not seen them
(as in the CV+ of Barber, Candes, Ramdas & Tibshirani 2021), so that new rows do not look farther away than they are;
and so are those of rows that come again in the current window.
Neither can measure features that never vary in the reference: where there are some, an exact test of those (`constant`)
has a tenth of the level.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, InvalidData, InvalidObservation
from visutility.core.rng import rng
from visutility.monitor.detector import unmasked
from visutility.monitor.drift.constant import Constants
from visutility.monitor.drift.fdr import benjamini_hochberg
from visutility.monitor.drift.fits import fitted
from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding, Histogram, status_of
from visutility.monitor.drift.whitened import FOLDS, Whitened, inverse_spread
from visutility.monitor.state import Floats, Ints

WIDEST = 128  # vectors longer than this, or than an eighth of the reference, are projected on so many random directions
SHRINK = (0.02, 0.5)  # of the two distances, in units of a feature's variance
LEAST_REFERENCE, LEAST_CURRENT = 50, 10
LARGEST = 1e60  # fourth powers of what is larger are not finite; what is nearer to 0 than 1 / LARGEST counts as 0
CONSTANT = 0.1  # share of the level that the test of constant features has, where there are any
SHIFTED = 16  # how many of the most shifted samples a report names


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tests of one window found. `shares` (n,) says how much each row speaks for the change."""

    p_value: float  # of all together
    mean: tuple[float, float, float]  # p-value, statistic, length of the shift in reference deviations
    spread: tuple[float, float, float]
    constant: tuple[float, float, float] | None  # p-value, rows that differ, their share; None: all features vary
    distances: Floats  # (n,) log squared distances from the middle of the reference
    shares: Floats

    @property
    def deciding(self) -> str:
        """The test that the p-value comes from."""
        least = min(self.mean[0], self.spread[0])
        if self.constant is not None and self.constant[0] / CONSTANT < 2.0 * least / (1.0 - CONSTANT):
            return "constants"
        return "mean" if self.mean[0] <= self.spread[0] else "spread"


@final
@dataclass(frozen=True, slots=True)
class EmbeddingReference:
    """A reference window of vectors (m, d), learnt once: tests a window of n others in O(n d min(d, `WIDEST`)).

    `fit` makes one; `compare(EmbeddingReference.fit(reference), current, kind="embedding")` takes it in place of the
    reference window.
    """

    rows: int
    width: int
    projections: tuple[Floats, Floats] | None  # (d, WIDEST) each, for x and for |x|^(1/2); None: not projected
    folds: tuple[tuple[Floats, Floats, Floats], ...]  # middle (p,), directions (p, p) and their weights (p, 2)
    means: Whitened
    spreads: Whitened
    constants: Constants
    deciles: tuple[Floats, tuple[float, ...]]  # of the rows' log squared distances, and the shares between
    known: tuple[Ints, Ints, Floats]  # of rows not too often there: sums and names, each rising, log distances (k, 2)

    @classmethod
    def fit(cls, reference: NDArray[Any], seed: int = 0) -> "EmbeddingReference":
        """Learn from vectors (m, d), finite, m at least `LEAST_REFERENCE`. Some ten milliseconds for (1000, 32).

        `seed` names the random directions. Raises `InvalidData` for another shape, type or values that are not
        finite, `EmptyWindow` for too few rows.
        """
        values = _without_tiny(checked(reference, "reference", LEAST_REFERENCE))
        m, d = values.shape
        projections = None
        if d > (most := min(WIDEST, m // 8)):
            draw = rng(seed, "embedding", d)
            first, second = (draw.standard_normal((d, most)) / d**0.5 for _ in range(2))
            projections = (first, second)
        vectors, features = _features(values, projections)
        whole = features if projections is None else _widened(values)
        names, first, which, count = np.unique(
            _names(values), return_index=True, return_inverse=True, return_counts=True
        )
        rare = count <= max(1, m // (2 * FOLDS))  # their copies share a fold; it would be too large for the others'
        order = np.argsort(np.argsort(first))  # of the distinct rows, by where they come first
        fold = np.where(rare[which], order[which], np.arange(m)) % FOLDS
        folds = tuple(_distance(vectors[fold != k]) for k in range(FOLDS))
        logs = np.empty((m, len(SHRINK)))
        for k in range(FOLDS):
            logs[fold == k] = _log_distances(vectors[fold == k], folds[k])
        means = Whitened.fit(features, clip=0.25, least=0.01)
        # a covariance that came out large makes new rows look near, and leaves the reference's own where they are: the
        # centre errs more than a mean of m rows does, for windows as long as the reference (chosen on normal vectors)
        spreads = Whitened.fit(logs, clip=0.9, least=1e-4, worth=2 / 3)
        constants = Constants.fit(whole, inverse_spread(whole) > 0.0)
        known = np.unique(_sums(values[first[rare]])), names[rare], logs[first[rare]]
        edges = np.quantile(logs[:, 0], np.linspace(0.0, 1.0, 11))
        deciles = edges, _shares(logs[:, 0], edges)
        return cls(m, d, projections, folds, means, spreads, constants, deciles, known)

    def test(self, current: Floats) -> Outcome:
        """Test vectors (n, d) that `checked` returned.

        A row's distance is the mean over the folds' covariances, as each of the reference's own is measured by the one
        covariance that has not seen it: the two have the same mean without a change, whatever d / m. A row of the
        reference that comes again, the same to the last bit, has the distance that it had there.
        """
        current = _without_tiny(current)
        vectors, features = _features(current, self.projections)
        logs = sum((_log_distances(vectors, fold) for fold in self.folds), np.zeros((len(current), len(SHRINK))))
        logs /= len(self.folds)
        sums, names, own = self.known
        if len(maybe := np.flatnonzero(_places(_sums(current), sums) >= 0)):  # few rows, as a rule none, need a name
            at = _places(_names(current[maybe]), names)
            logs[maybe[at >= 0]] = own[at[at >= 0]]
        z_mean, z_spread = self.means.z(features), self.spreads.z(logs)
        mean, spread = self.means.test(z_mean), self.spreads.test(z_spread)
        z = z_mean if mean[0] <= spread[0] else z_spread
        p, shares, constant = min(1.0, 2.0 * min(mean[0], spread[0])), z @ z.mean(0), None
        if len(self.constants.at):
            differing = self.constants.differing(features if self.projections is None else _widened(current))
            exact, differ = self.constants.test(differing)
            constant = exact, float(differ), differ / len(current)
            p, exact = min(p / (1.0 - CONSTANT), 1.0), min(exact / CONSTANT, 1.0)
            if exact < p:  # as in `Outcome.deciding`
                p, shares = exact, differing.sum(1, dtype=np.float64)
        return Outcome(p, mean, spread, constant, logs[:, 0], shares)


def compare_embedding(
    reference: NDArray[Any] | EmbeddingReference, current: NDArray[Any], *, level: float = 0.05, seed: int = 0
) -> DriftReport:
    """Compare windows of embeddings, (m, d) and (n, d).

    Vectors with values that are not finite are a "broken" finding and left out; where fewer than 10 others are left,
    nothing is tested. The reference may be fitted before
    (`EmbeddingReference.fit`); one that comes again is recognised by its content.

    Raises `InvalidData` for other shapes, `InvalidObservation` for masked values, and `EmptyWindow` for windows with
    fewer than 50 and 10 rows.
    """
    learnt = reference if isinstance(reference, EmbeddingReference) else fitted(EmbeddingReference.fit, reference, seed)
    values, kept, quality = usable(current, learnt.width)
    rows = learnt.rows, len(current)
    if len(values) < LEAST_CURRENT:
        return untested("embedding", rows, quality, level)
    found = learnt.test(values)
    drifted = found.p_value <= level
    return DriftReport(
        kind="embedding",
        drifted=drifted,
        p_value=found.p_value,
        level=level,
        rows=rows,
        verdict=_words(found, drifted),
        columns=rows_of(learnt, found, level if drifted else 0.0),
        quality=quality,
        shifted=most_shifted(found.shares, kept) if drifted else (),
        status=status_of(drifted, quality),
    )


def usable(current: NDArray[Any], width: int) -> tuple[Floats, NDArray[np.int64], tuple[Finding, ...]]:
    """Return the finite rows of vectors (n, d) in float64, their indices, and a finding about the others.

    They may be fewer than `LEAST_CURRENT` where there is a finding; raises `EmptyWindow` where there is none.
    """
    values = _matrix(current, "current")
    if values.shape[1] != width:
        raise InvalidData(
            f"current vectors have {values.shape[1]} values, the reference's {width}", hint="compare like with like"
        )
    fine = _fine(values)
    kept = np.flatnonzero(fine)
    quality: tuple[Finding, ...] = ()
    if len(kept) < len(values):
        bad = len(values) - len(kept)
        words = f"{bad} of {len(values)} vectors have values that are not finite, or beyond {LARGEST:g}"
        quality = (Finding("not finite", "", "broken", bad / len(values), words),)
        values = values[kept]
    if not quality:
        _enough(len(values), "current", LEAST_CURRENT)
    return values, kept, quality


def untested(kind: str, rows: tuple[int, int], quality: tuple[Finding, ...], level: float) -> DriftReport:
    """Return the report of a window whose data are too broken to be compared; the first finding says why."""
    verdict = f"Data broken, not compared: {quality[0].detail}."
    return DriftReport(kind, False, 1.0, level, rows, verdict, quality=quality, status=status_of(False, quality))


def checked(values: NDArray[Any], which: str, least: int) -> Floats:
    """Return vectors (n, d) as float64. Raises `InvalidData` and `EmptyWindow`."""
    matrix = _matrix(values, which)
    _enough(len(matrix), which, least)
    fine = _fine(matrix)
    if not fine.all():
        words = f"{which} row {int(fine.argmin())} has a value that is not finite, or beyond {LARGEST:g}"
        raise InvalidData(words, hint="leave such rows out")
    return matrix


def _without_tiny(values: Floats) -> Floats:
    """Return the values with 0 for those whose squares may be 0 while they are not."""
    return np.where(np.abs(values) < 1.0 / LARGEST, 0.0, values)


def _fine(values: Floats) -> NDArray[np.bool_]:
    """Return which rows can be computed with, shape (n,)."""
    fine: NDArray[np.bool_] = np.maximum(values.max(1), -values.min(1)) <= LARGEST
    return fine


def rows_of(
    learnt: EmbeddingReference, found: Outcome, level: float, name: str = "embedding"
) -> tuple[ColumnDrift, ...]:
    """Return the tests as report rows, named "`name` mean", "… spread" and "… constants", most suspicious first.

    The last is there where at least one row differs.
    """
    edges, shares = learnt.deciles[0].copy(), learnt.deciles[1]
    edges[0], edges[-1] = min(edges[0], found.distances.min()), max(edges[-1], found.distances.max())
    shown = [Histogram(part, tuple(edges.tolist())) for part in (shares, _shares(found.distances, edges))]
    of = "shift in reference deviations"
    tests = [(*found.mean, "mean", "whitened mean", of, shown), (*found.spread, "spread", "log distances", of, shown)]
    if found.constant is not None and found.constant[1] > 0.0:
        part = found.constant[2]
        shown = [Histogram((1.0 - one, one), labels=("constant", "different")) for one in (0.0, part)]
        tests.append((*found.constant, "constants", "exact test of constant features", "share of rows", shown))
    tests.sort(key=lambda row: row[:4])
    q_values = benjamini_hochberg([row[0] for row in tests]).tolist()
    return tuple(
        ColumnDrift(
            name=f"{name} {what}",
            kind="joint",
            test=test,
            statistic=statistic,
            p_value=p,
            q_value=q,
            effect=effect,
            effect_name=effect_name,
            drifted=q <= level,
            reference=histograms[0],
            current=histograms[1],
        )
        for (p, statistic, effect, what, test, effect_name, histograms), q in zip(tests, q_values, strict=True)
    )


def most_shifted(shares: Floats, kept: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the indices of the samples that speak most for the change, most first."""
    return tuple(kept[np.argsort(-shares, kind="stable")[:SHIFTED]].tolist())


def _words(found: Outcome, drifted: bool) -> str:
    if not drifted:
        return f"No drift: p = {found.p_value:.2g}."
    what = found.deciding
    if found.constant is not None and what == "constants":
        part = found.constant[2]
        return f"Drift: {part:.1%} of the vectors differ where the reference's never vary (p = {found.p_value:.2g})."
    shift = found.mean[2] if what == "mean" else found.spread[2]
    return f"Drift: the {what} of the embeddings moved by {shift:.2g} reference deviations (p = {found.p_value:.2g})."


def _features(values: Floats, projections: tuple[Floats, Floats] | None) -> tuple[Floats, Floats]:
    if projections is None:
        return values, _widened(values)
    vectors = values @ projections[0]
    return vectors, np.concatenate([vectors, np.sqrt(np.abs(values)) @ projections[1]], 1)


def _widened(values: Floats) -> Floats:
    return np.concatenate([values, np.sqrt(np.abs(values))], 1)


def _shares(values: Floats, edges: Floats) -> tuple[float, ...]:
    return tuple((np.histogram(values, edges)[0] / len(values)).tolist())


def _places(wanted: Ints, rising: Ints) -> Ints:
    """Return where each of `wanted` is in `rising`, -1 where it is not."""
    at = np.searchsorted(rising, wanted)
    there = at < len(rising)
    there[there] = rising[at[there]] == wanted[there]
    return np.where(there, at, -1)


def _sums(values: Floats) -> Ints:
    """Return a number for each row, (n,), which equal rows share: quick, and others may share it too."""
    sums: Ints = np.ascontiguousarray(values).view(np.int64).sum(1)
    return sums


def _names(values: Floats) -> Ints:
    """Return a number for each row, (n,), which equal rows share and, but for 2^-64, no others."""
    rows = np.ascontiguousarray(values)
    return np.frombuffer(b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows), np.int64)


def _distance(vectors: Floats) -> tuple[Floats, Floats, Floats]:
    """Return middle, directions and weights: sum_j ((x - middle) @ directions)_j^2 weights_jk is the k-th distance."""
    middle, per = vectors.mean(0), inverse_spread(vectors)
    scaled = (vectors - middle) * per
    values, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    weights = 1.0 / (np.maximum(values, 0.0)[:, None] + np.array(SHRINK))
    return middle, per[:, None] * directions, weights


def _log_distances(vectors: Floats, fold: tuple[Floats, Floats, Floats]) -> Floats:
    middle, directions, weights = fold
    along = (vectors - middle) @ directions
    return np.log((along * along) @ weights + 1e-3)


def _matrix(values: NDArray[Any], which: str) -> Floats:
    try:
        array = np.asarray(unmasked(values, which))
    except InvalidObservation:
        raise
    except ValueError:
        raise InvalidData(f"{which} has rows of unequal length", hint="pass numbers of shape (rows, width)") from None
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiub":
        raise InvalidData(
            f"{which} is an array of shape {array.shape} of {array.dtype}", hint="pass numbers of shape (rows, width)"
        )
    return array.astype(np.float64, copy=False)


def _enough(rows: int, which: str, least: int) -> None:
    if rows < least:
        raise EmptyWindow(f"the {which} window has {rows} usable rows", hint=f"at least {least} are needed")
