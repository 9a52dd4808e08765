"""`DataBatch`: images with ids, and labels, boxes and times where there are any, in one Arrow record batch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, InvalidData, InvalidImage
from visutility.data import _build, _schema
from visutility.data._build import Box, Boxes, Labels, Times
from visutility.data.decode import decode
from visutility.data.fingerprint import fingerprint
from visutility.data.split import assign


@final
class DataBatch:
    """Rows of images over one `pyarrow.RecordBatch`; immutable.

    Columns: `id` (text, unique), `image` (encoded bytes, or a fixed-shape tensor of uint8 or float32), and optionally
    `label` (int64, null where unknown), `boxes` and `time` (UTC microseconds). Checked once, here; what comes out of
    `select`, `split` and `concat` is not checked again beyond what they could break.
    """

    __slots__ = ("record_batch",)

    record_batch: pa.RecordBatch

    def __init__(self, record_batch: pa.RecordBatch) -> None:
        self.record_batch = _schema.checked(record_batch)

    def __len__(self) -> int:
        return int(self.record_batch.num_rows)

    def __repr__(self) -> str:
        names = [name for name in self.record_batch.schema.names if name in _schema.OPTIONAL]
        kind = self.record_batch.schema.field("image").type
        what = f"{'x'.join(map(str, kind.shape))} {kind.value_type}" if _schema.is_tensor(kind) else "encoded"
        return f"DataBatch({len(self)} rows, {what} images{''.join(f', {name}' for name in names)})"

    def __reduce__(self) -> tuple[object, ...]:
        return DataBatch.from_ipc, (self.to_ipc(),)  # Arrow's own pickle of a slice would carry the whole parent

    @classmethod
    def from_arrays(
        cls,
        ids: Sequence[str],
        images: NDArray[Any],
        labels: Labels | None = None,
        times: Times | None = None,
        boxes: Boxes | None = None,
    ) -> "DataBatch":
        """Return a batch of `images`, shape (n, h, w) or (n, h, w, c), uint8, or float32 in [0, 1].

        A C-contiguous array is shared, not copied: do not write to it afterwards. `times` with `datetime64` are UTC.
        Raises `InvalidImage` and `InvalidData`.
        """
        good = isinstance(images, np.ndarray) and images.ndim in (3, 4) and images.dtype in (np.uint8, np.float32)
        if not good:
            found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise InvalidImage(f"images are {found}", hint="pass uint8 or float32 of shape (n, h, w) or (n, h, w, c)")
        if 0 in images.shape[1:]:
            raise InvalidImage(f"images have shape {images.shape}", hint="only the number of rows may be 0")
        value = pa.uint8() if images.dtype == np.uint8 else pa.float32()
        flat = pa.array(np.ascontiguousarray(images).reshape(-1), value)
        storage = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(images.shape[1:])))
        kind = pa.fixed_shape_tensor(value, images.shape[1:])
        return cls(_build.assembled(ids, pa.ExtensionArray.from_storage(kind, storage), labels, times, boxes))

    @classmethod
    def from_encoded(
        cls,
        ids: Sequence[str],
        images: Sequence[bytes],
        labels: Labels | None = None,
        times: Times | None = None,
        boxes: Boxes | None = None,
    ) -> "DataBatch":
        """Return a batch of encoded images (JPEG, PNG, ...), kept as they are and decoded by `images`.

        Raises `InvalidData`, also above 2 GiB of encoded bytes; `InvalidImage` when one is not bytes.
        """
        wrong = next((at for at, image in enumerate(images) if not isinstance(image, bytes)), None)
        if wrong is not None:
            raise InvalidImage(
                f"image {wrong} is {type(images[wrong]).__name__}", hint="pass bytes; arrays: from_arrays"
            )
        _build.refuse_too_many(sum(map(len, images)))
        return cls(_build.assembled(ids, pa.array(images, pa.binary()), labels, times, boxes))

    @classmethod
    def from_ipc(cls, source: bytes | Path) -> "DataBatch":
        """Return the batch of an Arrow IPC file: a path is memory-mapped, so images are read when first touched.

        Float images are read once, to check them. Raises `InvalidData` when it is not a whole Arrow file.
        """
        try:
            opened = pa.memory_map(str(source)) if isinstance(source, Path) else pa.py_buffer(source)
            reader = pa.ipc.open_file(opened)
            batches = [reader.get_batch(at) for at in range(reader.num_record_batches)]
            for batch in batches:
                batch.validate(full=True)
            table = pa.Table.from_batches(batches, reader.schema)
        except (pa.ArrowException, OSError) as error:
            name = str(source) if isinstance(source, Path) else f"{len(source)} bytes"
            raise InvalidData(f"{name}: not a whole Arrow file: {error}", hint="write it with to_ipc") from None
        return cls(batches[0] if len(batches) == 1 else _build.single(table))

    @staticmethod
    def concat(batches: Sequence["DataBatch"]) -> "DataBatch":
        """Return the rows of all batches, in order; columns that some lack are null there. Copies.

        Raises `InvalidData` for none, for an id that is there twice, and for images of different kinds or shapes.
        """
        if not batches:
            raise InvalidData("there are no batches to put together", hint="pass at least one")
        parts = [batch.record_batch for batch in batches]
        kinds = list(dict.fromkeys(part.schema.field("image").type for part in parts))
        if len(kinds) > 1:
            raise InvalidData(f"images differ: {kinds[0]} and {kinds[1]}", hint="bring them to one shape and type")
        if not _schema.is_tensor(kinds[0]):
            _build.refuse_too_many(sum(_build.encoded_bytes(part.column("image")) for part in parts))
        names = [name for name in _schema.COLUMNS if any(name in part.schema.names for part in parts)]
        return DataBatch(_build.single(pa.Table.from_batches([_build.with_columns(part, names) for part in parts])))

    @property
    def ids(self) -> list[str]:
        """The ids, in the order of the rows. Copies."""
        ids: list[str] = self.record_batch.column("id").to_pylist()
        return ids

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels, shape (n,), a view. Raises `InvalidData` when the batch or a row of it has none."""
        column = self._optional("label")
        if column.null_count:
            raise InvalidData(
                f"{column.null_count} of {len(self)} rows have no label",
                hint="keep the others with batch.select(batch.labelled)",
            )
        labels: NDArray[np.int64] = column.to_numpy(zero_copy_only=True)
        return labels

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a label, shape (n,)."""
        if "label" not in self.record_batch.schema.names:
            return np.zeros(len(self), np.bool_)
        mask: NDArray[np.bool_] = self.record_batch.column("label").is_valid().to_numpy(zero_copy_only=False)
        return mask

    @property
    def times(self) -> NDArray[np.datetime64]:
        """The times, shape (n,), `datetime64[us]` in UTC, NaT where unknown; a view when all are known."""
        column = self._optional("time")
        times: NDArray[np.datetime64] = column.to_numpy(zero_copy_only=column.null_count == 0)
        return times

    @property
    def boxes(self) -> list[list[Box] | None]:
        """The boxes of each image; an empty list: none there, None: nobody looked. Copies."""
        rows = self._optional("boxes").to_pylist()
        return [None if row is None else [Box(**box) for box in row] for row in rows]

    def images(self) -> NDArray[Any]:
        """Return all images, shape (n, h, w) or (n, h, w, c).

        Tensors come as a read-only view of Arrow's memory, nothing is copied; encoded images are decoded to uint8.
        Raises `InvalidImage` naming the id of one that is damaged, or whose shape differs from the first (read these
        with `decoded`), and `EmptyWindow` for encoded images when there are no rows: their shape is unknown.
        """
        column = self.record_batch.column("image")
        if _schema.is_tensor(column.type):
            return _schema.tensor_values(column)
        if not len(self):
            raise EmptyWindow("there are no images to decode", hint="ask for a window that has rows")
        rows = self.decoded()
        image_id, first = next(rows)
        images = np.empty((len(self), *first.shape), first.dtype)
        images[0] = first
        for at, (other_id, image) in enumerate(rows, start=1):
            if image.shape != first.shape:
                raise InvalidImage(
                    f"image {other_id!r} has shape {image.shape}, {image_id!r} has {first.shape}",
                    hint="read them one by one with batch.decoded() and bring them to one shape",
                )
            images[at] = image
        return images

    def decoded(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (id, image) row by row, shape (h, w) or (h, w, c): for images that differ in shape, or are many."""
        column = self.record_batch.column("image")
        if _schema.is_tensor(column.type):
            yield from zip(self.ids, _schema.tensor_values(column), strict=True)
        else:
            for image_id, image in zip(self.ids, column, strict=True):
                yield image_id, decode(image_id, image.as_py())

    def select(self, rows: Sequence[int] | NDArray[Any]) -> "DataBatch":
        """Return these rows, by position (each at most once, in this order) or by a mask of shape (n,). Copies.

        Raises `InvalidData` for a position outside the batch or named twice.
        """
        at = np.asarray(rows)
        if at.dtype == np.bool_ and at.shape == (len(self),):
            at = np.flatnonzero(at)
        if at.size == 0:
            at = at.astype(np.int64)
        if at.ndim != 1 or not np.issubdtype(at.dtype, np.integer):
            raise InvalidData(f"rows are {at.dtype} of shape {at.shape}", hint="pass positions, or a mask of all rows")
        if at.size and not (at.min() >= 0 and at.max() < len(self)):
            raise InvalidData(f"rows {at.min()} to {at.max()} of {len(self)} were asked", hint="positions count from 0")
        if len(np.unique(at)) < len(at):
            raise InvalidData("a row is named twice", hint="ids are unique within a batch")
        return _trusted(self.record_batch.take(pa.array(at.astype(np.int64))))

    def split(self, shares: Mapping[str, float], seed: int) -> dict[str, "DataBatch"]:
        """Return the parts named by `shares`, which sum to 1; some may be empty. See `split.assign` for the promise."""
        part = assign(self.ids, shares, seed)
        return {name: self.select(np.flatnonzero(part == at)) for at, name in enumerate(shares)}

    def fingerprint(self) -> str:
        """Return the SHA-256 of the rows' content, whatever their order. See `fingerprint.fingerprint`."""
        return fingerprint([self.record_batch])

    def to_ipc(self) -> bytes:
        """Return the batch as an Arrow IPC file."""
        out = pa.BufferOutputStream()
        with pa.ipc.new_file(out, self.record_batch.schema) as writer:
            writer.write_batch(self.record_batch)
        data: bytes = out.getvalue().to_pybytes()
        return data

    def _optional(self, name: str) -> pa.Array:
        if name not in self.record_batch.schema.names:
            raise InvalidData(f"the batch has no column {name!r}", hint="it was made without")
        return self.record_batch.column(name)


def _trusted(record_batch: pa.RecordBatch) -> DataBatch:
    batch = object.__new__(DataBatch)
    batch.record_batch = record_batch
    return batch
