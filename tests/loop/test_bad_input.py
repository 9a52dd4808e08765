"""What can go wrong: each has its own clear error, or a failed trial with its reason. Nothing registered is touched."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tiny
from scenario import MODEL, POLICY, bad_events, settings, trained

from visutility.core.clock import SimulatedClock
from visutility.core.errors import (
    AliasMoved,
    AliasNotFound,
    ArtifactTampered,
    DatabaseDamaged,
    DatabaseTooNew,
    EmptyWindow,
    Immutable,
    InvalidImage,
    InvalidObservation,
    InvalidParameter,
    MissingMetric,
    ModelNotFound,
    NoProject,
    RecipeFailed,
    RecipeNotFound,
    UnsafeFormat,
    VersionNotFound,
)
from visutility.data import DataBatch
from visutility.execute import LocalExecutor
from visutility.flow import runs
from visutility.loop import Project, find_recipe, sklearn_recipe
from visutility.registry import studies
from visutility.store import audit
from visutility.tune import Float, Space, Study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A project with one good, served version."""
    with trained(tmp_path_factory.mktemp("good") / "home", clock=SimulatedClock()) as project:
        yield project


def begin(project, recipe, **policy):
    """Start a first training of another model of the same project and drive it; return its run."""
    rows = tiny.rows(2, 0, 60)
    name = recipe.partition(":")[2]
    run = project.train(name, recipe, rows, policy=msgspec.structs.replace(POLICY, **policy))
    project.work()
    return project.records.run(run), name


def trials_of(project, run):
    with project.store.read() as connection:
        found = [one for one in studies.list_studies(connection) if one.run_id == run.id]
        return studies.load(connection, found[0].id).trials


def untouched(project):
    version = project.registry.get(f"{MODEL}@champion")
    assert version.number == 1
    assert project.registry.check_artifacts() == []
    with project.store.read() as connection:
        assert audit.verify(connection) == []


# -- recipes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "policy", "reason"),
    [
        ("tiny:raises", {}, "RuntimeError: the fit went wrong"),
        ("tiny:hangs", {"trial_seconds": 1.0}, "timeout"),
        ("tiny:eats", {"trial_memory_mb": 300}, "memory"),
        ("tiny:dies", {}, "died"),
        ("tiny:nans", {}, "finite"),
        ("tiny:lacks", {}, "but not its objective 'accuracy'"),
    ],
)
def test_a_recipe_that_fails_fails_its_trials_with_the_reason(good, recipe, policy, reason):
    run, name = begin(good, recipe, **policy)
    assert run.status == "failed"
    assert reason in run.failure
    trials = trials_of(good, run)
    assert [trial.state for trial in trials] == ["failed"] * POLICY.trials
    with good.store.read() as connection:
        (study,) = (one for one in studies.list_studies(connection) if one.run_id == run.id)
        closing = audit.events(connection, subject=study.name)[-1]
        assert audit.verify(connection) == []
    assert (study.status, closing.kind) == ("closed", "study.closed")
    assert closing.why.startswith("its run ended: tune: TrialFailed")
    assert all(reason in trial.failure for trial in trials)
    with pytest.raises(VersionNotFound):
        good.registry.get(f"{name}:1")
    untouched(good)


def test_trials_that_die_cost_only_themselves(good):
    run, name = begin(good, "tiny:flaky", trials=6)
    states = {trial.state for trial in trials_of(good, run)}
    assert states == {"failed", "complete"}
    assert run.status == "done"
    assert good.registry.get(f"{name}:1").params["k"] % 2 == 0
    untouched(good)


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("nonsense", RecipeNotFound, "package.module:attribute"),
        ("no_such_module:recipe", RecipeNotFound, "no_such_module"),
        ("tiny:no_such", RecipeNotFound, "has no 'no_such'"),
        ("tiny:CLASSES", RecipeFailed, "is a int without"),
        ("tiny:of_smells", RecipeFailed, "has modality 'smell'. use one of"),
    ],
)
def test_a_path_that_names_no_recipe_is_refused(path, error, said):
    with pytest.raises(error, match=said):
        find_recipe(path)


def test_a_retraining_whose_recipe_breaks_leaves_the_champion_serving(tmp_path):
    with trained(tmp_path / "home", recipe="tiny:raises", clock=SimulatedClock()) as project:
        project.monitor.ingest(*bad_events())
        project.work()
        with project.store.read() as connection:
            run = runs.list_runs(connection, workflow="retrain")[0]
        assert run.status == "failed"
        assert "the fit went wrong" in run.failure
        untouched(project)
        assert len(project.registry.versions(MODEL)) == 1


# -- names, numbers, values --------------------------------------------------------------------------------------------


def test_unknown_names_say_what_there_is(good):
    with pytest.raises(ModelNotFound, match=r"'nobody'.*`visutility models`"):
        good.registry.get("nobody@champion")
    with pytest.raises(VersionNotFound, match=r"no version 7.*1"):
        good.registry.get(f"{MODEL}:7")
    with pytest.raises(AliasNotFound, match="canary"):
        good.registry.get(f"{MODEL}@canary")


def test_a_stale_promotion_says_who_holds_the_alias(good):
    with pytest.raises(AliasMoved, match=r"is version 1, not unset"):
        good.promote(MODEL, 1, expected=None, why="from an old screen")
    untouched(good)


def test_parameters_are_checked_by_name_value_and_range():
    study = Study(Space({"lr": Float(1e-4, 1e-1, log=True)}))
    with pytest.raises(InvalidParameter, match=r"lr.*3\.0.*0\.0001.*0\.1"):
        study.enqueue({"lr": 3.0})
    with pytest.raises(InvalidParameter, match="momentum"):
        study.enqueue({"lr": 0.01, "momentum": 0.9})


def test_a_missing_objective_tells_nothing_and_a_nan_is_a_failed_trial():
    study = Study(Space({"x": Float(0, 1)}), objective="accuracy", seed=1)
    trial = study.ask()
    with pytest.raises(MissingMetric, match="accuracy"):
        study.tell(trial, {"f1": 0.5})
    assert study.tell(trial, {"accuracy": float("nan")}).state == "failed"


def test_a_nan_metric_is_refused_by_name_and_position(good):
    event = msgspec.structs.replace(bad_events(1)[0], values=[0.0, float("nan")], id="nan")
    with pytest.raises(InvalidObservation, match=r"error of tiny.*nan.*position 1"):
        good.monitor.ingest(event)


# -- data --------------------------------------------------------------------------------------------------------------


def test_a_corrupt_image_is_named(good):
    png = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40
    batch = DataBatch.from_encoded(["front-door-17"], [png], labels=[1])
    with pytest.raises(InvalidImage, match="front-door-17"):
        batch.images()


def test_training_on_no_rows_registers_nothing(good):
    run = good.train("empty", "tiny:recipe", tiny.rows(1, 0, 2), policy=POLICY)
    good.work()
    found = good.records.run(run)
    assert found.status == "failed"
    assert EmptyWindow.__name__ in found.failure
    untouched(good)


def test_a_reference_too_small_to_learn_from_sets_nothing(good):
    before = good.records.watches(MODEL)
    with pytest.raises(EmptyWindow, match="3 values"):
        good.watch(MODEL, POLICY, reference=[0.0, 0.0, 1.0])
    assert good.records.watches(MODEL) == before
    untouched(good)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_tampered_artifact_is_never_loaded(tmp_path):
    with trained(tmp_path / "home", clock=SimulatedClock()) as project:
        version = project.registry.get(f"{MODEL}@champion")
        path = project.blobs.path(version.artifact_sha256)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(ArtifactTampered, match=version.artifact_sha256[:12]):
            project.load(f"{MODEL}@champion")
        assert [f"{MODEL}" in one.where for one in project.registry.check_artifacts()] == [True, True]
        project.monitor.ingest(*bad_events())
        project.work()
        assert project.champion(MODEL) == 1


def test_a_database_of_a_newer_release_is_left_alone(tmp_path):
    home = tmp_path / "home"
    Project.create(settings=settings(home)).close()
    _sql(home, "UPDATE alembic_version SET version_num = '9999'")
    before = (home / "visutility.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match=r"9999.*newer release"):
        Project.open(settings=settings(home))
    with pytest.raises(DatabaseTooNew):
        Project.create(settings=settings(home))
    assert (home / "visutility.db").read_bytes() == before


@pytest.mark.parametrize("size", [10, 4096, 30_000])
def test_a_truncated_database_is_called_damaged(tmp_path, size):
    home = tmp_path / "home"
    Project.create(settings=settings(home)).close()
    with (home / "visutility.db").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(DatabaseDamaged):
        _use_everything(home)


def test_no_project_says_how_to_make_one(tmp_path):
    with pytest.raises(NoProject, match="visutility init"):
        Project.open(settings=settings(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE model_version SET params = '{}'",
        "DELETE FROM model_version",
        "INSERT OR REPLACE INTO model_version SELECT * FROM model_version",
    ],
)
def test_plain_sql_cannot_change_a_version(good, statement):
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        _sql(good.settings.home, statement)
    untouched(good)


def test_the_same_through_our_own_store_is_called_immutable(good):
    from sqlalchemy import text

    with pytest.raises(Immutable), good.store.write("test") as tx:
        tx.execute(text("UPDATE model_version SET params = '{}'"))


def test_a_full_disk_stops_the_command_and_registers_nothing(tmp_path):
    """The child may write files of 200 kB at most, which the operating system enforces as it would a full disk."""
    home = tmp_path / "home"
    with trained(home, clock=SimulatedClock()):
        pass
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "import tiny; from scenario import settings; from visutility.loop import Project\n"
        "from pathlib import Path; import numpy as np; from visutility.data import DataBatch\n"
        "rows = DataBatch.from_arrays([f'r{n}' for n in range(2000)], np.zeros((2000, 16, 16), np.uint8),"
        " labels=[0] * 2000)\n"
        "with Project.open(settings=settings(Path(sys.argv[1]))) as project:\n"
        "    project.train('more', 'tiny:recipe', rows)\n"
    )
    done = _child(code, home)
    assert done.returncode != 0
    assert "DiskFull" in done.stderr
    with Project.open(settings=settings(home)) as project:
        untouched(project)
        assert [model.name for model in project.registry.models()] == [MODEL]


def test_a_read_only_folder_is_named():
    """As root the child becomes nobody first: root may write anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with trained(home, clock=SimulatedClock()):
            pass
        for path in [Path(folder), home, *home.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        code = (
            "import os, sys; from pathlib import Path; from visutility.loop import Project\n"
            "from visutility.core.settings import Settings\n"
            "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "settings = Settings.load(home=Path(sys.argv[1]), environ={'VISUTILITY_ACTOR': 'n'})\n"
            "with Project.open(settings=settings) as p:\n"
            "    p.registry.create_model('m', 't', by='n')\n"
        )
        done = _child(code, home)
        assert done.returncode != 0
        assert "ReadOnly" in done.stderr
        for path in [Path(folder), home, *home.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        with Project.open(settings=settings(home)) as project:
            untouched(project)
            assert [model.name for model in project.registry.models()] == [MODEL]


# -- artifacts ---------------------------------------------------------------------------------------------------------


class Sneaky:
    """A type that no allow-list has."""


def test_an_artifact_with_a_strange_type_is_not_loaded():
    import skops.io

    recipe = sklearn_recipe("s", lambda: None, Space({"x": Float(0, 1)}))
    with pytest.raises(UnsafeFormat, match="Sneaky"):
        recipe.load(skops.io.dumps(Sneaky()))
    with pytest.raises(UnsafeFormat, match="not a skops file"):
        recipe.load(b"\x80\x04\x95")


def test_images_of_the_wrong_kind_are_refused():
    with pytest.raises(InvalidImage, match="float64"):
        DataBatch.from_arrays(["a"], np.zeros((1, 4, 4)))


def _use_everything(home):
    with Project.open(settings=settings(home)) as project, project.store.read() as connection:
        project.registry.models()
        audit.verify(connection)


def _child(code, home):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, env=env)


def _sql(home, statement):
    connection = sqlite3.connect(home / "visutility.db")
    try:
        connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


def test_workers_are_gone_when_a_project_closes(tmp_path):
    project = trained(tmp_path / "home", clock=SimulatedClock(), executor=LocalExecutor(1))
    project.close()
    children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
    assert "visutility.execute" not in children.stdout
