"""Learnt curves of the inputs: slopes and gradients against finite differences, and a step that they straighten."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, check_grad
from scipy.stats import beta

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune import Choice, Float, Space
from visutility.tune.strategies import Bayesian
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.gp import Hyper, Prior, condition
from visutility.tune.surrogate.inputs import Bent, Curves, fitted_curves, loss
from visutility.tune.surrogate.model import Seen, bent_process_of, process_of, rows_seen

GROUPS = np.arange(3)
HYPER = Hyper(np.array([0.4, 0.7, 1.2]), 1.3, 0.01)
COLUMNS = np.array([0, 2])


def data(n: int = 15) -> tuple[np.ndarray, np.ndarray]:
    draw = rng(0, "inputs")
    return draw.random((n, 3)), draw.standard_normal(n)


def test_a_curve_is_kumaraswamys_distribution_function():
    x = np.linspace(0.05, 0.95, 7)[:, None]
    one = np.array([0])
    assert Curves(one, np.zeros(2))(x) == pytest.approx(x)
    assert Curves(one, np.log([2.3, 1.0]))(x)[:, 0] == pytest.approx(beta(2.3, 1.0).cdf(x[:, 0]))  # the common cases
    assert Curves(one, np.log([1.0, 3.1]))(x)[:, 0] == pytest.approx(beta(1.0, 3.1).cdf(x[:, 0]))


def test_the_slopes_are_those_of_finite_differences():
    curves, (x, _) = Curves(COLUMNS, np.array([0.4, -0.6, 0.3, 0.8])), data()
    bent, slope = curves.with_slopes(x)
    assert (curves(x + 1e-7) - bent) / 1e-7 == pytest.approx(slope, rel=1e-4)
    assert (bent[:, 1] == x[:, 1]).all()
    step = np.eye(4) * 1e-7
    numeric = np.stack([(Curves(COLUMNS, curves.powers + s)(x) - bent)[:, COLUMNS] for s in step], axis=2) / 1e-7
    by_powers = curves.by_powers(x)
    for at in range(2):
        assert by_powers[:, at] == pytest.approx(numeric[:, at, at], rel=1e-4, abs=1e-6)
        assert by_powers[:, at + 2] == pytest.approx(numeric[:, at, at + 2], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_the_loss_is_that_of_finite_differences(seed):
    x, y = data()
    powers = 0.5 * rng(seed, "powers").standard_normal(4)
    args = (x, y, COLUMNS, HYPER, GROUPS)
    slope = loss(powers, *args)[1]
    assert check_grad(lambda v: loss(v, *args)[0], lambda v: loss(v, *args)[1], powers) < 1e-4 * (
        1 + np.linalg.norm(slope)
    )


def test_the_gradients_of_a_bent_process_are_those_of_finite_differences():
    x, y = data()
    curves = Curves(COLUMNS, np.array([0.4, -0.6, 0.3, 0.8]))
    process = Bent(condition(HYPER, curves(x), y, GROUPS), curves)
    at = rng(1, "at").random(3)
    mean, sd, mean_slope, sd_slope = process.gradients(at[None])
    assert (mean, sd) == (pytest.approx(process.predict(at[None])[0]), pytest.approx(process.predict(at[None])[1]))
    assert process.mean(at[None]) == pytest.approx(mean)
    for index, slope in ((0, mean_slope), (1, sd_slope)):
        numeric = approx_fprime(at, lambda p, i=index: process.predict(p[None])[i][0], 1e-6)
        assert slope[0] == pytest.approx(numeric, abs=1e-3)


def test_curves_straighten_what_happens_near_one_end():
    """sin(20 x³) moves ever faster: the values are far likelier once x is bent."""
    x = np.linspace(0.0, 1.0, 30)[:, None]
    y = np.sin(20.0 * x[:, 0] ** 3)
    args = (x, y, np.array([0]), Hyper(np.array([0.15]), 1.0, 1e-4), np.arange(1))
    curves = fitted_curves(*args)
    assert curves.powers[0] > 0.3  # x to a power above 1
    assert loss(curves.powers, *args)[0] < loss(np.zeros(2), *args)[0] - 5.0


def test_as_a_setting_it_changes_the_suggestions_and_stays_pure():
    with pytest.raises(InvalidSetting, match="bend_inputs"):
        Bayesian(bend_inputs="yes")
    space = Space({"x": Float(0, 1), "y": Float(0, 1), "c": Choice(["a", "b", "c"])})
    strategy, state = Bayesian(bend_inputs=True, points=16), Bayesian().init(space, 0)
    for number in range(22):
        params = strategy.suggest(state, number)
        failed = params["c"] == "c" and params["x"] > 0.5
        value = None if failed else (params["x"] ** 4 - 0.1) ** 2 + params["y"]
        state = strategy.observe(strategy.asked(state, number, params), number, params, value)
    assert strategy.suggest(state, 22) == strategy.suggest(state, 22)
    seen, plan = Seen.of(state, layout(space)), layout(space)
    rows, anchor = rows_seen(seen, 16)
    bent, plain = (make(seen, plan, Prior(), 16, rows, anchor) for make in (bent_process_of, process_of))
    assert not np.allclose(bent.mean(seen.x), plain.mean(seen.x), atol=1e-6)
    assert min(o.value for o in state.observed if o.value is not None) < 0.05
