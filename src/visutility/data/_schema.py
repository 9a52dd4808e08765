"""The columns of a data batch: their Arrow types, and the one check that every row set passes once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from visutility.core.errors import InvalidData, InvalidImage

TIME = pa.timestamp("us", "UTC")
BOX = pa.struct(
    [("x", pa.float32()), ("y", pa.float32()), ("w", pa.float32()), ("h", pa.float32()), ("label", pa.int32())]
)
OPTIONAL = {"label": pa.int64(), "boxes": pa.list_(BOX), "time": TIME}
COLUMNS = ("id", "image", *OPTIONAL)
MAX_ENCODED = 2**31 - 1  # bytes of encoded images in one batch: Arrow's `binary` has 32-bit offsets


def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with its columns in the one order and of the one type each.

    Columns of the right type are passed on without a copy. Raises `InvalidData` for a column that is missing,
    unknown or of a type that would lose something, and for an id that is null, empty or there twice; `InvalidImage`
    for an image column that holds no images.
    """
    if not isinstance(batch, pa.RecordBatch):
        raise InvalidData(f"expected a pyarrow.RecordBatch, got {type(batch).__name__}", hint="see DataBatch.from_*")
    names = batch.schema.names
    strange = [name for name in names if name not in COLUMNS or names.count(name) > 1]
    if strange:
        raise InvalidData(
            f"column {strange[0]!r} is unknown or there twice", hint=f"a batch has the columns {', '.join(COLUMNS)}"
        )
    missing = [name for name in ("id", "image") if name not in names]
    if missing:
        raise InvalidData(f"there is no column {missing[0]!r}, only {names}", hint="every row needs an id and an image")
    ids = _ids(batch.column("id"))
    columns = {"id": ids, "image": _images(batch.column("image"), ids)}
    for name in OPTIONAL:
        if name in names:
            columns[name] = _OPTIONAL_CHECKS[name](batch.column(name), ids)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def tensor_values(images: pa.Array) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a fixed-shape tensor column as a read-only view of Arrow's memory, shape (n, h, w) or (n, h, w, c)."""
    flat = images.storage.flatten().to_numpy(zero_copy_only=True)
    view: np.ndarray[Any, np.dtype[Any]] = flat.reshape(len(images), *images.type.shape)
    return view


def is_tensor(kind: pa.DataType) -> bool:
    """Say whether an image column of this type holds tensors; otherwise it holds encoded bytes."""
    return isinstance(kind, pa.FixedShapeTensorType)


def _ids(column: pa.Array) -> pa.Array:
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()):
        raise InvalidData(f"column 'id' has type {kind}", hint="ids are text")
    if column.null_count:
        raise InvalidData(f"{column.null_count} of {len(column)} ids are null", hint="every row needs an id")
    ids = column.cast(pa.string())
    if pc.any(pc.equal(ids, "")).as_py():
        raise InvalidData("an id is empty", hint="every row needs an id of its own")
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        raise InvalidData(f"id {twice[0].as_py()!r} is there twice", hint="ids are unique within a batch")
    return ids


def _images(column: pa.Array, ids: pa.Array) -> pa.Array:
    kind = column.type
    if column.null_count:
        raise InvalidImage(f"image {_first(ids, column.is_null())!r} is null", hint="leave rows without an image out")
    if not is_tensor(kind):
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view()):
            raise InvalidImage(f"column 'image' has type {kind}", hint="use binary, or a fixed-shape tensor")
        return _cast(column, pa.binary(), "image")
    shape, value = tuple(kind.shape), kind.value_type
    if value not in (pa.uint8(), pa.float32()):
        raise InvalidImage(f"images hold {value} values", hint="use uint8, or float32 in [0, 1]")
    if len(shape) not in (2, 3) or 0 in shape or list(kind.permutation or range(len(shape))) != [*range(len(shape))]:
        raise InvalidImage(f"images have shape {shape}", hint="use (h, w) or (h, w, c) in this order, none of them 0")
    flat = column.storage.flatten()
    if flat.null_count:
        raise InvalidImage("an image has null values inside", hint="every pixel needs a value")
    if value == pa.float32():
        finite = np.isfinite(flat.to_numpy(zero_copy_only=True)).reshape(len(ids), -1).all(axis=1)
        if not finite.all():
            bad = ids[int(np.argmin(finite))].as_py()
            raise InvalidImage(f"image {bad!r} has a value that is not finite", hint="leave the broken image out")
    return column


def _labels(column: pa.Array, ids: pa.Array) -> pa.Array:
    if not (pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise InvalidData(f"column 'label' has type {column.type}", hint="labels are whole numbers, or null")
    labels = _cast(column, pa.int64(), "label")
    negative = pc.fill_null(pc.less(labels, 0), fill_value=False)
    if pc.any(negative).as_py():
        raise InvalidData(f"the label of {_first(ids, negative)!r} is negative", hint="an unknown label is null")
    return labels


def _boxes(column: pa.Array, ids: pa.Array) -> pa.Array:
    boxes = _cast(column, OPTIONAL["boxes"], "boxes")
    values = boxes.flatten()
    parts = {name: values.field(name) for name in ("x", "y", "w", "h", "label")}
    if values.null_count or any(part.null_count for part in parts.values()):
        raise InvalidData("a box has a null inside", hint="a box has x, y, w, h and a label")
    x, y, w, h = (parts[name].to_numpy(zero_copy_only=False) for name in ("x", "y", "w", "h"))
    good = np.isfinite(x + y) & (w > 0) & (h > 0) & np.isfinite(w + h)
    if not good.all():
        row = pc.list_parent_indices(boxes)[int(np.argmin(good))].as_py()
        box = values[int(np.argmin(good))].as_py()
        raise InvalidData(f"image {ids[row].as_py()!r} has the box {box}", hint="w and h are above 0, all are finite")
    return boxes


def _times(column: pa.Array, ids: pa.Array) -> pa.Array:  # noqa: ARG001 the checks share a signature
    return as_time(column)


def as_time(column: pa.Array) -> pa.Array:
    """Return a column as UTC microseconds; what is finer is cut off. Raises `InvalidData` for times without a zone."""
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(TIME)
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise InvalidData(f"column 'time' has type {kind}", hint="use a timestamp with a zone, best UTC")
    return _cast(pc.floor_temporal(column, unit="microsecond") if kind.unit == "ns" else column, TIME, "time")


def _cast(column: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidData(f"column {name!r} does not fit {kind}: {error}", hint="convert it before") from None


def _first(ids: pa.Array, mask: pa.Array) -> object:
    return ids[int(np.argmax(mask.to_numpy(zero_copy_only=False)))].as_py()


_OPTIONAL_CHECKS: dict[str, Callable[[pa.Array, pa.Array], pa.Array]] = {
    "label": _labels,
    "boxes": _boxes,
    "time": _times,
}
