"""The monitor: an event counts once or not at all, and nobody can keep the others from being told."""

import msgspec
import numpy as np
import pytest
from scenario import EVENT_AT, MODEL, POLICY, REFERENCE, bad_events, good_events, settings, watched
from sqlalchemy import func, select

from visutility.core.clock import SimulatedClock
from visutility.core.errors import AliasMoved, InvalidData, InvalidObservation, ModelNotFound, VersionNotFound
from visutility.core.wire import MetricsEvent
from visutility.loop import Policy, Project
from visutility.registry import NewVersion
from visutility.store import audit
from visutility.store.schema import metric_chunk, retrain_trigger, run, verdict, watch


@pytest.fixture
def project(tmp_path):
    """A project whose model is watched; nothing was trained, the reference is given."""
    with watched(tmp_path) as project:
        yield project


def count(project, table):
    with project.store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def state(project):
    with project.store.read() as connection:
        return connection.execute(select(watch.c.state, watch.c.position)).one()


def test_an_alarm_its_trigger_and_its_run_come_together(project):
    receipts = project.monitor.ingest(*bad_events(3))
    alarms = [alarm for receipt in receipts for alarm in receipt.verdicts if alarm.level == "alarm"]
    assert alarms[0].model == MODEL
    assert count(project, run) == 1
    assert count(project, retrain_trigger) == len(alarms)
    with project.store.read() as connection:
        decisions = (
            connection.execute(select(retrain_trigger.c.decision).order_by(retrain_trigger.c.id)).scalars().all()
        )
    assert decisions[0] == "run"
    assert set(decisions[1:]) <= {"refuse"}


def test_an_event_sent_twice_counts_once(project):
    first = project.monitor.ingest(*good_events(2))
    before = state(project)
    again = project.monitor.ingest(*good_events(2), *good_events(2))
    assert [receipt.duplicate for receipt in first] == [False, False]
    assert [receipt.duplicate for receipt in again] == [True] * 4
    assert [receipt.position for receipt in again] == [0, 10, 0, 10]
    assert state(project) == before
    assert count(project, metric_chunk) == 2


def test_the_same_event_twice_in_one_call_counts_once(project):
    receipts = project.monitor.ingest(*good_events(1), *good_events(1))
    assert [receipt.duplicate for receipt in receipts] == [False, True]
    assert state(project).position == 10


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"values": [0.0, float("nan")]}, InvalidObservation),
        ({"values": [0.0, 1.5]}, InvalidObservation),
        ({"values": []}, InvalidData),
        ({"model": "nobody"}, ModelNotFound),
        ({"version": 9}, VersionNotFound),
        ({"prediction_ids": ["a"]}, InvalidData),
        ({"at": EVENT_AT.replace(tzinfo=None)}, InvalidData),
    ],
)
def test_one_bad_event_and_none_is_accepted(project, change, error):
    bad = msgspec.structs.replace(good_events(1, start=7)[0], **change)
    before = state(project)
    with pytest.raises(error):
        project.monitor.ingest(*good_events(2), bad)
    assert count(project, metric_chunk) == 0
    assert state(project) == before
    assert [receipt.position for receipt in project.monitor.ingest(*good_events(2))] == [0, 10]


def test_a_decider_that_raises_keeps_the_event_out(project):
    class Refuses:
        def decide(self, tx, alarm):
            raise RuntimeError("not now")

    project.monitor.subscribe(Refuses())
    with pytest.raises(RuntimeError, match="not now"):
        project.monitor.ingest(*bad_events(3))
    assert count(project, metric_chunk) == count(project, verdict) == count(project, run) == 0
    assert state(project).position == 0


def test_an_observer_that_raises_is_reported_and_the_rest_are_told(project, capsys):
    heard = []

    class Raises:
        def notify(self, alarm):
            raise RuntimeError("mail server down")

    class Hears:
        def notify(self, alarm):
            heard.append(alarm.level)

    project.monitor.subscribe(Raises())
    project.monitor.subscribe(Hears())
    project.monitor.ingest(*bad_events(3))
    assert "alarm" in heard
    assert "mail server down" in capsys.readouterr().err
    value = project.metrics.registry.get_sample_value("visutility_observer_errors_total", {"observer": "Raises"})
    assert value == len(heard)


def test_values_of_another_version_are_kept_but_not_judged(project):
    project.monitor.ingest(*bad_events(3, version=2))
    assert count(project, metric_chunk) == 3
    assert count(project, verdict) == 0
    assert state(project).position == 0


def test_positions_count_the_models_stream_whatever_the_version(project):
    project.monitor.ingest(*good_events(2, version=2))
    receipts = project.monitor.ingest(*bad_events(3))
    assert [receipt.position for receipt in receipts] == [20, 30, 40]
    first = receipts[0].verdicts[-1]
    assert 20 <= first.position < 30


def test_two_processes_on_one_stream_give_the_verdicts_of_one(project, tmp_path):
    events = [*good_events(3), *bad_events(3, start=10)]
    with Project.open(settings=settings(tmp_path), clock=SimulatedClock(EVENT_AT)) as other:
        shared = []
        for at, event in enumerate(events):
            shared += (project if at % 2 else other).monitor.ingest(event)[0].verdicts
    alone = _alone(tmp_path / "alone", events)
    assert [(v.level, v.position, v.score) for v in shared] == [(v.level, v.position, v.score) for v in alone]
    assert alone


def _alone(home, events):
    with Project.create(settings=settings(home), clock=SimulatedClock(EVENT_AT)) as project:
        project.registry.create_model(MODEL, "classification", by="tests")
        sha = project.blobs.put(b"x")
        new = NewVersion(
            model=MODEL, artifact_sha256=sha, artifact_format="npz", artifact_bytes=1, recipe="tiny:recipe"
        )
        project.registry.register(new, by="tests", why="by hand")
        project.registry.promote(MODEL, 1, expected=None, by="tests", why="by hand")
        project.watch(MODEL, POLICY, reference=[0.0] * 95 + [1.0] * 5)
        return [v for receipt in project.monitor.ingest(*events) for v in receipt.verdicts]


def test_what_was_learnt_depends_on_the_reference(project):
    learnt = project.records.watches(MODEL)[0].learnt
    assert learnt["mean"] == pytest.approx(0.05)
    assert 0.05 < learnt["bound"] < 0.15
    project.watch(MODEL, POLICY, reference=np.full(400, 0.0))
    assert project.records.watches(MODEL)[0].learnt["bound"] < learnt["bound"]
    assert len(project.records.watches(MODEL)) == 1


def test_a_suggestion_starts_the_cooldown_too(project):
    project.watch(MODEL, Policy(watches=POLICY.watches, mode="suggest"), reference=[0.0] * 100)
    project.monitor.ingest(*bad_events(20))
    with project.store.read() as connection:
        decisions = connection.execute(select(retrain_trigger.c.decision)).scalars().all()
    assert decisions.count("suggest") == 1
    assert len(decisions) > 1


def test_a_reference_for_a_champion_that_changed_meanwhile_is_refused(project, monkeypatch):
    def slow_reference(version, policy):
        project.registry.promote(MODEL, 2, expected=1, by="anna", why="in between")
        return [0.0] * 99

    monkeypatch.setattr(project, "_reference", slow_reference)
    with pytest.raises(AliasMoved, match="is version 2, not 1"):
        project.watch(MODEL, POLICY)


def missing(project):
    with project.store.read() as connection:
        assert audit.verify(connection) == []
        return audit.events(connection, kind="watch.missing")


def test_a_champion_without_gate_rows_ends_the_watching_of_the_one_before(project):
    project.monitor.ingest(*good_events(1))
    project.promote(MODEL, 2, expected=1, why="a better one")
    assert project.records.watches(MODEL) == []
    (event,) = missing(project)
    assert (event.subject, "without a data snapshot" in event.why) == (f"{MODEL}:2", True)
    assert (len(event.after["stopped"]), event.after["ends"]) == (1, {"error": 10})
    assert [receipt.verdicts for receipt in project.monitor.ingest(*bad_events(3))] == [()] * 3
    project.rollback(MODEL, why="it was not")  # as it was watched
    assert [(one.version, one.seen) for one in project.records.watches(MODEL)] == [(1, 10)]
    assert len(missing(project)) == 1


@pytest.mark.parametrize("window", [[0.0] * 99, None, "its own"], ids=["gate rows", "given before", "no gate rows"])
def test_a_watch_that_somebody_else_started_meanwhile_goes_on(project, monkeypatch, window):
    own = project._reference

    def slow_reference(version, policy, *, again):
        project.watch(MODEL, POLICY, reference=REFERENCE, why="in between")
        project.monitor.ingest(*good_events(1, version=2))
        return own(version, policy, again=again) if window == "its own" else window and np.asarray(window)

    monkeypatch.setattr(project, "_reference", slow_reference)
    project.promote(MODEL, 2, expected=1, why="a better one")
    (one,) = project.records.watches(MODEL)
    assert (one.version, one.seen, one.learnt["given"]) == (2, 10, True)
    assert missing(project) == []


def test_nothing_is_stopped_for_a_champion_that_changed_meanwhile(project, monkeypatch):
    own = project._reference

    def slow_reference(version, policy, *, again):
        project.registry.promote(MODEL, 1, expected=2, by="anna", why="in between")
        return own(version, policy, again=again)

    monkeypatch.setattr(project, "_reference", slow_reference)
    with pytest.raises(AliasMoved, match="is version 1, not 2"):
        project.promote(MODEL, 2, expected=1, why="a better one")
    assert [one.version for one in project.records.watches(MODEL)] == [1]
    assert missing(project) == []


@pytest.mark.parametrize("mode", ["suggest", "promote"])
def test_a_suggesting_policy_writes_a_trigger_and_starts_nothing(project, mode):
    project.watch(MODEL, Policy(watches=POLICY.watches, mode=mode), reference=[0.0] * 100)
    project.monitor.ingest(*bad_events(1))
    assert count(project, run) == (mode == "promote")
    assert count(project, retrain_trigger) >= 1


def test_the_metrics_count_what_was_accepted(project):
    project.monitor.ingest(*good_events(2))
    project.monitor.ingest(*good_events(2))
    sample = project.metrics.registry.get_sample_value
    stream = {"model": MODEL, "metric": "error"}
    assert sample("visutility_values_total", stream) == 20
    assert sample("visutility_events_total", {**stream, "result": "accepted"}) == 2
    assert sample("visutility_events_total", {**stream, "result": "duplicate"}) == 2
    assert sample("visutility_ingest_seconds_count") == 2


def test_prediction_ids_are_kept(project):
    event = msgspec.structs.replace(good_events(1)[0], prediction_ids=[f"p{n}" for n in range(10)])
    project.monitor.ingest(event)
    with project.store.read() as connection:
        assert "p9" in connection.execute(select(metric_chunk.c.prediction_ids)).scalar_one()
    assert isinstance(event, MetricsEvent)
