"""Rows in Parquet: one file, or a folder that a writer appends to while others read."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visutility.core.errors import DiskFull, InvalidData, InvalidImage, ReadOnly
from visutility.data import _window
from visutility.data._schema import COLUMNS, TIME, as_time
from visutility.data.batch import DataBatch

ROW_GROUP = 1024  # rows: the least that is read for one row


@dataclass(frozen=True, slots=True)
class _Rows:
    """The light columns of one file: which of its rows are in the window, and their ids and times."""

    path: Path
    at: NDArray[np.int64]
    ids: list[str]
    times: pa.Array


@final
class ParquetSource:
    """A Parquet file, or a folder of `*.parquet` files, with the columns of a `DataBatch`; others are passed over.

    A folder need not exist yet: it is made by the first `append`. An id may be in one file only. A fetch reads the
    ids and times of files that can hold newer rows, then the images of the chosen rows' row groups alone.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, batch: DataBatch) -> Path:
        """Add the rows as one new file and return its path; appending the same rows again changes nothing.

        The file is written under another name, synced, then renamed: a reader sees all of it or none, and a crash
        leaves at most a stray `.tmp` file. Its name starts with the time of its oldest row, so names sort by time.
        Raises `InvalidData` when a row has no time, `DiskFull` and `ReadOnly`.
        """
        import pyarrow.parquet as pq

        if self.path.is_file() or self.path.suffix == ".parquet":
            raise InvalidData(f"{self.path} is one file", hint="append to a folder")
        times = batch.times
        if not len(batch) or np.isnat(times).any():
            raise InvalidData("a row has no time, or there are no rows", hint="give every appended row its time")
        stamp = str(times.min()).replace("-", "").replace(":", "").replace(".", "")
        path = self.path / f"{stamp}Z-{batch.fingerprint()[:16]}.parquet"
        partial = self.path / f".{path.stem}.{secrets.token_hex(4)}.tmp"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as out:
                    table = pa.Table.from_batches([batch.record_batch])
                    pq.write_table(table, out, row_group_size=ROW_GROUP, use_dictionary=False, compression="zstd")
                    out.flush()
                    os.fsync(out.fileno())
                partial.replace(path)
                _sync(self.path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise _translated(error, self.path) from None
        return path

    def fetch(self, *, since: datetime | None = None, limit: int | None = None) -> DataBatch:
        """Return rows as `Source.fetch` says. Raises `InvalidData` naming a file that is damaged or does not fit."""
        files = self._window(since)
        starts = np.cumsum([0, *(len(file.ids) for file in files)])
        ids = [image_id for file in files for image_id in file.ids]
        order = _window.oldest_first(ids, pa.chunked_array([file.times for file in files], TIME), limit)
        if not len(order):
            raise _window.empty(str(self.path), since)
        parts: list[DataBatch] = []
        positions: list[NDArray[np.int64]] = []
        for file, start, end in zip(files, starts[:-1], starts[1:], strict=True):
            chosen = np.flatnonzero((order >= start) & (order < end))
            if len(chosen):
                positions.append(chosen)
                parts.append(_read(file.path, file.at[order[chosen] - start]))
        try:
            return DataBatch.concat(parts).select(np.argsort(np.concatenate(positions)))
        except InvalidData as error:
            raise InvalidData(f"{self.path}: {error.problem}", hint=error.hint) from None

    def count(self, *, since: datetime | None = None) -> int:
        """Return a number as `Source.count` says."""
        return sum(len(file.ids) for file in self._window(since))

    def _window(self, since: datetime | None) -> list[_Rows]:
        after = _window.microseconds(since)
        files = [self.path] if self.path.is_file() else sorted(self.path.glob("[!.]*.parquet"))
        return [rows for path in files if (rows := _light(path, after)) is not None]


def _light(path: Path, after: int | None) -> _Rows | None:
    """Return the rows of a file later than `after`, or None when its footer already says that there are none."""
    with _opened(path) as file:
        names = file.schema_arrow.names
        if "id" not in names:
            raise InvalidData(f"{path} has no column 'id', only {names}", hint="write it with ParquetSource.append")
        if after is not None and "time" not in names:
            raise _window.no_times(str(path))
        kind = file.schema_arrow.field("time").type if "time" in names else TIME
        if after is not None and kind == TIME and _newest(file, after) <= after:
            return None
        table = file.read(columns=[name for name in ("id", "time") if name in names])
    ids = table.column("id").combine_chunks()
    try:
        times = as_time(table.column("time").combine_chunks()) if "time" in names else pa.nulls(len(table), TIME)
    except InvalidData as error:
        raise InvalidData(f"{path}: {error.problem}", hint=error.hint) from None
    at = np.flatnonzero(_window.newer(times, after))
    chosen = pa.array(at)
    return _Rows(path, at, ids.take(chosen).cast(pa.string()).to_pylist(), times.take(chosen))


def _read(path: Path, rows: NDArray[np.int64]) -> DataBatch:
    """Return these rows of a file, in this order, reading only the row groups they are in."""
    with _opened(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        ends = np.cumsum(sizes)
        groups = np.unique(np.searchsorted(ends, rows, side="right"))
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read_row_groups(groups.tolist(), columns=columns)
    kept = np.concatenate([np.arange(ends[group] - sizes[group], ends[group]) for group in groups])
    chosen = table.take(pa.array(np.searchsorted(kept, rows))).combine_chunks()
    try:
        return DataBatch(chosen.to_batches()[0])
    except (InvalidData, InvalidImage) as error:
        raise type(error)(f"{path}: {error.problem}", hint=error.hint) from None


def _newest(file: Any, otherwise: int) -> int:
    """Return the newest time the footer promises, in microseconds; one above `otherwise` when it promises nothing."""
    newest = []
    metadata = file.metadata
    column = [metadata.schema.column(at).path for at in range(metadata.num_columns)].index("time")
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(column)
        if chunk.statistics is None or not chunk.statistics.has_min_max:
            return otherwise + 1
        newest.append(_window.microseconds(chunk.statistics.max) or 0)
    return max(newest, default=otherwise)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file while the block lasts; what is wrong with it comes out as `InvalidData` naming it."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise InvalidData(f"{path} is no whole Parquet file: {error}", hint="move it away or write it again") from None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _translated(error: OSError, folder: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space to append to {folder}", hint="free some space; nothing was half-written")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReadOnly(f"{folder} cannot be written: {error.strerror}", hint="give this user the right to write there")
    return InvalidData(f"cannot append to {folder}: {error}", hint="name a folder")
