"""Bytes named by their SHA-256: artifacts and data files, written once, checked at every load.

    <root>/ab/cd/abcd…      the bytes whose hash starts with abcd
    <root>/incoming/…       a file being written; it is renamed when it is whole and on the disk

A hash names bytes, never "the same model": two dumps of one model differ.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from visutility.core.clock import Clock, SystemClock
from visutility.core.codec import sha256
from visutility.core.errors import ArtifactTampered, BlobNotFound, Invalid
from visutility.store._files import make_folder, sync_folder, translated_os

GRACE_SECONDS = 24 * 3600.0
_INCOMING = "incoming"
_WRITTEN_ONCE = 0o400
_SHA = re.compile(r"[0-9a-f]{64}")


@final
@dataclass(frozen=True, slots=True)
class Blobs:
    """A folder of content-addressed files. Any number of processes may use it at once.

    Every call raises `DiskFull`, `ReadOnly` or `SetupNeeded` for what the operating system refuses, and leaves no
    half-written file under a final name. `clock` is what `collect` measures age by.
    """

    root: Path
    clock: Clock = field(default_factory=SystemClock)

    def prepare(self) -> None:
        """Make the folder, mode 0700, unless it is there."""
        with translated_os(self.root):
            make_folder(self.root / _INCOMING)

    def put(self, data: bytes) -> str:
        """Store the bytes, on the disk when this returns, and return their hash. The same bytes are stored once.

        Bytes that are there but damaged are replaced by these.
        """
        sha = sha256(data)
        path = self.path(sha)
        with translated_os(self.root), self._lock(fcntl.LOCK_SH):
            if not self._is_whole(path, sha):
                self._write(path, data)
            self._touch(path)
        return sha

    def get(self, sha: str) -> bytes:
        """Return the bytes with this hash, checked now. Raises `BlobNotFound` or `ArtifactTampered`."""
        path = self.path(sha)
        with translated_os(path):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                raise BlobNotFound(
                    f"no bytes with hash {sha} in {self.root}", hint="restore them from a copy"
                ) from None
        if sha256(data) != sha:
            raise ArtifactTampered(
                f"the bytes at {path} do not have their hash", hint="nothing was loaded; restore the file from a copy"
            )
        return data

    def path(self, sha: str) -> Path:
        """Return where the bytes with this hash are, or would be. Raises `Invalid` when it is not a hash."""
        if not isinstance(sha, str) or not _SHA.fullmatch(sha):
            raise Invalid(f"{sha!r:.100} is not a SHA-256", hint="use 64 hexadecimal digits, lower case")
        return self.root / sha[:2] / sha[2:4] / sha

    def exists(self, sha: str) -> bool:
        """Return whether bytes are stored under this hash. Only `get` says whether they are right."""
        with translated_os(self.root):
            return self.path(sha).is_file()

    def collect(self, keep: Collection[str], *, grace_seconds: float = GRACE_SECONDS) -> list[str]:
        """Remove the bytes whose hash is not in `keep`, and return their hashes in order.

        Files put (or put again) less than `grace_seconds` ago stay: what refers to them may not be committed yet.
        Leftovers of interrupted writes go too once they are that old.
        """
        if not grace_seconds >= 0:
            raise Invalid(f"grace_seconds is {grace_seconds!r}", hint="use seconds, at least 0")
        before = self.clock.now().timestamp() - grace_seconds
        removed = []
        with translated_os(self.root), self._lock(fcntl.LOCK_EX):
            for path in sorted(self.root.glob("??/??/*")):
                if path.name not in keep and _SHA.fullmatch(path.name) and path.stat().st_mtime < before:
                    path.unlink()
                    removed.append(path.name)
            for path in (self.root / _INCOMING).glob("*"):
                if path.stat().st_mtime < before:
                    path.unlink()
        return removed

    def _write(self, path: Path, data: bytes) -> None:
        make_folder(path.parent)
        incoming = self.root / _INCOMING / f"{path.name}.{secrets.token_hex(8)}"
        make_folder(incoming.parent)
        try:
            handle = os.open(incoming, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fchmod(handle, _WRITTEN_ONCE)
                os.fsync(handle)
            incoming.replace(path)
        except BaseException:
            with suppress(OSError):
                incoming.unlink()
            raise
        sync_folder(path.parent)

    def _touch(self, path: Path) -> None:
        """Note by our clock that these bytes were wanted, so that `collect` leaves them for a while."""
        now = self.clock.now().timestamp()
        with suppress(PermissionError):  # another user's file: only its owner collects it
            os.utime(path, (now, now))

    def _is_whole(self, path: Path, sha: str) -> bool:
        try:
            return sha256(path.read_bytes()) == sha
        except FileNotFoundError:
            return False

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        """Keep `collect` from removing what a `put` has just found to be there."""
        make_folder(self.root)
        handle = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)
