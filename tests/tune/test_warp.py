"""The bend of values: order kept, scale forgotten, one disaster survived; the formula is scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import yeojohnson

from visutility.core.rng import rng
from visutility.tune.surrogate import warp as module
from visutility.tune.surrogate.warp import POWERS, bend_of, warped

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_the_order_is_kept_and_the_scale_is_unit(values):
    y = np.array(values)
    t = warped(y)
    assert (np.diff(t[np.argsort(y, kind="stable")]) >= 0.0).all()
    if t.any():
        assert t.mean() == pytest.approx(0.0, abs=1e-9)
        assert t.std() == pytest.approx(1.0, abs=1e-9)


@given(st.integers(0, 50), st.floats(1e-6, 1e6), st.floats(-10, 10))
def test_unit_and_origin_of_the_values_do_not_matter(seed, scale, origin):
    y = rng(seed, "warp").standard_exponential(20)
    assert warped(scale * (y + origin)) == pytest.approx(warped(y), abs=1e-5)


def test_equal_values_are_zero():
    assert (warped(np.full(5, 3.3)) == 0.0).all()
    assert warped(np.array([7.0])) == pytest.approx([0.0])


@pytest.mark.parametrize("disaster", [1e3, 1e30, 1.7e308])
def test_one_diverged_trial_does_not_flatten_the_others(disaster):
    y = np.append(np.linspace(0.1, 0.9, 20), disaster)
    t = warped(y)
    assert np.isfinite(t).all()
    if disaster < 1e300:
        assert np.ptp(t[:20]) > 1.0  # standardising alone leaves 0.004
    assert np.argmax(t) == 20


def test_the_bend_is_yeo_and_johnsons():
    z = rng(0, "bend").standard_normal(30) * 3.0
    bent = module._bent(z, POWERS[:, None])
    for row, power in zip(bent, POWERS, strict=True):
        assert row == pytest.approx(yeojohnson(z, power), rel=1e-12)


def test_skewed_values_become_more_even():
    y = np.exp(3.0 * rng(1, "skew").standard_normal(200))
    plain = (y - y.mean()) / y.std()
    assert abs(np.mean(warped(y) ** 3)) < 0.5 < 2.0 < np.mean(plain**3)


def test_a_map_learnt_from_some_values_places_others_in_order():
    bend = bend_of(rng(2, "some").standard_exponential(30))
    placed = bend(np.array([-5.0, 0.1, 0.2, 3.0, 1e300]))
    assert (np.diff(placed) > 0.0).all()
    assert bend_of(np.ones(3))(np.array([0.0, 2.0])).tolist() == [0.0, 0.0]
