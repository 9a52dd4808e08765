"""Content-addressed bytes: atomic, checked at every load, collected only when nobody wants them."""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visutility.core.clock import SimulatedClock
from visutility.core.codec import sha256
from visutility.core.errors import ArtifactTampered, BlobNotFound, Invalid, SetupNeeded
from visutility.store.blobs import Blobs

Child = Callable[..., Any]


@pytest.fixture
def blobs(tmp_path: Path, clock: SimulatedClock) -> Blobs:
    return Blobs(tmp_path / "blobs", clock)


def files(blobs: Blobs) -> list[Path]:
    return sorted(path for path in blobs.root.rglob("*") if path.is_file())


def tamper(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def test_bytes_come_back_under_their_hash(blobs: Blobs) -> None:
    for data in (b"", b"model", bytes(range(256)) * 1000):
        sha = blobs.put(data)
        assert sha == sha256(data)
        assert blobs.get(sha) == data
        assert blobs.exists(sha)
        assert blobs.path(sha) == blobs.root / sha[:2] / sha[2:4] / sha


def test_the_same_bytes_are_stored_once_and_nothing_else_is_left(blobs: Blobs) -> None:
    first = blobs.put(b"model")
    inode = blobs.path(first).stat().st_ino
    assert blobs.put(b"model") == first
    assert files(blobs) == [blobs.path(first)]
    assert blobs.path(first).stat().st_ino == inode


def test_folders_and_files_are_private_and_files_are_written_once(blobs: Blobs) -> None:
    blobs.prepare()
    path = blobs.path(blobs.put(b"model"))
    assert {folder.stat().st_mode & 0o777 for folder in (blobs.root, path.parent, path.parent.parent)} == {0o700}
    assert path.stat().st_mode & 0o777 == 0o400


def test_unknown_bytes_are_not_found(blobs: Blobs) -> None:
    with pytest.raises(BlobNotFound, match="restore them"):
        blobs.get("0" * 64)
    assert not blobs.exists("0" * 64)


@pytest.mark.parametrize("data", [b"", b"mode", b"model!", b"MODEL"])
def test_bytes_that_lost_their_hash_are_never_loaded(blobs: Blobs, data: bytes) -> None:
    sha = blobs.put(b"model")
    tamper(blobs.path(sha), data)
    for _ in range(2):
        with pytest.raises(ArtifactTampered, match=str(blobs.path(sha))):
            blobs.get(sha)


def test_putting_the_right_bytes_again_mends_a_damaged_file(blobs: Blobs) -> None:
    sha = blobs.put(b"model")
    tamper(blobs.path(sha), b"other")
    assert blobs.put(b"model") == sha
    assert blobs.get(sha) == b"model"


@pytest.mark.parametrize("sha", ["", "abc", "../../etc/passwd", "A" * 64, "0" * 65, "0" * 63 + "\n", None])
def test_only_a_hash_names_bytes(blobs: Blobs, sha: Any) -> None:
    for call in (blobs.get, blobs.path, blobs.exists):
        with pytest.raises(Invalid, match="is not a SHA-256"):
            call(sha)


def test_collect_removes_what_is_neither_kept_nor_recent(blobs: Blobs, clock: SimulatedClock) -> None:
    kept, old, again = (blobs.put(data) for data in (b"kept", b"old", b"again"))
    leftover = blobs.root / "incoming" / "killed"
    leftover.write_bytes(b"half")
    os.utime(leftover, (clock.now().timestamp(),) * 2)
    clock.advance(3000)
    recent = blobs.put(b"recent")
    blobs.put(b"again")
    assert blobs.collect({kept}, grace_seconds=3600) == []
    clock.advance(1000)
    assert blobs.collect({kept}, grace_seconds=3600) == [old]
    assert sorted(files(blobs)) == sorted(map(blobs.path, (kept, again, recent)))
    clock.advance(10**6)
    assert sorted(blobs.collect({kept})) == sorted([again, recent])
    assert blobs.get(kept) == b"kept"


def test_collect_leaves_files_that_are_not_ours(blobs: Blobs, clock: SimulatedClock) -> None:
    blobs.put(b"model")
    note = blobs.root / "ab" / "cd" / "README"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("not a blob")
    os.utime(note, (0, 0))
    clock.advance(10**6)
    assert len(blobs.collect(())) == 1
    assert note.exists()
    with pytest.raises(Invalid, match="grace_seconds"):
        blobs.collect((), grace_seconds=float("nan"))


def test_collect_waits_for_a_put_under_way(blobs: Blobs, clock: SimulatedClock) -> None:
    sha = blobs.put(b"model")
    clock.advance(10**6)
    putting = os.open(blobs.root, os.O_RDONLY)
    fcntl.flock(putting, fcntl.LOCK_SH)  # as `put` holds it between finding the bytes and noting that they are wanted
    collecting = threading.Thread(target=blobs.collect, args=((),))
    collecting.start()
    collecting.join(0.2)
    assert collecting.is_alive()
    assert blobs.exists(sha)
    blobs.put(b"model")
    os.close(putting)
    collecting.join()
    assert blobs.exists(sha)


def test_a_place_that_is_not_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already")
    for call in (Blobs(tmp_path / "file").prepare, lambda: Blobs(tmp_path / "file" / "blobs").put(b"x")):
        with pytest.raises(SetupNeeded, match="cannot use"):
            call()


def test_a_read_only_folder_is_named(public_folder: Path, child: Child) -> None:
    Blobs(public_folder / "blobs").prepare()
    for folder in (public_folder / "blobs", public_folder / "blobs" / "incoming"):
        folder.chmod(0o555)
    name, message = child("said = Blobs(Path(root)).put(b'model')", root=str(public_folder / "blobs"))
    assert name == "ReadOnly"
    assert str(public_folder) in message
    assert files(Blobs(public_folder / "blobs")) == []


FULL = """
blobs = Blobs(Path(root))
small = blobs.put(b'small')
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    blobs.put(bytes(1_000_000))
except VisuTilityError as error:
    said = [type(error).__name__, str(error), blobs.get(small).decode(), blobs.put(b'still works')]
"""


def test_a_full_disk_is_named_and_nothing_is_half_written(tmp_path: Path, child: Child) -> None:
    name, message, small, sha = child(FULL, unprivileged=False, root=str(tmp_path / "blobs"))
    assert (name, small) == ("DiskFull", "small")
    assert "nothing was half-written" in message
    blobs = Blobs(tmp_path / "blobs")
    assert files(blobs) == sorted([blobs.path(sha), blobs.path(sha256(b"small"))])
