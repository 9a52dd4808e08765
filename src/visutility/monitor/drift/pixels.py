"""What can be measured of an image without a model: statistics per image, the same for every camera.

Images are arrays (n, h, w) or (n, h, w, c); a fourth channel (alpha) is not looked at. Values are brought to [0, 1] by
the `Scale` of the reference window, not by each window's own extremes, so that a darker window stays darker.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidImage, InvalidObservation
from visutility.monitor.detector import unmasked
from visutility.monitor.state import Bools, Floats

Pixels = NDArray[np.float32]  # (n, h, w) or (n, h, w, 3) in [0, 1], or a little beyond
GREY = (
    "brightness",  # mean
    "contrast",  # standard deviation
    "dark level",  # 10 % quantile
    "bright level",  # 90 % quantile
    "sharpness",  # log of gradient energy over variance
    "noise",  # log of the mean |Laplacian| that Immerkaer (1996) estimates noise from
    "roughness",  # log of that over the gradient: noise and blur against edges
    "flat noise",  # log of its 25 % quantile: noise where the image is flat
    "edge balance",  # vertical against horizontal edges, in [-1, 1]: cos and sin of twice
    "edge tilt",  # the mean angle of the gradient, times how much the gradients agree
    "axis edges",  # edges along the axes against diagonal ones: cos and sin of four times
    "axis tilt",  # the angle, which tell upright images from turned ones
    "black share",  # of pixels near 0: those at .02 count half, those from .04 on not at all
    "white share",  # of pixels near 1, likewise
)
ANGLES = ("edge balance", "edge tilt", "axis tilt")
COLOUR = ("saturation", "red share", "blue share")
BLACK, WHITE = 0.02, 0.98
CHUNK = 1 << 21  # pixels at once


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """The range that stands for [0, 1], and the kind of numbers: what another window must have, too."""

    low: float
    high: float
    whole: bool  # integers

    @classmethod
    def of(cls, images: NDArray[Any]) -> "Scale":
        """Return the usual range that holds finite images: that of bytes, [0, 1], [-1, 1], or their own extremes.

        Integers beyond bytes have the range of as many bits as the largest needs: 12 for 4000, whatever their type.
        """
        if images.dtype.kind == "b":
            return cls(0.0, 1.0, True)
        low, high = float(images.min()), float(images.max())
        if images.dtype.kind in "iu":
            bits = int(max(int(images.max()), -1 - int(images.min()))).bit_length()
            top = 255.0 if low >= 0 and high <= 255 else float(2 ** max(bits, 1) - 1)
            return cls(min(low, 0.0), top, True)
        for usual in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
            if usual[0] <= low and high <= usual[1]:
                return cls(*usual, False)
        return cls(low, high if high > low else low + 1.0, False)

    def apply(self, images: NDArray[Any]) -> Pixels:
        """Return float32 images with this range as [0, 1]."""
        if images.dtype.kind == "b":
            images = images.astype(np.uint8)
        return ((images - np.float32(self.low)) * np.float32(1.0 / (self.high - self.low))).astype(np.float32)

    def undo(self, pixels: Pixels) -> NDArray[Any]:
        """Return images in the range's own units, rounded where they are integers."""
        back = pixels * (self.high - self.low) + self.low
        return back.round() if self.whole else back


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """Statistics (n, p) of the images that could be measured, and what is wrong with each image, (n,) each."""

    statistics: Floats  # nan in rows that are not usable
    usable: Bools
    flags: dict[str, Bools]  # "not finite", "range", "black", "white", "constant", "duplicate"


def shaped(images: Any, which: str) -> NDArray[Any]:
    """Return images as an array (n, h, w) or (n, h, w, c). Raises `InvalidImage` for anything else.

    A reference has 1, 3 or 4 channels; that current images have other ones is for a finding to say.
    """
    try:
        array = np.asarray(unmasked(images, which))
    except InvalidObservation:
        raise
    except ValueError:
        raise InvalidImage(
            f"{which} has images of several sizes", hint="bring them to one size, or compare by size"
        ) from None
    small = min(array.shape[1:3], default=0) < 3 or 0 in array.shape[3:]
    if array.ndim not in (3, 4) or array.dtype.kind not in "fiub" or small:
        raise InvalidImage(
            f"{which} is an array of shape {array.shape} of {array.dtype}",
            hint="pass numbers of shape (n, height, width) or (n, height, width, channels), 3 x 3 pixels at least",
        )
    if which == "reference" and array.ndim == 4 and array.shape[3] not in (1, 3, 4):
        raise InvalidImage(
            f"{which} is an array of shape {array.shape}: {array.shape[3]} channels",
            hint="put 1, 3 or 4 channels last: np.moveaxis(images, 1, -1) if they come first",
        )
    return array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array


def names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the statistics of images of this shape, in the order of their columns."""
    return GREY + COLOUR if len(shape) == 4 and shape[3] in (3, 4) else GREY


def measure(images: NDArray[Any], scale: Scale) -> Measured:
    """Measure images that `shaped` returned, in pieces: memory does not grow with their number."""
    n = len(images)
    flags = {what: np.zeros(n, np.bool_) for what in ("not finite", "range", "black", "white", "constant")}
    flags["duplicate"] = _duplicates(images)
    found = np.full((n, len(names(images.shape))), np.nan)
    for piece in pieces(images):
        values = scale.apply(images[piece])
        flat = (values[..., :3] if values.ndim == 4 else values).reshape(len(values), -1)
        low, high = flat.min(1), flat.max(1)
        flags["not finite"][piece] = ~np.isfinite(low + high)
        flags["range"][piece] = np.isfinite(low + high) & (
            (low < -0.5) | (high > 1.5)
        )  # a little beyond is noise that was not clipped
        flags["black"][piece] = high <= BLACK
        flags["white"][piece] = low >= WHITE
        flags["constant"][piece] = high - low < 1e-3
        fine = ~(flags["not finite"][piece] | flags["range"][piece])
        found[piece][fine] = statistics(values[fine])
    usable = ~(flags["not finite"] | flags["range"])
    flags["duplicate"] &= usable & ~flags["constant"]
    return Measured(found, usable, flags)


def pieces(images: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of the images, of `CHUNK` pixels or one image each."""
    step = max(1, CHUNK // max(1, int(np.prod(images.shape[1:]))))
    for first in range(0, len(images), step):
        yield slice(first, min(first + step, len(images)))


def statistics(pixels: Pixels) -> Floats:
    """Return the statistics (n, p) of pixels in [0, 1], in the order of `names`."""
    if not len(pixels):
        return np.empty((0, len(names(pixels.shape))))
    colours = []
    grey = pixels
    if pixels.ndim == 4:
        grey = pixels[..., :3].mean(3)
        colours = _colours(pixels) if pixels.shape[3] in (3, 4) else []
    n = len(grey)
    flat = grey.reshape(n, -1)
    spread = flat.std(1)
    dark, bright = np.quantile(flat, (0.1, 0.9), axis=1)
    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    once, cross = across**2 - down**2, 2.0 * across * down  # cos and sin of twice the angle, times the energy
    energy = across**2 + down**2 + 1e-8
    edges, balance, tilt, axis, turned = (
        part.mean((1, 2)) for part in (energy, once, cross, (once**2 - cross**2) / energy, 2.0 * once * cross / energy)
    )
    bent = grey[:, :, :-2] - 2.0 * grey[:, :, 1:-1] + grey[:, :, 2:]
    bent = np.abs(bent[:, :-2] - 2.0 * bent[:, 1:-1] + bent[:, 2:]).reshape(n, -1)
    rough = bent.mean(1)
    columns = [
        flat.mean(1),
        spread,
        dark,
        bright,
        np.log(edges / (spread**2 + 1e-4)),
        np.log(rough + 1e-3),
        np.log(rough / np.sqrt(edges) + 1e-3),
        np.log(np.quantile(bent, 0.25, axis=1) + 1e-3),
        balance / edges,
        tilt / edges,
        axis / edges,
        turned / edges,
        np.mean(np.clip(1.0 - flat / (2 * BLACK), 0.0, 1.0), axis=1),
        np.mean(np.clip(1.0 - (1.0 - flat) / (2 * BLACK), 0.0, 1.0), axis=1),
        *colours,
    ]
    return np.stack(columns, 1).astype(np.float64)


def _colours(pixels: Pixels) -> list[NDArray[Any]]:
    rgb = pixels[..., :3]
    total = rgb.sum((1, 2, 3)) + 1e-6
    saturation = (rgb.max(3) - rgb.min(3)).mean((1, 2))
    return [saturation, rgb[..., 0].sum((1, 2)) / total, rgb[..., 2].sum((1, 2)) / total]


def _duplicates(images: NDArray[Any]) -> Bools:
    """Return which images equal an earlier one, byte for byte."""
    seen: set[bytes] = set()
    repeats = np.zeros(len(images), np.bool_)
    for at, image in enumerate(images):
        digest = hashlib.sha256(image.tobytes()).digest()
        repeats[at] = digest in seen
        seen.add(digest)
    return repeats
