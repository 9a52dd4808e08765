"""Files and folders: the operating system's complaints as errors of ours, and writes that survive a power cut."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visutility.core.errors import DiskFull, ReadOnly, SetupNeeded

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def translated_os(path: Path) -> Iterator[None]:
    """Raise what the operating system says about `path` as `DiskFull`, `ReadOnly` or `SetupNeeded`."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in _FULL:
            raise DiskFull(
                f"no space left for {path} ({said})",
                hint="free space, or raise the quota or file size limit, and try again; nothing was half-written",
            ) from error
        if error.errno in _READ_ONLY:
            raise ReadOnly(f"cannot use {path} ({said})", hint="check its owner and mode, and its folder's") from error
        raise SetupNeeded(f"cannot use {path} ({said})", hint="check what is at this place, and the disk") from error


def make_folder(path: Path) -> None:
    """Make a folder that only this user may enter, and the folders above it; nothing happens when it is there."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
