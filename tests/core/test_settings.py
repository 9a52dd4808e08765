"""Settings come from the environment once, and a bad one is named."""

import getpass
import os
import re
from pathlib import Path

import pytest

from visutility.core.errors import InvalidSetting
from visutility.core.settings import ENVIRONMENT, Settings

GIVEN = {
    "VISUTILITY_HOME": ("/srv/vision", "home", Path("/srv/vision")),
    "VISUTILITY_DATABASE": ("sqlite:////srv/x.db", "database", "sqlite:////srv/x.db"),
    "VISUTILITY_ACTOR": ("ada", "actor", "ada"),
    "VISUTILITY_WORKERS": ("3", "workers", 3),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_each_variable_sets_its_field(name):
    text, field, value = GIVEN[name]
    assert getattr(Settings.load(environ={name: text}), field) == value


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_empty_variable_is_one_that_is_not_set(name):
    assert Settings.load(environ={name: ""}) == Settings.load(environ={})


def test_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(environ={})
    assert settings.home == tmp_path / ".visutility"
    assert settings.database == f"sqlite:///{tmp_path}/.visutility/visutility.db"
    assert settings.blobs == tmp_path / ".visutility" / "blobs"
    assert settings.workers == min(4, os.cpu_count() or 1)
    assert settings.actor == getpass.getuser()


def test_an_argument_beats_the_environment_and_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert Settings.load(home="here", environ={"VISUTILITY_HOME": "/there"}).home == tmp_path / "here"
    assert Settings.load(environ={"VISUTILITY_HOME": "~/vision"}).home == Path("/home/ada/vision")


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("VISUTILITY_ACTOR", "grace")
    assert Settings.load().actor == "grace"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VISUTILITY_WORKERS", "0"),
        ("VISUTILITY_WORKERS", "257"),
        ("VISUTILITY_WORKERS", "-1"),
        ("VISUTILITY_WORKERS", "two"),
        ("VISUTILITY_WORKERS", "1.5"),
        ("VISUTILITY_ACTOR", "x" * 201),
        ("VISUTILITY_ACTOR", "ada\nsomebody else"),
        ("VISUTILITY_DATABASE", "visutility.db"),
        ("VISUTILITY_HOME", "/srv/what?/vision"),
        ("VISUTILITY_HOME", "/srv/100%25"),
    ],
)
def test_a_bad_value_is_shown_with_its_variable_and_the_next_move(name, value):
    with pytest.raises(InvalidSetting, match=name) as caught:
        Settings.load(environ={name: value})
    shown = re.sub(r"\D", "", value) if name == "VISUTILITY_WORKERS" and value.isdecimal() else repr(value)
    assert shown in caught.value.problem
    assert caught.value.hint


def test_a_folder_that_cannot_be_in_a_url_is_fine_when_the_database_is_elsewhere():
    given = {"VISUTILITY_HOME": "/srv/100%", "VISUTILITY_DATABASE": "sqlite:////srv/x.db"}
    assert Settings.load(environ=given).home == Path("/srv/100%")


def test_a_user_without_a_login_name_is_named_by_number(monkeypatch):
    def no_name():
        raise OSError("no username set in the environment")

    monkeypatch.setattr("getpass.getuser", no_name)
    assert Settings.load(environ={}).actor == f"uid-{os.getuid()}"
