"""`visutility studies import`."""

import json
import sys

import optuna
import pytest

from visutility import Space
from visutility.cli import main
from visutility.loop import Project


def objective(trial):
    if trial.number == 3:
        raise RuntimeError("before it asked for anything")
    return trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 3)


@pytest.fixture
def storage(tmp_path, optuna_database):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = tmp_path / "optuna.db"
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=optuna_database(f"sqlite:///{path}"), study_name="mine", sampler=sampler)
    study.optimize(objective, n_trials=6, catch=RuntimeError)
    return path


@pytest.fixture
def home(tmp_path):
    Project.create(tmp_path / "home").close()
    return tmp_path / "home"


def test_import(storage, home, capsys):
    assert main(["studies", "import", str(storage), "--why", "we move", "--home", str(home), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["study"] == "mine"
    assert said["trials"] == 5
    assert [one["trial"] for one in said["left_out"]] == [3]
    assert main(["studies", "show", "mine", "--home", str(home), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [t["state"] for t in shown["trials"]] == ["complete"] * 5
    assert Space.from_json(shown["record"]["space"]).names == ("n", "x")
    assert shown["record"]["reason"] == "its trials were imported from Optuna"
    for command in (["list"], ["show", "mine"]):
        assert main(["studies", *command, "--home", str(home)]) == 0
        assert "imported from Optuna" in capsys.readouterr().out


def test_words(storage, home, capsys):
    assert main(["studies", "import", str(storage), "--name", "old", "--why", "we move", "--home", str(home)]) == 0
    said = capsys.readouterr().out
    assert "5 trials taken over as study old" in said
    assert "left out: trial 3" in said


def test_errors_say_what_to_do(storage, home, tmp_path, capsys, monkeypatch):
    here = ["--why", "we move", "--home", str(home)]
    assert main(["studies", "import", str(tmp_path / "none.db"), *here]) == 3
    assert "there is no file" in capsys.readouterr().err
    assert main(["studies", "import", str(storage), "--study", "other", *here]) == 3
    assert "it holds ['mine']" in capsys.readouterr().err
    assert main(["studies", "import", str(storage), "--model", "nobody", *here]) == 3
    assert "nobody" in capsys.readouterr().err
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna" or "interop" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["studies", "import", str(storage), *here]) != 0
    assert "visutility[optuna]" in capsys.readouterr().err
