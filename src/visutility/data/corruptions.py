"""Ways in which a camera goes bad, at severities 0 (clean) to 5, the same in every process.

Severities follow the five-step scale of Hendrycks and Dietterich (2019), arXiv:1903.12261; the levels are our own, and
lengths are shares of the image, so that 8 x 8 and 640 x 480 images suffer alike. What happens to an image depends on
(seed, kind, id) and its pixels alone, and a severer version of the same image extends the milder one: the same noise
pattern grows, the same box widens.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidImage, InvalidSetting
from visutility.core.rng import rng
from visutility.data.decode import pillow

Images = NDArray[np.float32]  # (n, h, w) or (n, h, w, c), in [0, 1]
Draws = Callable[[int], np.random.Generator]  # position in the batch -> that image's own generator
MAX_SEVERITY = 5
ROTATION = (0.0, 10.0, 18.0, 26.0, 36.0, 50.0)  # degrees; the spread between images depends on them too


@final
@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of harm. `levels` are its amounts at severities 0 (the clean value) to 5, in `unit`."""

    levels: tuple[float, float, float, float, float, float]
    unit: str
    apply: Callable[[Images, float, Draws], Images]  # images, amount, generators -> new images, perhaps outside [0, 1]

    def amount(self, severity: float) -> float:
        """Return the amount at a severity in [0, 5], linear between the levels."""
        return float(np.interp(severity, range(MAX_SEVERITY + 1), self.levels))


@final
@dataclass(frozen=True, slots=True)
class Composition:
    """Kinds of harm one after the other: each named kind at this share of the severity, with its own randomness."""

    parts: tuple[tuple[str, float], ...]


def corrupt(
    images: NDArray[Any],
    kind: str,
    severity: float,
    *,
    seed: int,
    ids: Sequence[str] | Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Return the images after corruption `kind` (a key of `CORRUPTIONS`), float32 in [0, 1].

    `images` are floats in [0, 1], shape (n, h, w) or (n, h, w, c); they are not changed. With `ids` a row's result
    does not depend on the batch it is in; without, its position is its id. Severity 0 gives the images back, JPEG
    included: no coding happens. Raises `InvalidImage` and `InvalidSetting`, and `MissingExtra` for JPEG without Pillow.
    """
    if kind not in CORRUPTIONS:
        raise InvalidSetting(f"corruption {kind!r} is unknown", hint=f"choose one of {', '.join(sorted(CORRUPTIONS))}")
    if isinstance(severity, bool) or not 0 <= severity <= MAX_SEVERITY:
        raise InvalidSetting(f"severity is {severity!r}", hint=f"choose a number from 0 to {MAX_SEVERITY}")
    names = range(len(images)) if ids is None else ids
    clean = _checked(images, names)
    return _corrupted(clean, kind, severity, seed, names) if len(clean) else clean


def _corrupted(clean: Images, kind: str, severity: float, seed: int, names: Sequence[str] | Sequence[int]) -> Images:
    if severity == 0:
        return clean
    corruption = CORRUPTIONS[kind]
    if isinstance(corruption, Composition):
        for part, share in corruption.parts:
            clean = _corrupted(clean, part, share * severity, seed, names)
        return clean
    bad = corruption.apply(clean, corruption.amount(severity), lambda at: rng(seed, kind, names[at]))
    return np.asarray(np.clip(bad, 0, 1), np.float32)


def _checked(images: NDArray[Any], names: Sequence[str] | Sequence[int]) -> Images:
    if not isinstance(images, np.ndarray) or images.ndim not in (3, 4) or not np.issubdtype(images.dtype, np.floating):
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise InvalidImage(
            f"images are {found}", hint="pass floats in [0, 1] of shape (n, h, w) or (n, h, w, c); see data.to_unit"
        )
    if 0 in images.shape[1:]:
        raise InvalidImage(f"images have shape {images.shape}", hint="only the number of rows may be 0")
    if len(names) != len(images):
        raise InvalidSetting(f"there are {len(images)} images and {len(names)} ids", hint="pass one id per image")
    flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
    fits = ((flat >= -1e-6) & (flat <= 1 + 1e-6)).all(axis=1)  # false for NaN; room for rounding in float32
    if not fits.all():
        at = int(np.argmin(fits))
        low, high = flat[at].min(), flat[at].max()
        raise InvalidImage(f"image {names[at]!r} has values from {low} to {high}", hint="bring them into [0, 1]")
    return np.asarray(np.clip(images, 0, 1), np.float32)  # always a copy: the caller's array is never changed


def _noise(images: Images, sd: float, draws: Draws) -> Images:
    noise = [draws(at).standard_normal(image.shape, np.float32) for at, image in enumerate(images)]
    return images + np.float32(sd) * np.asarray(noise, np.float32)


def _motion_blur(images: Images, length: float, draws: Draws) -> Images:  # noqa: ARG001 nothing random
    """Average along the width over `length` widths."""
    pixels = length * images.shape[2]

    def twice_integrated(t: NDArray[np.float64]) -> NDArray[np.float64]:
        above, below = np.maximum(t + pixels / 2, 0), np.maximum(t - pixels / 2, 0)
        return np.asarray((above**2 - below**2) / (2 * pixels))

    return _blurred(images, twice_integrated, pixels / 2, axes=(2,))


def _defocus(images: Images, sigma: float, draws: Draws) -> Images:  # noqa: ARG001 nothing random
    """Average over a Gaussian of standard deviation `sigma` widths."""
    from scipy.special import ndtr

    pixels = sigma * images.shape[2]

    def twice_integrated(t: NDArray[np.float64]) -> NDArray[np.float64]:
        density = np.exp(-0.5 * (t / pixels) ** 2) / np.sqrt(2 * np.pi)
        return np.asarray(t * ndtr(t / pixels) + pixels * density)

    return _blurred(images, twice_integrated, 4 * pixels, axes=(1, 2))


def _blurred(
    images: Images,
    twice_integrated: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    reach: float,
    axes: tuple[int, ...],
) -> Images:
    """Average along `axes` over a weight with this second integral that ends at `reach` pixels.

    The image is taken as linear between its pixels, so the k-th kernel value is the second difference at k of the
    weight's second integral: exact for lengths below a pixel too, which is what an 8 x 8 image gets.
    """
    from scipy.ndimage import convolve1d

    half = int(np.ceil(reach)) + 1
    kernel = np.diff(twice_integrated(np.arange(-half - 1, half + 2, dtype=np.float64)), 2)
    for axis in axes:
        images = np.asarray(convolve1d(images, kernel / kernel.sum(), axis=axis, mode="nearest"), np.float32)
    return images


def _brightness(images: Images, added: float, draws: Draws) -> Images:  # noqa: ARG001 nothing random
    return images + np.float32(added)


def _contrast(images: Images, factor: float, draws: Draws) -> Images:  # noqa: ARG001 nothing random
    means = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64)  # row by row: the batch plays no part
    mean = means.astype(np.float32).reshape(-1, *(1,) * (images.ndim - 1))
    return np.asarray(mean + np.float32(factor) * (images - mean))


def _rotation(images: Images, degrees: float, draws: Draws) -> Images:
    """Turn counter-clockwise as seen, by `degrees` + N(0, 2) an image; outside, the edge pixels go on.

    Below severity 1 the 2 degrees shrink with the severity, so that 0 is the clean image.
    """
    from scipy.ndimage import rotate

    jitter = 2 * min(1.0, degrees / ROTATION[1])
    turned = [
        rotate(image, degrees + jitter * draws(at).standard_normal(), reshape=False, order=1, mode="nearest")
        for at, image in enumerate(images)
    ]
    return np.stack(turned)


def _jpeg(images: Images, quality: float, draws: Draws) -> Images:  # noqa: ARG001 nothing random
    """Code as JPEG with 8 bits a channel and decode; `quality` is rounded to a whole number."""
    pil = pillow()
    flat = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    if flat.ndim == 4 and flat.shape[3] != 3:
        raise InvalidImage(f"images have {flat.shape[3]} channels", hint="JPEG takes 1 or 3")
    out = np.empty_like(flat)
    for at, image in enumerate(np.rint(flat * 255).astype(np.uint8)):
        coded = io.BytesIO()
        pil.fromarray(image).save(coded, "JPEG", quality=round(quality))
        with pil.open(coded, formats=["JPEG"]) as decoded:
            out[at] = np.asarray(decoded, np.float32) / 255
    return out.reshape(images.shape)


def _occlusion(images: Images, side: float, draws: Draws) -> Images:
    """Put a black box of `side` x height and `side` x width somewhere inside; pixels on its edge darken in part."""
    out = images.copy()
    for at, image in enumerate(out):
        top, left = draws(at).random(2) * (1 - side)
        covered = np.outer(_overlap(top, side, image.shape[0]), _overlap(left, side, image.shape[1]))
        image *= (1 - covered.reshape(covered.shape + (1,) * (image.ndim - 2))).astype(np.float32)
    return out


def _overlap(start: float, length: float, pixels: int) -> NDArray[np.float64]:
    """Return the share of each of `pixels` pixels that [start, start + length] of the whole covers."""
    edges = np.clip(np.linspace(0, 1, pixels + 1), start, start + length)
    return np.diff(edges) * pixels


def _pixel_dropout(images: Images, share: float, draws: Draws) -> Images:
    """Set each pixel, all its channels, to 0 with probability `share`."""
    kept = np.stack([draws(at).random(images.shape[1:3]) >= share for at in range(len(images))])
    return np.asarray(images * kept.reshape(kept.shape + (1,) * (images.ndim - 3)), np.float32)


CORRUPTIONS: dict[str, Corruption | Composition] = {
    "gaussian-noise": Corruption((0, 0.06, 0.12, 0.18, 0.26, 0.38), "sd", _noise),
    "motion-blur": Corruption((0, 0.10, 0.16, 0.22, 0.30, 0.40), "length / width", _motion_blur),
    "defocus": Corruption((0, 0.025, 0.04, 0.06, 0.085, 0.12), "Gaussian sigma / width", _defocus),
    "brightness": Corruption((0, 0.10, 0.20, 0.30, 0.40, 0.55), "added", _brightness),
    "contrast": Corruption((1, 0.60, 0.45, 0.30, 0.20, 0.12), "factor about the image's mean", _contrast),
    "rotation": Corruption(ROTATION, "degrees, plus N(0, 2) an image", _rotation),
    "jpeg": Corruption((100, 30, 18, 12, 8, 4), "quality", _jpeg),
    "occlusion": Corruption((0, 0.20, 0.30, 0.40, 0.50, 0.62), "side of a black box / side", _occlusion),
    "pixel-dropout": Corruption((0, 0.05, 0.10, 0.20, 0.30, 0.45), "share set to 0", _pixel_dropout),
    "camera-ageing": Composition(
        (("rotation", 0.6), ("defocus", 0.5), ("contrast", 0.6), ("gaussian-noise", 0.7)),
    ),
}
