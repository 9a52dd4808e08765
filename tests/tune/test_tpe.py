"""The Parzen estimator: its densities, what it makes of pending, failed and conditional trials, and that it learns."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, truncnorm

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune import STRATEGIES, Choice, Equals, Float, Int, Past, Space
from visutility.tune.problem import Problem
from visutility.tune.strategies._parzen import Mixture, plan
from visutility.tune.strategies.tpe import TPE

MIXED = Space(
    {
        "kind": Choice(["a", "b", "c"]),
        "x": Float(0, 1),
        "k": Int(1, 6, when=Equals("kind", "a", "b")),
        "y": Float(0, 1, when=Equals("kind", "b")),
    }
)


def follow(strategy, space, objective, trials, seed=0, problem=None, batch=1):
    state = strategy.init(space, seed, problem=problem or Problem())
    for number in range(0, trials, batch):
        for at in range(number, number + batch):
            state = strategy.asked(state, at, strategy.suggest(state, at))
        for at, params in state.pending:
            state = strategy.observe(state, at, params, objective(params))
    return state


def mixture(space, configurations, width=0.1, blur=0.2):
    encoded = [space.encode(params) for params in configurations]
    units, masks = (np.array(rows) for rows in zip(*encoded, strict=True))
    n = len(units)
    return Mixture(plan(space), units, masks, np.full(n + 1, 1 / (n + 1)), np.full(space.dim, width), blur)


def test_a_kernel_is_a_normal_one_cut_off_at_the_bounds():
    space = Space({"x": Float(0, 1)})
    found = mixture(space, [{"x": 0.05}, {"x": 0.6}], width=0.2)
    for x in (0.0, 0.05, 0.3, 1.0):
        kernels = [truncnorm.pdf(x, -at / 0.2, (1 - at) / 0.2, at, 0.2) for at in (0.05, 0.6)]
        density = math.exp(found.log_density(np.array([[x]]), np.array([[True]]))[0])
        assert density == pytest.approx((sum(kernels) + 1) / 3, rel=1e-12)


def test_a_density_integrates_to_one_over_a_conditional_space():
    """Relative to random search: the sum over the discrete values of their share times the density."""
    found = mixture(
        MIXED, [{"kind": "b", "x": 0.2, "k": 2, "y": 0.7}, {"kind": "a", "x": 0.9, "k": 6}, {"kind": "c", "x": 0.4}]
    )
    draw = rng(0, "integral")
    units, masks = MIXED.snap(draw.random((200_000, 4)))
    density = np.exp(found.log_density(units, masks))
    assert density.mean() == pytest.approx(1.0, abs=6 * density.std() / math.sqrt(len(density)))


def test_an_inactive_parameter_tells_nothing():
    found = mixture(MIXED, [{"kind": "c", "x": 0.4}])
    units, masks = MIXED.snap(np.array([[0.5, 0.4, 0.1, 0.2], [0.5, 0.4, 0.9, 0.8]]))
    low, high = found.log_density(units, masks)
    assert low == high


def test_samples_follow_the_density():
    """Expectations of 20,000 draws against quadrature: a right one fails with p < 1e-6."""
    space = Space({"x": Float(0, 1), "c": Choice(["a", "b", "c"])})
    found = mixture(space, [{"x": 0.1, "c": "b"}], width=0.3, blur=0.3)
    drawn = found.sample(rng(1, "draws"), 20_000)
    shares = np.bincount((drawn[:, 1] * 3).astype(int), minlength=3) / 20_000
    kernel = quad(lambda x: x * truncnorm.pdf(x, -1 / 3, 3, 0.1, 0.3), 0, 1)[0]
    assert shares == pytest.approx(np.array([0.1, 0.8, 0.1]) / 2 + 1 / 6, abs=5 * 0.5 / math.sqrt(20_000))
    assert drawn[:, 0].mean() == pytest.approx((kernel + 0.5) / 2, abs=5 * 0.3 / math.sqrt(20_000))


def test_an_ordered_kernel_spreads_to_neighbours_and_an_unordered_one_to_all():
    space = Space({"o": Choice(list("abcde"), ordered=True), "u": Choice(list("abcde"))})
    found = mixture(space, [{"o": "c", "u": "c"}], width=0.15)
    places = (np.arange(5) + 0.5) / 5
    rows = np.array([(o, 0.5) for o in places] + [(0.5, u) for u in places])
    density = found.log_density(rows, np.ones((10, 2), dtype=bool))
    assert density[1] == pytest.approx(density[3])
    assert density[2] > density[1] > density[0]
    assert density[5:].tolist() == pytest.approx([density[5]] * 2 + [density[7]] + [density[5]] * 2)
    assert density[7] > density[5]


@pytest.mark.slow
def test_it_beats_random_search_where_a_choice_opens_parameters():
    """Wins of 12 pairs, 80 trials: random search under another name gets to 11 with p = .003."""

    def objective(p):
        if p["kind"] == "b":
            return (p["x"] - 0.3) ** 2 + (p["y"] - 0.6) ** 2 + 0.05 * abs(p["k"] - 4)
        return 0.3 + (p["x"] - 0.7) ** 2

    won = 0
    for seed in range(12):
        ours, theirs = (follow(s, MIXED, objective, 80, seed).values.min() for s in (TPE(), STRATEGIES["random"]()))
        won += ours < theirs
    assert binom.sf(10, 12, 0.5) < 0.004
    assert won >= 11


def test_failed_trials_are_avoided():
    """A third of the space fails: at most 6 of the last 40 trials lie there; random search gets there with p = .012."""
    assert binom.cdf(6, 40, 1 / 3) < 0.013
    space = Space({"x": Float(0, 1), "z": Float(0, 1)})
    state = follow(TPE(), space, lambda p: None if p["x"] > 2 / 3 else (p["x"] - 0.4) ** 2 + p["z"], 70)
    assert sum(one.params["x"] > 2 / 3 for one in state.observed[-40:]) <= 6


def test_a_space_of_failures_is_still_searched():
    state = follow(TPE(), MIXED, lambda _: None, 25)
    assert len({MIXED.key(one.params) for one in state.observed}) == 25
    last = state.observed[10:]  # after the Sobol points
    assert {one.params["kind"] for one in last} >= {"a", "b"}
    assert np.ptp([one.params["x"] for one in last]) > 0.7


def test_pending_trials_push_the_next_ones_away():
    """With ten pending, suggestions are no closer to each other than kernels are wide, which those of one state are."""
    space = Space({"x": Float(0, 1), "z": Float(0, 1)})
    strategy = TPE()
    state = follow(strategy, space, lambda p: (p["x"] - 0.5) ** 2 + (p["z"] - 0.5) ** 2, 40)
    alone = np.array([list(strategy.suggest(state, n).values()) for n in range(40, 50)])
    for number in range(40, 50):
        state = strategy.asked(state, number, strategy.suggest(state, number))
    waiting = np.array([list(params.values()) for _, params in state.pending])

    def apart(rows):
        gaps = np.linalg.norm(rows[:, None] - rows, axis=2) + 9 * np.eye(len(rows))
        return gaps.min(axis=1).mean()

    assert apart(waiting) > apart(alone)


def test_constraints_come_first():
    space = Space({"x": Float(0, 1)})
    problem = Problem(constraints=1)
    strategy = TPE()
    state = strategy.init(space, 0, problem=problem)
    for number in range(60):
        params = strategy.suggest(state, number)
        state = strategy.asked(state, number, params)
        state = strategy.observe(state, number, params, params["x"], (), (0.5 - params["x"],))  # least at 0.5
    best = min(one.value for one in state.observed if one.holds(1))
    assert best == pytest.approx(0.5, abs=0.02)
    assert np.mean([one.holds(1) for one in state.observed[-20:]]) > 0.5


def test_settings_are_checked():
    for bad in ({"initial": 0}, {"candidates": 0}, {"initial": True}, {"candidates": 2.5}):
        with pytest.raises(InvalidSetting, match="whole number"):
            TPE(**bad)


def test_history_is_tried_first():
    space = Space({"x": Float(0, 1)})
    strategy = TPE()
    past = [[({"x": 0.9}, 1.0), ({"x": 0.7}, 0.5)], [({"x": 0.2}, 3.0)]]
    history = [Past(str(at), space, tuple(pairs)) for at, pairs in enumerate(past)]
    state = strategy.init(space, 0, history)
    for number in range(2):
        state = strategy.asked(state, number, strategy.suggest(state, number))
    assert [params["x"] for _, params in state.pending] == [0.2, 0.7]
