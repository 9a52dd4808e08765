"""What people wrote reaches a terminal as text, and a program as it was."""

import json
import sys

import pytest

from visutility.cli.show import Show

TOLD = "a \x1b[31mred\x1b[0m \x9b2J lorry\r\x07\x7f\x00"
SPELT = r"a \x1b[31mred\x1b[0m \x9b2J lorry\x0d\x07\x7f\x00"


@pytest.fixture(params=[False, True])
def out(request, monkeypatch, capsys):  # standard output is a stand-in from here on
    monkeypatch.setattr(sys.stdout, "isatty", lambda: request.param, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return Show(as_json=False)


@pytest.mark.parametrize("say", ["line", "prose", "say"])
def test_control_characters_are_spelt_in_a_sentence(out, capsys, say):
    getattr(out, say)(TOLD)
    assert capsys.readouterr().out == f"{SPELT}\n"


def test_control_characters_are_spelt_in_a_table_and_in_fields(out, capsys):
    out.rows(("why", "by"), [(TOLD, "me\x1b]0;title\x07")], empty="")
    out.fields([("why", TOLD)])
    shown = capsys.readouterr().out
    assert shown.count(SPELT) == 2
    assert r"me\x1b]0;title\x07" in shown
    assert all(char.isprintable() or char in "\t\n" for char in shown)


def test_line_ends_of_our_own_stay_and_those_of_a_reason_are_spaces(out, capsys):
    out.line("one\ntwo\tthree")
    out.prose("judged false: one\nalarm two\tthree")
    assert capsys.readouterr().out == "one\ntwo\tthree\njudged false: one alarm two three\n"


def test_a_sentence_is_as_wide_as_it_is_shown(out, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out.prose("a\x1b " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert (max(map(len, lines)) <= 60) == out.terminal == (len(lines) > 1)


def test_json_is_as_it_was(capsys):
    Show(as_json=True).data({"why": TOLD})
    out = capsys.readouterr().out
    assert json.loads(out) == {"why": TOLD}
    assert "\x9b" in out
