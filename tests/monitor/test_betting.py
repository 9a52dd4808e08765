"""The e-detector: its arithmetic against the definition, its promise by simulation, and wrong ones that break it."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import EDetector, Level
from visutility.monitor.detectors.betting import BETS, shares
from visutility.monitor.stats import clopper_pearson_upper


def knowing(detector, mean, runs):
    """A state of fresh streams whose bound is exactly `mean`: the edge of what the theorem covers."""
    state = detector.init([[0.0] * 10] * runs)
    bound = np.full(runs, mean)
    return replace(state, bound=bound, bets=shares(bound) / bound)


def first_alarms(detector, state, draw, steps):
    """When each stream first alarms (steps where it does not within `steps`), and the score it then stops with."""
    runs = len(state.seen)
    when, score = np.full(runs, steps), np.zeros(runs)
    values = np.full(runs, 0.5)
    for at in range(steps):
        values = draw(values)
        state, said = detector.update(state, values, np.arange(runs))
        for verdict in said:
            if verdict.level is Level.ALARM and when[verdict.stream] == steps:
                when[verdict.stream], score[verdict.stream] = at + 1, verdict.score
    return when, np.where(when < steps, score, detector.scores(state))


def binary(mean, *names):
    g = rng(3, "binary", *names)
    return lambda last: (g.random(len(last)) < mean).astype(float)


def beta(mean, *names):
    g = rng(3, "beta", *names)
    return lambda last: g.beta(4 * mean, 4 * (1 - mean), len(last))


def dependent(mean, *names):
    """The mean given the past never changes; all else does: 0/1 after a high value, close to the mean after a low."""
    g = rng(3, "dependent", *names)

    def draw(last):
        wild = (g.random(len(last)) < mean).astype(float)
        tame = mean * g.uniform(0.9, 1.1, len(last))
        return np.where(last >= mean, wild, np.where(g.random(len(last)) < 0.1, wild, tame))

    return draw


STREAMS = [binary, beta, dependent]


def test_the_score_is_the_mixture_of_sums_over_starting_points():
    detector = EDetector(arl=1e9)
    state = detector.init([(rng(0, "r").random(80) < 0.2).astype(float)])
    values = rng(0, "v").random(40)
    bound, bets = state.bound[0], state.bets[:, 0]
    for t, value in enumerate(values, start=1):
        state, _ = detector.update(state, [value])
        gains = 1 + bets[:, None] * (values[:t] - bound)
        wanted = np.mean([sum(np.prod(gain[j:]) for j in range(t)) for gain in gains])
        assert detector.scores(state)[0] == pytest.approx(wanted, rel=1e-12)
    best = [max((np.prod(gain[j:]), j) for j in range(len(values))) for gain in gains]
    evidence = detector.evidence(state)
    assert evidence["since"] == max(best)[1]
    assert evidence["mean_since"] == pytest.approx(values[max(best)[1] :].mean())
    assert evidence["values_since"] == len(values) - evidence["since"]


def test_what_is_learnt_is_the_exact_bound():
    reference = [0.0] * 147 + [1.0] * 3
    detector = EDetector(delta=0.01)
    learnt = detector.learnt(detector.init([reference]))
    assert learnt == {
        "reference_size": 150,
        "reference_mean": pytest.approx(0.02),
        "bound": clopper_pearson_upper(3, 150, 0.01),
    }
    assert stats.binom.cdf(3, 150, learnt["bound"]) == pytest.approx(0.01)


def test_falling_values_are_told_in_their_own_units():
    detector = EDetector(direction="fall", low=0.0, high=10.0)
    state = detector.init([rng(0, "ten").uniform(8, 10, 200)])
    assert 7.5 < detector.learnt(state)["bound"] < detector.learnt(state)["reference_mean"]
    _, said = detector.update(state, [4.0] * 100)
    evidence = next(verdict.evidence for verdict in said if verdict.level is Level.ALARM)
    assert evidence["since"] == 0
    assert evidence["mean_since"] == pytest.approx(4.0)
    assert evidence["bet_mean"] < evidence["bound"] < evidence["reference_mean"]


def test_range_and_unit_do_not_matter():
    """Values, reference and range moved and scaled alike: the same verdicts."""
    reference, values = rng(0, "unit").beta(2, 8, 100), rng(0, "unit values").beta(5, 5, 100)
    plain, moved = EDetector(arl=1e4), EDetector(arl=1e4, low=-4.0, high=4.0)
    _, wanted = plain.update(plain.init([reference]), values)
    _, said = moved.update(moved.init([8 * reference - 4]), 8 * values - 4)
    assert said.position.tolist() == wanted.position.tolist() != []
    assert said.score == pytest.approx(wanted.score)


def test_bets_stay_where_wealth_stays_positive():
    bounds = np.concatenate([np.geomspace(1e-9, 0.5, 50), 1 - np.geomspace(1e-9, 0.5, 50)])
    share = shares(bounds)
    assert share.shape == (BETS, len(bounds))
    assert (share > 0).all()
    assert (share < 1).all()
    assert (np.diff(share, axis=0) > 0).all()


def test_a_jump_is_seen_at_once_and_never_before():
    """Errors .02 -> .5 with a reference of 150: the issue's demo. Delays from a fixed seed; none is pinned."""
    detector, delays = EDetector(), []
    for seed in range(50):
        g = rng(seed, "jump")
        state = detector.init([(g.random(150) < 0.02).astype(float)])
        values = np.concatenate([g.random(500) < 0.02, g.random(300) < 0.5]).astype(float)
        _, said = detector.update(state, values)
        alarms = said.position[said.level == Level.ALARM]
        assert alarms[0] >= 500  # a false one has probability at most 500 / 1e6 + .01 a seed
        delays.append(alarms[0] - 499)
    assert np.median(delays) <= 22
    assert max(delays) <= 60
    assert abs(said.reasons[0]["since"] - 500) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
def test_promise_at_the_edge_within_a_time(stream):
    """Exact: P(alarm within T) <= T / arl (Doob). A right one fails with probability at most 1e-6."""
    runs, steps, arl = 3000, 400, 2000
    detector = EDetector(arl=arl)
    when, _ = first_alarms(detector, knowing(detector, 0.2, runs), stream(0.2), steps)
    assert (when < steps).sum() <= stats.binom.isf(1e-6, runs, steps / arl)


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
def test_the_stopped_score_has_the_mean_of_its_age(stream):
    """M - t is a martingale at the edge: E[M at the stop] = E[the stop]. Six standard errors: 2e-9 by the normal."""
    runs, steps = 3000, 400
    detector = EDetector(arl=2000)
    when, score = first_alarms(detector, knowing(detector, 0.2, runs), stream(0.2, "stopped"), steps)
    gap = score - when
    assert abs(gap.mean()) <= 6 * gap.std() / np.sqrt(runs)


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
def test_mean_run_length_at_the_edge(stream):
    """Mean of 500 run lengths, cut at 20 arl, is at least arl. Their spread is at most their mean, near enough, so
    that five standard errors below (.78 arl) has probability 3e-7 if the mean were exactly arl."""
    arl, runs = 300, 500
    detector = EDetector(arl=arl)
    when, _ = first_alarms(detector, knowing(detector, 0.3, runs), stream(0.3, "run length"), 20 * arl)
    assert when.mean() >= arl * (1 - 5 / np.sqrt(runs))


@dataclass(frozen=True, slots=True)
class Squared(EDetector):
    """Wrong: multiplies by L squared, whose mean is above 1."""

    def step(self, work, values):
        gain = (1 + work.bets * (values - work.bound)) ** 2
        work.wealth[:] = (work.wealth + 1 / BETS) * gain
        work.score[:] = work.wealth.sum(axis=0)
        return np.where(work.score >= self.arl, 2, 0).astype(np.int8), work.score.copy(), np.full(len(values), self.arl)


@pytest.mark.slow
def test_squared_gains_break_the_promise():
    runs, steps, arl = 3000, 400, 2000
    when, _ = first_alarms(Squared(arl=arl), knowing(Squared(arl=arl), 0.2, runs), binary(0.2), steps)
    assert (when < steps).sum() > stats.binom.isf(1e-6, runs, steps / arl)


def learnt_alarms(*, plug_in):
    """How many of 1,000 streams, each with its own reference of 50, alarm within 1,000 values at arl 1e6."""
    runs, steps, rate, g = 1000, 1000, 0.2, rng(4, "references")
    detector = EDetector(arl=1e6, delta=0.01)
    state = detector.init((g.random((runs, 50)) < rate).astype(float))
    if plug_in:
        mean = np.maximum(state.mean, 0.5 / 50)
        state = replace(state, bound=mean, bets=shares(mean) / mean)
    when, _ = first_alarms(detector, state, binary(rate, "learnt"), steps)
    return (when < steps).sum(), stats.binom.isf(1e-6, runs, steps / 1e6 + 0.01)


@pytest.mark.slow
def test_promise_with_a_learnt_bound():
    """Exact: P(alarm within T) <= T / arl + delta over references. Fails with probability at most 1e-6 if right."""
    alarms, most = learnt_alarms(plug_in=False)
    assert alarms <= most


@pytest.mark.slow
def test_the_plain_reference_mean_breaks_the_promise():
    """Wrong: the reference's mean instead of its upper bound is too low for half of all references."""
    alarms, most = learnt_alarms(plug_in=True)
    assert alarms > 2 * most


@pytest.mark.slow
def test_wealth_neither_overflows_nor_vanishes():
    detector = EDetector(arl=1e100, delta=0.5)
    state = detector.init([[0.0] * 1000, [0.5] * 1000])
    for values in (np.zeros(30_000), np.ones(30_000), np.zeros(10)):
        state, _ = detector.update(state, np.repeat(values, 2), np.tile([0, 1], len(values)))
        assert np.isfinite(detector.scores(state)).all()
        assert (detector.scores(state) > 0).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"arl": 1.0},
        {"arl": float("nan")},
        {"arl": 1e101},
        {"delta": 0.0},
        {"delta": 1.0},
        {"warning": 0.0},
        {"warning": 1.5},
        {"low": None},
        {"high": float("inf")},
        {"low": 1.0, "high": 1.0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting, match=re.escape(repr(next(iter(settings.values()))))):
        EDetector(**settings)


def test_a_reference_as_bad_as_can_be_is_refused():
    with pytest.raises(InvalidObservation, match=r"reference window 1 may be as bad .* direction is 'rise'"):
        EDetector().init([[0.0] * 20, [1.0] * 20])


def test_a_warning_comes_once_an_excursion():
    detector = EDetector(arl=1e6, warning=1e-3)
    state = detector.init([[0.0] * 50])
    _, said = detector.update(state, [1.0] * 4 + [0.0] * 400 + [1.0] * 10)
    assert [str(verdict.level) for verdict in said] == ["warning", "warning", "alarm"]
    quiet = replace(detector, warning=1.0)
    _, said = quiet.update(quiet.init([[0.0] * 50]), [1.0] * 40)
    assert set(said.level.tolist()) == {Level.ALARM}
