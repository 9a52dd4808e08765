"""A file that one process at a time reads and writes whole."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from visutility.core.errors import Conflict, DiskFull
from visutility.store.single import SingleFile


def test_it_holds_what_was_written_last_and_is_private(tmp_path):
    path = tmp_path / "folder" / "file"
    with SingleFile(path) as file:
        assert file.read() is None
        for data in (b"one", b"", b"three"):
            file.write(data)
            assert file.read() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in path.parent.iterdir()) == ["file", "file.lock"]


def test_a_close_waits_for_the_write_of_another_thread(tmp_path, monkeypatch):
    """Else who opens it next writes to the same part of a file."""
    begun, go_on, seen = threading.Event(), threading.Event(), []
    sync = os.fsync

    def slow(handle):
        begun.set()
        assert go_on.wait(60)
        sync(handle)

    file = SingleFile(tmp_path / "file")
    monkeypatch.setattr(os, "fsync", slow)
    writes = threading.Thread(target=lambda: file.write(b"whole"))
    closes = threading.Thread(target=lambda: (file.close(), seen.append(file.path.read_bytes())))
    writes.start()
    assert begun.wait(60)
    closes.start()
    closes.join(0.1)
    with pytest.raises(Conflict, match="open elsewhere"):
        SingleFile(tmp_path / "file")
    go_on.set()
    writes.join()
    closes.join()
    assert seen == [b"whole"]
    with pytest.raises(Conflict, match="is closed"):
        file.write(b"more")


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    with SingleFile(tmp_path / "file") as file:
        file.write(b"before")

        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            file.write(b"after")
        assert file.read() == b"before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "file.lock"]


FULL = """
from visutility.store.single import SingleFile
path = Path(root) / "file"
with SingleFile(path) as file:
    file.write(b"before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        file.write(bytes(1_000_000))
    except VisuTilityError as error:
        said = [type(error).__name__, str(error), file.read().decode()]
    said.append(sorted(one.name for one in path.parent.iterdir()))
    file.write(b"after")
"""


def test_a_file_that_grows_too_large_is_named_and_leaves_what_was_there(tmp_path, child):
    name, message, held, names = child(FULL, unprivileged=False, root=str(tmp_path))
    assert (name, held, names) == ("DiskFull", "before", ["file", "file.lock"])
    assert str(tmp_path / "file") in message
    assert (tmp_path / "file").read_bytes() == b"after"


def test_it_is_open_once_among_processes_and_free_when_its_process_ends(tmp_path):
    path = tmp_path / "file"
    hold = "import sys, pathlib; from visutility.store.single import SingleFile\n"
    hold += "file = SingleFile(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as child:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(Conflict, match="is open elsewhere"):
            SingleFile(path)
        child.kill()
        child.wait()
    with SingleFile(path) as file:
        with pytest.raises(Conflict, match="is open elsewhere"):
            SingleFile(path)
        file.close()
        with pytest.raises(Conflict, match="is closed"):
            file.write(b"")


FORK = """
import os, pathlib, sys
from visutility.core.errors import Conflict
from visutility.store.single import SingleFile
path = pathlib.Path(sys.argv[1])
file = SingleFile(path)
file.write(b"the parent's")
told, tell = os.pipe()
if os.fork() == 0:
    said = b"it wrote"
    try:
        file.write(b"the child's")
    except Conflict as error:
        said = str(error).encode()
    file.close()
    os.write(tell, said)
    os.close(tell)
    sys.stdin.read()  # it lives on
    os._exit(0)
os.close(tell)
said = os.read(told, 1000).decode()
print("open" if said.startswith(f"{path} is closed") else said, flush=True)
"""


@pytest.fixture
def forked(tmp_path):
    """Start a process that has the file open and a child, which lives until the test ends."""
    children = []

    def start(then):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-W", "error", "-c", FORK + then, str(tmp_path / "file")]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env))
        assert children[-1].stdout.readline() == b"open\n"
        return children[-1]

    yield start
    for one in children:
        one.stdin.close()
        one.stdout.read()  # until nobody can write to it any more
        one.stdout.close()
        one.wait()


def test_a_forked_child_cannot_write_and_takes_no_lock_away(forked, tmp_path):
    parent = forked("sys.stdin.read()")
    with pytest.raises(Conflict, match="is open elsewhere"):
        SingleFile(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"the parent's"
    parent.kill()
    parent.wait()
    SingleFile(tmp_path / "file").close()  # the child keeps nothing


def test_a_file_that_was_closed_is_free_whatever_children_there_are(forked, tmp_path):
    parent = forked("file.close(); print('closed', flush=True); sys.stdin.read()")
    assert parent.stdout.readline() == b"closed\n"
    with SingleFile(tmp_path / "file") as file:
        file.write(b"the next one's")


def test_it_is_one_file_by_whatever_name(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    monkeypatch.chdir(tmp_path)
    with SingleFile(Path("link")) as file:
        with pytest.raises(Conflict, match="is open elsewhere"):
            SingleFile(tmp_path / "file")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        file.write(b"one")
        assert file.read() == b"one"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"one"
    assert list((tmp_path / "elsewhere").iterdir()) == []
