"""What happened to the images: the kinds of drift that a camera makes, learnt by doing them to reference images.

Each kind done at rising strength moves the mean of the pixel statistics along a curve. The observed shift is given the
name of the nearest curve, if that explains most of it and no curve of another kind lies nearly as close. Pixels that
fail and images that move are curves too, without a name, so that they are not taken for what they resemble.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.rng import rng
from visutility.monitor.drift import pixels
from visutility.monitor.drift.pixels import Pixels, Scale
from visutility.monitor.drift.whitened import whitening
from visutility.monitor.state import Floats

SAMPLES, SAMPLE_PIXELS = 200, 1 << 19  # of the reference are done harm to, at most
LEAST_SAMPLES = 10
SIDE = 128  # pixels: of larger images the middle is taken
EXPLAINED = 0.8  # of the squared shift, for a name; this and the next two were chosen on kinds and strengths that the
RIVAL = 1.5  # page does not report: how much farther the nearest curve of another kind must be, squared
TURNED = 3.0  # how many standard errors the edges' angle must have moved for a rotation
SHRINK, FLOOR = 0.02, 0.01  # of the whitening; statistics are of order 1

Harm = Callable[[Pixels, float, int], Pixels]


def brightness(images: Pixels, by: float, _seed: int) -> Pixels:
    """Add to all pixels."""
    return images + np.float32(by)


def contrast(images: Pixels, by: float, _seed: int) -> Pixels:
    """Stretch about each image's mean."""
    mean = images.mean(axis=tuple(range(1, images.ndim)), keepdims=True)
    done: Pixels = mean + np.float32(by) * (images - mean)
    return done


def grey_contrast(images: Pixels, by: float, _seed: int) -> Pixels:
    """Stretch about middle grey."""
    return np.float32(0.5) + np.float32(by) * (images - np.float32(0.5))


def blur(images: Pixels, by: float, _seed: int) -> Pixels:
    """Blur with a Gaussian of this standard deviation in pixels."""
    from scipy import ndimage

    done: Pixels = ndimage.gaussian_filter(images, (0, by, by, 0)[: images.ndim])
    return done


def noise(images: Pixels, by: float, seed: int) -> Pixels:
    """Add normal noise of this standard deviation."""
    return images + np.float32(by) * rng(seed, "noise").standard_normal(images.shape, np.float32)


def rotation(images: Pixels, by: float, _seed: int) -> Pixels:
    """Turn by degrees about the centre."""
    from scipy import ndimage

    done: Pixels = ndimage.rotate(images, by, (2, 1), reshape=False, order=1)
    return done


def translation(images: Pixels, by: float, _seed: int) -> Pixels:
    """Move right, or down where `by` is negative, by parts of a pixel."""
    from scipy import ndimage

    steps = (0.0, 0.0, by, 0.0) if by > 0 else (0.0, -by, 0.0, 0.0)
    done: Pixels = ndimage.shift(images, steps[: images.ndim], order=1)
    return done


def failed_pixels(images: Pixels, by: float, seed: int) -> Pixels:
    """Set a share of the pixels to white, or to black where `by` is negative."""
    hit = rng(seed, "failed").random(images.shape, np.float32) < abs(by)
    return np.where(hit, np.float32(by > 0), images)


CURVES: tuple[tuple[str | None, Harm, tuple[float, ...]], ...] = (  # name, what, from weak to strong
    ("brightness", brightness, (0.02, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2, 0.35)),
    ("brightness", brightness, (-0.02, -0.035, -0.05, -0.07, -0.1, -0.14, -0.2, -0.35)),
    ("contrast", contrast, (0.95, 0.9, 0.85, 0.78, 0.7, 0.6, 0.5, 0.37, 0.25)),
    ("contrast", contrast, (1.05, 1.15, 1.35, 1.7, 2.5)),
    ("contrast", grey_contrast, (0.95, 0.85, 0.7, 0.5, 0.25)),
    ("blur", blur, (0.35, 0.5, 0.7, 1.0, 1.5, 2.5, 4.0)),
    ("noise", noise, (0.02, 0.04, 0.08, 0.15, 0.3)),
    ("rotation", rotation, (3.0, 7.0, 13.0, 22.0, 35.0)),
    ("rotation", rotation, (-3.0, -7.0, -13.0, -22.0, -35.0)),
    (None, failed_pixels, (0.005, 0.02, 0.05, 0.15, 0.3)),
    (None, failed_pixels, (-0.005, -0.02, -0.05, -0.15, -0.3)),
    (None, translation, (0.2, 0.5)),
    (None, translation, (-0.2, -0.5)),
)


@final
@dataclass(frozen=True, slots=True)
class Signatures:
    """Where the mean of the statistics goes under each kind, in the whitened space of the reference."""

    rows: int
    mean: Floats  # (p,)
    to_z: Floats  # (p, p)
    spread: Floats  # (p,) standard deviations
    angles: tuple[int, ...]  # the columns that tell a rotation
    curves: tuple[tuple[str | None, Floats], ...]  # (levels + 1, p) from the origin on

    @classmethod
    def fit(cls, sample: NDArray[Any], scale: Scale, statistics: Floats, seed: int) -> "Signatures":
        """Harm the sample images (k, h, w[, c]) and measure; `statistics` (m, p) are those of the whole reference."""
        mean, to_z = whitening(statistics, SHRINK, FLOOR)
        clean = scale.apply(sample)
        before = pixels.statistics(clean).mean(0)
        curves = []
        for name, harm, levels in CURVES:
            points = [np.zeros(statistics.shape[1])]
            for by in levels:
                harmed = np.clip(harm(clean, by, seed), 0.0, 1.0)
                harmed = scale.apply(scale.undo(harmed)) if scale.whole else harmed
                points.append((pixels.statistics(harmed).mean(0) - before) @ to_z)
            curves.append((name, np.stack(points)))
        listed = pixels.names(sample.shape)
        angles = tuple(listed.index(name) for name in pixels.ANGLES)
        return cls(len(statistics), mean, to_z, statistics.std(0), angles, tuple(curves))

    def name(self, statistics: Floats) -> str | None:
        """Return the kind that explains the shift of the statistics (n, p), or None where none does clearly."""
        moved = statistics.mean(0) - self.mean
        shift = moved @ self.to_z
        scale = 1.0 / len(statistics) + 1.0 / self.rows
        chance = len(shift) * scale  # the squared length that chance alone gives
        length = float(shift @ shift)
        nearest = self._distances(shift)
        best = min(nearest, key=lambda kind: nearest[kind])
        rival = min(square for kind, square in nearest.items() if kind != best)
        if best is None or length < 2.0 * chance:
            return None
        if max(nearest[best] - chance, 0.0) > (1.0 - EXPLAINED) * (length - chance):
            return None
        if rival - chance / 2.0 < RIVAL * max(nearest[best] - chance / 2.0, chance / 2.0):
            return None
        if best == "rotation" and not self._turned(moved, scale):
            return None
        return best

    def _distances(self, shift: Floats) -> Mapping[str | None, float]:
        found: dict[str | None, float] = {}
        for name, points in self.curves:
            start, along = points[:-1], np.diff(points, axis=0)
            part = ((shift - start) * along).sum(1) / np.maximum((along * along).sum(1), 1e-300)
            part = np.clip(part, 0.0, 1.0)
            part[0] = max(part[0], 0.3)  # all curves meet at the origin: near it none is nearest
            away = shift - start - part[:, None] * along
            found[name] = min(found.get(name, np.inf), float((away * away).sum(1).min()))
        return found

    def _turned(self, moved: Floats, scale: float) -> bool:
        spread = self.spread[list(self.angles)] * scale**0.5
        return bool(np.any(np.abs(moved[list(self.angles)]) > TURNED * spread))


def sample(images: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of the images that are done harm to: evenly spaced, few where they are large, cut to `SIDE`."""
    top, left = (max(0, (size - SIDE) // 2) for size in images.shape[1:3])
    middle = images[:, top : top + SIDE, left : left + SIDE]
    some = max(LEAST_SAMPLES, min(SAMPLES, SAMPLE_PIXELS // max(1, int(np.prod(middle.shape[1:])))))
    rows = np.unique(np.linspace(0, len(images) - 1, min(some, len(images))).astype(np.int64))
    return np.ascontiguousarray(middle[rows])
