"""Where fresh labelled rows come from: one small protocol, in memory and from a folder of images.

The Parquet source is in `parquet`. Every source passes `visutility.testing.sources`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visutility.core.errors import InvalidData
from visutility.data import _window
from visutility.data._schema import TIME
from visutility.data.batch import DataBatch

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})


class Source(Protocol):
    """Rows with ids and, for `since`, times. Asking changes nothing: the same question has the same answer."""

    def fetch(self, *, since: datetime | None = None, limit: int | None = None) -> DataBatch:
        """Return the rows later than `since`, oldest first (ties by id), at most `limit`.

        Rows without a time come first, and only when `since` is None. To read on, pass the last row's time: a row of
        the very same time that `limit` cut off would be skipped, so give rows distinct times or use no limit. Raises
        `EmptyWindow`, naming the source and `since`, when there are none.
        """

    def count(self, *, since: datetime | None = None) -> int:
        """Return how many rows `fetch` would return without a limit; 0 when there are none."""


@final
class MemorySource:
    """Rows held by this process: tests, demos, a stream whose labels arrive one by one.

    One thread may append while others ask: they see each appended batch whole or not at all.
    """

    def __init__(self, batch: DataBatch | None = None, *, name: str = "memory source") -> None:
        self.name = name
        self._parts: list[DataBatch] = []
        self._ids: set[str] = set()
        if batch is not None:
            self.append(batch)

    def append(self, batch: DataBatch) -> None:
        """Add rows. Raises `InvalidData`, and adds none, when an id is there already or images differ in kind."""
        ids = batch.ids
        twice = self._ids.intersection(ids)
        if twice:
            raise InvalidData(f"{self.name} has id {min(twice)!r} already", hint="append each row once")
        if self._parts:
            DataBatch.concat([self._parts[0].select([]), batch.select([])])  # raises when the images differ in kind
        self._ids.update(ids)
        self._parts.append(batch)

    def fetch(self, *, since: datetime | None = None, limit: int | None = None) -> DataBatch:
        """Return rows as `Source.fetch` says."""
        found = [part.select(rows) for part, rows in self._newer(since) if len(rows)]
        if not found:
            raise _window.empty(self.name, since)
        window = DataBatch.concat(found)
        return window.select(_window.oldest_first(window.ids, _times(window), limit))

    def count(self, *, since: datetime | None = None) -> int:
        """Return a number as `Source.count` says."""
        return sum(len(rows) for _, rows in self._newer(since))

    def _newer(self, since: datetime | None) -> Iterator[tuple[DataBatch, NDArray[np.intp]]]:
        after = _window.microseconds(since)
        for part in tuple(self._parts):
            if after is not None and "time" not in part.record_batch.schema.names:
                raise _window.no_times(self.name)
            yield part, np.flatnonzero(_window.newer(_times(part), after))


@final
class FolderSource:
    """A folder with one sub-folder of images per class; the files stay encoded.

    A row's id is the file's path inside the folder (`boot/0001.png`), its label the position of its sub-folder in
    `classes`, its time when the file was last written. `classes` are the sub-folders found now, sorted: name them
    yourself where classes may be added, so that no label ever changes its meaning. Files that are not images by
    their suffix, and names starting with a dot, are passed over. Writers should rename a finished file into place.
    """

    def __init__(self, folder: str | Path, *, classes: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InvalidData(f"{self.folder} is no folder", hint="give the folder that holds one sub-folder per class")
        self.classes = tuple(self._class_folders() if classes is None else classes)
        if len(set(self.classes)) < len(self.classes):
            raise InvalidData(f"classes {list(self.classes)} name one twice", hint="name each class once")

    def fetch(self, *, since: datetime | None = None, limit: int | None = None) -> DataBatch:
        """Return rows as `Source.fetch` says. Raises `InvalidData` for a sub-folder that is no known class."""
        found = self._found(since)
        ids = [image_id for image_id, _, _ in found]
        order = _window.oldest_first(ids, pa.array([time for _, _, time in found], pa.int64()), limit)
        if not len(order):
            raise _window.empty(str(self.folder), since)
        rows = [found[at] for at in order]
        try:
            return DataBatch.from_encoded(
                ids=[image_id for image_id, _, _ in rows],
                images=[(self.folder / image_id).read_bytes() for image_id, _, _ in rows],
                labels=[label for _, label, _ in rows],
                times=np.array([time for _, _, time in rows], "datetime64[us]"),
            )
        except OSError as error:
            raise self._unreadable(error) from None

    def count(self, *, since: datetime | None = None) -> int:
        """Return a number as `Source.count` says."""
        return len(self._found(since))

    def _class_folders(self) -> list[str]:
        return sorted(entry.name for entry in self.folder.iterdir() if entry.is_dir() and entry.name[0] != ".")

    def _found(self, since: datetime | None) -> list[tuple[str, int, int]]:
        after = _window.microseconds(since)
        try:
            return self._files(after)
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> InvalidData:
        return InvalidData(f"{self.folder} cannot be read: {error}", hint="check the file, then ask again")

    def _files(self, since: int | None) -> list[tuple[str, int, int]]:
        """Return (id, label, microseconds) of every image file newer than `since`."""
        unknown = sorted(set(self._class_folders()) - set(self.classes))
        if unknown:
            raise InvalidData(
                f"{self.folder} has the sub-folder {unknown[0]!r}, which is none of {list(self.classes)}",
                hint="pass classes=[...] with every class, new ones last",
            )
        found = []
        for label, name in enumerate(self.classes):
            folder = self.folder / name
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file():
                    time = path.stat().st_mtime_ns // 1000
                    if since is None or time > since:
                        found.append((f"{name}/{path.name}", label, time))
        return found


def _times(batch: DataBatch) -> pa.Array:
    names = batch.record_batch.schema.names
    return batch.record_batch.column("time") if "time" in names else pa.nulls(len(batch), TIME)
