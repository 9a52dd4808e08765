"""The seasonal detector: what ranks does, with a baseline for each part of the season."""

from dataclasses import fields

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Fleet, Level, Ranks, Seasonal
from visutility.monitor.detectors.ranks import RankState
from visutility.monitor.detectors.seasonal import SeasonalState

PERIOD = 240


def days(*names, streams=20, count=16, spread=0.5):
    """Values (streams, n) with a daily wave of amplitude 1."""
    t = np.arange(count * PERIOD)
    noise = spread * rng(0, "seasonal", *names).standard_normal((streams, len(t)))
    return np.sin(2.0 * np.pi * t / PERIOD) + noise


def autoregressive(rho, streams, steps, *names):
    noise = rng(7, "autoregressive", *names).standard_normal((steps, streams)) * np.sqrt(1.0 - rho * rho)
    values, last = np.empty((streams, steps)), noise[0] / np.sqrt(1.0 - rho * rho)
    for at in range(steps):
        last = rho * last + noise[at]
        values[:, at] = last
    return values


def alarms(detector, values):
    """First alarm of each stream, or None."""
    first = [None] * len(values)
    for verdict in Fleet(detector, streams=len(values)).update(values):
        if verdict.level is Level.ALARM and first[verdict.stream] is None:
            first[verdict.stream] = verdict.position
    return first


@pytest.mark.slow
def test_a_rise_that_the_season_hides_is_seen_and_the_season_itself_is_not():
    # The wave's amplitude is four times the rise: without a season, ranks sees dependence and nothing else.
    values, change = days("hidden"), 13 * PERIOD
    values[:, change:] += 0.5
    seasonal = alarms(Seasonal(period=PERIOD, phases=12), values)
    assert sum(at is not None and change <= at < change + 100 for at in seasonal) >= 18
    assert sum(at is not None and at >= change for at in alarms(Ranks(), values)) <= 2


@pytest.mark.slow
def test_parts_that_differ_in_everything_keep_the_promise():
    # By day exponential, by night lognormal about -5: exchangeable within each part, so the theorem holds. An alarm
    # within T = arl / 5 has probability at most .2; of 400 streams at most 119 then, but for 1e-6.
    from scipy import stats

    draw, runs, phases, steps = rng(1, "parts"), 400, 2, 200 + 400
    t = np.arange(steps)
    night = (t % 20 >= 10)[None]
    values = np.where(night, draw.lognormal(size=(runs, steps)) - 5.0, draw.standard_exponential((runs, steps)))
    early = sum(at is not None for at in alarms(Seasonal(period=20, phases=phases, arl=2000, learning=96), values))
    most = int(stats.binom.isf(1e-6, runs, 400 / 2000))
    assert early <= most
    broken = sum(at is not None for at in alarms(Seasonal(period=20, phases=phases, arl=200, learning=96), values))
    assert broken > most  # a tenth of the threshold does not pass


def test_the_reference_window_ends_where_the_stream_begins():
    values = days("reference", streams=1, count=14)[0]
    cut = 13 * PERIOD + 77
    detector = Seasonal(period=PERIOD, phases=4)
    state = detector.init([values[:cut]])
    after, said = detector.update(state, values[cut:])
    assert len(said) == 0
    assert int(after.turn[0]) == len(values)
    assert detector.evidence(after)["phase"] == (len(values) - 1) % PERIOD * 4 // PERIOD
    medians = detector.learnt(after)
    assert medians["median_0"] > 0.3 > -0.3 > medians["median_2"]  # morning and afternoon of a sine


@pytest.mark.slow
def test_autocorrelated_values_do_not_cry_wolf():
    """3 alarms in a million of them; 240,000 have 6 or more with probability 1e-4. Bets from 96 values a part on,
    before dependence is measured, alarm more often than that."""
    values = autoregressive(0.95, 60, 4000, "seasonal")
    detector = Seasonal(period=PERIOD, phases=4)
    _, said = detector.update(detector.init(60), values)
    assert (said.level == Level.ALARM).sum() < 6


def test_dependence_is_measured_on_the_ranks_of_all_parts():
    values = days("all parts", streams=2, count=8)
    detector = Seasonal(period=PERIOD, phases=4)
    state, _ = detector.update(detector.init(2), values)
    assert state.ranked.tolist() == [8 * PERIOD - 4 * 96] * 2
    assert state.power / state.ranked == pytest.approx([1 / 12] * 2, rel=0.1)


def test_a_lasting_fall_starts_all_parts_anew():
    values = days("fall", streams=1, count=16)
    values[:, 8 * PERIOD :] -= 3.0
    detector = Seasonal(period=PERIOD, phases=4, learning=96)
    before, _ = detector.update(detector.init(1), values[:, : 8 * PERIOD])
    after, _ = detector.update(before, values[:, 8 * PERIOD :])
    assert (after.count <= before.count).all()  # they would be twice as many
    assert all(detector.learnt(after)[f"median_{part}"] < -1.5 for part in range(4))


def test_its_state_is_that_of_ranks():
    mine = {one.name for one in fields(SeasonalState)} - {"turn"}
    assert mine == {one.name for one in fields(RankState)}


@pytest.mark.parametrize(("period", "phases"), [(24, 1), (24, 5), (5, 10), (24, 0), (1, 1)])
def test_parts_have_to_divide_the_period(period, phases):
    with pytest.raises(InvalidSetting, match=f"period {period} does not have {phases}"):
        Seasonal(period=period, phases=phases)
