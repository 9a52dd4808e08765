"""The dependence-aware detector: what it predicts, what it promises under its law, and what it sees."""

import numpy as np
import pytest

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Level, make_detector
from visutility.monitor.detectors import _blend
from visutility.monitor.detectors._blend import BlendState, blend, fresh_blend
from visutility.monitor.detectors.dependent import Dependent
from visutility.monitor.state import arrays, copy, take


def chain(draw, n, rate, rho):
    """Errors of a two-state chain, shape (len(rate), n): `rate` (n,) at each time, lag-1 autocorrelation rho."""
    u, last = draw.random(n), draw.random() < rate[0]
    found = np.empty(n)
    for t in range(n):
        last = u[t] < (rate[t] + rho * (1.0 - rate[t]) if last else rate[t] * (1.0 - rho))
        found[t] = last
    return found


def hidden(draw, n, stay, rates):
    """Errors whose rate jumps between two."""
    state = (np.cumsum(draw.random(n) >= stay) + draw.integers(2)) % 2
    return (draw.random(n) < np.array(rates)[state]).astype(np.float64)


def independent(draw, n, rate, after=0, worse=0.0):
    return np.concatenate([draw.random(n) < rate, draw.random(after) < worse]).astype(np.float64)


def alarms(detector, streams):
    """Positions of the alarms of each row."""
    _, said = detector.update(detector.init(len(streams)), np.stack(streams))
    return [said.position[(said.stream == at) & (said.level == Level.ALARM)] for at in range(len(streams))]


def median_delay(detector, streams, change):
    """Median over rows of the values from the change to the first alarm after it; a miss is infinite."""
    first = [found[found >= change] for found in alarms(detector, streams)]
    return float(np.median([found[0] - change + 1 if len(found) else np.inf for found in first]))


def test_a_prediction_is_bayes_rule_on_whole_sequences(monkeypatch):
    """Brute force: the product of predictions is the mixture's probability of the sequence, model by model."""
    monkeypatch.setattr(_blend, "FEW", 0.0)
    values = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    work = BlendState(seen=np.zeros(1, np.int64), **fresh_blend(1))
    weights = work.weights[:, 0] / work.weights.sum()
    chance = 1.0
    for value in values:
        chance *= float(blend(work, np.array([value])).chance[0])
    ones, independent_, chained, last = 0, 1.0, 1.0, 0
    counts = {0: [0, 0], 1: [0, 0]}
    for n, value in enumerate(int(v) for v in values):
        rate, after = (ones + 0.5) / (n + 1), (counts[last][1] + 0.5) / (sum(counts[last]) + 1)
        independent_ *= rate if value else 1 - rate
        chained *= after if value else 1 - after
        counts[last][value] += 1
        ones, last = ones + value, value
    assert chance == pytest.approx(weights[0] * independent_ + weights[1] * chained, rel=1e-5)  # the rest has 1.5e-6
    assert work.weights[1, 0] / work.weights[0, 0] == pytest.approx(chained / independent_)


def test_predictions_of_a_jumping_rate_come_true():
    """On a hidden-state stream what is predicted at a rate happens about as often, and the right models win."""
    streams = np.stack([hidden(rng(0, "calibrated", at), 6000, 0.98, (0.05, 0.5)) for at in range(40)])
    work = BlendState(seen=np.zeros(40, np.int64), **fresh_blend(40))
    rates = np.stack([blend(work, column).rate for column in streams.T], axis=1)[:, 1000:]
    later = streams[:, 1000:]
    for low, high in ((0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.55)):
        inside = (rates >= low) & (rates < high)
        assert inside.sum() > 5000
        assert later[inside].mean() == pytest.approx(rates[inside].mean(), abs=0.07)
    assert (work.weights[2:].sum(axis=0) > 0.99 * work.weights.sum(axis=0)).all()


def gain_of_the_promise(limit):
    """Mean and standard error of (stakes laid until an alarm, or 500 values) - 60 if there was one, in units of 60.

    Each value is drawn with the probability that the detector predicts: the promise is that the mean is not negative.
    Streams are primed at a rate of .93, where a value can raise the winnings by a twentieth at most: next to no
    overshoot hides a limit that is too low.
    """
    detector, runs = Dependent(arl=limit, learning=20, warning=1.0), 12_000
    draw = rng(0, "law")
    one = detector.init([(draw.random(400) < 0.93).astype(np.float64) for _ in range(40)])
    state, gain = take(one, np.arange(runs) % 40), np.zeros(runs)
    left = np.arange(runs)
    for _ in range(500):
        known = blend(copy(state), np.zeros(len(left)))
        gain[left] += detector.stake(state.age, known, state.inflation)
        said = detector.advance(state, (draw.random(len(left)) < known.rate).astype(np.float64)[:, None])
        gain[left[said.alarm]] -= 60.0
        stay = np.flatnonzero(~said.alarm)
        left, state = left[stay], take(state, stay)
    return gain.mean() / 60.0, gain.std() / 60.0 / np.sqrt(runs)


@pytest.mark.slow
def test_the_promise_is_kept_under_the_detectors_own_law():
    """A right detector fails with probability 1e-4; one with a limit a tenth lower was 7 errors off and more, of 21."""
    mean, error = gain_of_the_promise(60.0)
    assert mean > -3.7 * error
    mean, error = gain_of_the_promise(54.0)
    assert mean < -3.7 * error


@pytest.mark.slow
def test_the_winnings_are_a_martingale_under_the_detectors_own_law():
    """E[score at a stopping time] = E[stakes until then]: 300 values, or an alarm. A right one fails with 1e-6."""
    detector, runs = Dependent(arl=300.0, learning=20, warning=1.0), 2000
    draw = rng(0, "martingale")
    state = detector.init(runs)
    gained = np.zeros(runs)
    running = np.ones(runs, np.bool_)
    for _ in range(300):
        known = blend(copy(state), np.zeros(runs))
        gained -= np.where(running, detector.stake(state.age, known, state.inflation), 0.0)
        said = detector.advance(state, (draw.random(runs) < known.rate).astype(np.float64)[:, None])
        gained += np.where(running & said.alarm, said.evidence, 0.0)
        running &= ~said.alarm
    gained += np.where(running, detector.scores(state), 0.0)
    assert abs(gained.mean()) < 4.9 * gained.std() / np.sqrt(runs)


@pytest.mark.slow
def test_independent_errors_are_seen_as_fast_as_promised():
    """Medians of 60; the published ones are of 300 (docs/detector-dependent.md)."""
    for size, most in ((0.1, 290), (0.3, 46)):
        streams = [independent(rng(0, "rise", at), 3500, 0.2, 600, 0.2 + size) for at in range(60)]
        assert median_delay(Dependent(), streams, 3500) <= most * (2.0 if size == 0.1 else 2.2)


@pytest.mark.slow
def test_chained_errors_raise_few_alarms_and_a_rise_is_seen():
    """ρ = .6 at a rate of .15: a detector that takes the values for independent would alarm on nearly every stream."""
    rate = np.concatenate([np.full(5000, 0.15), np.full(800, 0.4)])
    streams = [chain(rng(0, "chain", at), 5800, rate, 0.6) for at in range(40)]
    found = alarms(Dependent(), streams)
    assert sum((positions < 5000).sum() for positions in found) <= 3  # 200,000 values at 5 per 1e6: P(> 3) = .02
    assert median_delay(Dependent(), streams, 5000) < 240


@pytest.mark.slow
@pytest.mark.parametrize(("stay", "rates"), [(0.99, (0.05, 0.25)), (0.98, (0.1, 0.4))])
def test_hidden_states_raise_few_alarms(stay, rates):
    """600,000 values: at 10 per 1e6 more than 18 have probability 1e-5; taken for independent there would be 100."""
    streams = [hidden(rng(0, "hidden", str(stay), at), 10_000, stay, rates) for at in range(60)]
    assert sum(map(len, alarms(Dependent(), streams))) <= 18


def test_after_a_rare_error_another_is_less_of_a_surprise():
    """Independence would say .015 after 1 error in 99 values; a second one is not 60 times as likely."""
    work = BlendState(seen=np.zeros(1, np.int64), **fresh_blend(1))
    for value in [0.0] * 98 + [1.0]:
        blend(work, np.array([value]))
    known = blend(copy(work), np.array([1.0]))
    assert known.mean[0] == pytest.approx(0.015)
    assert known.rate[0] == pytest.approx(0.15)
    for value in ([0.0] * 19 + [1.0]) * 10:  # errors that none follows: independence is nearer
        blend(work, np.array([value]))
    assert blend(work, np.array([1.0])).rate[0] == pytest.approx(0.75 / 15)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "rho", "most"), [(0.005, 0.5, 5), (0.02, 0.8, 15)])
def test_rare_errors_in_pairs_and_bursts_raise_few_alarms(rate, rho, most):
    """500,000 values of streams without a past: taken for independent at first, they would raise 70 and more."""
    streams = [chain(rng(0, "rare", at), 5000, np.full(5000, rate), rho) for at in range(100)]
    assert sum(map(len, alarms(Dependent(), streams))) <= most


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.005, 0.5])
def test_independent_errors_raise_few_alarms(rate):
    """10^6 values from a cold start: at 1 per 1e6 there are more than 8 with probability 1e-6."""
    streams = [independent(rng(0, "null", at), 10_000, rate) for at in range(100)]
    assert sum(map(len, alarms(Dependent(), streams))) <= 8


def test_alternations_and_constants_raise_no_alarm():
    n = np.arange(2000)
    assert not any(map(len, alarms(Dependent(), [n % 2 * 1.0, (n % 10 == 0) * 1.0, n * 0.0, n * 0.0 + 1.0])))


@pytest.mark.slow
@pytest.mark.parametrize("before", [600, 1000, 5000])
@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01])
def test_a_breakdown_of_a_model_that_hardly_ever_erred_is_seen(before, rate):
    """At 0 errors before, a total breakdown looks like perfect dependence: it must not pass for that."""
    draw = rng(0, "breakdown", before, str(rate))
    for worse, within in ((0.3, 60), (1.0, 24)):  # a first run of ones may be a burst: it takes 18 to tell
        streams = [independent(draw, before, rate, 200, worse) for _ in range(20)]
        assert median_delay(Dependent(), streams, before) <= within
        assert all(len(found) and found[-1] >= before for found in alarms(Dependent(), streams))
    _, said = Dependent().update(Dependent().init(1), streams[0])  # one long stream goes another way
    assert said.alarm.all()


@pytest.mark.slow
def test_an_improvement_starts_the_baseline_anew_so_that_its_end_is_seen():
    streams = [
        np.concatenate([independent(rng(0, "fall", at), 3000, 0.4, 3000, 0.1), independent(rng(1, at), 800, 0.4)])
        for at in range(4)
    ]
    assert median_delay(Dependent(), streams, 6000) < 100


@pytest.mark.slow
@pytest.mark.parametrize(("base", "outage", "long"), [(0.1, 1.0, 20), (0.1, 0.4, 300), (0.05, 1.0, 600)])
def test_after_an_outage_that_ended_a_rise_is_seen(base, outage, long):
    """What is learnt after the alarm begins with the end of the outage: a rise must not pass for one more."""
    draw = rng(0, "outage", str(base), long)
    parts = [(5000, base), (long, outage), (2500, base), (200, 0.5)]
    streams = [np.concatenate([independent(draw, n, rate) for n, rate in parts]) for _ in range(20)]
    found = alarms(Dependent(), streams)
    assert sum(positions.min() < 5000 + long for positions in found) >= 19
    assert median_delay(Dependent(), streams, 7500 + long) < 60
    assert sum(positions.max() < 7500 + long for positions in found) <= 1


@pytest.mark.slow
def test_after_a_great_fall_a_rise_is_seen():
    """A fall must be taken for one before the jumping rates have explained it."""
    streams = [
        np.concatenate([independent(rng(0, "great", at), 3000, 0.9, 2500, 0.1), independent(rng(1, at), 300, 0.5)])
        for at in range(20)
    ]
    assert sum(len(found) == 0 or found[-1] < 5500 for found in alarms(Dependent(), streams)) <= 2


def test_the_end_of_an_outage_is_forgotten_and_one_long_stream_forgets_the_same():
    """Forty ones raise an alarm after few of them; the rest would be a third of what is learnt until 96 values."""
    draw = rng(0, "forgotten")
    values = np.concatenate([independent(draw, 3000, 0.1), np.ones(40), independent(draw, 200, 0.1)])
    detector = Dependent()
    state, said = detector.update(detector.init(1), values)
    assert [verdict.level for verdict in said][-1] is Level.ALARM
    assert said.position[-1] < 3030
    assert detector.learnt(state)["baseline_size"] < 180
    assert detector.learnt(state)["baseline_mean"] < 0.2
    by_one = detector.init(1)
    for at in range(0, len(values), 3):
        by_one, _ = detector.update(by_one, values[at : at + 3])
    assert detector.save(by_one) == detector.save(state)


def test_the_evidence_says_since_when_and_how_it_was():
    values = independent(rng(0, "evidence"), 4000, 0.1, 300, 0.6)
    detector = Dependent()
    _, said = detector.update(detector.init(1), values)
    alarm = next(verdict for verdict in said if verdict.level is Level.ALARM)
    why = alarm.evidence
    assert abs(why["since"] - 4000) < 40
    assert 2.5 * why["baseline_mean"] < why["mean_since"] < 0.7
    assert why["baseline_mean"] == pytest.approx(0.1, abs=0.02)
    assert why["independent"] + why["last_value"] + why["changing"] == pytest.approx(1.0)
    assert abs(why["autocorrelation"]) < 0.15


def test_one_long_stream_gets_the_same_bits_as_many():
    draw = rng(0, "bits")
    rate = np.concatenate([np.full(1200, 0.1), np.full(300, 0.6), np.full(500, 0.1)])
    streams = np.stack([chain(draw, 2000, rate, 0.5), hidden(draw, 2000, 0.98, (0.02, 0.4)), rate * 0.0])
    detector = Dependent(learning=100)
    together, said = detector.update(detector.init(3), streams)
    assert len(said) > 0
    for at in range(3):
        alone, _ = detector.update(detector.init(1), streams[at])
        assert detector.save(alone) == detector.save(take(together, np.array([at])))


def test_the_promise_tells_what_it_rests_on_and_where_it_stops():
    told = Dependent(arl=1000.0).promise(0)
    assert "at least 1000" in told
    assert "before 24 errors" in told
    assert "More where dependence is slower" in told
    assert "window" not in told
    assert "window of 300 values only shortens" in Dependent().promise(300)


def test_what_it_does_not_take():
    detector = Dependent(low=1.0, high=2.0, direction="fall")
    with pytest.raises(InvalidObservation, match=r"1\.5 at position 2 is neither 1 nor 2"):
        detector.update(detector.init(1), [1.0, 2.0, 1.5])
    with pytest.raises(EmptyWindow):
        detector.init([[1.0]])
    for wrong in ({"arl": 1.0}, {"learning": 5}, {"warning": 0.0}, {"low": None}):
        with pytest.raises(InvalidSetting):
            make_detector("dependent", **wrong)


@pytest.mark.slow
@pytest.mark.parametrize("learning", [20, 60])
def test_one_long_chain_is_what_it_is_among_others_while_the_stake_grows(learning):
    """The stake on chains grows from `learning` to nine times that: `run` and `step` agree to the bit all the way."""
    n, g = 14 * learning, rng(0, "stake", learning)
    origin = np.maximum.accumulate(np.where(g.random((40, n)) < 0.6, 0, np.arange(n)), axis=1)
    values = np.take_along_axis((g.random((40, n)) < 0.3).astype(float), origin, axis=1)
    detector = Dependent(arl=1e12, learning=learning)
    together, _ = detector.update(detector.init(40), values)
    for row in range(40):
        alone, _ = detector.update(detector.init(1), values[row])
        for name, array in arrays(take(together, np.array([row]))).items():
            np.testing.assert_array_equal(arrays(alone)[name], array, err_msg=name)
