"""Incidents: which group explains, no flapping, no repeats, a short list, exact save and restore."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from visutility.core.codec import dumps, loads, pack_arrays, to_text, unpack_arrays
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, NotFound
from visutility.core.rng import rng
from visutility.monitor.alerts import AlertList, AlertRules
from visutility.monitor.explain import Groups

START = datetime(2026, 1, 31, 8, tzinfo=UTC)
RULES = AlertRules(close_below=1.0, quiet=100)


def fleet(models=2, cameras=5, slices=4):
    """Keys of every combination."""
    rows = [(m, c, s) for m in range(models) for c in range(cameras) for s in range(slices)]
    names = ("model", "camera", "slice")
    return {name: [f"{name[0]}{row[at]}" for row in rows] for at, name in enumerate(names)}


def rows_of(keys, **wanted):
    match = [np.array(keys[name]) == value for name, value in wanted.items()]
    return np.flatnonzero(np.logical_and.reduce(match))


def mask(n, rows):
    raised = np.zeros(n, bool)
    raised[rows] = True
    return raised


def step(alerts, at, rows, evidence=0.0, values=1):
    """Alarms on these rows at that many minutes, evidence 10 there and `evidence` elsewhere."""
    n = len(alerts.groups)
    raised = mask(n, np.asarray(rows, int))
    return alerts.update(START + timedelta(minutes=at), raised, np.where(raised, 10.0, evidence), values)


# -- which group explains --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"camera": "c3"}, (("camera", "c3"),)),
        ({"model": "m1"}, (("model", "m1"),)),
        ({"model": "m1", "camera": "c2"}, (("model", "m1"), ("camera", "c2"))),
    ],
)
def test_the_group_whose_streams_alarm_is_named_even_when_one_is_silent_and_another_alarms(wanted, keys):
    made = fleet(slices=8)
    groups = Groups(made)
    inside = rows_of(made, **wanted)
    stray = next(row for row in range(len(groups)) if row not in inside)
    found = groups.explain(np.append(inside[1:], stray))
    assert found[0].keys == keys
    assert set(found[0].rows) <= set(inside)
    assert found[0].size == len(inside)
    assert sorted(row for one in found for row in one.rows) == sorted([*inside[1:], stray])
    assert found[-1].rows == (stray,)
    assert found[-1].size == 1


def test_two_causes_at_once_are_two_groups():
    made = fleet(models=3, cameras=8, slices=5)
    groups = Groups(made)
    both = np.union1d(rows_of(made, camera="c1"), rows_of(made, model="m2", camera="c5"))
    assert {one.keys for one in groups.explain(both)} == {(("camera", "c1"),), (("model", "m2"), ("camera", "c5"))}


def test_when_nearly_all_alarm_it_is_every_stream_and_few_strays_are_a_group_of_nothing():
    made = fleet()
    groups = Groups(made)
    [whole] = groups.explain(np.arange(1, len(groups)))
    assert (whole.keys, whole.size) == ((), 40)
    strays = [0, 13, 27]  # no two share a camera and a slice
    assert [one.size for one in groups.explain(np.array(strays))] == [1, 1, 1]
    assert groups.explain(np.array([], int)) == []


def test_chance_rarely_looks_like_a_group():
    """600 draws of 8 alarms among 200 streams: with the threshold set for a chance of .05, at most 58 draws show
    a group of what is chance (binomial, a right threshold fails with probability 1e-6).
    """
    groups = Groups(fleet(models=4, cameras=10, slices=5))
    g = rng(0, "chance")
    grouped = sum(
        any(one.size > 1 for one in groups.explain(g.choice(200, 8, replace=False).astype(np.int64)))
        for _ in range(600)
    )
    assert grouped <= 58


# -- opening, closing, once each -------------------------------------------------------------------------------------


def test_a_stream_opens_at_its_alarm_and_closes_only_after_a_quiet_time():
    alerts = AlertList({"camera": ["a", "b", "c"]}, RULES)
    opened = step(alerts, 0, [1]).opened
    assert [(one.keys, one.rows, one.opened) for one in opened] == [((("camera", "b"),), (1,), to_text(START))]
    for at in range(1, 10):
        assert step(alerts, at, [], values=10).closed == ()
    step(alerts, 10, [], evidence=1.0, values=10)  # not below: the count starts again
    for at in range(11, 20):
        assert step(alerts, at, [], values=10).closed == ()
    [closed] = step(alerts, 20, [], values=10).closed
    assert (closed.id, closed.rows) == (1, (1,))
    assert alerts.incidents == ()
    assert alerts.ranked().shown == ()


def test_an_alarm_that_comes_again_and_again_is_one_incident():
    alerts = AlertList({"camera": ["a", "b", "c"]}, RULES)
    changes = [step(alerts, at, [2] if at % 3 == 0 else [], values=30) for at in range(30)]
    assert sum(len(one.opened) for one in changes) == 1
    [only] = alerts.incidents
    assert (only.alarms, only.peak, only.last_alarm) == (10, 10.0, to_text(START + timedelta(minutes=27)))


def test_evidence_that_is_not_there_yet_does_not_close():
    alerts = AlertList({"camera": ["a"]}, RULES)
    step(alerts, 0, [0])
    assert alerts.update(START, [False], [np.nan], 1000).closed == ()
    assert len(alerts.update(START, [False], [0.0], 1000).closed) == 1


def test_hysteresis_is_what_stops_the_flapping():
    """A stream that stays bad: its score climbs from 0 to its limit again and again. With `quiet` shorter than a
    climb, every alarm would be a new incident.
    """

    def count(quiet):
        alerts = AlertList({"camera": ["a"]}, AlertRules(close_below=1.0, quiet=quiet))
        opened = 0
        for at in range(400):
            score = 0.1 * 1.5 ** (at % 20)  # 15 values below 1, then up to 221
            opened += len(alerts.update(START, [at % 20 == 19], [score]).opened)
        return opened

    assert count(50) == 1
    assert count(5) == 20


def test_streams_of_one_cause_that_alarm_one_after_another_become_one_incident():
    made = fleet()
    alerts = AlertList(made, RULES)
    late = rows_of(made, camera="c3")
    first = step(alerts, 0, late[:1]).opened[0]
    alerts.acknowledge(first.id, "ada")
    assert alerts.ranked().shown[0].by == "ada"
    second = step(alerts, 1, late[1:2])
    merged = [second]
    for at, row in enumerate(late[2:], start=2):
        merged.append(step(alerts, at, [row]))
    [only] = alerts.incidents
    assert (only.id, only.keys, only.rows) == (first.id, (("camera", "c3"),), tuple(late.tolist()))
    assert only.alarms == len(late)
    assert only.by == ""  # it is more than what ada looked at
    assert sum(len(one.opened) for one in merged) - sum(len(one.merged) for one in merged) == 0
    assert "camera c3: 8 of 8 streams" in only.summary


def test_a_group_that_shrinks_stays_one_incident():
    made = fleet()
    alerts = AlertList(made, RULES)
    inside = rows_of(made, camera="c3")
    [incident] = step(alerts, 0, inside).opened
    n = len(alerts.groups)
    still = mask(n, inside[:2])
    for at in range(3):  # six of eight recover
        alerts.update(START + timedelta(minutes=at), np.zeros(n, bool), np.where(still, 5.0, 0.0), 50)
    other = rows_of(made, camera="c0")[0]
    changes = step(alerts, 5, [other], evidence=0.0)
    assert [one.rows for one in changes.opened] == [(other,)]
    kept = next(one for one in alerts.incidents if one.id == incident.id)
    assert (kept.keys, kept.rows) == (incident.keys, tuple(inside[:2].tolist()))


# -- the list --------------------------------------------------------------------------------------------------------


def test_the_list_is_short_and_says_what_it_leaves_out():
    n = 60
    alerts = AlertList({"stream": [str(at) for at in range(n)]}, AlertRules(1.0, most=7), weights=np.arange(n))
    step(alerts, 0, range(20))  # fewer than half, and no group but single streams
    ranked = alerts.ranked()
    assert [one.rows[0] for one in ranked.shown] == [19, 18, 17, 16, 15, 14, 13]
    assert (ranked.further, ranked.snoozed) == (13, 0)
    alerts.acknowledge(ranked.shown[0].id, "ada")
    alerts.snooze(ranked.shown[1].id, START + timedelta(hours=1))
    later = alerts.ranked()
    assert [one.rows[0] for one in later.shown] == [17, 16, 15, 14, 13, 12, 11]
    assert (later.further, later.snoozed) == (12, 1)
    awake = alerts.ranked(START + timedelta(hours=1))
    assert awake.shown[0].rows == (18,)
    assert awake.snoozed == 0
    assert len(alerts.incidents) == 20


def test_a_clock_that_goes_backwards_changes_no_order():
    alerts = AlertList({"camera": ["a", "b", "c", "d", "e"]}, RULES)
    step(alerts, 60, [0])
    changes = step(alerts, 0, [1])
    assert changes.opened[0].opened == to_text(START + timedelta(minutes=60)) == alerts.now
    alerts.snooze(1, START + timedelta(minutes=30))
    assert alerts.ranked(START).snoozed == 0  # that time has passed already


def test_streams_that_are_retired_close_at_once():
    alerts = AlertList({"camera": ["a", "b", "c", "d", "e"]}, RULES)
    step(alerts, 0, [0, 1])
    assert len(alerts.incidents) == 2
    changes = alerts.retire([0])
    assert [one.rows for one in changes.closed] == [(0,)]
    assert [one.rows for one in alerts.incidents] == [(1,)]


def test_a_mask_is_not_taken_for_row_numbers():
    keys = {"camera": ["a", "b", "c", "d", "e"]}
    alerts = AlertList(keys, RULES)
    step(alerts, 0, [0, 2])
    before = alerts.save()
    for wrong in ([False, False, True, False, False], [2.9], ["2"]):
        with pytest.raises(InvalidObservation, match="no row numbers"):
            alerts.retire(wrong)
    for wrong in ([False, True, False, True, False], [0.0, 1.0, 2.0, 3.0, 4.0]):
        with pytest.raises(InvalidObservation, match="no row numbers"):
            alerts.moved(keys, wrong)
    assert alerts.save() == before
    assert alerts.retire([]).closed == ()
    assert [one.rows for one in alerts.retire(np.flatnonzero([False, False, True, False, False])).closed] == [(2,)]


def test_streams_come_and_go_and_incidents_stay():
    made = fleet()
    alerts = AlertList(made, RULES)
    inside = rows_of(made, camera="c3")
    step(alerts, 0, [*inside, 1])
    group, single = alerts.ranked().shown
    alerts.acknowledge(single.id, "ada")
    kept = np.delete(np.arange(40), [0, int(inside[0])])
    keys = {name: [*np.array(values)[kept], f"{name[0]}new"] for name, values in made.items()}
    later = alerts.moved(keys, [*kept, -1])
    assert [one.id for one in later.incidents] == [one.id for one in alerts.incidents]
    now = {one.id: one for one in later.incidents}
    assert len(now[group.id].rows) == len(inside) - 1
    assert (now[single.id].rows, now[single.id].by) == ((0,), "ada")
    assert step(later, 1, [len(kept)]).opened[0].keys[0] == ("model", "mnew")
    assert later.moved(keys, np.arange(39)).save() == later.save()
    gone = alerts.moved({"model": ["m0"]}, [2])
    assert gone.incidents == ()
    for wrong in ([0], [0, 0], [0, 40], [0, -2]):
        with pytest.raises(Invalid):
            alerts.moved({"model": ["m0", "m0"]}, wrong)


def test_saved_and_restored_at_any_point_it_goes_on_the_same():
    made = fleet(models=2, cameras=4, slices=3)
    straight = broken = AlertList(made, AlertRules(1.0, quiet=4, most=3), weights=np.linspace(1, 2, 24))
    broken = AlertList.load(straight.save())
    g = rng(1, "save")
    for at in range(120):
        bad = (g.random(24) < 0.02) | (mask(24, rows_of(made, camera="c1")) & (40 < at < 60) & (g.random(24) < 0.3))
        score = np.where(bad, g.uniform(5, 20, 24), g.uniform(0, 1.2, 24))
        when = START + timedelta(minutes=int(g.integers(0, 200)))
        broken = AlertList.load(broken.save())
        assert straight.update(when, bad, score) == broken.update(when, bad, score)
        if at % 10 == 5 and straight.incidents:
            one = straight.incidents[-1].id
            assert straight.acknowledge(one, "ada") == broken.acknowledge(one, "ada")
        assert straight.ranked() == broken.ranked()
        assert all(len(one.rows) for one in straight.incidents)
    assert straight.save() == broken.save()


def test_a_save_that_nobody_made_is_refused():
    alerts = AlertList({"camera": ["a", "b", "c", "d", "e"]}, RULES)
    step(alerts, 0, [0, 2])
    version, packed = unpack_arrays(alerts.save())
    label = loads(packed["label"].tobytes())

    def edited(**changes):
        return pack_arrays({name: np.asarray(array) for name, array in (packed | changes).items()}, version=version)

    def other(**changes):
        return edited(label=np.frombuffer(dumps(label | changes).encode(), np.uint8))

    first, second = label["known"]
    assert AlertList.load(edited()).save() == AlertList.load(other()).save() == alerts.save()
    for wrong in (
        *(edited(**{name: np.zeros((2, 2))}) for name in packed),
        *(edited(**{name: np.array(["x"])}) for name in packed),
        edited(codes=[[9, 9, 9, 9, 9]]),
        edited(incident=[1, -1, 7, -1, -1]),
        edited(incident=[1, -1, -1, -1, -1]),
        edited(label=np.frombuffer(b"[]", np.uint8)),
        other(rules={}),
        other(rules={"close_below": 1.0, "quiet": 0, "most": 1, "depth": 1}),
        other(names=["camera", "model"]),
        other(known=[first]),
        other(known=[first, first]),
        other(known=[first, second | {"rows": [1]}]),
        other(known=[first, {}]),
        other(next=1),
        other(now=5),
    ):
        with pytest.raises(Invalid):
            AlertList.load(wrong)


def test_every_open_stream_is_in_exactly_one_incident():
    made = fleet(models=3, cameras=5, slices=4)
    alerts = AlertList(made, AlertRules(1.0, quiet=6))
    g = rng(2, "invariant")
    for at in range(200):
        bad = g.random(60) < (0.01 if at % 50 < 30 else 0.1)
        changes = alerts.update(START, bad, np.where(bad, 9.0, g.uniform(0, 1.1, 60)))
        rows = [row for one in alerts.incidents for row in one.rows]
        assert len(rows) == len(set(rows))
        assert set(np.flatnonzero(bad)) <= set(rows)
        assert len({one.id for one in alerts.incidents}) == len(alerts.incidents)
        assert not {one.id for one in changes.closed} & {one.id for one in alerts.incidents}


def test_what_does_not_fit_is_refused_and_changes_nothing():
    alerts = AlertList({"camera": ["a", "b"]}, RULES)
    step(alerts, 0, [0])
    before = alerts.save()
    both = ([True, True], [1.0, 1.0])
    counts = [(*both, count) for count in (-1, 1.5, [1.0, np.nan], "1")]
    for alarm, evidence, values in (([True], [1.0, 1.0], 1), ([True, True], [1.0], 1), *counts):
        with pytest.raises(InvalidObservation):
            alerts.update(START, alarm, evidence, values)
    with pytest.raises(Invalid, match="zone"):
        alerts.update(START.replace(tzinfo=None), [True, True], [1.0, 1.0])
    for call in (lambda: alerts.acknowledge(1, " "), lambda: alerts.retire([2]), lambda: AlertList.load(b"x")):
        with pytest.raises(Invalid):
            call()
    for call in (lambda: alerts.acknowledge(9, "ada"), lambda: alerts.snooze(9, START)):
        with pytest.raises(NotFound):
            call()
    assert alerts.save() == before
    for keys, rules in (({}, RULES), ({"a": ["x"], "b": ["x", "y"]}, RULES), ({"a": []}, RULES)):
        with pytest.raises(Invalid):
            AlertList(keys, rules)
    with pytest.raises(Invalid):
        AlertList({"a": ["x"]}, RULES, weights=[-1.0])
    for wrong in ({"close_below": np.nan}, {"close_below": 1.0, "quiet": 0}, {"close_below": 1.0, "most": 0}):
        with pytest.raises(InvalidSetting):
            AlertRules(**wrong)


def test_an_incident_counts_the_streams_of_the_fleet_it_was_moved_to():
    alerts = AlertList({"camera": list("aaaabbbbbb")}, RULES)
    step(alerts, 0, [0, 1, 2, 3])
    (camera,) = alerts.incidents
    assert (camera.keys, camera.size) == ((("camera", "a"),), 4)
    (moved,) = alerts.moved({"camera": list("aab")}, [0, 3, 4]).incidents
    assert (moved.rows, moved.size) == ((0, 1), 2)
    (grown,) = alerts.moved({"camera": list("aaaaab")}, [0, 1, 2, 3, -1, 4]).incidents
    assert (grown.size, grown.summary) == (5, "camera a: 4 of 5 streams; elsewhere 0.0%")
    whole = AlertList({"camera": list("abc")}, RULES)
    step(whole, 0, [0, 1, 2])
    (every,) = whole.moved({"camera": list("ab")}, [0, 1]).incidents
    assert (every.keys, every.size) == ((), 2)
    (other,) = alerts.moved({"lens": list("xy")}, [0, 1]).incidents  # keys that are no more
    assert other.size == 2
