"""A file that one process at a time reads and writes whole."""

import os
import subprocess
import sys
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
