"""The command line as people and programs use it: exit codes, plain lines, JSON, errors that say what to do next."""

import json
import os
import signal
import subprocess
import sys

import pytest
from scenario import MODEL, bad_events, settings, trained

from visutility.cli import main
from visutility.core.clock import SimulatedClock
from visutility.loop import Project

COMMANDS = ["demo", "init", "doctor", "models", "versions", "promote", "rollback", "why", "studies", "runs", "events"]


def hears_ctrl_c():
    """Undo what a shell does to whatever it starts in the background: have it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with a model that was retrained once."""
    home = tmp_path_factory.mktemp("cli") / "home"
    with trained(home, clock=SimulatedClock()) as project:
        project.monitor.ingest(*bad_events())
        project.work()
        assert project.champion(MODEL) == 2
    return home


@pytest.fixture
def call(home, capsys):
    """Run a command in this process; return (exit code, standard output, standard error)."""

    def run(*words, at=home):
        code = main([*words, "--home", str(at)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in [*COMMANDS, "audit"]:
        assert command in text


def test_init_makes_a_project_and_doctor_finds_nothing_wrong(call, tmp_path):
    code, out, _ = call("init", at=tmp_path / "new")
    assert (code, out) == (0, f"project ready in {tmp_path / 'new'}\n")
    assert call("init", at=tmp_path / "new")[0] == 0
    code, out, _ = call("doctor", at=tmp_path / "new")
    assert code == 0
    assert "WRONG" not in out


def test_without_a_project_every_command_says_how_to_make_one(call, tmp_path):
    for words in (["models"], ["versions", MODEL], ["why", MODEL], ["runs", "list"], ["audit", "verify"]):
        code, out, err = call(*words, at=tmp_path / "none")
        assert code == 6
        assert out == ""
        assert "next:  run `visutility init` first" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["models"], MODEL),
        (["versions", MODEL], "champion"),
        (["why", f"{MODEL}@champion"], "promotion"),
        (["studies", "list"], MODEL),
        (["runs", "list"], "done"),
        (["events", "list", MODEL], "mean 1"),
        (["events", "list", MODEL, "--alarms"], "-> run:"),
        (["audit", "verify"], "whole"),
        (["audit", "log"], "gate.pass"),
        (["audit", "head"], ":"),
        (["doctor"], "artifacts"),
    ],
)
def test_every_reading_command_speaks_plainly_and_in_json(call, words, expected):
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert expected in out
    assert "\x1b" not in out
    code, out, err = call(*words, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)


@pytest.mark.slow
def test_studies_and_runs_are_shown_by_the_names_the_lists_give(call):
    name = json.loads(call("studies", "list", "--json")[1])[0]["study"]
    code, out, _ = call("studies", "show", name)
    assert code == 0
    assert "enqueued" in out
    run = json.loads(call("runs", "list", "--json")[1])[0]["run"]
    code, out, _ = call("runs", "show", run)
    assert code == 0
    assert "register" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["versions", "nobody"], 3, "no model is named 'nobody'"),
        (["why", f"{MODEL}@canary"], 3, "canary"),
        (["why", "Not A Name!"], 2, "does not fit"),
        (["promote", f"{MODEL}:1", "--expected", "1", "--why", "x"], 4, "is version 2"),
        (["runs", "show", "nonsense"], 3, "there is no run"),
        (["runs", "answer", "r", "promote", "maybe", "--why", "x"], 2, "answer yes or no"),
        (["studies", "show", "nonsense"], 3, "nonsense"),
        (["events", "send", "no-such-file"], 3, "cannot read"),
        (["audit", "verify", "--head", "nonsense"], 2, "is not SEQ:HASH"),
        (["models", "--limit", "0"], 2, "limit"),
    ],
)
def test_wrong_input_has_its_exit_code_and_a_next_move(call, words, code, said):
    found, out, err = call(*words)
    assert (found, out) == (code, "")
    assert said in err
    assert "next:" in err or "Usage" in err


@pytest.mark.slow
def test_errors_are_json_too(call):
    code, out, err = call("versions", "nobody", "--json")
    assert (code, out) == (3, "")
    assert json.loads(err)["error"] == "ModelNotFound"


@pytest.mark.slow
def test_promote_and_rollback_move_the_champion(call):
    assert call("rollback", MODEL, "--why", "a test")[:2] == (0, f"{MODEL}@champion is version 1 again, it was 2\n")
    code, out, _ = call("promote", f"{MODEL}:2", "--why", "a test", "--json")
    assert (code, json.loads(out)) == (0, {"model": MODEL, "champion": 2, "before": 1})


@pytest.mark.slow
def test_events_are_sent_all_or_none(call, tmp_path):
    import msgspec

    lines = [msgspec.json.encode(event).decode() for event in bad_events(2, version=2, start=50)]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines) + "\n{broken\n")
    code, _, err = call("events", "send", str(file))
    assert code == 2
    assert "line 3" in err
    file.write_text("\n".join(lines))
    assert json.loads(call("events", "send", str(file), "--json")[1])["accepted"] == 2
    assert json.loads(call("events", "send", str(file), "--json")[1])["duplicates"] == 2


@pytest.mark.slow
def test_audit_verify_fails_and_names_the_row(tmp_path, call, home):
    import shutil
    import sqlite3

    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    connection = sqlite3.connect(copy / "visutility.db")
    connection.execute("UPDATE audit_event SET why = 'nothing to see' WHERE seq = 5")
    connection.commit()
    connection.close()
    code, out, err = call("audit", "verify", at=copy)
    assert code == 7
    assert "audit_event 5" in out
    assert "next:" in err


@pytest.mark.slow
def test_a_worker_stops_cleanly_on_ctrl_c_and_its_run_goes_on_later(tmp_path):
    home = tmp_path / "home"
    with trained(home, recipe="tiny:hangs") as project:
        project.monitor.ingest(*bad_events())
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "VISUTILITY_WORKERS": "1"}
    words = [sys.executable, "-m", "visutility", "runs", "work", "--home", str(home)]
    worker = subprocess.Popen(
        words, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hears_ctrl_c
    )
    assert "driving runs" in worker.stderr.readline()
    with Project.open(settings=settings(home)) as project:
        while not _tuning(project):
            project.clock.sleep(0.05)
        os.killpg(worker.pid, signal.SIGINT)
        assert worker.wait(30) == 130
        assert "Traceback" not in worker.stderr.read()
        worker.stderr.close()
        assert [run.status for run in project.records.open_runs(MODEL)] == ["queued"]
        assert len(project.registry.versions(MODEL)) == 1


def _tuning(project):
    """Whether the run has asked its first trial."""
    from visutility.registry import studies

    with project.store.read() as connection:
        return any(
            study.asked for study in studies.list_studies(connection) if study.name.count(".") and study.enqueued
        )


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "visutility", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "rollback" in done.stdout


def test_help_imports_nothing_heavy():
    code = "import sys; from visutility.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    for heavy in ("numpy", "scipy", "sqlalchemy", "pyarrow", "sklearn", "alembic", "jinja2"):
        assert f"'{heavy}'" not in done.stderr
