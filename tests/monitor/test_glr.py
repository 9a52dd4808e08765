"""The likelihood-ratio scan: its statistic by brute force, and its promise by simulation."""

import math
import re

import numpy as np
import pytest
from scipy import special, stats

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Level
from visutility.monitor.detectors.glr import BLOCK, KEPT, LEVELS, Glr


def scores(detector, values):
    """The score after every block of one stream, alone and without alarms."""
    state, found = detector.init(1), []
    for at in range(0, len(values), BLOCK):
        detector.step(state, values[at : at + 1])
        for value in values[at + 1 : at + BLOCK]:
            detector.step(state, np.array([value]))
        found.append(float(state.score[0]))
    return np.array(found)


def splits(blocks):
    """The starting points that are kept when so many blocks have closed, by their definition."""
    found = set()
    for level in range(LEVELS):
        multiples = np.arange(0, blocks, 2**level)
        found |= set(multiples[-KEPT:].tolist())
    return sorted(found - {0})


def bernoulli(old, new):
    def best(values):
        n, ones = len(values), values.sum()
        return special.xlogy(ones, ones / n) + special.xlogy(n - ones, 1 - ones / n)

    return best(old) + best(new) - best(np.concatenate([old, new]))


def normal_ratio(old, new):
    """The likelihood ratio of two normal means against one, the variance unknown."""
    both = np.concatenate([old, new])
    within = ((old - old.mean()) ** 2).sum() + ((new - new.mean()) ** 2).sum()
    return len(both) / 2 * math.log(((both - both.mean()) ** 2).sum() / within)


def brute(values, ratio, hold):
    found = []
    for blocks in range(1, len(values) // BLOCK + 1):
        seen, top = values[: blocks * BLOCK], 0.0
        for at in splits(blocks):
            old, new = seen[: at * BLOCK], seen[at * BLOCK :]
            if at * BLOCK >= hold and new.mean() > old.mean():
                top = max(top, ratio(old, new))
        found.append(top)
    return np.array(found)


def test_the_score_of_errors_is_the_largest_likelihood_ratio():
    values = (rng(0, "errors").random(400) < np.repeat([0.1, 0.4], 200)).astype(float)
    got = scores(Glr(learning=40, arl=1e90), values)
    assert got == pytest.approx(brute(values, bernoulli, 40), abs=1e-9)
    assert got.max() > 5.0


def test_the_score_of_normal_values_is_close_to_the_normal_likelihood_ratio(monkeypatch):
    """Equal but for the skewness, which is taken to be 0 here."""
    values = rng(0, "normal").standard_normal(400) + np.repeat([0.0, 1.0], 200)
    real = np.maximum
    monkeypatch.setattr(np, "maximum", lambda a, b: np.full(np.shape(a), 1e-3) if np.all(b == 1e-3) else real(a, b))
    got = scores(Glr(learning=40, arl=1e90), values)
    assert got == pytest.approx(brute(values, normal_ratio, 40), rel=2e-2, abs=1e-3)


def test_skewness_is_what_gamma_values_make_it():
    """The rate is Cramer's of gamma values: for exponential ones, a mean x standard deviations higher costs
    x - log(1 + x) a value."""
    from visutility.monitor.detectors.glr import _skewed

    n, x = 1e9, 0.5
    total = np.array([[n], [2.0 * n], [6.0 * n]])  # the moments of exponential values
    got = _skewed(np.array([[10.0]]), np.array([[x]]), np.array([n]), total)
    assert got[0, 0] == pytest.approx(10.0 * (x - math.log1p(x)), rel=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_verdict_tells_when_and_from_what_to_what(sign):
    g = rng(1, "tells")
    values = np.concatenate([g.normal(20.0, 1.0, 1000), g.normal(20.0 + sign, 1.0, 200)])
    detector = Glr(direction="rise" if sign > 0 else "fall")
    state, said = detector.update(detector.init(1), values)
    first = next(v for v in said if v.level is Level.ALARM)
    assert abs(first.evidence["since"] - 1000) <= 24
    assert first.evidence["mean_before"] == pytest.approx(20.0, abs=0.15)
    assert first.evidence["mean_since"] == pytest.approx(20.0 + sign, abs=0.6)
    assert first.evidence["since"] + first.evidence["values_since"] == first.position + 1
    assert detector.learnt(state)["baseline_mean"] == pytest.approx(20.0, abs=0.2)  # it went back to before the change
    assert detector.learnt(state)["baseline_sd"] == pytest.approx(1.0, abs=0.1)


def test_errors_may_be_told_as_accuracies():
    """0/1 values that fall are the mirror image of 0/1 values that rise, and are told by the same likelihood."""
    values = (rng(2, "accuracy").random(800) < np.repeat([0.1, 0.3], 400)).astype(float)
    _, rise = Glr().update(Glr().init(1), values)
    down = Glr(direction="fall", low=0.0, high=1.0)
    _, fall = down.update(down.init(1), 1.0 - values)
    alarmed = [said.position[said.level == Level.ALARM].tolist() for said in (rise, fall)]
    assert alarmed[0][:3] == alarmed[1][:3] != []
    assert rise.score[:5] == pytest.approx(fall.score[:5])


def alarms(detector, draw, streams, steps):
    state, count = detector.init(streams), 0
    for _ in range(0, steps, 500):
        count += int((detector.advance(state, draw((streams, 500))).level == Level.ALARM).sum())
    return count


FAMILIES = {
    "errors": lambda g: lambda n: (g.random(n) < 0.1).astype(float),
    "beta": lambda g: lambda n: g.beta(4, 16, n),
    "normal": lambda g: lambda n: g.standard_normal(n),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_false_alarms_stay_below_the_promise(name):
    """600,000 values at arl 1e4: 60 alarms are promised at most, 95 would have probability 1e-5 at just that rate."""
    assert alarms(Glr(arl=1e4), FAMILIES[name](rng(3, name)), 200, 3000) <= stats.poisson.isf(1e-5, 60)


def test_a_rise_is_seen_soon():
    g = rng(4, "soon")
    values = np.concatenate([g.random((40, 2000)) < 0.1, g.random((40, 200)) < 0.3], axis=1).astype(float)
    said = Glr().advance(Glr().init(40), values)
    first = {v.stream: v.position for v in reversed(list(said)) if v.level is Level.ALARM}
    assert len(first) >= 36
    assert 2000 <= np.median(list(first.values())) <= 2130


@pytest.mark.parametrize(
    "settings",
    [{"arl": 9.0}, {"arl": float("nan")}, {"learning": 19}, {"warning": 0.0}, {"warning": 1.5}, {"high": float("inf")}],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting, match=re.escape(repr(next(iter(settings.values()))))):
        Glr(**settings)
