"""`seasonal` by the clock: the part of a season is that of each value's time, whatever the pace of the stream."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from visutility.core import codec
from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import DETECTORS, Fleet, Level, Seasonal, make_detector
from visutility.monitor.state import arrays
from visutility.testing.detectors import DETECTOR_CHECKS, DetectorCase, losses

DAY = 86_400
MONDAY = datetime(2026, 1, 5, tzinfo=UTC).timestamp()


def traffic(name, days=20, streams=4):
    """Times (streams, n), 240 a day on average: by day five for each one at night, on busy days many times those of
    calm ones."""
    draw = rng(0, "traffic", name)
    hours = draw.choice(24, p=np.repeat([1, 5, 1], [8, 12, 4]) / 72, size=(streams, days * 240))
    busy = draw.lognormal(sigma=0.7, size=days)
    when = np.sort(draw.choice(days, p=busy / busy.sum(), size=hours.shape), axis=1)
    return np.sort(MONDAY + DAY * when + np.floor(3600 * (hours + draw.random(hours.shape))), axis=1)


def wave(name, at, spread=0.3):
    return np.sin(2.0 * np.pi * at / DAY) + spread * rng(0, "wave", name).standard_normal(at.shape)


def equal(one, other):
    return all(np.array_equal(array, arrays(other)[name]) for name, array in arrays(one).items())


class ByPosition(Seasonal):
    """Gives each value a time that jumps to and fro and follows from its position, so that the suite can judge it."""

    def update(self, state, values, ids=None):
        given = np.asarray(values)
        if ids is None:
            position = state.seen[:, None] + np.arange(given.shape[-1] if given.ndim else 0)
        else:
            rows = np.asarray(ids).astype(int).clip(0, len(state.seen) - 1)
            position = state.seen[rows] + np.array([(rows[:at] == row).sum() for at, row in enumerate(rows)], int)
        return super().update(state, values, ids, at=(position * 7919 * 60) % (3 * DAY))


CASE = DetectorCase(
    "seasonal by the clock",
    ByPosition(season="day", phases=2, arl=2000),
    losses(0.2),
    losses(0.4),
    arl=2000,
    growing=True,
)


@pytest.mark.slow
@pytest.mark.parametrize("check", DETECTOR_CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(CASE)


@pytest.mark.slow
def test_what_the_hour_hides_is_seen_whatever_the_pace():
    at = traffic("seen", days=32, streams=20)
    values = wave("seen", at)
    changed = MONDAY + 27 * DAY
    values[at >= changed] += 0.3

    def found(detector):
        fleet, false, seen = Fleet(detector, streams=20), 0, set()
        for verdict in fleet.update(values, at=at):
            if verdict.level is Level.ALARM:
                late = at[verdict.stream, verdict.position] >= changed
                seen |= {verdict.stream} if late else set()
                false += not late
        return len(seen), false

    assert found(Seasonal(season="day", phases=24)) == (20, 0)
    seen, false = found(Seasonal(period=240, phases=24))
    assert seen <= 5 or false >= 5


@pytest.mark.slow
def test_parts_that_still_learn_leave_what_others_have_won():
    """Every 24th value has a time of the night, which learns for months; by day a small rise is seen all the same."""
    position = np.arange(4000)
    at = MONDAY + position * 600 % DAY
    at = np.where(at % DAY < 6 * 3600, at + 6 * 3600, at)
    at[::24] = MONDAY
    values = rng(0, "learning").standard_normal(4000)
    values[3000:] += 0.5
    detector = Seasonal(season="day", phases=4, learning=192)
    state, said = detector.update(detector.init(1), values, at=at)
    first = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert 3040 < first.position < 3200
    assert first.evidence["values_since"] > 40
    assert 96 < state.count[0, 0] < 192


@pytest.mark.parametrize("learnt", [0, 120])
def test_values_of_parts_that_still_learn_do_not_dilute_the_evidence(learnt):
    """By night there is no bet yet: neither with fewer than 96 values, nor with ranks that nothing is staked on."""
    draw = rng(0, "diluted")
    detector = Seasonal(season="day", phases=2, learning=200)
    before, after = draw.standard_normal(1000 + learnt), 1.5 + draw.standard_normal(40)
    state, _ = detector.update(detector.init(1), before, at=np.where(np.arange(len(before)) < 1000, 0, DAY // 2))
    alone, _ = detector.update(state, after, at=0.0)
    mixed, _ = detector.update(state, np.repeat(after, 2), at=np.tile([0, DAY // 2], 40))
    wanted, found = detector.evidence(alone), detector.evidence(mixed)
    assert wanted["rank_since"] > 0.75
    assert found["rank_since"] == pytest.approx(wanted["rank_since"], abs=0.03)
    later = max(wanted["since"] - len(before), 0)
    assert found["since"] == wanted["since"] + later
    assert found["values_since"] == wanted["values_since"] + 40 - later
    assert (found["value_since"] == found["baseline_median"] == 0.0) == (not learnt)


@pytest.mark.slow
def test_the_promise_holds_where_parts_differ_in_everything_and_learn_at_their_own_pace():
    """By day exponential, by night, a third as often, lognormal about -5: the theorem holds. An alarm within
    T = .3 arl has probability at most .3; of 400 streams at most 165 then, but for 1e-6."""
    draw, runs, steps = rng(1, "parts by the clock"), 400, 600
    night = draw.random((runs, steps)) < 0.25
    values = np.where(night, draw.lognormal(size=night.shape) - 5.0, draw.standard_exponential(night.shape))
    at = MONDAY + DAY * draw.integers(9, size=night.shape) + np.where(night, 0, DAY // 2)

    def early(arl):
        fleet = Fleet(Seasonal(season="day", phases=2, arl=arl, learning=96), streams=runs)
        return int(fleet.update(values, at=at).alarm.sum())

    most = int(stats.binom.isf(1e-6, runs, steps / 2000))
    assert early(2000) <= most
    assert early(200) > most  # a tenth of the threshold does not pass


@pytest.mark.slow
def test_any_cut_of_times_and_values_gives_the_same():
    at = traffic("cut", days=8, streams=3)
    at[:, 500:] = at[:, 500:][:, ::-1]  # backwards from there on
    values = wave("cut", at)
    values[:, 1500:] += 2.0
    detector = Seasonal(season="day", phases=4, learning=96, arl=1e4)
    whole, said = detector.update(detector.init(3), values, at=at)
    assert said.alarm.any()
    for width in (1, 7, 640):
        state, found = detector.init(3), []
        for first in range(0, values.shape[1], width):
            part = slice(first, first + width)
            state = detector.load(detector.save(state))
            state, more = detector.update(state, values[:, part], at=at[:, part])
            found += list(more)
        assert found == list(said)
        assert equal(state, whole)


@pytest.mark.slow
def test_dense_is_ragged_and_alone():
    at = traffic("ragged", days=5, streams=3)
    values = wave("ragged", at)
    values[:, 900:] += 2.0
    detector = Seasonal(season="day", phases=3, learning=96, arl=1e4)
    dense, said = detector.update(detector.init(3), values, at=at)
    ids = np.tile(np.arange(3), values.shape[1])
    ragged, other = detector.update(detector.init(3), values.T.ravel(), ids, at=at.T.ravel())
    assert list(said) == list(other) != []
    assert equal(dense, ragged)
    for stream in range(3):
        _, own = detector.update(detector.init(1), values[stream], at=at[stream])
        assert [one[1:] for one in own] == [one[1:] for one in said if one.stream == stream]


@pytest.mark.slow
def test_a_fleet_takes_times_and_keeps_them_apart_after_streams_came_and_went(tmp_path):
    at = traffic("fleet", days=5, streams=3)
    values = wave("fleet", at)
    detector = Seasonal(season="day", phases=3, learning=96)
    fleet = Fleet(detector, streams=4)
    fleet.remove(1)
    fleet.update(values[:, :700], at=at[:, :700])
    fleet.save(tmp_path / "fleet")
    fleet = Fleet.load(tmp_path / "fleet")
    fleet.update(values[:, 700:].T.ravel(), np.tile([0, 2, 3], values.shape[1] - 700), at=at[:, 700:].T.ravel())
    for row, stream in enumerate((0, 2, 3)):
        alone, _ = detector.update(detector.init(1), values[row], at=at[row])
        assert fleet.evidence(stream) == detector.evidence(alone)
        assert fleet.learnt(stream) == detector.learnt(alone)


def test_the_part_is_that_of_the_time_and_of_nothing_else():
    detector = Seasonal(season="day", phases=24, zone="Europe/Berlin")
    state = detector.init(1)
    moments = [datetime(2026, 7, 1, hour, tzinfo=UTC) for hour in (10, 3, 3, 22)]
    for moment, hour in zip(moments, (12, 5, 5, 0), strict=True):
        state, _ = detector.update(state, [0.5], at=moment)
        assert detector.evidence(state)["phase"] == hour
    assert state.count[[12, 5, 0], 0].tolist() == [1, 2, 1]
    assert state.count.sum() == 4
    once, _ = detector.update(detector.init(1), np.full(4, 0.5), at=moments)
    assert equal(once, state)


def test_one_time_serves_a_batch_and_a_column():
    detector = Seasonal(season="day", phases=24)
    state, _ = detector.update(detector.init(2), np.zeros((2, 3)), at=MONDAY + 3600 * 5)
    assert state.count[5].tolist() == [3, 3]
    state, _ = detector.update(state, np.zeros((2, 2)), at=MONDAY + 3600 * np.array([6, 7]))
    assert state.count[5:8].tolist() == [[3, 3], [1, 1], [1, 1]]
    state, _ = detector.update(state, np.zeros(2), [1, 1], at=MONDAY)
    assert state.count[0].tolist() == [0, 2]


@pytest.mark.parametrize("at", [None, np.nan, [0.0, 1.0, 2.0], np.ma.array([0.0, 1.0], mask=[True, False])])
def test_without_times_nothing_is_taken(at):
    fleet = Fleet(Seasonal(season="day", phases=24), streams=2)
    fleet.update([[0.1], [0.2]], at=MONDAY)
    before = fleet.detector.save(fleet._state)
    for values, ids in (([[0.1, 0.2], [0.3, 0.4]], None), ([0.1, 0.2], [0, 1])):
        with pytest.raises(InvalidObservation) as caught:
            fleet.update(values, ids, at=at)
        assert caught.value.hint
    with pytest.raises(InvalidObservation, match="nan"):
        fleet.update([[np.nan], [0.0]], at=MONDAY)
    assert fleet.detector.save(fleet._state) == before
    assert len(fleet.update(np.zeros((2, 0)))) == len(fleet.update([], [])) == 0
    assert fleet.detector.save(fleet._state) == before


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_all_other_detectors_take_times_and_do_not_look_at_them(kind):
    detector = make_detector(kind)
    references = [(rng(0, "others").random(200) < 0.1).astype(float)]
    values = (rng(1, "others").random(100) < 0.1).astype(float)
    wanted, _ = detector.update(detector.init(references), values)
    given, _ = detector.update(detector.init(references), values, at=np.arange(100.0) * DAY)
    assert equal(wanted, given)


def test_a_reference_window_teaches_a_clocked_detector_nothing():
    detector = Seasonal(season="day", phases=24)
    assert equal(detector.init([np.arange(600.0), np.arange(50.0)]), detector.init(2))
    promise = detector.promise(600)
    assert "24 parts of the season (day, UTC)" in promise
    assert "600 values without times, nothing is learnt" in promise
    assert "whatever these are, at times that do not depend on the values: the mean time" in promise
    assert "at times" not in Seasonal().promise(600)
    assert "3600 seconds" not in promise
    assert "3600 seconds, Europe/Berlin" in replace(detector, season=3600, zone="Europe/Berlin").promise(0)


def test_states_saved_before_there_were_clocks_are_read():
    detector = Seasonal(period=240, phases=4)
    state, _ = detector.update(detector.init(1), np.arange(300.0))
    version, packed = codec.unpack_arrays(detector.save(state))
    label = codec.loads(packed["detector"].tobytes())
    assert (label["settings"].pop("season"), label["settings"].pop("zone")) == (None, "UTC")
    packed["detector"] = np.frombuffer(codec.dumps(label).encode(), np.uint8)
    old = codec.pack_arrays(packed, version=version)
    assert equal(detector.load(old), state)
    for other in (Seasonal(season="day", phases=4), Seasonal(period=240, phases=8)):
        with pytest.raises(codec.Invalid):
            other.load(old)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"season": "month"}, "season 'month' is unknown"),
        ({"season": 0}, "season 0 is unknown"),
        ({"season": ""}, "season '' is unknown"),
        ({"season": "day", "zone": "Europe/Atlantis"}, "zone 'Europe/Atlantis' is unknown"),
        ({"season": "day", "period": 240}, "came with period 240"),
        ({"season": "day", "phases": 1}, r"phases 1 is not in \[2, 1000\]"),
        ({"season": "day", "phases": 1001}, r"phases 1001 is not in"),
        ({"zone": "Europe/Berlin"}, "came without a season"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(InvalidSetting, match=message):
        make_detector("seasonal", **settings)
