"""Pictures inside a page: PNG written by hand, so that a report needs no image library."""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidImage, InvalidSetting
from visutility.report.html import Html, State, chip, text

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


@final
@dataclass(frozen=True, slots=True)
class ImageRow:
    """One kind of picture of each sample: "clean", "after the drift". `captions` stand under the pictures."""

    name: str
    images: NDArray[Any]
    captions: Sequence[str] = ()
    states: Sequence[State] = ()


def image_grid(rows: Sequence[ImageRow], *, title: str, size: int = 72) -> Html:
    """Return a figure with a column per sample and a picture per row in it, `size` pixels wide, pixels unblurred.

    A column stays together when the page is narrow. Raises `InvalidSetting` when rows differ in length, or captions
    or states are not one per picture.
    """
    counts = {len(row.images) for row in rows}
    for row in rows:
        counts |= {len(of) for of in (row.captions, row.states) if len(of)}
    if len(counts) != 1:
        raise InvalidSetting(f"{title!r} has {sorted(counts)} pictures, captions or states", hint="pass one per sample")
    cells = []
    for at in range(counts.pop()):
        pictures = "".join(_picture(row, at, size) for row in rows)
        cells.append(f'<li class="sample">{pictures}</li>')
    order = (
        f"<p>In each column, from the top: {text(', '.join(row.name for row in rows))}.</p>" if len(rows) > 1 else ""
    )
    return Html(
        f'<figure><figcaption>{text(title)}</figcaption>{order}<ul class="samples">{"".join(cells)}</ul></figure>'
    )


def _picture(row: ImageRow, at: int, size: int) -> str:
    image = row.images[at]
    height = round(size * image.shape[0] / image.shape[1])
    caption = row.captions[at] if row.captions else ""
    said = f"{row.name} {at + 1}{f': {caption}' if caption else ''}"
    shown = chip(row.states[at], caption) if row.states and caption else text(caption)
    return (
        f'<img src="{data_uri(image)}" width="{size}" height="{height}" alt="{text(said)}">'
        f"{f'<span>{shown}</span>' if caption else ''}"
    )
