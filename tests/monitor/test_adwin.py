"""ADWIN: the exponential histogram, the cut of equation (3.1), what an alarm leaves, and River beside it."""

import math

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Adwin, Level, PageHinkley
from visutility.monitor.detectors.adwin import BUCKETS, LEVELS


def errors(rates, *names):
    return (rng(1, "adwin", *names).random(len(rates)) < rates).astype(float)


def alarms(detector, values):
    _, said = detector.update(detector.init(1), values)
    return said.position[said.level == Level.ALARM].tolist()


def test_the_histogram_holds_every_value_in_buckets_that_grow_with_age():
    values = rng(1, "histogram").random(16 * 700 + 5)
    detector = Adwin(delta=1e-9)
    state, _ = detector.update(detector.init(1), values)
    filled = state.filled[:, 0]
    assert filled @ 2 ** np.arange(LEVELS) == 700
    assert filled.max() <= BUCKETS
    assert state.total.sum() == pytest.approx(values[:-5].sum())
    assert state.square.sum() == pytest.approx((values[:-5] ** 2).sum())
    at = 0  # the slots, the oldest first, are the sums of consecutive values
    for slot, total in enumerate(state.total[:, 0].tolist()):
        level, place = LEVELS - 1 - slot // (BUCKETS + 1), slot % (BUCKETS + 1)
        if place < filled[level]:
            assert total == pytest.approx(values[at : at + 16 * 2**level].sum())
            at += 16 * 2**level
    learnt = detector.learnt(state)
    assert learnt == {
        "values": 11200.0,
        "mean": pytest.approx(values[:-5].mean()),
        "sd": pytest.approx(values[:-5].std()),
    }


def test_the_oldest_values_go_when_the_last_size_is_full(monkeypatch):
    """With 3 sizes a window holds at most 3 x 5 buckets, (1 + 2 + 4) x 5 blocks."""
    from visutility.monitor.detectors import adwin

    monkeypatch.setattr(adwin, "LEVELS", 3)
    monkeypatch.setattr(adwin, "_BLOCKS", np.repeat(2.0 ** np.arange(3)[::-1], BUCKETS + 1)[:, None])
    detector = Adwin(block=1, delta=1e-9)
    state, _ = detector.update(detector.init(1), np.full(500, 0.5))
    assert 25 <= detector.learnt(state)["values"] <= 35
    assert state.filled.sum(axis=0) <= 15


def worst_cut(values, block=16):
    """Equation (3.1) solved for l at the cuts between blocks of a window of at most 5 blocks: every block a bucket."""
    best = 0.0
    for cut in range(block, len(values), block):
        older, newer = values[:cut], values[cut:]
        rise = newer.mean() - older.mean()
        share, v = 1 / len(older) + 1 / len(newer), values.var()
        grid = np.linspace(0, 60, 600_001)
        bound = np.sqrt(2 * v * share * grid) + 2 / 3 * share * grid
        best = max(best, grid[np.searchsorted(bound, rise) - 1] if rise > 0 else 0.0)
    return best


def test_the_score_is_what_the_worst_cut_would_bear():
    values = errors(np.repeat([0.2, 0.5], [48, 32]), "cut")
    detector = Adwin(delta=1e-6)
    state, _ = detector.update(detector.init(1), values)
    assert detector.scores(state)[0] == pytest.approx(worst_cut(values), abs=2e-4)
    assert detector.evidence(state)["limit"] == pytest.approx(math.log(2 * math.log(80) / 1e-6))


def test_an_alarm_makes_the_new_level_the_normal_one():
    values = errors(np.repeat([0.1, 0.5], [3000, 3000]), "adapts")
    detector = Adwin()
    state, said = detector.update(detector.init(1), values)
    first = next(verdict for verdict in said if verdict.level is Level.ALARM)
    assert 3000 <= first.position < 3100
    assert abs(first.evidence["since"] - 3000) <= 64  # cuts fall between buckets
    assert first.evidence["mean_before"] < 0.15 < 0.3 < first.evidence["mean_since"]
    assert len(alarms(detector, values)) <= 2
    assert detector.learnt(state)["mean"] == pytest.approx(0.5, abs=0.05)
    assert detector.learnt(state)["values"] <= 3100


def test_improvements_shorten_the_window_in_silence():
    """A fall is no alarm; that it is learnt shows in the alarm when the old level comes back."""
    values = errors(np.repeat([0.5, 0.1, 0.5], [2000, 2000, 200]), "improves")
    detector = Adwin()
    state, said = detector.update(detector.init(1), values[:4000])
    assert len(said) == 0
    assert detector.learnt(state)["mean"] < 0.15
    assert detector.learnt(state)["values"] < 2200
    _, said = detector.update(state, values[4000:])
    assert (said.level == Level.ALARM).any()


def test_the_range_is_the_unit():
    """Values in [0, 100] with the same cuts as in [0, 1]: the bound is scaled, not guessed."""
    values = errors(np.repeat([0.1, 0.4], [1000, 300]), "range")
    wanted = alarms(Adwin(), values)
    assert wanted
    assert alarms(Adwin(high=100.0), 100 * values) == wanted
    assert alarms(Adwin(high=100.0), values) == []  # a rise of .3 is nothing in [0, 100]


def test_first_alarms_are_close_to_rivers():
    """12 streams, errors .1 to .3 after 3,000: River's 0.26 skips a bucket of each size and looks every 32 values."""
    drift = pytest.importorskip("river.drift")
    ours, theirs = [], []
    for seed in range(12):
        values = errors(np.repeat([0.1, 0.3], [3000, 1000]), "river", seed)
        found = alarms(Adwin(block=32), values)
        river, first = drift.ADWIN(delta=0.002), None
        for at, value in enumerate(values.tolist()):
            river.update(value)
            if river.drift_detected:
                first = at
                break
        assert found[0] >= 3000
        ours.append(found[0] - 3000)
        theirs.append(first - 3000)
    assert abs(np.median(ours) - np.median(theirs)) <= 32
    assert np.abs(np.array(ours) - np.array(theirs)).max() <= 128


@pytest.mark.parametrize(
    "settings",
    [
        {"delta": 0.0},
        {"delta": 1.0},
        {"block": 0},
        {"block": 20_000},
        {"warning": 0.0},
        {"low": None},
        {"high": None},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting):
        Adwin(**settings)


def test_the_paper_promises_decisions_not_run_lengths():
    assert "each decision" in Adwin().promise(0)
    assert "mean time" in PageHinkley().promise(0)


@pytest.mark.slow
def test_what_the_page_says_was_measured():
    """Fewer than one false alarm per million values: 4e6 values of errors and losses, at most 12 alarms.

    A detector with one in a million fails with probability 3e-4; one with ten in a million passes with 4e-6.
    """
    draws = {"errors": lambda g: g.random((400, 1000)) < 0.1, "losses": lambda g: g.beta(4, 16, (400, 1000))}
    for name, draw in draws.items():
        g, detector = rng(2, "adwin", name), Adwin()
        state, count = detector.init(400), 0
        for _ in range(10):
            state, said = detector.update(state, draw(g).astype(float))
            count += int((said.level == Level.ALARM).sum())
        assert count <= 12
