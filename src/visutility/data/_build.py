"""Columns out of Python values and arrays, and record batches out of record batches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from visutility.core.errors import InvalidData
from visutility.data import _schema

Labels = Sequence[int | None] | NDArray[np.integer[Any]]
Times = Sequence[datetime | None] | NDArray[np.datetime64]


class Box(NamedTuple):
    """A labelled box: its upper left corner, width and height, in pixels of its image."""

    x: float
    y: float
    w: float
    h: float
    label: int


Boxes = Sequence[Sequence[Box | tuple[float, float, float, float, int]] | None]


def assembled(
    ids: Sequence[str], images: pa.Array, labels: Labels | None, times: Times | None, boxes: Boxes | None
) -> pa.RecordBatch:
    """Return a record batch of these columns, one value per row. Raises `InvalidData`, naming the column."""
    for name, column in (("images", images), ("labels", labels), ("times", times), ("boxes", boxes)):
        if column is not None and len(column) != len(ids):
            raise InvalidData(f"there are {len(ids)} ids and {len(column)} {name}", hint="pass one per row")
    columns: dict[str, pa.Array] = {"id": array(ids, pa.string(), "ids"), "image": images}
    if labels is not None:
        columns["label"] = array(labels, None, "labels")
    if boxes is not None:
        rows = [None if row is None else [Box(*box)._asdict() for box in row] for row in boxes]
        columns["boxes"] = array(rows, _schema.OPTIONAL["boxes"], "boxes")
    if times is not None:
        naive = [at for at in times if isinstance(at, datetime) and at.tzinfo is None]
        if naive:
            raise InvalidData(f"time {naive[0]!r} has no zone", hint="pass datetimes with tzinfo=UTC")
        columns["time"] = array(times, _schema.TIME, "times")
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def array(values: Any, kind: pa.DataType | None, name: str) -> pa.Array:
    """Return the values as an Arrow array of a type. Raises `InvalidData`, naming what they were for."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidData(f"{name} do not fit: {error}", hint=f"pass {kind or 'whole numbers or None'}") from None


def with_columns(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Return the batch with exactly these columns, null where it has none."""
    have = batch.schema.names
    columns = [
        batch.column(name) if name in have else pa.nulls(batch.num_rows, _schema.OPTIONAL[name]) for name in names
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def single(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one record batch."""
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    empty = [pa.array([], field.type) for field in table.schema]
    return pa.RecordBatch.from_arrays(empty, schema=table.schema)


def encoded_bytes(images: pa.Array) -> int:
    """Return how many bytes a column of encoded images holds."""
    return int(pc.sum(pc.binary_length(images)).as_py() or 0)


def refuse_too_many(encoded: int) -> None:
    """Raise `InvalidData` when a batch cannot hold that many bytes of encoded images."""
    if encoded > _schema.MAX_ENCODED:
        raise InvalidData(
            f"the batch would hold {encoded:,} bytes of encoded images", hint="2 GiB are the most; use several batches"
        )
