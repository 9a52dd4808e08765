"""What people do with incidents: it holds until there is news, it is in the audit log, and it changes nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from scenario import BAD, EVENT_AT, GOOD, MODEL, POLICY, REFERENCE, send, settings, watched

from visutility.core.clock import SimulatedClock
from visutility.core.codec import to_text
from visutility.core.errors import Conflict, Invalid, NotFound
from visutility.core.rng import rng
from visutility.loop import Policy, Project, Watch, handling
from visutility.loop.alarm_rows import History
from visutility.loop.handling import Handled
from visutility.loop.incidents import QUIET, replay
from visutility.store import audit

HOUR = timedelta(hours=1)
SLOW_AND_FAST = Policy(watches=tuple(Watch(settings={"arl": arl}) for arl in (1e4, 1e9)))


@pytest.fixture
def clock():
    return SimulatedClock(EVENT_AT)


@pytest.fixture
def project(tmp_path, clock):
    """Two models that alarm: what is the matter with "left" has the larger peak."""
    with watched(tmp_path, "left", "right", clock=clock) as project:
        send(project, *[BAD] * 3, model="left")
        send(project, [1.0] * 8, model="right")
        yield project


def standings(project):
    return [(one.model, one.standing) for one in project.alarms.incidents()]


def head(project):
    with project.store.read() as connection:
        assert audit.verify(connection) == []
        return audit.head(connection)


# -- acknowledge -------------------------------------------------------------------------------------------------------


def test_what_somebody_looks_after_comes_after_the_others_and_says_who(project, tmp_path, clock):
    assert standings(project) == [("left", "open"), ("right", "open")]
    clock.advance(60)
    said = project.alarms.acknowledge(1, by="ada", note="it is the lens")
    assert standings(project) == [("right", "open"), ("left", "acknowledged")]
    one = project.alarms.incident(1)
    assert (one, one.acknowledged.by, one.acknowledged.note) == (said, "ada", "it is the lens")
    assert one.acknowledged.at == to_text(clock.now())
    with Project.open(settings=settings(tmp_path), clock=clock) as other:
        assert other.alarms.incidents() == project.alarms.incidents()
        assert other.alarms.acknowledge("2").acknowledged.by == "tests"


def test_judged_ones_that_nobody_looks_after_come_before_acknowledged_ones(project):
    project.alarms.acknowledge(1, by="ada")
    project.alarms.judge(2, "false", why="a lorry")
    assert standings(project) == [("right", "open"), ("left", "acknowledged")]


def test_further_alarms_of_the_same_watch_are_no_news(project):
    project.alarms.acknowledge(1, by="ada")
    project.alarms.snooze(1, HOUR)
    before = len(project.alarms.incident(1).alarms)
    assert send(project, *[BAD] * 5, model="left") > 0
    one = project.alarms.incident(1)
    assert (len(one.alarms) > before, one.standing, one.acknowledged.by) == (True, "snoozed", "ada")


def test_another_watch_that_alarms_is_news(tmp_path, clock):
    with watched(tmp_path, clock=clock, policy=SLOW_AND_FAST) as project:
        while not project.alarms.incidents():
            send(project, [1.0])
        (one,) = project.alarms.incidents()
        assert len(watches_of(one)) == 1
        project.alarms.acknowledge(1, by="ada")
        project.alarms.snooze(1, 100 * HOUR)
        while len(watches_of(project.alarms.incident(1))) == 1:
            assert project.alarms.incident(1).standing == "snoozed"
            send(project, [1.0])
        one = project.alarms.incident(1)
        assert (one.standing, one.acknowledged, one.snoozed) == ("open", None, None)
        project.alarms.acknowledge(1, by="ada")
        send(project, *[BAD] * 3)
        assert project.alarms.incident(1).standing == "acknowledged"  # both were in it before


def watches_of(incident):
    return {alarm.promise for alarm in incident.alarms}


def test_incidents_that_turn_out_to_be_one_are_news_and_what_was_said_of_any_alarm_counts(tmp_path, clock):
    six = tuple(Watch(settings={"arl": arl}) for arl in (1e2, 1e4, 1e8, 1e12, 1e20, 1e30))
    with watched(tmp_path, clock=clock, policy=Policy(watches=six)) as project:
        seen = {}
        for _ in range(40):
            send(project, [1.0])
            for one in project.alarms.incidents():
                if one.id not in seen:
                    seen[one.id] = project.alarms.acknowledge(one.id, by="ada").alarms[0].id
            if len(seen) > 1 and len(project.alarms.incidents()) == 1:
                break
        (one,) = project.alarms.incidents()
        assert one.standing == "open"
        (gone,) = set(seen) - {one.id}
        with pytest.raises(NotFound, match=f"became part of incident {one.id}"):
            project.alarms.acknowledge(gone)
        project.alarms.acknowledge(seen[gone], by="bob")
        assert project.alarms.incident(one.id).acknowledged.by == "bob"
        with project.store.write("test") as tx:  # as somebody does who read the list before they became one
            done = Handled("acknowledged", "cy", tx.now())
            handling.write(tx, f"{MODEL}/error", seen[gone], done, actor="cy", incident=gone, before={})
        assert project.alarms.incident(one.id).acknowledged.by == "cy"
        known = watches_of(project.alarms.incident(one.id))
        while watches_of(project.alarms.incident(one.id)) == known:  # one more of a group that stays the same
            assert project.alarms.incident(one.id).standing == "acknowledged"
            send(project, [1.0])
        assert project.alarms.incident(one.id).standing == "open"


def test_what_is_closed_needs_nobody_and_the_next_incident_is_nobodys(project):
    project.alarms.acknowledge(1, by="ada")
    project.alarms.snooze(1, 10_000 * HOUR)
    send(project, [0.0] * QUIET, model="left")
    one = project.alarms.incident(1)
    assert (one.standing, one.ended, one.snoozed) == ("closed", "1,000 values without an alarm", None)
    for act in (project.alarms.acknowledge, project.alarms.reopen, lambda which: project.alarms.snooze(which, HOUR)):
        with pytest.raises(Conflict, match="incident 1 is closed: 1,000 values") as refused:
            act(1)
        assert "visutility alarms judge" in refused.value.hint
    send(project, *[BAD] * 3, model="left")
    assert standings(project)[0] == ("left", "open")


def test_what_was_done_when_it_had_just_closed_does_nothing(project):
    """Between the reading and the writing of an action the incident may close."""
    first = project.alarms.incident(1).alarms[0]
    send(project, [0.0] * QUIET, model="left")
    with project.store.write("test") as tx:
        done = Handled("acknowledged", "ada", tx.now())
        handling.write(tx, "left/error", first.id, done, actor="ada", incident=1, before={})
    one = project.alarms.incident(1)
    assert (one.standing, one.acknowledged) == ("closed", None)


# -- snooze ------------------------------------------------------------------------------------------------------------


def test_a_snoozed_one_sleeps_until_its_time(project, clock):
    until = clock.now() + 2 * HOUR
    assert project.alarms.snooze(1, until).snoozed.until == to_text(until)
    assert standings(project) == [("right", "open"), ("left", "snoozed")]
    clock.advance(2 * 3600 - 1)
    assert standings(project) == [("right", "open"), ("left", "snoozed")]
    clock.advance(1)
    assert standings(project) == [("left", "open"), ("right", "open")]
    assert project.alarms.incident(1).snoozed is None


def test_a_clock_that_was_set_back_puts_nothing_to_sleep_again(project, tmp_path, clock):
    project.alarms.snooze(1, HOUR)
    clock.advance(3600)
    send(project, BAD, model="right")  # it is known to be that late
    with Project.open(settings=settings(tmp_path), clock=SimulatedClock(EVENT_AT)) as other:
        assert other.alarms.incident(1).standing == "open"


@pytest.mark.parametrize("last", [BAD, [0.0] * QUIET], ids=["an alarm", "a watch that became quiet"])
def test_a_while_counts_from_what_happened_last_if_the_clock_was_set_back(project, tmp_path, clock, last):
    clock.advance(3 * 24 * 3600)
    send(project, last, model="right")
    late = clock.now()
    early = SimulatedClock(EVENT_AT)
    with Project.open(settings=settings(tmp_path), clock=early) as other:
        before = head(other)
        with pytest.raises(Invalid, match=f"until is 2026-02-03 .* and it is {late:%Y-%m-%d %H:%M:%S} UTC"):
            other.alarms.snooze(1, EVENT_AT + 48 * HOUR)
        assert head(other) == before
        assert other.alarms.snooze(1, 2 * HOUR).snoozed.until == to_text(late + 2 * HOUR)
        assert other.alarms.incident(1).standing == "snoozed"
        early.advance((late - EVENT_AT).total_seconds() + 2 * 3600 - 1)
        assert other.alarms.incident(1).standing == "snoozed"
        early.advance(1)
        assert other.alarms.incident(1).standing == "open"


def test_the_last_word_counts_and_reopening_takes_both_back(project, clock):
    project.alarms.acknowledge(1, by="ada")
    project.alarms.snooze(1, HOUR)
    project.alarms.snooze(1, 3 * HOUR)
    project.alarms.acknowledge(1, by="bob")
    clock.advance(2 * 3600)
    one = project.alarms.incident(1)
    assert (one.standing, one.acknowledged.by) == ("snoozed", "bob")
    assert project.alarms.reopen(1, note="it is worse").standing == "open"
    one = project.alarms.incident(1)
    assert (one.standing, one.acknowledged, one.snoozed) == ("open", None, None)


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_each_action_is_an_event_and_the_same_again_is_none(project, clock):
    until = clock.now() + HOUR
    for act in (
        lambda: project.alarms.acknowledge(1, by="ada", note="it is the lens"),
        lambda: project.alarms.snooze(1, until),
        lambda: project.alarms.reopen(1),
    ):
        before = head(project)
        act()
        after = head(project)
        assert after.seq == before.seq + 1
        act()
        assert head(project) == after
    first = project.alarms.incident(1).alarms[0].id
    with project.store.read() as connection:
        done = audit.events(connection, newest_first=True, limit=3)[::-1]
    names = ("alarm.acknowledged", "alarm.snoozed", "alarm.reopened")
    assert [(one.kind, one.subject, one.by, one.why) for one in done] == [
        (name, "left/error", "tests", why) for name, why in zip(names, ("it is the lens", "", ""), strict=True)
    ]
    assert done[0].after == {"alarm": first, "incident": 1, "by": "ada"}
    assert done[1].after == {"alarm": first, "incident": 1, "by": "tests", "until": to_text(until)}
    assert done[2].before["acknowledged"]["by"] == "ada"


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (lambda alarms: alarms.acknowledge(7), NotFound, "no incident or alarm 7"),
        (lambda alarms: alarms.acknowledge(1, by=" "), Invalid, "by is ' '"),
        (lambda alarms: alarms.acknowledge(1, by=5), Invalid, "by is 5"),
        (lambda alarms: alarms.acknowledge(1, by="x" * 201), Invalid, "by is 'xxx"),
        (lambda alarms: alarms.acknowledge(1, by="ada\n"), Invalid, "by is 'ada"),
        (lambda alarms: alarms.judge(1, "true", why="seen", by="x" * 201), Invalid, "by is 'xxx"),
        (lambda alarms: alarms.acknowledge(1, note=" "), Invalid, "the note is ' '"),
        (lambda alarms: alarms.acknowledge(1, note=None), Invalid, "the note is None"),
        (lambda alarms: alarms.acknowledge(1, note="x" * 5000), Invalid, "why is 'xxx"),
        (lambda alarms: alarms.snooze(1, EVENT_AT), Invalid, "until is 2026-02-01 00:00:00 UTC, and it is 2026-02-01"),
        (lambda alarms: alarms.snooze(1, datetime(2030, 1, 1)), Invalid, "has no zone"),  # noqa: DTZ001
        (lambda alarms: alarms.snooze(1, timedelta(0)), Invalid, "until is 2026"),
        (lambda alarms: alarms.snooze(1, timedelta.max), Invalid, "no calendar goes that far"),
        (lambda alarms: alarms.snooze(1, "2h"), Invalid, "until is '2h'"),
        (lambda alarms: alarms.snooze(7, HOUR), NotFound, "no incident or alarm 7"),
        (lambda alarms: alarms.reopen(True), Invalid, "True is no incident"),
    ],
)
def test_what_cannot_be_done_is_named_and_leaves_no_trace(project, act, error, said):
    before = head(project)
    with pytest.raises(error, match=said) as refused:
        act(project.alarms)
    assert refused.value.hint
    assert head(project) == before


def test_a_name_may_be_as_long_as_an_actors(project):
    with pytest.raises(Invalid) as refused:
        project.alarms.judge(1, "true", why="seen", by="\x1b")
    assert refused.value.hint == "say who judged in 1 to 200 printable characters, or leave it out"
    assert project.alarms.acknowledge(1, by="x" * 200).acknowledged.by == "x" * 200
    assert project.alarms.judge(1, "true", why="seen", by="x" * 200).changed > 0


def test_the_latest_time_there_is_may_be_given(project):
    until = datetime.max.replace(tzinfo=UTC)
    assert project.alarms.snooze(1, until).snoozed.until == to_text(until)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_what_people_do_changes_nothing_but_what_they_did(tmp_path, clock, seed):
    draw = rng(seed, "handling")
    with watched(tmp_path, "left", "right", clock=clock, policy=SLOW_AND_FAST) as project:
        acted = 0
        for _ in range(40):
            model, what = str(draw.choice(["left", "right"])), draw.random()
            waiting = [one for one in project.alarms.incidents() if not one.closed]
            if what < 0.3 and waiting:
                one = waiting[int(draw.integers(len(waiting)))]
                acted += 1
                if what < 0.1:
                    project.alarms.acknowledge(one.id)
                elif what < 0.2:
                    project.alarms.snooze(one.id, HOUR)
                else:
                    project.alarms.reopen(one.id)
            elif what < 0.5:
                send(project, [0.0] * int(draw.integers(1, 2000)), model=model)
            elif what < 0.55:
                project.watch(model, POLICY, reference=REFERENCE)
            else:
                send(project, [1.0] * int(draw.integers(1, 30)), GOOD, model=model)
        assert acted > 3
        with project.store.read() as connection:
            history = History.read(connection)
            now = to_text(clock.now())
            seen, without = (
                {one.id: replace(one, acknowledged=None, snoozed=None) for one in replay(connection, each, now).found}
                for each in (history, replace(history, handled=[]))
            )
        assert len(history.handled) > 3
        assert seen == without
