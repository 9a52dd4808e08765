"""Expected improvement against quadrature and finite differences, deep into the tail; its search against a grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import norm

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Space
from visutility.tune.surrogate.acquisition import Improvement, log_ei, log_ei_slopes, log_h, maximise, whole
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.gp import Hyper, condition


def log_h_by_quadrature(z: float) -> float:
    """log E max(z + N, 0) = log φ(z) + log ∫ u exp(uz - u²/2) du, u from 0; for z < 0 with v = -uz."""
    if z > 0:
        return math.log(norm.pdf(z) + z * norm.cdf(z))
    if z > -0.5:
        return norm.logpdf(z) + math.log(quad(lambda u: u * math.exp(u * z - u * u / 2), 0, np.inf)[0])
    inside = quad(lambda v: v * math.exp(-v - 0.5 * (v / z) ** 2), 0, 60, epsabs=1e-14, epsrel=1e-13)[0]
    return norm.logpdf(z) - 2 * math.log(-z) + math.log(inside)


@pytest.mark.parametrize("z", [8, 1, 0, -0.3, -0.999, -1.001, -3, -10, -38, -99.9, -100.1, -1e3, -1e6, -1e9])
def test_log_h_is_the_integral_however_deep_in_the_tail(z):
    value = log_h(np.array([float(z)]))[0][0]
    assert value == pytest.approx(log_h_by_quadrature(z), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("z", [5.0, 0.2, -0.9, -1.1, -20.0, -99.0, -101.0, -1e4])
def test_its_slope_is_that_of_finite_differences(z):
    step = 1e-5 * max(1.0, abs(z))
    rise = log_h_by_quadrature(z + step) - log_h_by_quadrature(z - step)
    assert log_h(np.array([z]))[1][0] == pytest.approx(rise / (2 * step), rel=1e-6)


@given(st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=20, unique=True))
def test_log_h_never_breaks_and_never_falls(points):
    value, slope = log_h(np.sort(np.array(points)))
    assert np.isfinite(value).all()
    assert (slope > 0.0).all()
    assert (np.diff(value) >= 0.0).all()


def test_log_ei_is_the_log_of_the_textbook_formula():
    mean, sd, best = np.array([0.3, -1.0, 2.0]), np.array([0.5, 0.1, 1.0]), 0.4
    z = (best - mean) / sd
    assert np.exp(log_ei(mean, sd, best)) == pytest.approx(sd * (norm.pdf(z) + z * norm.cdf(z)), rel=1e-12)


def test_log_ei_slopes_are_those_of_finite_differences():
    for mean, sd in ((0.3, 0.5), (2.0, 0.1), (-3.0, 0.4), (30.0, 0.2)):
        value, by_mean, by_sd = (v[0] for v in log_ei_slopes(np.array([mean]), np.array([sd]), 0.1))
        assert value == log_ei(np.array([mean]), np.array([sd]), 0.1)[0]
        numeric = approx_fprime(np.array([mean, sd]), lambda p: log_ei(p[:1], p[1:], 0.1)[0], 1e-7)
        assert (by_mean, by_sd) == pytest.approx(tuple(numeric), rel=1e-4)


# -- the search ------------------------------------------------------------------------------------------------------


def target(space: Space, n: int = 12, seed: int = 0) -> tuple[Improvement, np.ndarray, np.ndarray]:
    """log EI of a process of random values, its best rows and their masks."""
    plan = layout(space)
    draw = rng(seed, "target")
    units, masks = space.snap(draw.random((n, space.dim)))
    x, y = plan.features(units, masks), draw.standard_normal(n)
    process = condition(Hyper(np.full(plan.parameters, 0.4), 1.0, 1e-4), x, y, plan.groups)
    order = np.argsort(y)
    return Improvement(process, float(y.min()), plan), units[order], masks[order]


def score_of(best: Improvement, row: np.ndarray) -> float:
    units, masks = best.layout.space.snap(row[None])
    return float(best.score(units, masks)[0])


@pytest.mark.parametrize("seed", range(5))
def test_the_search_finds_the_maximum_that_a_fine_grid_finds(seed):
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    best, units, masks = target(space, seed=seed)
    line = np.linspace(0, 1, 201)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    found = maximise(best, units, masks, rng(seed, "draw"), 512)
    assert score_of(best, found[0]) >= best.score(grid, np.ones(grid.shape, dtype=bool)).max() - 0.05


MIXED = Space(
    {
        "x": Float(0, 1),
        "k": Int(1, 5),
        "c": Choice(["a", "b", "c"]),
        "d": Int(1, 20, when=Equals("c", "a")),
        "y": Float(0, 1, when=Equals("c", "b")),
    }
)


@pytest.mark.parametrize("seed", range(5))
def test_the_search_of_a_mixed_conditional_space_is_as_good_as_fifty_times_the_candidates(seed):
    best, units, masks = target(MIXED, seed=seed)
    found = maximise(best, units, masks, rng(seed, "draw"), 512)
    rows, active = MIXED.snap(rng(seed, "many").random((25_600, MIXED.dim)))
    assert score_of(best, found[0]) >= best.score(rows, active).max() - 0.1


def test_the_rows_are_configurations_best_first():
    best, units, masks = target(MIXED)
    found = maximise(best, units, masks, rng(0, "draw"), 128)
    snapped, active = MIXED.snap(found)
    assert found == pytest.approx(snapped, abs=0)
    assert (np.diff(best.score(snapped, active)) <= 1e-9).all()
    assert len(found) > 128


def test_a_small_space_is_scored_whole():
    space = Space({"k": Int(1, 9), "c": Choice(["a", "b"]), "d": Int(1, 4, when=Equals("c", "a"))})
    best, units, masks = target(space)
    found = maximise(best, units, masks, rng(0, "draw"), 8)
    keys = {space.key(space.decode(row)) for row in found}
    assert len(found) == len(keys) == space.size == 45


def test_following_the_gradient_never_makes_it_worse():
    best, _, _ = target(MIXED, seed=3)
    rows, active = MIXED.snap(rng(1, "start").random((40, MIXED.dim)))
    for row, mask in zip(rows, active, strict=True):
        moved = best.climb(row[None], mask[None], whole(MIXED.dim))
        assert (moved[0][~mask] == row[~mask]).all()  # what is inactive stays
        plan = best.layout
        before, after = (plan.features(u, mask[None]) for u in (row[None], moved))
        ei = [log_ei(*best.model.predict(x), best.best)[0] for x in (before, after)]
        assert ei[1] >= ei[0] - 1e-9
