"""`visutility studies` on a study of its own: list, show, a page, importance, export, and what is refused."""

import json

import pytest
from pyarrow import parquet

from visutility.cli import main
from visutility.core.clock import SimulatedClock
from visutility.loop import Project
from visutility.registry import DurableStudy, studies
from visutility.tune import Failure, Float, Int, Space

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 8)})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with a study of twelve trials, two of two objectives, and one without trials."""
    home = tmp_path_factory.mktemp("studies") / "home"
    clock = SimulatedClock()
    with Project.create(home, clock=clock) as project:
        with project.store.write("make") as tx:
            for name, direction in (
                ("digits.first", {"loss": "minimize"}),
                ("both", {"loss": "minimize", "gain": "maximize"}),
                ("empty", {"loss": "minimize"}),
            ):
                studies.create(tx, name=name, space=SPACE, direction=direction, strategy="sobol", by="ada", why="x")
        for name, count in (("digits.first", 12), ("both", 2)):
            study = DurableStudy(project.store, name)
            for number in range(count):
                trial = study.ask()
                clock.advance(30.0)
                study.report(trial, 1, 2.0)
                told = {"loss": trial.params["lr"], "gain": float(trial.params["depth"])}
                study.tell(trial, Failure("out of memory") if number == 3 else told)
    return home


@pytest.fixture
def call(home, capsys):
    """Run a command in this process; return (exit code, standard output, standard error)."""

    def run(*words):
        code = main(["studies", *words, "--home", str(home)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_studies_are_listed_and_shown(call):
    code, out, err = call("list")
    assert (code, err) == (0, "")
    assert [line.split("\t")[0] for line in out.splitlines()] == ["empty", "both", "digits.first"]
    code, out, err = call("show", "digits.first")
    assert (code, err) == (0, "")
    assert "out of memory" in out
    assert "loss, minimize; gain, maximize" in call("show", "both")[1]
    assert json.loads(call("show", "digits.first", "--json")[1])["record"]["name"] == "digits.first"


def test_a_study_whose_budget_is_spent_says_so(tmp_path, capsys):
    home = tmp_path / "home"
    with Project.create(home) as project:
        with project.store.write("make") as tx:
            for name in ("asked", "half", "closed"):
                studies.create(tx, name=name, space=SPACE, strategy="random", budget=2, by="ada", why="x")
        for name, count in (("asked", 2), ("half", 1), ("closed", 2)):
            DurableStudy(project.store, name).ask_batch(count)
        DurableStudy(project.store, "closed").close(by="ada", why="x")
    main(["studies", "list", "--home", str(home), "--json"])
    status = {one["study"]: one["status"] for one in json.loads(capsys.readouterr().out)}
    assert status == {"asked": "budget spent", "half": "open", "closed": "closed"}
    main(["studies", "show", "asked", "--home", str(home)])
    assert "budget spent" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["digits.first", "both", "empty"])
def test_a_study_becomes_a_page(call, home, tmp_path, name):
    file = tmp_path / "study.html"
    code, out, err = call("show", name, "--html", str(file))
    assert (code, err) == (0, "")
    verdict, report = out.splitlines()
    assert report == f"Report: {file}"
    page = file.read_text("utf-8")
    assert f"Study {name}</h1>" in page
    assert verdict in page
    assert f"Made from the project in {home}" in page
    code, out, err = call("show", name, "--html", str(file), "--json")
    assert json.loads(out) == {"study": name, "verdict": verdict, "report": str(file)}


def test_the_page_of_a_durable_study_knows_its_times(call, tmp_path):
    file = tmp_path / "study.html"
    assert call("show", "digits.first", "--html", str(file))[0] == 0
    assert "When each trial was under way" in file.read_text("utf-8")


def test_importance_is_printed_with_how_far_to_believe_it(call):
    code, out, err = call("importance", "digits.first")
    assert (code, err) == (0, "")
    *rows, skill = out.splitlines()
    assert rows[0].startswith("lr\t")
    assert skill.startswith("the model behind gp foretells")
    found = json.loads(call("importance", "digits.first", "--json")[1])
    assert found["study"] == "digits.first"
    assert sum(found["methods"]["gp"]["shares"].values()) == pytest.approx(1.0)
    assert found["methods"]["ped-anova"]["trials"] == 11


def test_importance_of_too_little_says_so(call):
    code, out, _ = call("importance", "empty")
    assert code == 0
    assert "gp: nothing can be said: 0 of at least 4 trials have a value" in out
    assert (
        json.loads(call("importance", "both", "--objective", "gain", "--json")[1])["methods"]["gp"]["objective"]
        == "gain"
    )


@pytest.mark.parametrize("kind", ["arrow", "parquet", "csv"])
def test_trials_are_exported(call, tmp_path, kind):
    file = tmp_path / f"trials.{kind}"
    code, out, err = call("export", "digits.first", "--to", str(file))
    assert (code, err) == (0, "")
    assert out == f"12 trials of digits.first written to {file}\n"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    if kind == "parquet":
        rows = parquet.read_table(file).to_pylist()
        assert len(rows) == 12
        assert rows[3]["failure"] == "out of memory"
        assert rows[0]["asked_at"] is not None
        assert rows[0]["reports"] == [{"step": 1, "value": 2.0}]
    if kind == "csv":
        assert file.read_text("utf-8").startswith('"number","state","origin","value","feasible","params.lr"')


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "nobody", "--html", "x.html"], 3, "there is no study 'nobody'"),
        (["show", "digits.first", "--html", "nowhere/x.html"], 2, "there is no folder nowhere"),
        (["importance", "nobody"], 3, "there is no study 'nobody'"),
        (["importance", "both", "--objective", "los"], 2, "objective 'los' is unknown"),
        (["export", "digits.first", "--to", "trials.xlsx"], 2, "end it with one of .arrow, .parquet, .csv"),
        (["export", "digits.first", "--to", "nowhere/trials.csv"], 2, "there is no folder nowhere"),
        (["export", "nobody", "--to", "trials.csv"], 3, "there is no study 'nobody'"),
        (["export", "digits.first"], 2, "Missing option '--to'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(call, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    found, out, err = call(*words)
    assert (found, out) == (code, "")
    assert said in err
    assert list(tmp_path.iterdir()) == []
