"""The Gaussian process against independent references: scikit-learn, scipy, brute force and finite differences."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, check_grad
from scipy.stats import lognorm, multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune.surrogate.gp import (
    CONSTANT,
    Hyper,
    Prior,
    condition,
    fit,
    matern52,
    negative_log_posterior,
    squared_distances,
)

GROUPS = np.array([0, 1, 2, 2, 2])  # two numbers and a choice of three


def data(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = rng(seed, "gp data")
    x = draw.random((n, 5))
    return x, np.sin(4 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * draw.standard_normal(n)


def hyper(seed: int = 0) -> Hyper:
    draw = rng(seed, "hyper")
    return Hyper(
        np.exp(draw.normal(-0.5, 0.7, 3)), float(np.exp(draw.normal(0, 0.5))), float(np.exp(draw.normal(-4, 1)))
    )


def reference_covariance(h: Hyper, x: np.ndarray) -> np.ndarray:
    kernel = h.scale * Matern(length_scale=h.lengths[GROUPS], nu=2.5)
    return kernel(x) + CONSTANT + h.noise * np.eye(len(x))


def related(n: int) -> np.ndarray:
    """Two groups of rows that are correlated by .6: a positive semi-definite factor."""
    kind = np.arange(n) % 2
    return np.where(kind[:, None] == kind, 1.0, 0.6)


def test_the_kernel_is_scikit_learns_matern():
    x, _ = data()
    z = x / hyper().lengths[GROUPS]
    expected = Matern(length_scale=hyper().lengths[GROUPS], nu=2.5)(x, x[:4])
    assert matern52(squared_distances(z, z[:4])) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("between", [None, related(12)], ids=["one study", "two studies"])
def test_the_gradient_is_that_of_finite_differences(seed, between):
    x, y = data(seed=seed)
    args = (x, y, GROUPS, Prior(), between)

    def value(v):
        return negative_log_posterior(v, *args)[0]

    def gradient(v):
        return negative_log_posterior(v, *args)[1]

    vector = hyper(seed).vector()
    assert np.linalg.norm(gradient(vector)) > 0.1
    assert check_grad(value, gradient, vector) < 2e-5 * (1 + np.linalg.norm(gradient(vector)))


def test_the_marginal_likelihood_and_the_prior_are_scipys():
    x, y = data()
    prior = Prior()
    mean, width = prior.length

    def expected(h: Hyper) -> float:
        likelihood = multivariate_normal(np.zeros(len(y)), reference_covariance(h, x)).logpdf(y)
        lengths = lognorm(s=width, scale=np.exp(mean + 0.5 * np.log(3))).logpdf(h.lengths).sum()
        scale = lognorm(s=prior.scale[1], scale=np.exp(prior.scale[0])).logpdf(h.scale)
        noise = lognorm(s=prior.noise[1], scale=np.exp(prior.noise[0])).logpdf(h.noise)
        return -(likelihood + lengths + scale + noise)

    a, b = hyper(1), hyper(2)  # a constant is left out, so differences are compared
    ours = [negative_log_posterior(h.vector(), x, y, GROUPS, prior)[0] for h in (a, b)]
    assert ours[0] - ours[1] == pytest.approx(expected(a) - expected(b), rel=1e-9)


def test_the_posterior_is_scikit_learns():
    x, y = data()
    h = hyper(3)
    kernel = ConstantKernel(h.scale) * Matern(length_scale=h.lengths[GROUPS], nu=2.5) + ConstantKernel(CONSTANT)
    reference = GaussianProcessRegressor(kernel=kernel + WhiteKernel(h.noise), optimizer=None).fit(x, y)
    at = rng(1, "at").random((7, 5))
    mean, sd = reference.predict(at, return_std=True)
    ours_mean, ours_sd = condition(h, x, y, GROUPS).predict(at)
    assert ours_mean == pytest.approx(mean, abs=1e-8)
    assert ours_sd**2 + h.noise == pytest.approx(sd**2, abs=1e-8)  # theirs is of a new evaluation
    assert condition(h, x, y, GROUPS).mean(at) == pytest.approx(mean, abs=1e-8)


def test_the_posterior_with_weakened_rows_is_the_textbook_formula():
    x, y = data()
    h, at = hyper(4), rng(2, "at").random((3, 5))
    between, onto = related(12), np.where(np.arange(12) % 2 == 0, 1.0, 0.6)
    kernel = h.scale * Matern(length_scale=h.lengths[GROUPS], nu=2.5)
    covariance = (kernel(x) + CONSTANT) * between + h.noise * np.eye(12)
    cross = (kernel(at, x) + CONSTANT) * onto
    mean, sd = condition(h, x, y, GROUPS, between, onto).predict(at)
    assert mean == pytest.approx(cross @ np.linalg.inv(covariance) @ y, abs=1e-8)
    left = h.scale + CONSTANT - np.diag(cross @ np.linalg.inv(covariance) @ cross.T)
    assert sd**2 == pytest.approx(left, abs=1e-8)


@pytest.mark.parametrize("onto", [None, np.where(np.arange(12) % 2 == 0, 1.0, 0.6)], ids=["plain", "weakened"])
def test_the_gradients_of_the_posterior_are_those_of_finite_differences(onto):
    x, y = data()
    process = condition(hyper(5), x, y, GROUPS, None if onto is None else related(12), onto)
    at = rng(3, "at").random(5)
    mean, sd, mean_slope, sd_slope = process.gradients(at[None])
    assert (mean, sd) == (pytest.approx(process.predict(at[None])[0]), pytest.approx(process.predict(at[None])[1]))
    for index, slope in ((0, mean_slope), (1, sd_slope)):
        numeric = approx_fprime(at, lambda p, i=index: process.predict(p[None])[i][0], 1e-6)
        assert slope[0] == pytest.approx(numeric, abs=1e-4)


def test_a_fit_finds_what_matters_and_how_noisy_it_is():
    draw = rng(0, "fit")
    x = draw.random((60, 3))
    y = np.sin(6 * x[:, 0]) + 0.3 * draw.standard_normal(60)
    groups, prior = np.arange(3), Prior(length=(1.0, 1.0))
    start = Hyper(prior.mode(3).lengths, 1.0, 0.03)  # from less noise it may take the noise for a wiggle
    found = fit(x, y, groups, prior, (start,))
    gained = np.subtract(*(negative_log_posterior(h.vector(), x, y, groups, prior)[0] for h in (start, found)))
    assert gained > 5.0
    assert found.lengths[0] < 0.6 < 1.5 < found.lengths[1:].min()
    assert 0.2 < found.noise**0.5 < 0.45


def test_a_fit_goes_on_from_the_better_start():
    x, y = data(40)
    good = fit(x, y, GROUPS, Prior(), (Prior().mode(3),))
    poor = Hyper(np.full(3, 0.03), 10.0, 0.9)

    def loss(h: Hyper) -> float:
        return negative_log_posterior(h.vector(), x, y, GROUPS, Prior())[0]

    assert loss(fit(x, y, GROUPS, Prior(), (poor, good))) <= loss(good) < loss(poor)


def test_rows_that_coincide_do_not_break_the_factor():
    x = np.repeat(np.array([[0.2, 0.3]]), 30, axis=0)
    y = np.linspace(-1.0, 1.0, 30)
    process = condition(Hyper(np.array([1e3, 1e3]), 20.0, 1e-6), x, y, np.arange(2))
    mean, sd = process.predict(x[:1])
    assert np.isfinite(mean).all()
    assert np.isfinite(sd).all()
    assert mean[0] == pytest.approx(0.0, abs=1e-2)


def test_hyper_parameters_survive_the_logarithm():
    h = hyper(6)
    again = Hyper.of(h.vector())
    assert again.lengths == pytest.approx(h.lengths)
    assert (again.scale, again.noise) == (pytest.approx(h.scale), pytest.approx(h.noise))


def test_a_prior_needs_a_parameter():
    with pytest.raises(InvalidSetting, match="over 0 parameters"):
        Prior().mode(0)
