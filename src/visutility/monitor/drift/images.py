"""Drift of images: what pixels say without a model, with embeddings and softmax vectors beside them.

Each part is a test at its share of the level: pixel statistics by the test of `embedding`, embeddings by the same,
softmax vectors by the two of `harmful`. Images that are not pictures of anything (black, constant, repeated, of another
size) are findings: a broken camera is not drift.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.core.errors import EmptyWindow, InvalidData
from visutility.monitor.drift import pixels
from visutility.monitor.drift.embedding import (
    LEAST_CURRENT,
    LEAST_REFERENCE,
    EmbeddingReference,
    most_shifted,
    rows_of,
    untested,
    usable,
)
from visutility.monitor.drift.fits import fitted
from visutility.monitor.drift.harmful import NAMES, softmax_tests
from visutility.monitor.drift.kinds import Signatures, sample
from visutility.monitor.drift.ranks import rank_rows, with_fdr
from visutility.monitor.drift.report import ColumnDrift, DriftReport, Finding, Severity, status_of
from visutility.monitor.state import Floats

BROKEN = {"black": 0.05, "white": 0.05, "constant": 0.05, "duplicate": 0.2}  # shares from which data count as broken
WORDS = {
    "not finite": "have values that are not finite",
    "range": "have values far outside the reference's range",
    "black": "are black",
    "white": "are white",
    "constant": "are of one colour",
    "duplicate": "repeat an earlier one exactly: a frozen camera?",
}


@final
@dataclass(frozen=True)
class ImageReference:
    """A reference window of images, learnt once; `compare` takes it in place of the images."""

    rows: int
    shape: tuple[int, ...]  # of one image
    scale: pixels.Scale
    statistics: Floats  # (m, p)
    learnt: EmbeddingReference  # of the statistics
    counts: dict[str, int]  # of images with each flag
    sample: NDArray[Any]  # some images, for `signatures`
    seed: int

    @classmethod
    def fit(cls, reference: NDArray[Any], seed: int = 0) -> "ImageReference":
        """Learn from images (m, h, w) or (m, h, w, c), c = 1, 3 or 4.

        Raises `InvalidImage` for others, `InvalidData` where they are not finite, `EmptyWindow` for fewer than 50.
        """
        images = pixels.shaped(reference, "reference")
        if len(images) < LEAST_REFERENCE:
            raise EmptyWindow(
                f"the reference window has {len(images)} images", hint=f"at least {LEAST_REFERENCE} are needed"
            )
        finite = np.isfinite(images).reshape(len(images), -1).all(1)
        if not finite.all():
            raise InvalidData(
                f"reference image {int(finite.argmin())} has values that are not finite", hint="leave such images out"
            )
        scale = pixels.Scale.of(images)
        found = pixels.measure(images, scale)
        counts = {what: int(flag.sum()) for what, flag in found.flags.items()}
        return cls(
            len(images),
            images.shape[1:],
            scale,
            found.statistics,
            EmbeddingReference.fit(found.statistics, seed),
            counts,
            sample(images),
            seed,
        )

    @cached_property
    def signatures(self) -> Signatures:
        """What each kind of drift does to these images; made when first asked for."""
        return Signatures.fit(self.sample, self.scale, self.statistics, self.seed)


def compare_images(
    reference: NDArray[Any] | ImageReference,
    current: NDArray[Any],
    *,
    level: float = 0.05,
    seed: int = 0,
    embeddings: tuple[Any, Any] | None = None,
    softmax: tuple[Any, Any] | None = None,
) -> DriftReport:
    """Compare windows of images, (m, h, w[, c]) and (n, h, w[, c]), integers or floats; c = 1, 3, or 4 with alpha.

    `embeddings` = (m, d) and (n, d), of the same images; the first may be a fitted `EmbeddingReference`. `softmax` =
    (m, k) and (n, k). Each part tests at an equal share of the level. `named` says what happened to the images where
    one kind of `kinds` fits and no other does; `quality` has what makes them no pictures, and then nothing is named.

    Raises `InvalidImage` for arrays that are not images, `InvalidData` for embeddings or softmax vectors that do not
    fit them, `InvalidObservation` for masked values, `EmptyWindow` for fewer than 50 and 10 of them. Images of another
    size or kind of number than the reference's are broken data, not an error.
    """
    learnt = reference if isinstance(reference, ImageReference) else fitted(ImageReference.fit, reference, seed)
    images = pixels.shaped(current, "current")
    rows = learnt.rows, len(images)
    if wrong := _other_format(learnt, images):
        return untested("images", rows, wrong, level)
    found = pixels.measure(images, learnt.scale)
    quality = _quality(learnt, found)
    kept = np.flatnonzero(found.usable)
    if len(kept) < LEAST_CURRENT:
        if quality:
            return untested("images", rows, quality, level)
        raise EmptyWindow(f"the current window has {len(kept)} images", hint=f"at least {LEAST_CURRENT} are needed")
    measured = found.statistics[kept]
    parts = [_pixel_part(learnt, measured, level, kept)]
    if embeddings is not None:
        parts.append(_embedding_part(embeddings, len(images), level, seed))
    if softmax is not None:
        parts.extend(_softmax_parts(softmax, len(images), seed))
    least = min(parts, key=lambda part: part.p_value)
    p = min(1.0, len(parts) * least.p_value)
    drifted = p <= level
    quality += tuple(finding for part in parts for finding in part.quality)
    sound = status_of(drifted, quality) != "data broken"
    named = learnt.signatures.name(measured) if drifted and sound else None
    return DriftReport(
        kind="images",
        drifted=drifted,
        p_value=p,
        level=level,
        rows=rows,
        verdict=_words(drifted, p, named, least.what, quality),
        columns=_columns(parts, learnt, measured, level if drifted else 0.0),
        quality=quality,
        named=named,
        shifted=least.shifted if drifted else (),
        status=status_of(drifted, quality),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One test that shares the level."""

    what: str
    p_value: float
    rows: tuple[ColumnDrift, ...]
    shifted: tuple[int, ...]
    quality: tuple[Finding, ...] = ()


def _pixel_part(learnt: ImageReference, measured: Floats, level: float, kept: NDArray[np.int64]) -> _Part:
    found = learnt.learnt.test(measured)
    return _Part(
        "pixel statistics",
        found.p_value,
        rows_of(learnt.learnt, found, level, "pixels"),
        most_shifted(found.shares, kept),
    )


def _embedding_part(pair: tuple[Any, Any], n: int, level: float, seed: int) -> _Part:
    reference, current = _pair(pair, "embeddings")
    learnt = reference if isinstance(reference, EmbeddingReference) else fitted(EmbeddingReference.fit, reference, seed)
    _same_length(current, n, "embeddings")
    values, kept, quality = usable(current, learnt.width)
    if len(values) < LEAST_CURRENT:
        return _Part("embeddings", 1.0, (), (), quality)
    found = learnt.test(values)
    return _Part("embeddings", found.p_value, rows_of(learnt, found, level), most_shifted(found.shares, kept), quality)


def _softmax_parts(pair: tuple[Any, Any], n: int, seed: int) -> list[_Part]:
    reference, current = _pair(pair, "softmax")
    _same_length(current, n, "softmax vectors")
    found = softmax_tests(reference, current, seed)
    shifted = most_shifted(found.entropies, found.kept)
    tested = [_Part(row.name, row.p_value, (row,), shifted) for row in found.rows]
    parts = tested or [_Part(name, 1.0, (), ()) for name in NAMES]
    return [replace(parts[0], quality=found.quality), *parts[1:]]


def _pair(given: Any, what: str) -> tuple[Any, Any]:
    """Return the reference's and the current vectors. Raises `InvalidData` for what is no such pair."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidData(f"{what} is a {type(given).__name__}", hint="pass (the reference's, the current window's)")
    return given[0], given[1]


def _same_length(values: Any, n: int, what: str) -> None:
    if not np.ndim(values) or len(values) != n:
        raise InvalidData(
            f"{len(values) if np.ndim(values) else 'no'} current {what} for {n} images",
            hint="pass one for each image, in the same order",
        )


def _columns(parts: list[_Part], learnt: ImageReference, measured: Floats, level: float) -> tuple[ColumnDrift, ...]:
    """Return the joint rows, then single statistics; one false discovery rate over the single ones."""
    joint = [replace(row, drifted=row.q_value <= level) for part in parts for row in part.rows if row.kind == "joint"]
    single = [row for part in parts for row in part.rows if row.kind != "joint"]
    single += rank_rows(pixels.names((0, *learnt.shape)), learnt.statistics, measured, level)
    return (*joint, *with_fdr(sorted(single, key=lambda row: row.p_value), level))


def _other_format(learnt: ImageReference, images: NDArray[Any]) -> tuple[Finding, ...]:
    found = []
    if images.shape[1:] != learnt.shape:
        found.append(
            Finding("size", "", "broken", 1.0, f"images are {images.shape[1:]}, the reference's {learnt.shape}")
        )
    if (images.dtype.kind in "iub") != learnt.scale.whole:
        kind = "integers" if learnt.scale.whole else "floats"
        found.append(Finding("type", "", "broken", 1.0, f"images are {images.dtype}, the reference's {kind}"))
    return tuple(found)


def _quality(learnt: ImageReference, found: pixels.Measured) -> tuple[Finding, ...]:
    """Return a finding for each flag that more images have than the reference lets expect, worst first.

    A flag that no reference image has is worth a warning, but for repeats, which are more likely in longer windows.
    """
    n = len(found.usable)
    findings = []
    for what, flags in found.flags.items():
        k = int(flags.sum())
        if not k:
            continue
        share = (learnt.counts[what] + 1.0) / (learnt.rows + 2.0)
        likely = float(special.betainc(k, n - k + 1.0, share))  # P(as many or more)
        broken = what not in BROKEN or (k / n >= BROKEN[what] and likely < 1e-4)
        if broken or likely < 0.01 or (learnt.counts[what] == 0 and what != "duplicate"):
            severity: Severity = "broken" if broken else "warning"
            findings.append(Finding(what, "", severity, k / n, f"{k} of {n} images {WORDS[what]}"))
    return tuple(sorted(findings, key=lambda finding: (finding.severity != "broken", -finding.share)))


def _words(drifted: bool, p: float, named: str | None, what: str, quality: tuple[Finding, ...]) -> str:
    broken = f"Data broken: {quality[0].detail}. " if status_of(drifted, quality) == "data broken" else ""
    if not drifted:
        return f"{broken}No drift: p = {p:.2g}."
    of = f"Drift of the kind {named}" if named else "Drift"
    return f"{broken}{of}, seen most clearly in the {what} (p = {p:.2g})."
