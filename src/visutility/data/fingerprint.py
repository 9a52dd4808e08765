"""Which data was it? One hash of a batch's content, whatever the order of its rows and the cut into batches."""

import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from visutility.data._schema import is_tensor, tensor_values

_VERSION = b"visutility rows 1\n"


def fingerprint(batches: Iterable[pa.RecordBatch]) -> str:
    """Return the SHA-256, in hexadecimal, of the rows of checked record batches.

    Each row is hashed (id, image, label, boxes, each with its length, so that no two rows share an encoding), then
    the row hashes in the order of their ids. An image counts as the bytes it is stored as: the same picture as PNG
    and as an array is different data. Times are left out: when a row was seen is not what it shows. O(bytes).
    """
    rows: list[tuple[str, bytes]] = []
    for batch in batches:
        rows.extend(_row_hashes(batch))
    whole = hashlib.sha256(_VERSION)
    for _, row in sorted(rows):
        whole.update(row)
    return whole.hexdigest()


def _row_hashes(batch: pa.RecordBatch) -> Iterable[tuple[str, bytes]]:
    names = batch.schema.names
    ids = batch.column("id").to_pylist()
    labels = batch.column("label").to_pylist() if "label" in names else [None] * len(ids)
    boxes = batch.column("boxes").to_pylist() if "boxes" in names else [None] * len(ids)
    for image_id, (kind, image), label, boxed in zip(ids, _images(batch.column("image")), labels, boxes, strict=True):
        row = hashlib.sha256()
        for part in (image_id.encode(), kind, image, b"" if label is None else b"%d" % label, _packed(boxed)):
            row.update(b"%d:" % len(part))
            row.update(part)
        yield image_id, row.digest()


def _images(column: pa.Array) -> Iterable[tuple[bytes, memoryview]]:
    if not is_tensor(column.type):
        return ((b"encoded", memoryview(value.as_buffer())) for value in column)
    images = tensor_values(column)
    kind = f"{images.dtype.str} {images.shape[1:]}".encode()
    flat = images.reshape(len(images), -1).view(np.uint8)
    return ((kind, row.data) for row in flat)


def _packed(boxes: "list[dict[str, float]] | None") -> bytes:
    if boxes is None:
        return b""
    numbers = [[box["x"], box["y"], box["w"], box["h"]] for box in boxes]
    labels = [box["label"] for box in boxes]
    return b"%d;" % len(boxes) + np.array(numbers, "<f4").tobytes() + np.array(labels, "<i4").tobytes()
