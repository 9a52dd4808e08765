"""What a person sees on a terminal, and a program in a pipe."""

import os
import subprocess
import sys

import pytest
from terminal import on_a_terminal

from visutility.cli import main
from visutility.core.settings import Settings
from visutility.loop import Project

TOLD = """
from visutility.cli.demo import _Voice

with _Voice() as voice:
    voice.chapter("In service")
    for done in range(1, 4):
        voice.trial(done, 3, 0.5 + done / 10)
    voice.say("one [bold]line[/bold]")
    for done in (10, 60):
        voice.served(done, 60, 0.9)
"""


@pytest.fixture
def home(tmp_path):
    settings = Settings.load(home=tmp_path / "home", environ={"VISUTILITY_ACTOR": "tests"})
    with Project.create(settings=settings) as project:
        project.registry.create_model("digits", "classification", by="tests", why="a test")
    return tmp_path / "home"


def in_a_pipe(*words):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_models_are_a_table_on_a_terminal_and_lines_in_a_pipe(home):
    words = ["-m", "visutility", "models", "--home", str(home)]
    code, shown = on_a_terminal(*words)
    assert code == 0
    header, rule, row = [line for line in shown.splitlines() if line.strip()]
    for column in ("model", "task", "champion", "versions", "created"):
        assert column in header
    assert "─" in rule
    assert "digits" in row
    code, out, err = in_a_pipe(*words)
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    assert line.split("\t")[:4] == ["digits", "classification", "-", "0"]
    assert line.endswith(" UTC")
    assert "\x1b" not in out


def test_the_demo_has_progress_bars_on_a_terminal_and_lines_in_a_pipe():
    code, shown = on_a_terminal("-c", TOLD)
    assert code == 0
    for part in ("== In service ==", "tuning", "━", "3/3", "best accuracy 0.800", "serving", "60/60", "\x1b["):
        assert part in shown
    assert "one [bold]line[/bold]" in shown
    assert shown.endswith("\x1b[?25h")  # the cursor is back
    code, out, err = in_a_pipe("-c", TOLD)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "",
        "== In service ==",
        "tuned: 3 trials, best accuracy 0.800 on rows held out for tuning",
        "one [bold]line[/bold]",
        "  60 images served, accuracy of the last 30: 0.90",
    ]


def test_a_missing_reason_is_never_asked_for(home, capsys):
    words = ["promote", "digits:1", "--home", str(home)]
    code, shown = on_a_terminal("-m", "visutility", *words)
    assert code == 2
    assert "Missing option '--why'" in shown
    assert "Why:" not in shown
    assert main(words) == 2
    assert capsys.readouterr().out == ""


def unread(*words):
    """Run visutility with a reader that goes away at once; return how it ended and what it said about that."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "visutility", *words]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.close()
        said = child.stderr.read()
    return child.returncode, said


def test_a_reader_that_goes_away_is_no_error():
    assert unread("--help") == (0, "")


@pytest.mark.slow
def test_a_reader_that_goes_away_hides_no_drift(tmp_path):
    many = tmp_path / "many.csv"  # a thousand columns fill more than the buffer of a pipe
    many.write_text(",".join(f"column{at}" for at in range(1000)) + "\n" + ",".join(["1"] * 1000) + "\n")
    other = tmp_path / "other.csv"
    other.write_text(many.read_text().replace("column0,", "gone,"))
    assert unread("drift", str(many), str(many)) == (0, "")
    assert unread("drift", str(many), str(other), "--fail-on-drift") == (11, "")
