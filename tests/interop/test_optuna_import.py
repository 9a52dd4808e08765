"""Optuna's studies as ours, from its SQLite and journal files."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from visutility import Choice, Equals, Float, Study
from visutility.core.errors import AlreadyExists, Invalid, StudyNotFound
from visutility.interop.optuna_import import optuna_studies, read_optuna
from visutility.registry import studies

pytestmark = pytest.mark.slow


def objective(trial):
    if trial.number == 5:
        trial.suggest_categorical("kind", ["a", "b"])
        raise RuntimeError("broken")
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        value = trial.suggest_float("lr", 1e-4, 1e-1 if trial.number < 8 else 1.0, log=True)
    else:
        value = trial.suggest_int("depth", 1, 9) / 10
    trial.report(value * 2, 1)
    trial.report(value, 2)
    if trial.number == 7:
        raise optuna.TrialPruned
    return value


def run(storage, name="mine", **more):
    study = optuna.create_study(storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(seed=0), **more)
    study.optimize(objective, n_trials=16, catch=RuntimeError)
    study.ask()  # still running: not imported
    return study


@pytest.fixture
def sqlite(tmp_path, optuna_database):
    path = tmp_path / "optuna.db"
    return path, run(optuna_database(f"sqlite:///{path}"))


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "optuna.log"
    return path, run(JournalStorage(JournalFileBackend(str(path))), direction="maximize")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_every_ended_trial_is_read(kind, request):
    path, theirs = request.getfixturevalue(kind)
    found = read_optuna(path)
    assert found.name == "mine"
    assert found.direction == ("minimize" if kind == "sqlite" else "maximize")
    assert len(found.trials) + len(found.left_out) == 16
    assert found.space.parameters["lr"] == Float(1e-4, 1.0, log=True, when=Equals("kind", "a"))
    assert isinstance(found.space.parameters["kind"], Choice)
    states = {t.state.name for t in theirs.trials[:16]}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}
    complete = [t for t in theirs.trials if t.state.name == "COMPLETE"]
    assert [(t.params, t.value) for t in found.trials if t.state == "complete"] == [
        (t.params, t.value) for t in complete
    ]
    pruned = next(t for t in found.trials if t.state == "pruned")
    assert pruned.reports == tuple(sorted(theirs.trials[7].intermediate_values.items()))
    assert [number for number, _ in found.left_out] == [5]  # it failed before it asked for all


def test_it_informs_a_study(sqlite):
    found = read_optuna(sqlite[0], "mine")
    study = Study(found.space, found.direction, history=[found.past()])
    complete = sum(t.state == "complete" for t in found.trials)
    assert study.reason.startswith(f"{complete} trials of 1 earlier study")


def test_it_is_saved(sqlite, store):
    found = read_optuna(sqlite[0])
    record = found.save(store, "imported", by="ann", why="we move house")
    with store.read() as connection:
        loaded = studies.load(connection, "imported")
    assert record.status == "closed"
    assert [(t.number, t.params, t.state, t.value, t.reports) for t in loaded.trials] == [
        (t.number, t.params, t.state, t.value, t.reports) for t in found.trials
    ]
    assert loaded.past().trials == found.past().trials
    with pytest.raises(AlreadyExists, match="'imported' exists"):
        found.save(store, "imported", by="ann", why="again")


def test_an_import_that_was_cut_short_goes_on(sqlite, store):
    found = read_optuna(sqlite[0])
    study = found._created(store, "imported", None, "ann", "we move house")
    for _ in range(3):
        study.ask()
    study.tell(1, 0.5 if found.trials[1].value is None else found.trials[1].value)
    found.save(store, "imported", by="ann", why="we move house")
    with store.read() as connection:
        assert len(studies.load(connection, "imported").past().trials) == len(found.past().trials)


def test_names(sqlite, optuna_database):
    path, _ = sqlite
    run(optuna_database(f"sqlite:///{path}"), "other")
    assert optuna_studies(path) == ["mine", "other"]
    assert optuna_studies(f"sqlite:///{path}") == ["mine", "other"]
    with pytest.raises(StudyNotFound, match=r"None in .*it holds"):
        read_optuna(path)
    with pytest.raises(StudyNotFound, match="'nobody'"):
        read_optuna(path, "nobody")


def test_what_is_no_study_file(tmp_path):
    with pytest.raises(StudyNotFound, match="no file"):
        read_optuna(tmp_path / "none.db")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Invalid, match="no study file"):
        read_optuna(tmp_path / "text")


def test_studies_that_cannot_be_read(tmp_path, optuna_database):
    url = f"sqlite:///{tmp_path}/two.db"
    storage = optuna_database(url)
    optuna.create_study(storage=storage, study_name="two", directions=["minimize", "maximize"])
    optuna.create_study(storage=storage, study_name="empty")
    with pytest.raises(Invalid, match="2 objectives"):
        read_optuna(url, "two")
    with pytest.raises(Invalid, match="no parameters"):
        read_optuna(url, "empty")


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
def test_options_that_are_tuples(tmp_path, optuna_database):
    url = f"sqlite:///{tmp_path}/tuples.db"
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=optuna_database(url), study_name="t", sampler=sampler)
    study.optimize(lambda t: float(len(t.suggest_categorical("layers", [(8,), (8, 8), (8, 8, 8)]))), n_trials=8)
    found = read_optuna(url)
    assert len(found.trials) == 8
    assert found.space.parameters["layers"].count == 3
