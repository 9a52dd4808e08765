"""A file that one process at a time reads and writes whole: what it holds is always all of one `write`."""

import errno
import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self, final
from weakref import WeakSet

from visutility.core.errors import Conflict
from visutility.store._files import PRIVATE_FILE, make_folder, sync_folder, translated_os

_known: WeakSet["SingleFile"] = WeakSet()


@final
class SingleFile:
    """A file and its lock, which lies beside it and ends with the process. Close it, or use `with`.

    A child that is forked while it is open finds it closed, and leaves it to its parent.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock; the folder is made. Raises `Conflict` while another process has it, by whatever name."""
        with translated_os(path):
            self.path = path = path.resolve()
            make_folder(path.parent)
            handle = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, PRIVATE_FILE)
        self._handle: int | None = handle
        self._writing = threading.RLock()  # a lock let go of in the middle of a write would let another one write too
        _known.add(self)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._let_go(unlock=False)
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise Conflict(f"{path} is open elsewhere", hint="one process at a time: close it there") from None

    @property
    def closed(self) -> bool:
        """Whether others may have it."""
        return self._handle is None

    def check_open(self) -> None:
        """Raise `Conflict` once it was closed."""
        if self.closed:
            raise Conflict(f"{self.path} is closed", hint="open it again")

    def read(self) -> bytes | None:
        """Return what was written last, or None."""
        with translated_os(self.path):
            try:
                return self.path.read_bytes()
            except FileNotFoundError:
                return None

    def write(self, data: bytes) -> None:
        """Replace what it holds; on the disk when this returns. Raises `Conflict` once it was closed."""
        self.check_open()  # first: in a child that was forked in the middle of a write nobody ends that
        with self._writing:
            self.check_open()
            part = self.path.with_name(f"{self.path.name}.part")  # nobody else writes here
            with translated_os(self.path):
                try:
                    with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, PRIVATE_FILE), "wb") as out:
                        out.write(data)
                        out.flush()
                        os.fsync(out.fileno())
                    part.replace(self.path)
                except BaseException:
                    with suppress(OSError):
                        part.unlink()
                    raise
                sync_folder(self.path.parent)

    def close(self) -> None:
        """Let others have it, once a write that another thread is in has ended. Twice is once."""
        if not self.closed:
            with self._writing:
                self._let_go(unlock=True)

    def _let_go(self, *, unlock: bool) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            try:
                if unlock:  # a child that forks just now may have the descriptor for a moment longer
                    fcntl.flock(handle, fcntl.LOCK_UN)
            finally:
                os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _leave_to_parent() -> None:
    """Close what a child has of its parent's files: its descriptors are of the same lock, and would keep it."""
    for one in list(_known):
        one._let_go(unlock=False)


os.register_at_fork(after_in_child=_leave_to_parent)
