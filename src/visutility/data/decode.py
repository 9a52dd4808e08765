"""Encoded images and arrays: decoding with Pillow, one image at a time, and every failure as `InvalidImage`."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidImage, MissingExtra

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # never EPS: it would start Ghostscript
MAX_PIXELS = 64_000_000
_AS = {
    "L": "L",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "1": "L",
    "LA": "RGBA",
    "P": "RGB",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}


def pillow() -> Any:
    """Return the module `PIL.Image`. Raises `MissingExtra` when Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("Pillow is not installed", hint="run `pip install visutility[vision]`") from None
    return Image


def decode(image_id: str, data: bytes) -> NDArray[np.uint8]:
    """Return an encoded image as (h, w), or (h, w, c) with c of 3 or 4, as it is stored: EXIF never turns it.

    Raises `InvalidImage` naming the id and the reason: no image, cut short, a format outside `FORMATS`, more than
    `MAX_PIXELS` pixels, more than 8 bits a channel.
    """
    image_module = pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InvalidImage(
                    f"image {image_id!r} has {width} x {height} pixels", hint=f"{MAX_PIXELS:,} pixels are the most"
                )
            image.load()
            mode = "RGBA" if "transparency" in image.info and image.mode == "P" else _AS.get(image.mode)
            if mode is None:
                raise InvalidImage(
                    f"image {image_id!r} has mode {image.mode!r}", hint="convert it to 8 bits a channel, grey or RGB"
                )
            return np.asarray(image if image.mode == mode else image.convert(mode))
    except InvalidImage:
        raise
    except image_module.UnidentifiedImageError:
        start = bytes(data[:8])
        raise InvalidImage(
            f"image {image_id!r} is not an image: {len(data)} bytes that start with {start!r}",
            hint=f"use one of {', '.join(FORMATS)}",
        ) from None
    except Exception as error:  # noqa: BLE001 a damaged file makes Pillow raise almost anything, SyntaxError included
        raise InvalidImage(
            f"image {image_id!r} cannot be decoded: {error or type(error).__name__}",
            hint="the file is damaged or cut short; leave it out or fetch it again",
        ) from None


def to_unit(images: NDArray[Any]) -> NDArray[np.float32]:
    """Return images as float32 in [0, 1]: uint8 divided by 255, floats as they are (no copy of float32)."""
    if images.dtype == np.uint8:
        return np.asarray(np.divide(images, 255, dtype=np.float32))
    if not np.issubdtype(images.dtype, np.floating):
        raise InvalidImage(f"images hold {images.dtype} values", hint="use uint8, or floats in [0, 1]")
    return images.astype(np.float32, copy=False)
