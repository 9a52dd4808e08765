"""The rolling window: what it compares, what naive ones hide, and its simulated promise."""

import numpy as np
import pytest
from scipy import stats

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Level, Rolling
from visutility.monitor.state import arrays


def errors(rates, *names):
    return (rng(1, *names).random(len(rates)) < rates).astype(float)


def alarms(detector, reference, values):
    _, said = detector.update(detector.init([reference]), values)
    return said.position[said.level == Level.ALARM]


def naive_alarms(reference, values, rise, window=100, baseline=1000):
    """Wrong: compares the window with the mean of a longer window that holds the same bad values."""
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([reference[-baseline:], values]))])
    ends = np.arange(baseline + 1, len(total))
    now = (total[ends] - total[ends - window]) / window
    before = (total[ends] - total[ends - baseline]) / baseline
    return ends[now > before + rise] - baseline - 1


def test_slow_decay_is_seen_where_a_naive_window_hides_it():
    """A loss creeps from .10 to .30 over 40,000 values, at .0023 from one naive baseline to the next.

    The naive window gets one and a half times our limit: 7 of its standard deviations above what it sees.
    """
    for seed in range(10):
        g = rng(seed, "slow")
        reference = 0.10 + 0.05 * g.standard_normal(1000)
        values = np.linspace(0.10, 0.30, 40_000) + 0.05 * g.standard_normal(40_000)
        detector = Rolling(window=100)
        band = detector.learnt(detector.init([reference]))["band"]
        assert alarms(detector, reference, values)[0] < 10_000
        assert len(naive_alarms(reference, values, rise=1.5 * band)) == 0
        jump = np.concatenate([values[:1000], values[:1000] + 2 * band])
        assert len(naive_alarms(reference, jump, rise=1.5 * band))  # it is not blind to everything


def test_decay_from_a_better_best_is_seen_before_the_reference_is_passed():
    """A model got better than its reference (.5 -> .1) and then decays to .4: worse than its best, not than that."""
    reference = errors(np.full(500, 0.5), "best reference")
    values = errors(np.repeat([0.1, 0.4], [3000, 1500]), "best")
    detector = Rolling(window=400)
    _, said = detector.update(detector.init([reference]), values)
    first = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert 3000 <= first.position < 3500
    assert first.evidence["best_mean"] < 0.15
    assert first.evidence["window_mean"] < first.evidence["reference_mean"]  # which alone would have said nothing
    _, said = detector.update(detector.init([reference]), values[3000:])
    assert len(said) == 0  # without the better windows before it, .4 is not worse than the reference


def test_the_evidence_is_the_window():
    values = errors(np.repeat([0.05, 0.5], 500), "evidence")
    detector = Rolling(window=60, parts=6)
    _, said = detector.update(detector.init([errors(np.full(200, 0.05), "er")]), values)
    verdict = next(v for v in said if v.level is Level.ALARM)
    window = values[verdict.position - 59 : verdict.position + 1]
    assert verdict.evidence["window_mean"] == pytest.approx(window.mean())
    assert verdict.evidence["since"] == verdict.position - 59
    assert verdict.score == pytest.approx(window.mean() - verdict.evidence["reference_mean"])
    assert (verdict.position + 1) % 10 == 0  # decisions fall at the ends of blocks
    assert said.level[0] == Level.WARNING


def test_there_is_no_score_before_a_full_window():
    detector = Rolling(window=50)
    state = detector.init([errors(np.full(100, 0.1), "young")])
    state, said = detector.update(state, np.ones(49))
    assert len(said) == 0
    assert np.isnan(detector.scores(state)).all()
    state, said = detector.update(state, [1.0])
    assert len(said) == 1


def test_limits_are_learnt_from_the_spread():
    """Twice the spread, twice the band; units and origin do not matter; `allowed` is a floor under it."""
    values = rng(1, "spread").standard_normal(300)
    learnt = [Rolling(allowed=0.0).init([a + b * values]).bands[1, 0] for a, b in ((0, 1), (0, 2), (100, 1), (-7, 1e3))]
    assert np.array(learnt) / learnt[0] == pytest.approx([1, 2, 1, 1e3])
    floor = Rolling(allowed=0.5)
    assert floor.learnt(floor.init([100 + values]))["limit_mean"] == pytest.approx(150, abs=0.2)
    assert Rolling(arl=1e6).init([values]).bands[1, 0] > Rolling(arl=1e4).init([values]).bands[1, 0]
    assert Rolling().init([values[:50]]).bands[1, 0] > Rolling().init([values]).bands[1, 0]


def test_falling_accuracy_is_told_in_its_own_units():
    detector = Rolling(direction="fall", low=0.0, high=1.0, window=50)
    right = 1 - errors(np.full(200, 0.05), "right")
    learnt = detector.learnt(detector.init([right]))
    assert learnt["limit_mean"] < learnt["reference_mean"] == pytest.approx(right.mean())
    _, said = detector.update(detector.init([right]), 1 - errors(np.full(200, 0.5), "wrong"))
    assert said.reasons[0]["window_mean"] < said.reasons[0]["limit_mean"]


def test_a_reference_that_tells_nothing_is_refused():
    with pytest.raises(EmptyWindow, match="no window of 100 could be worse than reference window 0"):
        Rolling(arl=1e14).init([errors(np.full(20, 0.5), "coin")])
    with pytest.raises(EmptyWindow, match="no window"):
        Rolling(low=0.0, high=1.0, allowed=3.0).init([np.linspace(0.3, 0.5, 50)])


STREAMS = {
    "accuracies": lambda n: 1 - errors(np.full(n, 0.1), "alone"),
    "normal": lambda n: 1e6 + rng(1, "alone").standard_normal(n),
    "exponential": lambda n: rng(1, "alone").standard_exponential(n),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_first_values_teach_what_a_reference_window_of_them_teaches(kind):
    """To the bit, however the values come: state but for `seen`, and verdicts but for their positions."""
    values = STREAMS[kind](1200)
    values[800:] = values[800:] - 3 if kind == "normal" else 0.0  # worse
    detector = Rolling(reference=150, window=50, direction="fall", allowed=0.0)
    given, wanted = detector.update(detector.init([values[:150]]), values[150:])
    state, said = detector.init(1), []
    for piece in (values[:1], values[1:140], values[140:170], values[170:]):
        state, found = detector.update(state, piece)
        said += list(found)
    assert [v.position - 150 for v in said] == wanted.position.tolist()
    assert [(v.level, v.score, v.limit) for v in said] == [(v.level, v.score, v.limit) for v in wanted]
    assert any(v.level is Level.ALARM for v in said)
    for name, array in arrays(state).items():
        if name != "seen":
            assert np.array_equal(array, arrays(given)[name], equal_nan=True), name


def test_it_is_silent_and_says_so_while_it_learns():
    detector = Rolling(reference=150)
    state, said = detector.update(detector.init(1), errors(np.repeat([0.1, 0.9], [50, 99]), "learning"))
    assert len(said) == 0
    assert np.isnan(detector.scores(state)[0])
    assert detector.learnt(state) == {"reference_size": 149.0}


def test_it_learns_on_until_a_window_could_be_worse():
    """Half of the first values are errors: no window of 20 passes the limit of 20 of them, but of 170 or more."""
    detector = Rolling(reference=20, window=20, arl=1e5, allowed=0.0)
    values = np.tile([0.0, 1.0], 500)
    with pytest.raises(EmptyWindow):
        detector.init([values[:20]])
    state, _ = detector.update(detector.init(1), values)
    size = detector.learnt(state)["reference_size"]
    assert 20 < size < 1000
    assert detector.learnt(state)["limit_mean"] <= 1.0
    detector.init([values[: int(size)]])


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 1, "parts": 1},
        {"window": 105},
        {"parts": 0},
        {"allowed": -0.1},
        {"allowed": float("nan")},
        {"arl": 50},
        {"arl": 1e16},
        {"warning": 0.0},
        {"warning": 2.0},
        {"reference": 10},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting):
        Rolling(**settings)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "size"), [(50, 50), (100, 150), (100, 1000)])
@pytest.mark.parametrize(
    "family",
    [
        lambda g, shape: (g.random(shape) < 0.02).astype(float),
        lambda g, shape: (g.random(shape) < 0.3).astype(float),
        lambda g, shape: g.beta(4, 16, shape),
        lambda g, shape: g.standard_normal(shape),
        lambda g, shape: g.standard_exponential(shape),
    ],
    ids=["rare errors", "errors", "losses", "normal", "exponential"],
)
def test_the_simulated_promise(family, window, size):
    """Alarms within 1,000 values of 10,000 streams at arl 1e5: 100 are promised at most, the most seen were 40.

    A right one fails with probability at most 1e-6; one whose rate is three times the promise passes with 1e-15.
    """
    runs, steps, arl, g = 10_000, 1000, 1e5, rng(2, "rolling promise", window, size)
    detector = Rolling(arl=arl, allowed=0.0, window=window)
    state = detector.init(list(family(g, (runs, size))))
    alarmed, ids = np.zeros(runs, bool), np.tile(np.arange(runs), 50)
    for _ in range(steps // 50):
        state, said = detector.update(state, family(g, 50 * runs), ids)
        alarmed |= said.alarm
    assert alarmed.sum() <= stats.binom.isf(1e-6, runs, steps / arl)


def test_a_value_too_large_to_learn_from_is_refused_and_the_largest_gives_limits():
    values = rng(4, "huge").standard_normal(1000)
    for detector in (Rolling(), Rolling(direction="fall")):
        state = detector.init(1)
        for huge in (1e200, -1e200, 2e90):
            with pytest.raises(InvalidObservation):
                detector.update(state, np.where(np.arange(1000) == 50, huge, values))
        for first in (0, 50):
            state, _ = detector.update(detector.init(1), np.where(np.arange(1000) == first, 1e90, values))
            assert np.isfinite(list(detector.learnt(state).values())).all()
            assert not np.isnan(state.bands).any()
