"""The minimisers against SciPy's, on functions with bounds; rows that do not disturb each other."""

import numpy as np
import pytest
from scipy.optimize import minimize

from visutility.core.rng import rng
from visutility.tune.surrogate.descent import minimise, minimise_rows


def rosenbrock(x):
    value = float(np.sum(10.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))
    slope = np.zeros_like(x)
    slope[:-1] += -40.0 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2.0 * (1.0 - x[:-1])
    slope[1:] += 20.0 * (x[1:] - x[:-1] ** 2)
    return value, slope


@pytest.mark.parametrize(("low", "high"), [(-2.0, 2.0), (-2.0, 0.5), (0.2, 0.9)], ids=["free", "above", "boxed"])
@pytest.mark.parametrize("seed", range(4))
def test_it_ends_where_lbfgsb_ends(low, high, seed):
    start = rng(seed, "start").uniform(low, high, 4)
    bounds = np.full(4, low), np.full(4, high)
    found, value = minimise(rosenbrock, start, np.ones(4), *bounds, steps=300, least=1e-12)
    theirs = minimize(rosenbrock, start, jac=True, method="L-BFGS-B", bounds=[(low, high)] * 4)
    assert value == pytest.approx(theirs.fun, abs=1e-4)
    assert value == rosenbrock(found)[0]
    assert (found >= low).all()
    assert (found <= high).all()


def test_it_steps_back_from_what_is_infinite():
    def walled(x):
        return (np.inf, np.zeros(1)) if x[0] > 1.0 else (float(-x[0]), -np.ones(1))

    found, value = minimise(walled, np.zeros(1), np.array([10.0]), np.array([-5.0]), np.array([50.0]), steps=40)
    assert 0.9 < found[0] <= 1.0
    assert value == -found[0]
    assert minimise(lambda x: (np.inf, x), np.ones(2), np.ones(2), np.zeros(2), np.ones(2))[1] == np.inf


def test_it_keeps_to_its_evaluations():
    told = []

    def counted(x):
        told.append(x)
        return rosenbrock(x)

    minimise(counted, np.full(5, -1.0), np.ones(5), np.full(5, -2.0), np.full(5, 2.0), steps=7)
    assert len(told) <= 7


def bowls(centre, scale):
    """Rows of quadratic bowls, each with its own middle."""

    def f(x):
        off = x - centre
        return (scale * off * off).sum(1), 2.0 * scale * off

    return f


def test_each_row_finds_its_own_minimum_within_the_box():
    draw = rng(0, "rows")
    centre, scale = draw.uniform(-0.3, 1.3, (6, 3)), draw.uniform(0.5, 20.0, (6, 3))
    free = np.ones((6, 3), dtype=bool)
    found = minimise_rows(bowls(centre, scale), draw.random((6, 3)), free, np.zeros(3), np.ones(3), steps=60)
    assert found == pytest.approx(np.clip(centre, 0.0, 1.0), abs=1e-3)


def test_rows_do_not_disturb_each_other_and_fixed_columns_stay():
    draw = rng(1, "rows")
    centre, start = draw.random((4, 3)), draw.random((4, 3))
    scale = np.array([[1.0, 5.0, 30.0]]) * np.ones((4, 1))
    free = draw.random((4, 3)) < 0.7
    box = np.zeros(3), np.ones(3)
    together = minimise_rows(bowls(centre, scale), start, free, *box, steps=12)
    assert (together[~free] == start[~free]).all()
    for row in range(4):
        own = slice(row, row + 1)
        alone = minimise_rows(bowls(centre[own], scale[own]), start[own], free[own], *box, steps=12)
        assert together[own] == pytest.approx(alone, abs=1e-4)


def test_no_row_gets_worse():
    def rough(x):
        return np.sin(40.0 * x).sum(1), 40.0 * np.cos(40.0 * x)

    start = rng(2, "rows").random((50, 4))
    found = minimise_rows(rough, start, np.ones((50, 4), dtype=bool), np.zeros(4), np.ones(4), steps=15)
    assert (rough(found)[0] <= rough(start)[0]).all()
