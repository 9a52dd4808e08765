"""`visutility demo` as a stranger runs it: what it writes, what it ends with, and what Ctrl-C leaves behind."""

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from visutility.cli import main, outputs
from visutility.core.errors import DiskFull, Invalid, RecipeFailed
from visutility.core.settings import Settings
from visutility.demo import Told
from visutility.loop import Project
from visutility.store import audit


@pytest.fixture
def untold(monkeypatch):
    """A demo that must not begin."""

    def begin(*_):
        pytest.fail("the demo began")

    monkeypatch.setattr("visutility.demo.Demo.run", begin)


def hears_ctrl_c():
    """Undo what a shell does to whatever it starts in the background: have it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_files_it_cannot_write_are_refused_before_it_begins(tmp_path, capsys, monkeypatch, untold, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.geteuid() == 0:  # who may write anywhere, but there
        locked = Path("/proc/self")
    for path, rule in (
        (tmp_path / "missing" / "x", f"there is no folder {tmp_path / 'missing'}"),
        (tmp_path / "file" / "x", "there is no folder"),
        (locked / "x", "cannot be written"),
        (tmp_path, "is not a file"),
    ):
        assert main(["demo", option, str(path), "--home", str(tmp_path / "home")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert f"error: {option} {path}" in err
        assert rule in err
        assert f"next:  choose a file in a folder you may write to with {option} FILE" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "locked"]


def test_one_file_cannot_be_both_the_report_and_the_numbers(tmp_path, capsys, untold):
    assert main(["demo", "--json", str(tmp_path / "x"), "--html", f"{tmp_path}/./x"]) == 2
    assert "name two files" in capsys.readouterr().err


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "out.json"
    file.write_text("before")

    def full(*_):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFull, match="nothing was half-written"):
            outputs.write(file, "after")
    with pytest.raises(Invalid, match="No such file"):
        outputs.write(tmp_path / "gone" / "x", "after")
    assert file.read_text() == "before"
    outputs.write(file, "after")
    assert file.read_text() == "after"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["demo", "--home", str(tmp_path), "--html", str(tmp_path / "r.html")]) == 4
    err = capsys.readouterr().err
    assert str(tmp_path) in err
    assert "--home FOLDER" in err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_seed_that_fails_is_a_row_of_the_benchmark_and_the_rest_go_on(capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location("demo_seeds", Path(__file__).parents[2] / "benchmarks/demo_seeds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Fails:
        def __init__(self, seed, *_):
            self.seed = seed

        def run(self):
            if self.seed != 1:
                raise RecipeFailed(f"seed {self.seed} went wrong", hint="mend it")
            return Told(self.seed, 100)

    monkeypatch.setattr(module, "Demo", Fails)
    assert module.main(["--seeds", "3"]) == 0
    out = capsys.readouterr().out
    assert "   0  FAILED  RecipeFailed: seed 0 went wrong. mend it\n   1    100" in out
    assert "   2  FAILED" in out
    assert "failed: 2 of 3\n" in out
    assert "promoted: 0 of 1\n" in out
    assert module.main(["--seeds", "1"]) == 1


@pytest.mark.slow
def test_it_writes_what_it_measured_and_the_project_explains_itself(tmp_path, capsys):
    files = [tmp_path / "out.json", tmp_path / "report.html", tmp_path / "home"]
    words = ["demo", "--seed", "1", "--json", str(files[0]), "--html", str(files[1]), "--home", str(files[2])]
    assert main(words) == 0
    out = capsys.readouterr().out
    data = json.loads(files[0].read_text())
    assert data["seed"] == 1
    assert data["events"]["drift_start"] < data["events"]["alarm"] < data["events"]["promotion"]
    assert data["accuracy"]["promoted"] > data["accuracy"]["drifted"] + 0.2
    assert data["control"]["promotions"] == 0
    assert data["versions"]["champion"] == 2
    assert data["seconds"] > 0
    assert "ALARM" in out
    assert f"{data['accuracy']['promoted']:.3f}" in out
    assert "\x1b" not in out
    assert files[1].read_text().startswith("<!doctype html>")
    for words in (["why", "digits@champion"], ["audit", "verify"], ["doctor"]):
        assert main([*words, "--home", str(files[2])]) == 0
    assert "promotion" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_ends_it_and_leaves_a_whole_project(tmp_path):
    env = {**os.environ, "VISUTILITY_HOME": str(tmp_path / "home")}
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "visutility", "demo", "--html", str(tmp_path / "r.html")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears_ctrl_c,
    )
    for line in demo.stdout:
        if "images served" in line:
            os.killpg(demo.pid, signal.SIGINT)
            break
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in err
    assert not (tmp_path / "r.html").exists()
    with Project.open(settings=Settings.load(environ=env)) as project, project.store.read() as connection:
        assert audit.verify(connection) == []
        assert project.champion("digits") == 1
