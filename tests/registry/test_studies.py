"""Durable studies: the same as a study in memory, through kills, rollbacks and several processes."""

import inspect
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from visutility.core.clock import SimulatedClock
from visutility.core.errors import (
    AlreadyExists,
    Immutable,
    Invalid,
    InvalidName,
    InvalidObservation,
    InvalidParameter,
    InvalidSetting,
    MissingMetric,
    StudyClosed,
    StudyNotFound,
    TrialClosed,
    TrialNotFound,
)
from visutility.registry import models, studies
from visutility.registry.studies import DurableStudy
from visutility.store import audit
from visutility.store.engine import Store
from visutility.store.migrate import upgrade
from visutility.store.schema import study as study_table
from visutility.store.schema import trial as trial_table
from visutility.tune import (
    STRATEGIES,
    Asha,
    AtLeast,
    AtMost,
    Choice,
    Enough,
    Equals,
    Failure,
    Float,
    Int,
    MedianStopping,
    Near,
    Past,
    Space,
    Study,
)

SPACE = Space(
    {
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "opt": Choice(["sgd", "adam"]),
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 8),
    }
)
CHAMPION = {"opt": "adam", "lr": 0.0123456789012345, "layers": 2}


def loss(params):
    return abs(math.log10(params["lr"]) + 2) + params["layers"] / 8 + params.get("momentum", 0.3)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "visutility.db"
    store = Store(f"sqlite:///{path}", SimulatedClock())
    upgrade(store)
    store.close()
    return path


@pytest.fixture
def store(empty_database, tmp_path) -> Iterator[Store]:
    path = shutil.copy(empty_database, tmp_path / "visutility.db")
    opened = Store(f"sqlite:///{path}", SimulatedClock())
    yield opened
    opened.close()


def create(store, name="digits.1", **changed):
    given = {"space": SPACE, "objective": "loss", "strategy": "random", "seed": 3, "by": "ada", "why": "a test"}
    with store.write("test.create") as tx:
        return studies.create(tx, name=name, **{**given, **changed})


def in_memory(direction="minimize", strategy="random", history=(), budget=None):
    return Study(SPACE, direction, strategy, seed=3, history=history, objective="loss", budget=budget)


def drive(study, moves):
    """Follow a script: None asks, k >= 0 ends the k-th pending trial; every fifth fails, every seventh is pruned."""
    for move in moves:
        pending = [t for t in study.trials if t.state == "pending"]
        if move is None or not pending:
            study.ask()
            continue
        trial = pending[move % len(pending)]
        study.report(trial, 1, loss(trial.params))
        if trial.number % 7 == 3:
            study.prune(trial)
        else:
            study.tell(trial, {"loss": math.nan if trial.number % 5 == 2 else loss(trial.params), "f1": 0.5})


def verified(store):
    with store.read() as connection:
        return audit.verify(connection)


# -- the same as in memory -------------------------------------------------------------------------------------------

moves = st.lists(st.none() | st.integers(0, 3), min_size=6, max_size=20)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@given(parts=st.lists(moves, min_size=1, max_size=3))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_it_equals_a_study_in_memory_however_often_it_is_opened(strategy, parts, store):
    name = f"s{len(studies_in(store))}"
    create(store, name, strategy=strategy, enqueue=[CHAMPION])
    memory = in_memory(strategy=strategy)
    memory.enqueue(CHAMPION)
    for part in parts:
        drive(DurableStudy(store, name), part)
        drive(memory, part)
    opened = DurableStudy(store, name)
    assert opened.trials == memory.trials
    assert opened.ask_batch(3) == memory.ask_batch(3)
    assert opened.past().trials == memory.past().trials
    with store.read() as connection:
        assert studies.load(connection, name).trials == memory.trials
        assert studies.load(connection, name).past().trials == memory.past().trials


def studies_in(store):
    with store.read() as connection:
        return studies.list_studies(connection, limit=1000)


def test_two_that_are_open_see_each_other(store):
    create(store, enqueue=[CHAMPION])
    one, two = DurableStudy(store, "digits.1"), DurableStudy(store, "digits.1")
    memory = in_memory()
    memory.enqueue(CHAMPION)
    for turn in range(40):
        asker, teller = (one, two) if turn % 2 else (two, one)
        asked = asker.ask()
        assert asked == memory.ask()
        assert teller.tell(asked.number, loss(asked.params)) == memory.tell(asked.number, loss(asked.params))
    drive(one, [None, None, 0, None] * 25)  # more new rows than are applied one by one
    drive(memory, [None, None, 0, None] * 25)
    assert two.ask() == memory.ask()
    assert two.trials == memory.trials


def test_values_are_in_the_studys_own_direction(store):
    create(store, direction="maximize")
    study = DurableStudy(store, "digits.1")
    for value in (0.5, 0.75, 0.75, 0.25):
        study.tell(study.ask(), {"loss": value, "f1": 1.0})
    assert (study.best.number, study.best.value, study.best.metrics) == (1, 0.75, {"loss": 0.75, "f1": 1.0})
    assert [value for _, value in study.past().trials] == [-0.5, -0.75, -0.75, -0.25]
    with store.read() as connection:
        assert studies.load(connection, "digits.1").best == study.best


def test_reports_decide_as_in_memory(store):
    create(store, direction="maximize")
    study, memory = DurableStudy(store, "digits.1"), in_memory("maximize")
    for start in range(6):
        for one in (study, memory):
            trial = one.ask()
            for step in range(3):
                one.report(trial, step, start + step / 10)
            one.tell(trial, start)
    trial = study.ask()
    memory.ask()
    answers = [(0, 9.0), (0, 0.0), (1, 0.5), (2, math.nan), (5, -1.0)]
    again = DurableStudy(store, "digits.1")
    assert [study.report(trial, *a) for a in answers] == [memory.report(trial, *a) for a in answers]
    assert again.trials[6].reports == memory.trials[6].reports == ((0, 9.0), (1, 0.5), (5, -1.0))
    bad = study.ask()
    assert memory.ask() == bad
    assert [s.report(bad, 0, 0.5) for s in (study, memory, again)] == [False, False, True]  # a step is judged once
    assert again.prune(bad) == memory.prune(bad)
    assert study.ask() == memory.ask()


def test_numpy_integers_are_whole_numbers(store):
    with store.write("create") as tx:
        whole = {"seed": np.int64(3), "budget": np.int64(3), "workers": np.int64(2)}
        studies.create(tx, name="numpy", space=SPACE, strategy="random", by="a", why="b", **whole)
    durable, memory = DurableStudy(store, "numpy"), Study(SPACE, strategy="random", seed=3, budget=3)
    for study in (durable, memory):
        for trial in study.ask_batch(np.int64(4)):
            assert study.report(trial, np.int64(1), 0.5)
            with pytest.raises(InvalidObservation, match="too large"):
                study.report(trial, 2**63, 0.5)
            study.tell(trial, 0.5)
    assert durable.trials == memory.trials
    assert (durable.record.seed, durable.record.budget) == (3, 3)


def test_it_has_every_call_of_a_study_in_memory():
    for name in {name for name in dir(Study) if not name.startswith("_")} - {"restore"}:
        ours, theirs = getattr(DurableStudy, name), getattr(Study, name)
        if isinstance(theirs, property):
            assert isinstance(ours, property), name
            continue
        known = [p for p in inspect.signature(ours).parameters.values() if p.name != "tx"]
        assert known == list(inspect.signature(theirs).parameters.values()), name


def test_a_durable_study_optimizes_and_says_what_is_ahead(store):
    create(store, strategy="random")
    study, memory = DurableStudy(store, "digits.1"), in_memory()
    assert study.optimize(loss, 6) == memory.optimize(loss, 6)
    assert study.outlook(5, cost=None) == memory.outlook(5)
    with pytest.raises(ZeroDivisionError):
        study.optimize(lambda params: 1 / 0, 3)
    assert study.trials[6].failure == "ZeroDivisionError: division by zero"
    study.close(by="ada", why="enough")
    assert study.optimize(loss, 3) == memory.best


GOALS = {"loss": "minimize", "recall": "maximize"}
OPTIONS = [
    {"direction": GOALS, "objective": "value"},
    {"constraints": {"recall": AtLeast(0.3)}},
    {"direction": GOALS, "objective": "value", "constraints": {"latency": AtMost(4.0)}},
    {"deterministic": True, "priors": {"lr": Near(0.01)}},
    {"noise": 0.1, "stopping": None},
    {"stop_when": Enough(0.001)},
    {"stopping": MedianStopping(startup=1)},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_what_a_study_is_after_is_kept(store, options):
    create(store, strategy="bayesian", **options)
    memory = Study(SPACE, strategy="bayesian", seed=3, **{"objective": "loss", **options})
    for turn in range(6):
        study = DurableStudy(store, "digits.1")
        assert study.options == memory.options
        trial = study.ask()
        assert trial == memory.ask()
        told = {"loss": loss(trial.params), "recall": trial.params["layers"] / 8, "latency": trial.params["layers"]}
        for one in (study, memory):
            one.report(trial, 0, told["loss"])
        assert study.report(trial, 1, 9.0) == memory.report(trial, 1, 9.0)
        result = Failure("none") if turn == 3 else told
        assert study.tell(trial, result) == memory.tell(trial, result)
    assert study.trials == memory.trials
    assert study.front == memory.front
    assert study.history == memory.history
    assert study.past().trials == memory.past().trials
    if len(study.options.objectives) == 1:
        assert study.best == memory.best
    else:
        with pytest.raises(Invalid, match="no single trial"):
            _ = study.best
        reference = {"loss": 10.0, "recall": -1.0}
        assert study.hypervolume(reference) == memory.hypervolume(reference) > 0
    with store.read() as connection:
        loaded = studies.load(connection, "digits.1")
    assert (loaded.trials, loaded.front, loaded.past().trials) == (memory.trials, memory.front, memory.past().trials)
    assert study.snapshot() == memory.snapshot()
    assert Study.restore(study.snapshot()).ask() == study.ask() == memory.ask()


paused_moves = st.lists(st.tuples(st.sampled_from("aaarrrppte"), st.integers(0, 5), st.booleans()), max_size=40)


@given(script=paused_moves)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_pausing_equals_a_study_in_memory_whoever_does_it(script, store):
    name = f"p{len(studies_in(store))}"
    given = {"strategy": "tpe", "stopping": Asha(promote=True)}
    create(store, name, **given)
    memory = Study(SPACE, seed=3, objective="loss", **given)
    two = [DurableStudy(store, name), DurableStudy(store, name)]
    for what, which, other in script:
        study, waiting = two[other], [t for t in memory.trials if t.state in ("pending", "paused")]
        if what == "a" or not waiting:
            assert study.ask() == memory.ask()
            continue
        trial = waiting[which % len(waiting)]
        step = (trial.resume_from or 0) + 1
        call = {
            "r": lambda one, t=trial, s=step: one.report(t, s, loss(t.params) / s),
            "p": lambda one, t=trial: one.pause(t),
            "t": lambda one, t=trial: one.tell(t, loss(t.params)),
            "e": lambda one, t=trial: one.prune(t),
        }[what]
        try:
            expected = call(memory)
        except TrialClosed:
            with pytest.raises(TrialClosed, match="is paused"):
                call(study)
        else:
            assert call(study) == expected
    assert two[0].trials == two[1].trials == memory.trials
    assert two[0].snapshot() == two[1].snapshot() == memory.snapshot() == DurableStudy(store, name).snapshot()
    assert two[0].ask() == memory.ask()
    assert two[1].ask() == memory.ask() == Study.restore(memory.snapshot()).trials[-1]


def test_a_paused_trial_is_handed_out_again(store):
    create(store, stopping=Asha(promote=True))
    study = DurableStudy(store, "digits.1")
    for value in (0.5, 0.25, 0.75):
        trial = study.ask()
        assert not study.report(trial, 1, value)
        assert study.pause(trial).state == "paused"
    again = DurableStudy(store, "digits.1").ask()
    assert (again.number, again.resume_from, again.reports, again.state) == (1, 1, ((1, 0.25),), "pending")
    assert [t.state for t in study.trials] == ["paused", "pending", "paused"]
    assert study.ask().number == 3
    assert study.close(by="ada", why="enough").asked == 4
    assert verified(store) == []


def test_an_infeasible_trial_teaches_no_later_study(store):
    model = with_model(store)
    create(store, "old", model_id=model, constraints={"size": AtMost(1.0)})
    study = DurableStudy(store, "old")
    for size in (0.5, 2.0, 1.0):
        study.tell(study.ask(), {"loss": size, "size": size})
    with store.read() as connection:
        assert [value for _, value in studies.earlier(connection, model)[0].trials] == [0.5, 1.0]


def test_configurations_can_be_enqueued_at_any_time(store):
    create(store, enqueue=[CHAMPION])
    one, two, memory = DurableStudy(store, "digits.1"), DurableStudy(store, "digits.1"), in_memory()
    memory.enqueue(CHAMPION)
    for layers in (3, 4):
        one.enqueue({**CHAMPION, "layers": layers})
        memory.enqueue({**CHAMPION, "layers": layers})
    asked = [two.ask(), one.ask()]
    two.enqueue({**CHAMPION, "layers": 5})
    memory.enqueue({**CHAMPION, "layers": 5})
    with rolled_back(store) as tx:
        one.enqueue(CHAMPION, tx=tx)
    asked += [one.ask(), *DurableStudy(store, "digits.1").ask_batch(2)]
    assert asked == memory.ask_batch(5)
    assert [t.params["layers"] for t in asked[:4]] == [2, 3, 4, 5]
    assert [t.origin for t in asked] == ["enqueued"] * 4 + ["random"]
    with pytest.raises(InvalidParameter):
        one.enqueue({**CHAMPION, "layers": 9})
    one.close(by="ada", why="enough")
    with pytest.raises(StudyClosed):
        one.enqueue(CHAMPION)
    with pytest.raises(Immutable), store.write("test") as tx:
        tx.connection.exec_driver_sql("DELETE FROM study_queue")


# -- several processes, and death ------------------------------------------------------------------------------------

WORKER = """
import json, sys
from visutility.core import crash
from visutility.core.clock import SystemClock
from visutility.core.errors import StudyClosed
from visutility.registry.studies import DurableStudy
from visutility.store.engine import Store

url, ref, point, nth = sys.argv[1:]
study = DurableStudy(Store(url, SystemClock()), ref)
if point:
    crash.arm(point, int(nth))
try:
    while True:
        for trial in [t for t in study.trials if t.state == "pending"] if point else [study.ask()]:
            study.report(trial, 0, trial.params["lr"])
            study.tell(trial, {"loss": trial.params["lr"] * trial.params["layers"]})
        if point:
            study.ask()
except StudyClosed:
    pass
"""


def worker(store, ref, point="", nth=1):
    command = [sys.executable, "-c", WORKER, store.url, ref, point, str(nth)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "bayesian"])
def test_several_processes_on_one_study(store, strategy):
    create(store, strategy=strategy, budget=30, enqueue=[CHAMPION])
    workers = [worker(store, "digits.1") for _ in range(3)]
    errors = [one.communicate(timeout=120)[1].decode() for one in workers]
    assert [one.returncode for one in workers] == [0, 0, 0], errors
    with store.read() as connection:
        loaded = studies.load(connection, "digits.1")
    assert [t.number for t in loaded.trials] == list(range(30))
    assert sorted(loaded.told) == list(range(30))
    assert {t.state for t in loaded.trials} == {"complete"}
    assert loaded.trials[0].params == CHAMPION
    if strategy == "random":  # suggestions that learn nothing do not depend on who ended when
        memory = in_memory()
        memory.enqueue(CHAMPION)
        assert [t.params for t in loaded.trials] == [t.params for t in memory.ask_batch(30)]
    assert verified(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["ask", "report", "tell"])
def test_killed_at_a_commit_and_started_again(store, call, when):
    create(store, strategy="bayesian", budget=8, enqueue=[CHAMPION])
    killed = worker(store, "digits.1", f"study.{call}:{when}", 3)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    finished = worker(store, "digits.1", "none")
    _, errors = finished.communicate(timeout=120)
    assert finished.returncode == 0, errors.decode()
    create(store, "whole", strategy="bayesian", budget=8, enqueue=[CHAMPION])
    whole = DurableStudy(store, "whole")
    for _ in range(8):
        trial = whole.ask()
        whole.report(trial, 0, trial.params["lr"])
        whole.tell(trial, {"loss": trial.params["lr"] * trial.params["layers"]})
    assert DurableStudy(store, "digits.1").trials == whole.trials
    assert verified(store) == []


@contextmanager
def rolled_back(store):
    with suppress(KeyError), store.write("test") as tx:
        yield tx
        raise KeyError


def test_a_transaction_that_is_rolled_back_leaves_nothing(store):
    create(store)
    study, memory = DurableStudy(store, "digits.1"), in_memory()
    with rolled_back(store) as tx:
        trial = study.ask(tx=tx)
        study.report(trial, 0, 1.0, tx=tx)
        study.tell(trial, 1.0, tx=tx)
        assert study.ask(tx=tx).number == 1
    assert study.trials == ()
    first = study.ask()
    assert first == memory.ask()
    with rolled_back(store) as tx:
        study.tell(first, 7.0, tx=tx)
    assert study.tell(first, 8.0) == memory.tell(first, 8.0)
    assert study.ask() == memory.ask()
    assert study.trials == memory.trials


def test_calls_in_one_transaction_commit_together(store):
    create(store, strategy="bayesian")
    study, other, memory = (
        DurableStudy(store, "digits.1"),
        DurableStudy(store, "digits.1"),
        in_memory("minimize", "bayesian"),
    )
    with store.write("test") as tx:
        for trial in study.ask_batch(3, tx=tx):
            study.tell(trial, loss(trial.params), tx=tx)
        study.ask(tx=tx)
        assert other.trials == ()
    for trial in memory.ask_batch(3):
        memory.tell(trial, loss(trial.params))
    memory.ask()
    assert other.trials == study.trials == memory.trials
    assert other.ask() == memory.ask()


def test_a_database_that_went_back_in_time_is_read_afresh(store):
    create(store)
    study, memory = DurableStudy(store, "digits.1"), in_memory()
    for _ in range(2):
        study.tell(study.ask(), 1.0)
    with store.write("test") as tx:  # as a restored copy would look
        tx.execute(delete(trial_table).where(trial_table.c.number == 1))
        tx.execute(update(study_table).values(trials=1))
    memory.tell(memory.ask(), 1.0)
    assert study.ask() == memory.ask()
    assert study.trials == memory.trials


def test_a_transaction_runs_few_statements(store):
    create(store)
    study = DurableStudy(store, "digits.1")
    study.ask()
    (connection,) = store.hot._idle
    said = []
    connection.raw.set_trace_callback(lambda statement: said.append(statement.split()[0]))
    for _ in range(5):
        trial = study.ask()
        assert said == ["PRAGMA", "BEGIN", "PRAGMA", "INSERT", "COMMIT"][trial.number == 1 :]
        said.clear()
        study.tell(trial, 1.0)
        assert said == ["PRAGMA", "BEGIN", "PRAGMA", "UPDATE", "COMMIT"]
        said.clear()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_others_did_since_the_last_commit_is_read(store, elsewhere):
    create(store)
    create(store, "digits.2")
    other_store = Store(store.url, store.clock) if elsewhere else store  # another connection, or the very same
    study, other = DurableStudy(store, "digits.1"), DurableStudy(other_store, "digits.1")
    beside, memory = DurableStudy(other_store, "digits.2"), in_memory()
    for act in (
        lambda one: one.ask(),
        lambda one: one.enqueue(CHAMPION),
        lambda one: one.report(0, 1, 0.5),
        lambda one: one.tell(1, 1.0),
        lambda one: one.pause(0),
        lambda one: one.prune(2),
    ):
        assert act(other) == act(memory)
        assert study.ask() == memory.ask()
        beside.ask()
        assert study.ask() == memory.ask()
        with pytest.raises(KeyError), store.hot.write("test"):
            raise KeyError  # what was rolled back never was
    assert study.trials == other.trials == memory.trials
    other.close(by="ada", why="enough")
    with pytest.raises(StudyClosed):
        study.ask()
    if elsewhere:
        other_store.close()


# -- creating, closing, remembering ----------------------------------------------------------------------------------


def test_creating_and_closing_are_audited(store):
    record = create(store, budget=5, strategy="grid", settings={"levels": 3}, enqueue=[CHAMPION])
    assert (record.name, record.status, record.strategy, record.settings) == ("digits.1", "open", "grid", {"levels": 3})
    assert (record.space, record.enqueued, record.budget, record.asked) == (SPACE, (CHAMPION,), 5, 0)
    study = DurableStudy(store, record.id)
    trial = study.ask()
    closed = study.close(by="ada", why="enough")
    assert (closed.status, closed.asked, closed.closed_at) == ("closed", 1, store.clock.now())
    for call in (study.ask, lambda: study.tell(trial, 1.0), lambda: study.report(trial, 0, 1.0)):
        with pytest.raises(StudyClosed, match="is closed"):
            call()
    with store.read() as connection:
        events = audit.events(connection, subject="digits.1")
        assert [(e.kind, e.by, e.why) for e in events] == [
            ("study.created", "ada", "a test"),
            ("study.closed", "ada", "enough"),
        ]
        assert events[0].after["strategy"] == "grid"
        assert events[1].after == {"status": "closed", "asked": 1, "ended": 0}
    assert study.close(by="bob", why="again") == closed
    with store.read() as connection:
        assert len(audit.events(connection, subject="digits.1")) == 2
    assert verified(store) == []
    with store.write("test") as tx:
        tx.execute(update(study_table).values(seed=4))
    assert [finding.where for finding in verified(store)] == ["study digits.1"]


def test_reports_cannot_be_changed(store):
    create(store)
    study = DurableStudy(store, "digits.1")
    study.report(study.ask(), 0, 1.0)
    with pytest.raises(Immutable), store.write("test") as tx:
        tx.connection.exec_driver_sql("UPDATE trial_report SET value = 2")


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"name": "Digits 1"}, InvalidName, "study name 'Digits 1'"),
        ({"direction": "up"}, InvalidSetting, "direction 'up'"),
        ({"objective": ""}, InvalidSetting, "objective ''"),
        ({"strategy": "best"}, InvalidSetting, "'best' is unknown"),
        ({"settings": {"levels": 2}}, InvalidSetting, "does not take"),
        ({"budget": 0}, InvalidSetting, "budget 0"),
        ({"seed": "x"}, InvalidSetting, "seed 'x'"),
        ({"enqueue": [{**CHAMPION, "lr": 1.0}]}, InvalidParameter, "'lr': 1.0"),
    ],
)
def test_bad_studies_are_refused(store, changed, error, says):
    with pytest.raises(error, match=says):
        create(store, **changed)
    assert studies_in(store) == []


def test_a_name_is_taken_once(store):
    create(store)
    with pytest.raises(AlreadyExists, match=r"study 'digits\.1' exists already"):
        create(store)


def test_what_is_not_there_is_not_found(store):
    with pytest.raises(StudyNotFound, match=r"no study 'digits\.1'"):
        DurableStudy(store, "digits.1")
    with store.read() as connection:
        for read in (studies.find, studies.load):
            with pytest.raises(StudyNotFound):
                read(connection, "digits.1")
    create(store)
    study = DurableStudy(store, "digits.1")
    with pytest.raises(TrialNotFound, match="no trial is complete"):
        _ = study.best
    with pytest.raises(TrialNotFound, match="trial 0 was not asked"):
        study.tell(0, 1.0)


def test_bad_tells_are_refused_and_nothing_is_told(store):
    create(store)
    study = DurableStudy(store, "digits.1")
    trial = study.ask()
    for result, error in (("low", InvalidObservation), ({"f1": 1.0}, MissingMetric), (None, InvalidObservation)):
        with pytest.raises(error):
            study.tell(trial, result)
    with pytest.raises(InvalidSetting, match="batch size"):
        study.ask_batch(0)
    assert [t.state for t in study.trials] == ["pending"]
    assert study.tell(trial, Failure("out of memory")).failure == "out of memory"
    with pytest.raises(TrialClosed, match="ended already"):
        study.tell(trial, 1.0)
    assert study.trials[0].state == "failed"


def with_model(store, name="digits"):
    with store.write("test.model") as tx:
        return models.create_model(tx, name, "classification", by="ada", why="a test").id


def finish(store, name, values):
    study = DurableStudy(store, name)
    for value in values:
        study.tell(study.ask(), {"loss": value})
    store.clock.advance(1)
    return study


def test_a_new_study_learns_from_the_models_earlier_ones(store):
    model = with_model(store)
    for name, direction in (("a", "minimize"), ("b", "maximize"), ("empty", "minimize"), ("c", "minimize")):
        create(store, name, model_id=model, direction=direction)
        finish(store, name, [] if name == "empty" else [1.0, math.nan, 2.0])
    create(store, "other", model_id=with_model(store, "scans"))
    finish(store, "other", [9.0])
    with store.read() as connection:
        pasts = studies.earlier(connection, model)
        assert [(past.name, [value for _, value in past.trials]) for past in pasts] == [
            ("a", [1.0, 2.0]),
            ("b", [-1.0, -2.0]),
            ("c", [1.0, 2.0]),
        ]
        assert studies.earlier(connection, model, limit=2) == pasts[1:]
    given = Past("given", SPACE, ((CHAMPION, 0.5),))
    record = create(store, "new", model_id=model, history=[given], strategy="auto", budget=30)
    assert "6 trials of 3 earlier studies" in record.reason  # one value alone says nothing
    assert record.strategy == "bayesian"
    assert [told for _, told in record.earlier] == [3, 3, 3]
    assert create(store, "cold", model_id=model, earlier_studies=0).earlier == ()


def test_history_is_what_a_study_in_memory_takes(store):
    create(store, "durable")
    durable = finish(store, "durable", [0.3, 0.2])
    memory = in_memory()
    memory.tell(memory.ask(), 0.4)
    history = [durable, memory, [(CHAMPION, 0.7), (CHAMPION, math.nan)], Past("old", SPACE, ((CHAMPION, 0.5),))]
    for direction in ("minimize", "maximize"):
        given = {"strategy": "bayesian", "direction": direction, "history": history}
        record = create(store, direction, **given)
        assert [len(past.trials) for past in record.given] == [2, 1, 1, 1]
        expected = Study(SPACE, objective="loss", seed=3, **given)
        assert DurableStudy(store, direction).ask() == expected.ask()
    for bad, message in ((durable, "is not a list of studies"), (["x"], "is no earlier study")):
        with pytest.raises(InvalidSetting, match=message):
            create(store, "bad", history=bad)


def test_auto_is_told_how_many_work(store):
    given = {"strategy": "auto", "budget": 40, "workers": 40}
    record = create(store, **given)
    study = Study(SPACE, objective="loss", seed=3, **given)
    assert (record.strategy, record.reason) == (study.strategy_name, study.reason)
    with pytest.raises(InvalidSetting, match="workers 0 is not a number of workers"):
        create(store, "bad", workers=0)


def test_a_reason_is_needed(store):
    for blank in ("", " \n", None):
        with pytest.raises(Invalid, match="is blank"):
            create(store, why=blank)
    create(store)
    with pytest.raises(Invalid, match="is blank"):
        DurableStudy(store, "digits.1").close(by="ada", why=" ")
    assert DurableStudy(store, "digits.1").record.status == "open"


def test_what_an_earlier_study_gains_later_changes_nothing(store):
    model = with_model(store)
    create(store, "old", model_id=model)
    old = finish(store, "old", [1.0, 0.5, 2.0])
    with store.read() as connection:
        history = studies.earlier(connection, model)
    create(store, "new", model_id=model, strategy="bayesian")
    memory = Study(SPACE, strategy="bayesian", seed=3, history=history, objective="loss")
    assert DurableStudy(store, "new").ask() == memory.ask()
    old.tell(old.ask(), -50.0)
    assert DurableStudy(store, "new").ask() == memory.ask()


def test_studies_are_listed_newest_first_and_paged(store):
    model = with_model(store)
    for number in range(5):
        create(store, f"s{number}", model_id=model if number % 2 else None)
        store.clock.advance(1)
    with store.read() as connection:
        listed = studies.list_studies(connection)
        assert [s.name for s in listed] == ["s4", "s3", "s2", "s1", "s0"]
        assert [s.name for s in studies.list_studies(connection, model_id=model)] == ["s3", "s1"]
        page = studies.list_studies(connection, limit=2)
        assert studies.list_studies(connection, after=page[-1].id, limit=2) == listed[2:4]
        for limit in (0, 1001):
            with pytest.raises(Invalid, match=f"limit is {limit}"):
                studies.list_studies(connection, limit=limit)
    assert listed[0].created_at - listed[1].created_at == timedelta(seconds=1)


def test_rows_are_plain(store):
    """What other programs read: canonical JSON, the order of telling, times."""
    create(store, enqueue=[CHAMPION])
    study = DurableStudy(store, "digits.1")
    study.tell(study.ask(), {"loss": 0.5, "f1": math.nan})
    study.ask()
    with store.read() as connection:
        first, second = connection.execute(select(trial_table).order_by(trial_table.c.number)).all()
    assert json.loads(first.params) == CHAMPION
    assert (first.origin, first.state, first.value, first.metrics) == ("enqueued", "complete", 0.5, '{"loss":0.5}')
    assert (first.told, first.told_at) == (0, "2026-01-01T00:00:00.000000Z")
    assert (second.state, second.value, second.metrics, second.told) == ("pending", None, None, None)


def test_threads_may_share_one(store):
    create(store)
    study = DurableStudy(store, "digits.1")

    def work():
        for _ in range(10):
            trial = study.ask()
            study.report(trial, 0, 1.0)
            study.tell(trial, {"loss": loss(trial.params)})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [t.params for t in study.trials] == [t.params for t in in_memory().ask_batch(40)]
    assert {t.state for t in study.trials} == {"complete"}
