"""The command line as people and programs use it: exit codes, plain lines, JSON, errors that say what to do next."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime

import pytest
from scenario import MODEL, bad_events, settings, trained
from sqlalchemy import update

from visutility import __version__
from visutility.cli import interrupt, main
from visutility.core.clock import SimulatedClock
from visutility.flow import runs
from visutility.loop import Project
from visutility.registry import studies
from visutility.store import schema
from visutility.tune import Float, Space

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
        (["promote", MODEL, "--why", "x"], 2, "does not say which version"),
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


@pytest.mark.parametrize(
    ("words", "said", "following"),
    [
        (["modles"], "Did you mean 'models'", "`visutility --help`"),
        (["runs", "cancle"], "Did you mean 'cancel'", "`visutility runs --help`"),
        (["models", "--hoome", "x"], "--hoome", "`visutility models --help`"),
        (["versions"], "Missing argument 'model'", "`visutility versions --help`"),
        (["promote", "tiny:1"], "Missing option '--why'", "`visutility promote --help`"),
        (["runs", "start", "tiny"], "Missing option '--why'", "`visutility runs start --help`"),
    ],
)
def test_words_it_cannot_read_are_told_with_where_to_look(words, said, following, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[0]
    assert following in err.splitlines()[1]
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(err)
    assert (out, told["error"]) == ("", "UsageError")
    assert said in told["problem"]
    assert following in told["next"]


@pytest.mark.parametrize("reason", ["", " ", "\t\n"])
def test_a_blank_reason_is_refused(call, reason):
    for words in (["promote", f"{MODEL}:1"], ["rollback", MODEL], ["runs", "cancel", "r"], ["runs", "start", MODEL]):
        code, out, err = call(*words, "--why", reason)
        assert (code, out) == (2, "")
        assert f"the reason {reason!r} is blank" in err
        assert "next:  say why with --why TEXT" in err


def test_a_group_without_a_command_shows_its_commands(capsys):
    assert main(["runs"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: visutility runs")
    assert "answer" in err


def test_it_says_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"visutility {__version__}\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "column"),
    [
        (["models"], "created"),
        (["versions", MODEL], "created"),
        (["studies", "list"], "created"),
        (["runs", "list"], "created"),
        (["events", "list", MODEL], "at"),
        (["audit", "log"], "at"),
    ],
)
def test_times_are_iso_8601_in_json_and_readable_in_a_table(call, words, column):
    for row in json.loads(call(*words, "--json")[1]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", row[column])
        datetime.fromisoformat(row[column])
    assert re.search(r"(?m)(^|\t)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC(\t|$)", call(*words)[1])


@pytest.mark.slow
def test_what_came_of_a_run_is_one_text_for_people_and_three_fields_in_json(call):
    row = json.loads(call("runs", "list", "--json")[1])[0]
    assert row["outcome"]["version"] == 2
    assert (row["waiting_for"], row["failure"]) == (None, None)
    assert "what" not in row
    assert "version=2" in call("runs", "list")[1].splitlines()[0]


def test_cancel_says_whether_the_run_has_ended_or_its_worker_has_to_notice(call, tmp_path):
    at = tmp_path / "home"
    with Project.create(settings=settings(at)) as project, project.store.write("test") as tx:
        queued, held = (runs.start(tx, "w", {}, key=key, by="a test") for key in ("queued", "held"))
        tx.execute(update(schema.run).where(schema.run.c.id == held), {"status": "running"})
    words = ["runs", "cancel", queued, "--why", "a test"]
    assert call(*words, at=at)[:2] == (0, f"run {queued} is cancelled\n")
    assert json.loads(call(*words, "--json", at=at)[1]) == {"run": queued, "status": "cancelled"}
    words[2] = held
    assert call(*words, at=at)[:2] == (0, f"run {held} is asked to stop; its worker will notice\n")
    assert json.loads(call(*words, "--json", at=at)[1]) == {"run": held, "status": "running"}


def test_the_study_of_a_cancelled_run_is_closed_and_its_checkpoints_are_removed(call, tmp_path):
    at, kept = tmp_path / "home", {}
    with Project.create(settings=settings(at)) as project, project.store.write("test") as tx:
        for name in ("cancelled", "broken", "going"):
            run = runs.start(tx, "w", {}, key=name, by="a test")
            new = {"name": name, "space": Space({"x": Float(0, 1)}), "run_id": run, "by": "a test", "why": "a test"}
            kept[run] = at / "checkpoints" / studies.create(tx, **new).id
            (kept[run] / "0").mkdir(parents=True)
            (kept[run] / "0" / "epoch").write_text("3")
    cancelled, broken, going = kept
    assert call("runs", "cancel", cancelled, "--why", "a test", at=at)[0] == 0
    with Project.open(at) as project:
        with pytest.raises(KeyError), project.store.write("test") as tx:  # noqa: PT012
            project.worker()._on_broken(tx, broken, "killed before it is committed")
            raise KeyError
        assert [path.exists() for path in kept.values()] == [False, True, True]
        with project.store.write("test") as tx:
            project.worker()._on_broken(tx, broken, "cancelled")
        assert [path.exists() for path in kept.values()] == [False, False, True]
        with project.store.read() as connection:
            status = {one.run_id: one.status for one in studies.list_studies(connection)}
    assert status == {cancelled: "closed", broken: "closed", going: "open"}


def test_an_unknown_run_is_told_with_a_command_that_exists(call, tmp_path):
    call("init", at=tmp_path / "new")
    code, _, err = call("runs", "show", "nonsense", at=tmp_path / "new")
    assert code == 3
    assert "`visutility runs list`" in err
    assert call("runs", "list", at=tmp_path / "new")[0] == 0


@pytest.mark.slow
def test_a_broken_chain_is_printed_and_then_ends_as_damage(tmp_path, call, home):
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    with contextlib.closing(sqlite3.connect(copy / "visutility.db")) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DELETE FROM metric_chunk")
        connection.commit()
    code, out, err = call("why", f"{MODEL}@champion", at=copy)
    assert code == 7
    assert "PROBLEM:" in out
    assert "missing or lie" in err
    code, out, err = call("why", f"{MODEL}@champion", "--json", at=copy)
    assert code == 7
    assert any(link["problem"] for link in json.loads(out))
    assert json.loads(err)["error"] == "Damaged"


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
@pytest.mark.parametrize("form", [[], ["--once"]], ids=["serving", "once"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_a_worker_that_is_stopped_gives_its_run_back(tmp_path, form, number, code):
    home = tmp_path / "home"
    with trained(home, recipe="tiny:hangs") as project:
        project.monitor.ingest(*bad_events())
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "VISUTILITY_WORKERS": "1"}
    words = [sys.executable, "-m", "visutility", "runs", "work", *form, "--home", str(home)]
    worker = subprocess.Popen(
        words, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hears_ctrl_c
    )
    with Project.open(settings=settings(home)) as project:
        while not _tuning(project):
            assert worker.poll() is None, worker.stderr.read()
            project.clock.sleep(0.05)
        os.killpg(worker.pid, number)
        _, err = worker.communicate(timeout=30)
        assert worker.returncode == code
        assert "Traceback" not in err
        assert err.endswith("stopped; what was committed stays, nothing is half-done\n")
        assert [run.status for run in project.records.open_runs(MODEL)] == ["queued"]
        assert len(project.registry.versions(MODEL)) == 1


@pytest.fixture
def usual_signals():
    """Have both signals do what they do in a process that no shell told to ignore them."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_heard_within_a_command_and_as_before_after_it(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupt.heard():
        signal.raise_signal(number)
    assert interrupt.asked.is_set()
    assert interrupt.exit_code() == 128 + number
    assert signal.getsignal(number) == before


@pytest.mark.usefixtures("usual_signals")
def test_sigterm_twice_does_not_interrupt_the_cleaning_up():
    with interrupt.heard():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert interrupt.exit_code() == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ignored_signal_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interrupt.heard():
            signal.raise_signal(number)
            assert not interrupt.asked.is_set()
    finally:
        signal.signal(number, before)


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
