"""Alarms of a project: incidents are the same whoever replays them, judgements stay, and the rate is measured."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import numpy as np
import pytest
import tiny
from scenario import (
    BAD,
    EVENT_AT,
    GOOD,
    MODEL,
    POLICY,
    REFERENCE,
    add_labels,
    bad_events,
    send,
    settings,
    trained,
    watched,
)

from visutility.cli.show import plain
from visutility.core.clock import SimulatedClock
from visutility.core.errors import Invalid, NotFound
from visutility.core.rng import rng
from visutility.core.wire import MetricsEvent
from visutility.flow import runs
from visutility.loop import Policy, Project, Watch, watches
from visutility.loop.alarm_rates import CONFIRM_LEVEL, became_worse
from visutility.loop.alarm_rows import read_streams, read_verdicts, story
from visutility.loop.incidents import QUIET
from visutility.store import audit


@pytest.fixture
def clock():
    return SimulatedClock(EVENT_AT)


@pytest.fixture
def project(tmp_path, clock):
    with watched(tmp_path, MODEL, clock=clock) as project:
        yield project


# -- incidents ---------------------------------------------------------------------------------------------------------


def test_repeated_alarms_are_one_line_with_what_followed(project):
    alarms = send(project, GOOD, *[BAD] * 6)
    assert alarms > 1
    (one,) = project.alarms.incidents()
    assert (one.id, one.what, one.closed) == (1, f"{MODEL}:1 error by e-detector", "")
    assert len(one.alarms) == alarms
    assert one.opened == one.alarms[0].at < one.last_alarm == one.alarms[-1].at
    assert one.followed is one.alarms[0]  # a run says more than the refusals after it
    assert one.followed.followed.decision == "run"
    assert one.alarms[1].short == "no run: one is at work"
    assert one.alarms[1].outcome == f"no run: run {one.followed.followed.run} is already at work on this model"
    assert one.judged == ""
    assert project.alarms.incidents("nobody") == ()


def test_it_closes_at_the_last_of_so_many_quiet_values_and_the_next_alarm_is_another_one(project):
    send(project, [1.0] * 8 + [0.0] * 2)
    quiet = len(BAD) - 1 - project.alarms.incidents()[0].alarms[-1].position
    send(project, [0.0] * (QUIET - quiet - 1))
    assert project.alarms.incidents()[0].closed == ""
    send(project, [0.0])
    (one,) = project.alarms.incidents()
    assert one.closed == project.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert one.ended == "1,000 values without an alarm"
    send(project, *[BAD] * 3)
    assert [(at.id, bool(at.closed)) for at in project.alarms.incidents()] == [(2, False), (1, True)]


def test_a_gap_between_two_alarms_in_one_event_closes_too(project):
    send(project, [1.0] * 10 + [0.0] * (2 * QUIET) + [1.0] * 12)
    first, second = sorted(project.alarms.incidents(), key=lambda one: one.id)
    assert first.closed
    assert not second.closed
    assert second.alarms[0].position - first.alarms[-1].position > QUIET


def test_values_of_another_version_are_no_quiet(project):
    send(project, *[BAD] * 2)
    send(project, [0.0] * (3 * QUIET), version=2)
    assert [bool(one.closed) for one in project.alarms.incidents()] == [False]


def test_it_closes_when_another_version_takes_over_and_a_rollback_opens_another_one(project):
    send(project, *[BAD] * 2)
    project.clock.advance(60)
    project.promote(MODEL, 2, expected=1, why="a better one")
    (one,) = project.alarms.incidents()
    assert one.ended == f"{MODEL}@champion moved to version 2"
    project.rollback(MODEL, why="it was not")
    send(project, *[BAD] * 3)
    assert [(at.id, bool(at.closed)) for at in project.alarms.incidents()] == [(2, False), (1, True)]


def test_alarms_of_a_version_that_serves_no_more_are_not_lost(project):
    """The champion moved behind the watch's back, and somebody still sends values of the old one."""
    send(project, *[BAD] * 2)
    project.registry.promote(MODEL, 2, expected=1, by="tests", why="a better one")
    alarms = send(project, *[BAD] * 3)
    last, first = project.alarms.incidents()
    assert (last.id, last.closed, len(last.alarms)) == (2, "", alarms)
    assert (first.id, first.ended) == (1, f"{MODEL}@champion moved to version 2")
    (rate,) = project.alarms.rates()
    assert rate.report.open == alarms + len(first.alarms)


def test_it_closes_when_the_version_is_watched_anew(project):
    send(project, *[BAD] * 2)
    project.watch(MODEL, POLICY, reference=REFERENCE)
    (one,) = project.alarms.incidents()
    assert one.ended == f"{MODEL}:1 is watched from then on"


def test_two_detectors_of_one_metric_are_one_incident(tmp_path, clock):
    both = (Watch(settings={"arl": 1e4}), Watch(detector="glr", settings={}))
    with watched(tmp_path, MODEL, clock=clock, policy=Policy(watches=both)) as project:
        send(project, *[BAD] * 12)
        (one,) = project.alarms.incidents()
        assert one.what == f"{MODEL}:1 error by e-detector, glr"
        assert one.streams == (f"{MODEL}:1 error by e-detector", f"{MODEL}:1 error by glr")
        assert {alarm.detector for alarm in one.alarms} == {"e-detector", "glr"}
        project.alarms.judge("1", "true", why="the lens was dirty")
        assert project.alarms.incidents()[0].judged == "true"
        assert [rate.detector for rate in project.alarms.rates()] == ["e-detector", "glr"]


def test_watches_that_start_together_stop_none_of_each_other(tmp_path, clock):
    three = tuple(Watch(settings={"arl": arl}) for arl in (1e4, 1e5, 1e6))
    with watched(tmp_path, MODEL, clock=clock, policy=Policy(watches=three)) as project:
        project.watch(MODEL, Policy(watches=three), reference=REFERENCE)
        with project.store.read() as connection:
            turns = story(connection, read_streams(connection), read_verdicts(connection))
        assert [(turn.kind, len(turn.watches)) for turn in turns] == [
            *[("start", 1)] * 3,
            ("stop", 3),
            *[("start", 1)] * 3,
        ]


def test_each_model_has_incidents_of_its_own(tmp_path, clock):
    with watched(tmp_path, "left", "right", "third", clock=clock) as project:
        send(project, *[BAD] * 2, model="left")
        send(project, *[BAD] * 2, model="right")
        assert {(one.id, one.model) for one in project.alarms.incidents()} == {(1, "left"), (2, "right")}
        assert [one.id for one in project.alarms.incidents("right")] == [2]
        assert project.alarms.incidents("third") == ()


def test_incidents_that_turn_out_to_be_one_say_so(tmp_path, clock):
    """With six detectors, two alarms are two things until a third one says that it is the model."""
    six = tuple(Watch(settings={"arl": arl}) for arl in (1e2, 1e4, 1e8, 1e12, 1e20, 1e30))
    with watched(tmp_path, MODEL, clock=clock, policy=Policy(watches=six)) as project:
        numbers = set()
        for _ in range(12):
            send(project, [1.0])
            numbers |= {one.id for one in project.alarms.incidents()}
        (one,) = project.alarms.incidents()
        assert one.id in numbers
        assert len(numbers) > 1
        for number in numbers - {one.id}:
            with pytest.raises(NotFound, match=f"incident {number} became part of incident {one.id}"):
                project.alarms.incident(str(number))


def history(project, seed):
    """Send events of two models, good and bad, with promotions between, and give the incidents after each step."""
    draw = rng(seed, "alarms")
    champion = {"left": 1, "right": 1}
    for _ in range(50):
        model = str(draw.choice(["left", "right"]))
        what = draw.random()
        if what < 0.1:
            project.clock.advance(1)
            project.promote(model, 3 - champion[model], expected=champion[model], why="in turn")
            champion[model] = 3 - champion[model]
            project.watch(model, POLICY, reference=REFERENCE)
        elif what < 0.2:
            project.watch(model, POLICY, reference=REFERENCE)
        elif what < 0.5:
            send(project, [0.0] * int(draw.integers(1, 2000)), model=model, version=champion[model])
        else:
            send(project, [1.0] * int(draw.integers(1, 30)), model=model, version=champion[model])
        yield project.alarms.incidents()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_what_happens_later_changes_neither_numbers_nor_alarms_of_what_was(tmp_path, clock, seed):
    with watched(tmp_path, "left", "right", clock=clock) as project:
        before, most = {}, 0
        for found in history(project, seed):
            now = {one.id: one for one in found}
            for at, was in before.items():
                ids = [alarm.id for alarm in was.alarms]
                assert [alarm.id for alarm in now[at].alarms][: len(ids)] == ids
                assert not was.closed or (now[at].closed, len(now[at].alarms)) == (was.closed, len(ids))
            before, most = now, max(most, len(now))
        assert most > 3


REPLAYED = """
import json, sys
from visutility.cli.show import plain
from visutility.loop import Project
with Project.open(sys.argv[1]) as project:
    print(json.dumps(plain(project.alarms.incidents())))
"""


@pytest.mark.slow
def test_two_processes_replay_the_same_incidents(tmp_path, clock):
    with watched(tmp_path, "left", "right", clock=clock) as project:
        list(history(project, 9))
        here = json.loads(json.dumps(plain(project.alarms.incidents())))
    assert len(here) > 2
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", REPLAYED, str(tmp_path)], env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == here


def test_a_clock_that_was_set_back_turns_nothing_around(tmp_path, clock, project):
    send(project, *[BAD] * 2)
    early = SimulatedClock(EVENT_AT - timedelta(days=3))
    with Project.open(settings=settings(tmp_path), clock=early) as other:
        other.promote(MODEL, 2, expected=1, why="a better one")
        (one,) = other.alarms.incidents()
        assert (one.id, one.ended) == (1, f"{MODEL}@champion moved to version 2")
        assert one.closed >= one.last_alarm
        other.rollback(MODEL, why="it was not")
        send(other, *[BAD] * 3)
        assert [(at.id, bool(at.closed)) for at in other.alarms.incidents()] == [(2, False), (1, True)]


def watched_anew(project):
    project.watch(MODEL, POLICY, reference=REFERENCE)


def moved_and_back(project):
    project.promote(MODEL, 2, expected=1, why="a better one")
    project.rollback(MODEL, why="it was not")


@pytest.mark.parametrize(
    ("again", "words"),
    [(watched_anew, f"{MODEL}:1 is watched from then on"), (moved_and_back, f"{MODEL}@champion moved to version 2")],
)
@pytest.mark.parametrize("later", [-7200.0, 0.0, 60.0])
def test_no_clock_makes_values_of_the_next_watch_quiet_ones_of_the_one_before(tmp_path, clock, again, words, later):
    with watched(tmp_path, MODEL, clock=clock) as project:
        send(project, *[BAD] * 2)
        clock.advance(60)
        again(project)
    moved = SimulatedClock(clock.now() + timedelta(seconds=later))
    with Project.open(settings=settings(tmp_path), clock=moved) as other:
        quiet = MetricsEvent(id="quiet", model=MODEL, version=1, metric="error", values=GOOD * 200, at=clock.now())
        other.monitor.ingest(quiet)
        (one,) = other.alarms.incidents()
        assert one.ended == words
        assert one.closed > one.last_alarm


# -- judgements --------------------------------------------------------------------------------------------------------


def events_of(project):
    with project.store.read() as connection:
        return audit.events(connection, kind="alarm.judged")


def test_the_last_word_counts_and_all_words_stay(project):
    send(project, *[BAD] * 5)
    count = len(project.alarms.incident("1").alarms)
    said = project.alarms.judge("1", "true", why="the lens was dirty")
    assert (said.changed, len(said.alarms)) == (count, count)
    before = audit_head(project)
    assert project.alarms.judge("1", "true", why="once more").changed == 0
    assert audit_head(project) == before
    assert project.alarms.judge("1", "false", why="it was not").changed == count
    first, second = events_of(project)
    assert (first.why, second.why) == ("the lens was dirty", "it was not")
    assert set(second.before.values()) == {"true"}
    assert len(second.covers) == count
    one = project.alarms.incident("1")
    assert one.judged == "false"
    assert {(at.judged.number, at.judged.by, at.judged.why) for at in one.alarms} == {(2, "tests", "it was not")}
    with project.store.read() as connection:
        assert audit.verify(connection) == []


def audit_head(project):
    with project.store.read() as connection:
        return audit.head(connection)


def test_one_alarm_is_judged_by_its_id(project):
    send(project, *[BAD] * 5)
    _, second, *others = project.alarms.incident("1").alarms
    assert others
    assert project.alarms.judge(second.id, "false", why="a lorry").alarms == (second.id,)
    count = len(others) + 2
    one = project.alarms.incident(second.id)
    assert (one.id, one.judged, one.said) == (1, f"1 of {count} false", {"true": 0, "false": 1})
    project.alarms.judge("1", "true", why="all of them")
    assert project.alarms.incident("1").judged == "true"


def test_what_cannot_be_judged_is_named_with_the_next_move(project):
    send(project, *[BAD] * 2)
    for which in ("7", "0", "-1", "", "1 ", "01kdvep8p03dkj8n9n22ztzfpk", "²", "9" * 40):
        with pytest.raises(NotFound, match="visutility alarms list --all"):
            project.alarms.judge(which, "true", why="x")
    with pytest.raises(Invalid, match="say true or false"):
        project.alarms.judge("1", "benign", why="x")
    with pytest.raises(Invalid, match="blank"):
        project.alarms.judge("1", "true", why=" ")
    assert events_of(project) == []


def test_an_incident_is_found_by_its_number_as_it_is(project):
    alarms = send(project, *[BAD] * 5)
    (one,) = project.alarms.incidents()
    assert project.alarms.incident(one.id) == one
    assert project.alarms.judge(one.id, "true", why="the lens was dirty").changed == alarms
    with pytest.raises(NotFound, match="there is no incident or alarm 7"):
        project.alarms.judge(7, "true", why="x")


@pytest.mark.parametrize(
    ("which", "more", "said"),
    [
        (None, {}, "None is no incident and no alarm"),
        (True, {}, "True is no incident and no alarm"),
        (1.0, {}, "1.0 is no incident and no alarm"),
        (b"1", {}, "b'1' is no incident and no alarm"),
        ("1", {"why": None}, "the reason None is no text"),
        ("1", {"why": 3}, "the reason 3 is no text"),
        ("1", {"by": "  "}, "by is '  '"),
        ("1", {"by": ""}, "by is ''"),
        ("1", {"by": 5}, "by is 5"),
    ],
)
def test_what_is_no_judgement_is_refused_by_name(project, which, more, said):
    send(project, *[BAD] * 2)
    with pytest.raises(Invalid, match=said) as raised:
        project.alarms.judge(which, "true", **{"why": "x", **more})
    assert raised.value.hint
    assert events_of(project) == []
    if not more:
        with pytest.raises(Invalid, match=said):
            project.alarms.incident(which)


@pytest.mark.parametrize(
    "edit", ["UPDATE alarm_judgement SET judgement = 'true'", "DELETE FROM alarm_judgement WHERE number = 1"]
)
def test_a_judgement_that_was_tampered_with_is_found(project, tmp_path, edit):
    send(project, *[BAD] * 2)
    alarm = project.alarms.incident("1").alarms[0].id
    project.alarms.judge(alarm, "false", why="a lorry")
    with closing(sqlite3.connect(tmp_path / "visutility.db", isolation_level=None)) as raw:
        with pytest.raises(sqlite3.IntegrityError, match="immutable: alarm_judgement"):
            raw.execute(edit)
        for guard in ("no_update", "no_delete"):
            raw.execute(f"DROP TRIGGER alarm_judgement_{guard}")
        raw.execute(edit)
    with project.store.read() as connection:
        assert [str(one.where) for one in audit.verify(connection)] == [f"alarm_judgement {alarm}/1"]


def test_judged_incidents_come_after_those_that_nobody_judged(tmp_path, clock):
    with watched(tmp_path, "left", "right", clock=clock) as project:
        send(project, *[BAD] * 2, model="left")
        send(project, *[BAD] * 3, model="right")
        first, second = project.alarms.incidents()
        assert first.peak >= second.peak
        project.alarms.judge(str(first.id), "false", why="a lorry")
        assert [one.id for one in project.alarms.incidents()] == [second.id, first.id]


# -- the measured rate -------------------------------------------------------------------------------------------------


def test_false_alarms_are_counted_beside_the_promise(project):
    send(project, *[GOOD] * 20, BAD, *[GOOD] * 150, BAD, *[GOOD] * 50)
    first, second = sorted(project.alarms.incidents(), key=lambda one: one.id)
    (rate,) = project.alarms.rates()
    assert (rate.detector, rate.arl, rate.watches) == ("e-detector", 1e4, 1)
    assert (rate.report.values, rate.report.open, rate.report.false) == (2220, 2, 0)
    project.alarms.judge(str(first.id), "false", why="a lorry")
    project.alarms.judge(str(second.id), "false", why="another")
    (rate,) = project.alarms.rates()
    assert (rate.report.values, rate.report.open, rate.report.false) == (2220, 0, 2)
    assert rate.report.measured == pytest.approx(1e6 * 2 / 2220)
    assert rate.report.promised == 100.0
    assert json.loads(json.dumps(rate.to_json(), allow_nan=False))["false"] == 2


def test_values_and_alarms_after_a_true_one_are_left_out_until_the_watch_stops(project):
    send(project, *[GOOD] * 20, *[BAD] * 6)
    one = project.alarms.incident("1")
    project.alarms.judge(one.alarms[0].id, "true", why="the lens was dirty")
    (rate,) = project.alarms.rates()
    assert (rate.report.true, rate.report.open, rate.repeated) == (1, 0, len(one.alarms) - 1)
    assert rate.report.values == one.alarms[0].position + 1
    project.clock.advance(60)
    project.promote(MODEL, 2, expected=1, why="a better one")
    send(project, [0.0] * 500)  # of a version that serves no more, and is watched no more
    (rate,) = project.alarms.rates()
    project.clock.advance(60)
    project.rollback(MODEL, why="it was not")
    send(project, [0.0] * 500)  # it is watched again, and nobody says that it is worse
    (again,) = project.alarms.rates()
    assert again.report.values - rate.report.values == 500


SEVERAL = (Watch(settings={"arl": 1e4}), Watch(detector="adwin", settings={}), Watch(detector="auto", settings={}))


def test_a_true_alarm_of_one_watch_is_believed_by_the_others_of_its_stream(tmp_path, clock):
    """The one that misses the change gathers no values of a stream that is known to have changed."""
    with watched(tmp_path, MODEL, clock=clock, policy=Policy(watches=SEVERAL)) as project:
        send(project, *[GOOD] * 20, *[[1.0, 0.0, 0.0, 0.0, 0.0] * 2] * 60)
        alarms = sorted(project.alarms.incidents()[0].alarms, key=lambda one: one.position)
        project.alarms.judge(alarms[0].id, "true", why="the lens was dirty")
        missed, found = project.alarms.rates()
        assert (missed.detector, missed.report.true, missed.report.open) == ("auto", 0, 0)
        assert (found.detector, found.report.true, found.report.open) == ("e-detector", 0, 0)  # adwin was first
        assert found.repeated > 0
        assert missed.report.values == found.report.values == alarms[0].position + 1 < 800
        project.watch(MODEL, Policy(watches=SEVERAL), reference=REFERENCE)
        send(project, *[GOOD] * 5)
        assert [rate.report.values for rate in project.alarms.rates()] == [alarms[0].position + 51] * 2


def test_what_two_watches_of_a_stream_say_of_a_change_is_right_twice_and_open_never(tmp_path, clock):
    two = (Watch(settings={"arl": 1e4}), Watch(detector="glr", settings={}))
    with watched(tmp_path, MODEL, clock=clock, policy=Policy(watches=two)) as project:
        send(project, *[GOOD] * 20, *[BAD] * 6)
        (one,) = project.alarms.incidents()
        first, *others = sorted(one.alarms, key=lambda alarm: alarm.position)
        project.alarms.judge(first.id, "true", why="the lens was dirty")
        assert [rate.report.open for rate in project.alarms.rates()] == [0, 0]
        assert sum(rate.repeated for rate in project.alarms.rates()) == len(others)
        project.alarms.judge("1", "true", why="all of them are right")
        rates = project.alarms.rates()
        assert [rate.report.true for rate in rates] == [1, 1]
        assert [rate.report.values for rate in rates] == [first.position + 1] * 2
        last = next(alarm for alarm in reversed(others) if alarm.detector != first.detector)
        project.alarms.judge(last.id, "false", why="it had been cleaned")
        assert sum(rate.report.false for rate in project.alarms.rates()) == 1


@pytest.mark.parametrize("again", [watched_anew, moved_and_back])
@pytest.mark.parametrize("later", [-7200.0, 0.0, 60.0])
def test_no_clock_makes_a_true_alarm_excuse_what_came_after_its_watch_was_stopped(tmp_path, clock, again, later):
    with watched(tmp_path, MODEL, clock=clock) as project:
        send(project, *[GOOD] * 30, *[BAD] * 2)
        project.alarms.judge(project.alarms.incident("1").alarms[0].id, "true", why="the lens was dirty")
        before = project.alarms.rates()[0].report.values
        again(project)
    moved = SimulatedClock(clock.now() + timedelta(seconds=later))
    with Project.open(settings=settings(tmp_path), clock=moved) as other:
        for at in range(10):
            event = MetricsEvent(id=f"{at}", model=MODEL, version=1, metric="error", values=GOOD, at=clock.now())
            other.monitor.ingest(event)
        assert other.alarms.rates()[0].report.values == before + 100


def test_what_old_rows_do_not_say_is_told_by_their_times_and_by_the_next_alarm(tmp_path, clock, monkeypatch):
    """Events of older versions do not say where the streams ended."""
    monkeypatch.setattr(watches.audit, "append", without_ends(watches.audit.append))
    with watched(tmp_path, MODEL, clock=clock) as project:
        send(project, *[GOOD] * 30, *[BAD] * 2)
        project.alarms.judge(project.alarms.incident("1").alarms[0].id, "true", why="the lens was dirty")
        before = project.alarms.rates()[0].report.values
        clock.advance(60)
        watched_anew(project)
        send(project, *[GOOD] * 10)
        assert project.alarms.rates()[0].report.values == before + 100
    early = SimulatedClock(clock.now() - timedelta(hours=2))
    with Project.open(settings=settings(tmp_path), clock=early) as other:
        send(other, *[GOOD] * 10)
        assert other.alarms.rates()[0].report.values == before + 100  # too few, and never too many
        send(other, *[BAD] * 6)
        first = next(one for one in other.alarms.incidents() if not one.closed).alarms[0].position // 10 * 10
        assert first in range(520, 580)
        assert other.alarms.rates()[0].report.values == before + 100 + 580 - first


def without_ends(append):
    def appended(tx, kind, *rest, after, **more):
        return append(tx, kind, *rest, after={name: after[name] for name in after if name != "ends"}, **more)

    return appended


def test_a_person_may_call_a_later_alarm_false(project):
    send(project, *[BAD] * 6)
    first, *_, last = project.alarms.incident("1").alarms
    project.alarms.judge(first.id, "true", why="the lens was dirty")
    project.alarms.judge(last.id, "false", why="it had been cleaned")
    (rate,) = project.alarms.rates()
    assert (rate.report.true, rate.report.false, rate.report.open) == (1, 1, 0)


def test_a_benign_change_is_no_false_alarm(tmp_path, clock):
    policy = Policy(watches=(Watch(settings={"arl": 1e4}, tolerance=0.9),))
    with watched(tmp_path, MODEL, clock=clock, policy=policy) as project:
        send(project, *[[0.0, 1.0] * 10] * 12)
        (one,) = project.alarms.incidents()
        assert one.alarms[0].followed.reason.startswith("data changed (benign)")
        assert one.alarms[0].short == "no run: data changed (benign)"
        (rate,) = project.alarms.rates()
        assert (rate.report.false, rate.report.true, rate.report.open) == (0, 0, len(one.alarms))


def test_an_alarm_while_the_policy_cools_down_says_until_when(project):
    send(project, *[BAD] * 2)
    run_id = project.alarms.incident(1).followed.followed.run
    with project.store.write("test") as tx:
        runs.cancel(tx, run_id, by="tests", why="not now")
    send(project, *[BAD] * 2)
    last = project.alarms.incident(1).alarms[-1]
    assert re.fullmatch(r"no run: cooling down until 2026-\d\d-\d\d \d\d:\d\d:\d\d UTC", last.short)
    assert last.outcome == last.short


def test_an_alarm_that_waits_says_so(tmp_path, clock):
    policy = Policy(watches=(Watch(settings={"arl": 1e4}, tolerance=0.5),))
    with watched(tmp_path, MODEL, clock=clock, policy=policy) as project:
        send(project, [0.0, 1.0] * 12)
        (one,) = project.alarms.incidents()
        assert (one.followed.followed, one.followed.short) == (None, "waits for more values")
        project.promote(MODEL, 2, expected=1, why="a better one")
        assert project.alarms.incident("1").followed.outcome == "undecided: its version is watched no longer"
        project.rollback(MODEL, why="it was not")
        assert project.alarms.incident("1").followed.outcome == "waits for more values"


def test_what_promises_no_rate_is_left_out(tmp_path, clock):
    policy = Policy(watches=(Watch(detector="adwin", settings={}), Watch(settings={"arl": 1e5})))
    with watched(tmp_path, MODEL, clock=clock, policy=policy) as project:
        send(project, *[GOOD] * 10)
        assert [(rate.detector, rate.arl) for rate in project.alarms.rates()] == [("e-detector", 1e5)]


def test_nothing_watched_is_nothing_measured(tmp_path):
    with Project.create(settings=settings(tmp_path)) as project:
        assert project.alarms.rates() == []
        assert project.alarms.incidents() == ()


# -- what the gate's rows say ------------------------------------------------------------------------------------------


def test_a_champion_is_called_worse_only_beyond_doubt():
    reference = {"rows": 150, "mean": 0.02}
    fine, broken = [0.0] * 147 + [1.0] * 3, [0.0] * 75 + [1.0] * 75
    assert became_worse(broken, fine, reference)
    assert not became_worse(fine, fine, reference)
    assert not became_worse(broken, broken, reference)  # as bad as it was on old rows
    assert not became_worse(broken, fine, {"rows": 150, "mean": 0.5})  # and on its reference window
    assert not became_worse(broken, fine, {"rows": 5, "mean": 0.0})  # of five rows nobody knows
    assert not became_worse(broken[73:77], fine, reference)
    for none in ([], None):
        assert not became_worse(none or [], fine, reference)
        assert not became_worse(broken, none or [], reference)
    assert not became_worse(broken, fine, {})
    assert not became_worse([2.0] * 150, fine, reference)


def test_losses_between_zero_and_one_may_be_too_rare_to_be_seen():
    """Each bound on a mean is one of two, chosen by the values: it has half of what it may err with."""
    reference = {"rows": 150, "mean": 0.02}
    assert not became_worse([1.0] * 9 + [0.0] * 31, [0.0] * 1000, reference)  # it would be, with twice as much
    assert became_worse([1.0] * 10 + [0.0] * 30, [0.0] * 1000, reference)
    rare = [0.5] + [0.0] * 999
    assert became_worse([1.0] * 10 + [0.0] * 30, rare, reference)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_champion_that_is_as_it_was_is_seldom_called_worse(share):
    draw = rng(0, "became-worse")
    count, times = 0, 3000
    for _ in range(times):
        fresh, old, window = ((draw.random(size) < share).astype(float) for size in (150, 5000, 150))
        count += became_worse(fresh, old, {"rows": 150, "mean": float(window.mean())})
    assert count / times <= CONFIRM_LEVEL
    fresh = [float(np.quantile([0, 1], 1.0))] * 150
    assert became_worse(fresh, [0.0] * 150, {"rows": 150, "mean": share})


@pytest.mark.slow
def test_an_alarm_counts_as_true_where_the_gate_measured_that_the_champion_is_worse(tmp_path):
    with trained(tmp_path / "home", clock=SimulatedClock(EVENT_AT)) as project:
        project.monitor.ingest(*bad_events())
        project.work()
        assert project.champion(MODEL) == 2
        (one,) = project.alarms.incidents()
        assert one.followed.short == f"promoted {MODEL}:2"
        (rate,) = project.alarms.rates()
        assert (rate.confirmed, rate.report.true, rate.report.open) == (1, 1, 0)
        assert rate.repeated == len(one.alarms) - 1
        project.alarms.judge(one.followed.id, "false", why="somebody swapped the labels")
        (rate,) = project.alarms.rates()
        assert (rate.confirmed, rate.report.true, rate.report.false) == (0, 0, 1)
        for blob in project.blobs.root.rglob("*"):
            if blob.is_file():
                blob.unlink()
        project.alarms.judge(one.followed.id, "true", why="nobody did")
        (rate,) = project.alarms.rates()  # what the gate measured is gone: a person's word counts alone
        assert (rate.confirmed, rate.report.true) == (0, 1)


@pytest.mark.slow
def test_what_the_gate_measured_of_another_version_says_nothing_of_the_alarm(tmp_path):
    """Version 1 is as good as ever, but a bad version 2 was promoted before the run began: it is what was measured."""
    with trained(tmp_path / "home", clock=SimulatedClock(EVENT_AT), labels=False) as project:
        project.train(MODEL, "tiny:recipe", tiny.rows(1, 5000, 120, shifted=True), policy=POLICY)
        project.work()
        project.monitor.ingest(*bad_events(2))
        project.promote(MODEL, 2, expected=1, why="it looks good")
        add_labels(tmp_path / "home", shifted=False)
        project.work()
        (one,) = project.alarms.incidents()
        assert (one.followed.version, one.followed.short) == (1, f"promoted {MODEL}:3")
        (rate,) = project.alarms.rates()
        assert (rate.confirmed, rate.report.true, rate.report.open) == (0, 0, len(one.alarms))


@pytest.mark.slow
def test_a_gate_that_does_not_pass_says_nothing_of_the_alarm(tmp_path):
    with trained(tmp_path / "home", recipe="tiny:broken", clock=SimulatedClock(EVENT_AT)) as project:
        project.monitor.ingest(*bad_events())
        project.work()
        (one,) = project.alarms.incidents()
        assert one.followed.followed.gate in ("refuse", "undecided")
        assert one.followed.short == f"promoted nothing, gate: {one.followed.followed.gate}"
        (rate,) = project.alarms.rates()
        assert (rate.confirmed, rate.report.true, rate.report.open) == (0, 0, len(one.alarms))


@pytest.mark.slow
def test_an_alarm_stays_open_where_the_champion_is_fine_on_fresh_rows(tmp_path):
    with trained(tmp_path / "home", clock=SimulatedClock(EVENT_AT), labels=False) as project:
        add_labels(tmp_path / "home", shifted=False)
        project.monitor.ingest(*bad_events())
        project.work()
        (one,) = project.alarms.incidents()
        assert one.followed.short.startswith("promoted nothing, gate: ")
        (rate,) = project.alarms.rates()
        assert (rate.confirmed, rate.report.true, rate.report.open) == (0, 0, len(one.alarms))
