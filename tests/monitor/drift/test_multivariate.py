"""Correlations: their law against brute force, their size, and changes that no column shows by itself."""

import numpy as np
import pytest
from scipy import stats

from visutility.core.errors import Invalid
from visutility.monitor.drift import compare, sketch
from visutility.monitor.drift.multivariate import JointSketch, Pair, _moments, correlations


def sketched(like, rows):
    found = like.fresh()
    found.update({str(at): column for at, column in enumerate(rows.T)}, len(rows))
    return found


def learnt(rows):
    return JointSketch.learn({str(at): column for at, column in enumerate(rows.T)})


def test_moments_are_those_of_the_rows():
    z = np.round(np.random.default_rng(1).exponential(size=(500, 3)) @ [[9, 2, 0], [0, 7, 3], [5, 0, 8]])
    powers = np.concatenate((z, z**2, z**3, np.ones((500, 1))), axis=1)
    found = _moments(powers.T @ powers, 3)
    u = (z - z.mean(axis=0)) / z.std(axis=0)
    r = np.corrcoef(z.T)
    assert found.r == pytest.approx(r)
    assert found.sd == pytest.approx(z.std(axis=0))
    for i in range(3):
        for j in range(3):
            influence = u[:, i] * u[:, j] - r[i, j] * (u[:, i] ** 2 + u[:, j] ** 2) / 2
            assert found.law[i, j] == pytest.approx((influence**2).mean(), abs=1e-9)


def test_a_changed_correlation_is_found_and_named():
    draw = np.random.default_rng(2)
    old, new = draw.normal(size=(4000, 5)), draw.normal(size=(4000, 5))
    new[:, 3] = 0.2 * new[:, 1] + np.sqrt(1 - 0.04) * new[:, 3]
    report = compare(old, new)
    assert [row.name for row in report.columns if row.drifted] == ["1, 3"]
    row = report.columns[0]
    assert (row.kind, row.test, row.effect_name) == ("joint", "correlation", "change of the correlation")
    assert row.effect == pytest.approx(0.2, abs=0.1)
    assert not compare(old, new, joint=False).drifted


def test_shifts_and_stretches_of_columns_are_no_change_of_correlation():
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(4000, 3)) @ [[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]]
    like = learnt(rows)
    pair = correlations(sketched(like, rows), sketched(like, (rows * [1.2, 0.8, 1.0]) + [0.1, 0.0, -0.1]))
    assert abs(pair.z) < 2.0


@pytest.mark.parametrize("law", ["normal", "cauchy", "exponential"])
def test_the_size_holds(law):
    """A correct one (its size is .05 at most) fails with probability 1e-4; a size of .11 slips through with .03."""
    alarms, repetitions = 0, 300
    for seed in range(repetitions):
        draw = np.random.default_rng([4, seed])
        if law == "normal":
            rows = draw.normal(size=(1200, 6)) @ np.linalg.cholesky(np.full((6, 6), 0.6) + 0.4 * np.eye(6)).T
        else:
            rows = draw.standard_cauchy((1200, 6)) if law == "cauchy" else draw.exponential(size=(1200, 6))
        like = learnt(rows[:900])
        alarms += correlations(sketched(like, rows[:900]), sketched(like, rows[900:])).p_value <= 0.05
    assert alarms <= stats.binom.isf(1e-4, repetitions, 0.05)


def test_sums_are_the_same_for_any_cut():
    rows = np.random.default_rng(5).normal(size=(5000, 4))
    rows[::7, 1] = np.nan
    like = learnt(rows)
    whole, parts = sketched(like, rows), like.fresh()
    for part in np.split(rows, [1, 1000, 3333]):
        parts = parts.merge(sketched(like, part))
    assert parts.sums.tolist() == whole.sums.tolist()
    assert np.array_equal(whole.sums, np.rint(whole.sums))


def test_columns_that_hardly_vary_are_left_out():
    draw = np.random.default_rng(6)
    rows = {
        "x": draw.normal(size=500),
        "rare": (draw.random(500) < 0.05) * 1.0,
        "same": np.ones(500),
        "y": [1, 2] * 250,
    }
    assert sketch(rows).joint.names == ("x", "y")
    many = sketch(draw.normal(size=(50, 40)))
    assert len(many.joint.names) == 32


def by_hand(like, old, new):
    """What is told of two columns, from the scores themselves."""
    before, after = (np.rint(16 * np.clip((rows - like.centre) / like.scale, -3, 3)) for rows in (old, new))
    both = np.concatenate((before, after))
    u, v = ((both - both.mean(axis=0)) / both.std(axis=0)).T
    law = (u * v - (u * v).mean() * (u**2 + v**2) / 2).var() * (1 / len(old) + 1 / len(new))
    was, now = (float(np.corrcoef(scores.T)[0, 1]) for scores in (before, after))
    z = (now - was) / np.sqrt(law)
    return Pair("0", "1", z, 2 * stats.norm.sf(abs(z)), was, now)


def told(pair):
    return pair[:2] + tuple(round(number, 9) for number in pair[2:])


def test_too_little_to_tell():
    rows = np.random.default_rng(7).normal(size=(500, 2))
    like = learnt(rows)
    assert correlations(sketched(like, rows), sketched(like, rows[:199])) is None
    assert told(correlations(sketched(like, rows), sketched(like, rows[:200]))) == told(by_hand(like, rows, rows[:200]))
    single = learnt(rows[:, :1])
    assert correlations(sketched(single, rows[:, :1]), sketched(single, rows[:, :1])) is None
    constant = sketched(like, np.tile([[0.0, 1.0]], (300, 1)))
    assert correlations(sketched(like, rows), constant) is None


def test_other_scores_do_not_merge():
    draw = np.random.default_rng(8)
    with pytest.raises(Invalid, match="other scores"):
        learnt(draw.normal(size=(50, 2))).merge(learnt(draw.normal(size=(50, 2))))


def test_the_pair_is_one_of_two_columns_also_where_nothing_changed():
    rows = np.random.default_rng(5).normal(size=(500, 3))
    (joint,) = (row for row in compare(rows, rows).columns if row.kind == "joint")
    assert joint.name == "0, 1"
    assert joint.p_value == 1.0


def test_columns_of_the_smallest_numbers_raise_no_warning():
    rows = np.random.default_rng(6).random((300, 2)) * [1e-310, 1.0]
    assert np.isfinite(sketched(learnt(rows), rows).sums).all()
