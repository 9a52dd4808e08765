"""Detectors on streams: value by value beside all at once, and how many streams alarm."""

import math

import numpy as np
from scipy import stats

from visutility.core.rng import rng
from visutility.monitor.state import arrays

RUNS, STEPS, ARL = 2000, 2000, 1e4
MOST = stats.binom.isf(1e-6, RUNS, 1 - math.exp(-STEPS / ARL))  # streams that may alarm where the promise is kept
LAWS = {
    "rare errors": lambda g, shape: (g.random(shape) < 0.02).astype(float),
    "errors": lambda g, shape: (g.random(shape) < 0.2).astype(float),
    "losses": lambda g, shape: g.beta(4, 16, shape),
    "normal": lambda g, shape: g.standard_normal(shape),
    "exponential": lambda g, shape: g.standard_exponential(shape),
}


def assert_same_in_runs_and_steps(detector, state, values):
    """One stream's values, all at once and one by one: the same verdicts and the same state, to the bit."""
    by_run, said = detector.update(state, values)
    by_step, one_by_one = state, []
    for value in values:
        by_step, found = detector.update(by_step, [value])
        one_by_one += list(found)
    assert list(said) == one_by_one
    for name, array in arrays(by_run).items():
        assert np.array_equal(array, arrays(by_step)[name]), name
    return by_run


def alarmed(detector, law, runs, steps, *names):
    """How many of so many streams raised an alarm within so many values, learning from their first ones."""
    g, state = rng(2, f"{detector.name} promise", *names), detector.init(runs)
    found = np.zeros(runs, bool)
    for _ in range(steps // 100):
        state, said = detector.update(state, law(g, (runs, 100)))
        found |= said.alarm
    return int(found.sum())


def assert_keeps_its_promise(detector, law):
    """Alarms within 2,000 values of 2,000 streams that start with nothing, at arl 1e4: 363 are expected at most.

    A right one fails with probability at most 1e-6; one whose rate is twice the promise passes with at most 1e-6.
    """
    assert detector.arl == ARL
    assert alarmed(detector, LAWS[law], RUNS, STEPS, law) <= MOST
    assert stats.binom.cdf(MOST, RUNS, 1 - math.exp(-2 * STEPS / ARL)) <= 1e-6
