"""`visutility alarms`: a list that a person can live with, on a terminal, in a pipe and in JSON."""

import json
import re
from datetime import timedelta

import pytest
from scenario import MODEL, POLICY, REFERENCE, bad_events, good_events, settings, watched
from terminal import on_a_terminal

from visutility.cli import main
from visutility.loop import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path):
    """A project whose model raised a few alarms."""
    with watched(tmp_path) as project:
        for event in [*good_events(2), *bad_events(5, start=10)]:
            project.clock.advance(60)
            project.monitor.ingest(event)
    return tmp_path


@pytest.fixture
def call(home, capsys):
    """Run a command in this process; return (exit code, standard output, standard error)."""

    def run(*words, at=home):
        code = main(["alarms", *words, "--home", str(at)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def alarms(call):
    return json.loads(call("show", "1", "--json")[1])["alarms"]


def test_the_list_is_a_line_an_incident(call):
    code, out, err = call("list")
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    number, since, state, what, count, followed, judged = line.split("\t")
    assert (number, state, what, judged) == ("1", "open", f"{MODEL}:1 error by e-detector", "not yet")
    assert since.endswith(" UTC")
    assert int(count) == len(alarms(call)) > 1
    assert followed == "run queued"
    (told,) = json.loads(call("list", MODEL, "--json")[1])
    assert (told["id"], told["open"], told["closed"], told["alarms"]) == (1, True, None, int(count))
    assert (told["state"], told["acknowledged"], told["snoozed"]) == ("open", None, None)
    assert told["judged"] == {"true": 0, "false": 0, "nothing": int(count)}
    assert told["followed"]["decision"] == "run"


def test_a_promotion_that_ends_the_watching_says_so(home, capsys):
    words = ["--home", str(home), "--why", "a better one"]
    assert main(["promote", f"{MODEL}:2", *words]) == 0
    assert capsys.readouterr().err.startswith(f"nobody watches {MODEL}:2: `visutility audit log` says why")
    assert main(["promote", f"{MODEL}:2", *words]) == 0  # nobody does since
    assert capsys.readouterr().err.startswith(f"nobody watches {MODEL}:2:")
    assert main(["rollback", MODEL, *words]) == 0  # as it was watched
    assert capsys.readouterr().err == ""


def test_closed_ones_are_counted_and_shown_when_asked(call, home):
    with Project.open(settings=settings(home)) as project:
        project.promote(MODEL, 2, expected=1, why="a better one")
    assert call("list") == (0, "nothing is open\n", "1 closed; `visutility alarms list --all` lists them\n")
    assert json.loads(call("list", "--json")[1]) == []
    assert call("list", "--all")[1].split("\t")[2] == "closed"
    assert f"{MODEL}@champion moved to version 2" in call("show", "1")[1]


def test_an_incident_is_shown_with_its_evidence_and_what_followed(call):
    first, *_, last = alarms(call)
    code, out, _ = call("show", "1")
    assert code == 0
    for part in (f"alarm {first['id']}", "over the last", "limit 1e+04", "is queued", "no run: run", "open"):
        assert part in out
    assert call("show", last["id"]) == (0, out, "")
    limited = call("show", "1", "--limit", "1")[1]
    assert first["id"] not in limited
    assert "--limit shows more" in limited


def test_a_judgement_is_kept_shown_and_measured(call, home):
    count = len(alarms(call))
    assert call("judge", "1", "false", "--why", "a lorry stood there")[:2] == (
        0,
        f"{count} alarms judged false, {count} changed\n",
    )
    assert call("judge", "1", "false", "--why", "again")[1] == f"{count} alarms judged false, as said before\n"
    assert "judged false by " in call("show", "1")[1]
    assert call("list")[1].rstrip().endswith("\tfalse")
    code, out, _ = call("rate")
    assert code == 0
    assert out.splitlines()[0] == "1 watch by e-detector promises at most one false alarm in 10,000 values."
    assert f"{count} false, 0 right, 0 not judged, in 70 values" in out
    first = alarms(call)[0]["id"]
    assert json.loads(call("judge", first, "true", "--why", "it did", "--json")[1]) == {
        "judgement": "true",
        "alarms": [first],
        "changed": 1,
    }
    (told,) = json.loads(call("rate", "--json")[1])
    assert (told["true"], told["false"], told["detector"]) == (1, count - 1, "e-detector")
    assert main(["audit", "verify", "--home", str(home)]) == 0


def test_what_somebody_looks_after_says_who(call, home, monkeypatch):
    monkeypatch.setenv("VISUTILITY_ACTOR", "bob")
    assert call("acknowledge", "1", "--by", "ada", "--note", "it is the lens")[:2] == (
        0,
        "incident 1: ada looks after it\n",
    )
    assert call("list")[1].split("\t")[2] == "with ada"
    shown = call("show", "1")[1]
    assert re.search(r"^with +ada, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", shown, re.MULTILINE)
    assert "  ada: it is the lens\n" in shown
    told = json.loads(call("acknowledge", "1", "--json")[1])
    assert (told["state"], told["acknowledged"]["by"], told["acknowledged"]["note"]) == ("acknowledged", "bob", "")
    assert call("reopen", "1")[1] == "incident 1: open\n"
    assert call("list")[1].split("\t")[2] == "open"
    assert main(["audit", "verify", "--home", str(home)]) == 0


def test_a_snoozed_one_is_counted_and_shown_when_asked(call):
    assert (
        call("snooze", "1", "--until", "2999-01-31T08:00+01:00")[1]
        == "incident 1: snoozed until 2999-01-31 07:00 UTC\n"
    )
    assert call("list") == (
        0,
        "all that is open is snoozed\n",
        "1 snoozed; `visutility alarms list --all` lists them\n",
    )
    assert json.loads(call("list", "--json")[1]) == []
    (told,) = json.loads(call("list", "--all", "--json")[1])
    assert (told["state"], told["snoozed"]["until"]) == ("snoozed", "2999-01-31T07:00:00Z")
    code, out, err = call("list", "--all")
    assert (code, out.split("\t")[2], err) == (0, "snoozed until 2999-01-31 07:00 UTC", "")
    assert "until 2999-01-31 07:00:00 UTC by " in call("show", "1")[1]
    for words in (["--for", "1d2h30m5s"], ["--until", "2999-01-31 08:00:00 UTC"]):
        assert call("snooze", "1", *words, "--note", "on Monday")[0] == 0
    assert ": on Monday\n" in call("show", "1")[1]


def test_its_state_is_one_word_in_text_and_in_json(call, home):
    def states():
        word = json.loads(call("show", "1", "--json")[1])["state"]
        return word, re.search(r"^state +(.*)$", call("show", "1")[1], re.MULTILINE)[1]

    assert states() == ("open", "open")
    call("acknowledge", "1")
    assert states() == ("acknowledged", "acknowledged")
    call("snooze", "1", "--for", "2h")
    assert states() == ("snoozed", "snoozed")
    with Project.open(settings=settings(home)) as project:
        project.promote(MODEL, 2, expected=1, why="a better one")
    word, said = states()
    assert (word, said.split()[0]) == ("closed", "closed")
    assert said.endswith(f"UTC: {MODEL}@champion moved to version 2")


def test_a_long_name_is_cut_in_the_list_alone(call):
    name = "the night shift of the northern depot " * 5
    assert call("acknowledge", "1", "--by", name)[1] == f"incident 1: {name} looks after it\n"
    assert call("list")[1].split("\t")[2] == "with the night shift of…"
    assert name in call("show", "1")[1]
    assert json.loads(call("list", "--json")[1])[0]["acknowledged"]["by"] == name


def test_a_rate_of_several_watches_is_a_sentence_too(call, home):
    with Project.open(settings=settings(home)) as project:
        project.watch(MODEL, POLICY, reference=REFERENCE)
    first = call("rate")[1].splitlines()[0]
    assert first == "2 watches by e-detector promise at most one false alarm in 10,000 values."


def test_a_rate_of_nothing_is_plain_json(call, tmp_path):
    assert main(["init", "--home", str(tmp_path / "new")]) == 0
    for words, said in ((["list"], "no alarms yet\n"), (["rate"], "nothing that promises a rate is watched yet\n")):
        assert call(*words, at=tmp_path / "new")[1].endswith(said)
        assert json.loads(call(*words, "--json", at=tmp_path / "new")[1]) == []


@pytest.mark.parametrize(
    ("words", "code", "said", "following"),
    [
        (["list", "nobody"], 3, "no model is named 'nobody'", "`visutility models`"),
        (["show", "9"], 3, "there is no incident or alarm '9'", "`visutility alarms list --all`"),
        (
            ["judge", "9", "true", "--why", "x"],
            3,
            "there is no incident or alarm '9'",
            "`visutility alarms list --all`",
        ),
        (["acknowledge", "9"], 3, "there is no incident or alarm '9'", "`visutility alarms list --all`"),
        (["acknowledge", "1", "--by", " "], 2, "by is ' '", "say who looks after it"),
        (["acknowledge", "1", "--by", "x" * 201], 2, "by is 'xxx", "1 to 200 printable characters"),
        (["acknowledge", "1", "--note", " "], 2, "the note ' ' is blank", "leave --note out"),
        (["snooze", "9", "--for", "2h"], 3, "there is no incident or alarm '9'", "`visutility alarms list --all`"),
        (["snooze", "1"], 2, "neither --until nor --for", "--for DURATION"),
        (["snooze", "1", "--for", "2h", "--until", "2999-01-01T00:00Z"], 2, "--until and --for", "--until TIME"),
        (["snooze", "1", "--until", "2020-01-31T08:00Z"], 2, "until is 2020-01-31 08:00:00 UTC, and it is", "to come"),
        (["snooze", "1", "--until", "2999-01-31"], 2, "has no zone", "2026-01-31T08:00Z"),
        (["snooze", "1", "--until", "tomorrow"], 2, "'tomorrow' is no time", "2026-01-31T08:00Z"),
        (["snooze", "1", "--until", ""], 2, "'' is no time", "2026-01-31T08:00Z"),
        (["snooze", "1", "--for", "2 h"], 2, "'2 h' is no duration", "1d12h"),
        (["snooze", "1", "--for", ""], 2, "'' is no duration", "1d12h"),
        (["snooze", "1", "--for", "-2h"], 2, "'-2h' is no duration", "1d12h"),
        (["snooze", "1", "--for", "0m"], 2, "and it is", "to come"),
        (["reopen", "9"], 3, "there is no incident or alarm '9'", "`visutility alarms list --all`"),
        (["judge", "1", "maybe", "--why", "x"], 2, "'maybe'", "say true or false"),
        (["judge", "1", "true", "--why", " "], 2, "blank", "--why TEXT"),
        (["judge", "1", "true"], 2, "Missing option '--why'", "`visutility alarms judge --help`"),
    ],
)
def test_wrong_input_has_its_exit_code_and_a_next_move(call, words, code, said, following):
    found, out, err = call(*words)
    assert (found, out) == (code, "")
    assert said in err
    assert following in err.split("next:")[1]


def lines_on_a_terminal(columns, *words):
    code, shown = on_a_terminal("-m", "visutility", *words, columns=columns)
    assert code == 0
    return re.sub("\x1b\\[[0-9;]*m", "", shown).replace("\r", "").splitlines()


@pytest.mark.parametrize(("columns", "lines"), [(80, 4), (120, 2)])
def test_an_incident_that_a_run_was_refused_for_takes_few_lines(home, columns, lines):
    """The run that is at work answers the incident before."""
    with Project.open(settings=settings(home)) as project:
        project.watch(MODEL, POLICY, reference=REFERENCE)
        project.monitor.ingest(*bad_events(5, start=100))
    shown = lines_on_a_terminal(columns, "alarms", "list", "--home", str(home))
    start = next(at for at, line in enumerate(shown) if line.startswith("  2 "))
    assert "no run" in shown[start]
    assert sum(bool(line.strip()) for line in shown[start:]) - 1 <= lines  # the last one counts what is closed


@pytest.mark.parametrize("name", ["x" * 200, "the night shift of the northern depot " * 5])
def test_an_incident_that_somebody_with_a_long_name_looks_after_takes_few_lines(home, name):
    with Project.open(settings=settings(home)) as project:
        project.alarms.acknowledge(1, by=name)
    shown = lines_on_a_terminal(80, "alarms", "list", "--home", str(home))
    assert max(map(len, shown)) <= 80
    assert sum(bool(line.strip()) for line in shown[2:]) <= 4  # after the head


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", [["list"], ["list", "--all"], ["show", "1"], ["rate"]])
def test_no_line_is_wider_than_the_terminal(home, columns, words):
    with Project.open(settings=settings(home)) as project:
        project.alarms.acknowledge(1, by="the night shift", note="the lens is dirty, and nobody has a ladder " * 3)
        if "--all" in words:
            project.alarms.snooze(1, timedelta(days=1))
    lines = lines_on_a_terminal(columns, "alarms", *words, "--home", str(home))
    assert len(lines) > 2
    assert max(map(len, lines)) <= columns
