"""`visutility demo` as a stranger runs it: what it writes, what it ends with, and what Ctrl-C leaves behind."""

import json
import os
import signal
import subprocess
import sys

import pytest

from visutility.cli import main
from visutility.core.settings import Settings
from visutility.loop import Project
from visutility.store import audit

pytestmark = pytest.mark.slow


def hears_ctrl_c():
    """Undo what a shell does to whatever it starts in the background: have it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
