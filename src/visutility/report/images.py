"""Pictures inside a page: PNG written by hand, so that a report needs no image library."""

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidImage

_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG colour type (PNG 3rd edition, table 8)


def png(image: NDArray[Any]) -> bytes:
    """Return one image as an 8-bit PNG. Shape (h, w) or (h, w, c), c of 1 to 4; uint8, or floats in [0, 1] (clipped).

    Raises `InvalidImage` for another shape or type, and for a float that is NaN.
    """
    pixels = _bytes(image)
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each line starts with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def data_uri(image: NDArray[Any]) -> str:
    """Return one image as a `data:` address of a PNG. Raises as `png` does."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")


def _bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOURS or 0 in pixels.shape:
        raise InvalidImage(f"an image has shape {np.shape(image)}", hint="use (h, w) or (h, w, c) with c of 1 to 4")
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating) or np.isnan(pixels).any():
        raise InvalidImage(f"an image has {pixels.dtype} values, or NaN", hint="use uint8, or floats in [0, 1]")
    scaled: NDArray[np.uint8] = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return scaled
