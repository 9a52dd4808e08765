"""Windows of data in files, for comparing two of them: tables, arrays, folders of images. Nothing else is needed.

Tables are read as a stream, batch by batch and again at every reading, so that they may be larger than memory.
"""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, InvalidData, InvalidImage, NotFound
from visutility.data.decode import decode, pillow
from visutility.data.sources import SUFFIXES

Kind: TypeAlias = Literal["table", "embedding", "softmax", "images"]
TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.zst")
ARROW = {".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc", ".ipc": "ipc"}
ARRAYS = (".npy", ".npz")
MOST_BYTES = 2 << 30  # of pixels in memory


@final
@dataclass(frozen=True, slots=True)
class Window:
    """What was read: what `compare` takes as `data`, and the kind it is unless somebody says otherwise.

    `names` are the files of a folder of images, in the order of the rows; empty for other windows.
    """

    path: Path
    kind: Kind
    data: Any
    names: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class TableFile:
    """A table in a CSV, Parquet or Arrow file, or in a folder of Parquet files, read anew by each reader."""

    path: Path

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the rows as an Arrow stream. What is wrong with the file comes out as errors of Arrow."""
        return _reader(self.path).__arrow_c_stream__(requested_schema)


def read(path: str | Path, kind: Kind | None = None, *, size: int | None = None) -> Window:
    """Return the window in a file or folder. `size`: make every image of a folder so many pixels wide and high.

    CSV, TSV, Parquet and Arrow (Feather) files and folders of Parquet files are tables; NumPy arrays are embeddings
    (n, d), images (n, h, w) or (n, h, w, c), or tables or softmax outputs (n, d) if `kind` says so; other folders are
    images, their sub-folders included. Raises `NotFound`, `InvalidData` for what cannot be such a window,
    `InvalidImage` naming the file, and `MissingExtra` for a folder of images without Pillow.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="name a file, or a folder of images")
    if size is not None and size < 1:
        raise InvalidData(f"size {size} is not 1 or more", hint="give the side in pixels")
    if path.is_dir():
        if any(path.glob("[!.]*.parquet")):
            return _as(Window(path, "table", TableFile(path)), kind)
        return _as(_images(path, size), kind)
    name = path.name.lower()
    if name.endswith(TEXT) or path.suffix.lower() in ARROW:
        with told(path):
            _reader(path).close()  # what is no table is refused here
        return _as(Window(path, "table", TableFile(path)), kind)
    if path.suffix.lower() in ARRAYS:
        return _arrays(path, kind)
    known = ", ".join([*TEXT[:2], *ARROW, *ARRAYS])
    raise InvalidData(f"{path} is no kind of file that is known here", hint=f"use {known}, or a folder of images")


@contextmanager
def told(*paths: Path) -> Iterator[None]:
    """Make what Arrow says of a file, while it is read in the block, an `InvalidData` that names it."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        names = " or ".join(str(path) for path in paths)
        raise InvalidData(f"{names} cannot be read: {said}", hint="check the file, or write it again") from None


def _reader(path: Path) -> Any:
    name = path.name.lower()
    if name.endswith(TEXT):
        from pyarrow import csv

        delimiter = "\t" if name.endswith((".tsv", ".tsv.gz")) else ","
        return csv.open_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
    from pyarrow import dataset

    form = "parquet" if path.is_dir() else ARROW[path.suffix.lower()]
    files = sorted(str(one) for one in path.glob("[!.]*.parquet")) if path.is_dir() else str(path)
    scanner = dataset.dataset(files, format=form).scanner(batch_size=1 << 16, batch_readahead=2, fragment_readahead=1)
    return scanner.to_reader()


def _as(window: Window, kind: Kind | None) -> Window:
    if kind is None or kind == window.kind:
        return window
    raise InvalidData(
        f"{window.path} holds no {kind} but {window.kind}", hint=f"leave --kind out, or say {window.kind}"
    )


def _arrays(path: Path, kind: Kind | None) -> Window:
    try:
        if path.suffix.lower() == ".npy":
            loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        else:
            with path.open("rb") as file:
                loaded = np.load(file, allow_pickle=False)
                loaded = loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        found = loaded if isinstance(loaded, dict) else {"": np.asanyarray(loaded)}
    except (ValueError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise InvalidData(f"{path} is no file of NumPy arrays: {error}", hint="write it with numpy.save") from None
    if any(array.ndim == 0 for array in found.values()):
        raise InvalidData(f"{path} holds a single number, not one a row", hint="write arrays of one length")
    deep = [name for name, array in found.items() if array.ndim > 1]
    if not deep or (kind == "table" and len(found) > 1):
        table: Any = found.get("", found)
        return _as(Window(path, "table", table), kind)
    if len(deep) > 1:
        raise InvalidData(f"{path} has the arrays {sorted(deep)}", hint="write the one to compare to a file of its own")
    array = found[deep[0]]
    if array.ndim == 2:
        return _as(Window(path, kind if kind in ("table", "softmax") else "embedding", array), kind)
    if array.ndim > 4:
        raise InvalidData(
            f"{path} has shape {array.shape}", hint="embeddings are (n, d), images (n, h, w) or (n, h, w, c)"
        )
    return _as(Window(path, "images", array), kind)


def _images(folder: Path, size: int | None) -> Window:
    """Read all images of a folder at one size, grey if all are, else RGB."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part[0] == "." for part in path.relative_to(folder).parts)
    )
    if not files:
        raise EmptyWindow(
            f"{folder} holds no images and no Parquet files", hint=f"images end in {', '.join(sorted(SUFFIXES))}"
        )
    pixels: list[NDArray[np.uint8]] = []
    names: list[str] = []
    held = 0
    for path in files:
        name = path.relative_to(folder).as_posix()
        image = _sized(_decoded(path, name), size)
        held += image.nbytes
        if held > MOST_BYTES:
            raise InvalidImage(f"the images of {folder} take more than 2 GiB", hint="make them smaller with --size 64")
        if pixels and image.shape[:2] != pixels[0].shape[:2]:
            raise InvalidImage(
                f"{name} is {image.shape[1]} x {image.shape[0]} pixels, {names[0]} {pixels[0].shape[1]} x "
                f"{pixels[0].shape[0]}",
                hint="give all one size with --size 64",
            )
        pixels.append(image)
        names.append(name)
    if any(image.ndim == 3 for image in pixels):
        pixels = [np.repeat(one[:, :, None], 3, axis=2) if one.ndim == 2 else one[:, :, :3] for one in pixels]
    return Window(folder, "images", np.stack(pixels), tuple(names))


def _decoded(path: Path, name: str) -> NDArray[np.uint8]:
    try:
        return decode(name, path.read_bytes())
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror}", hint="check the file") from None


def _sized(image: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None or image.shape[:2] == (size, size):
        return image
    made = pillow().fromarray(image)
    least = math.floor(min(made.size) / size)
    return np.asarray((made.reduce(least) if least > 1 else made).resize((size, size)))
