"""CMA-ES: its numbers against the tutorial, its margin, its replay, and that it learns shapes."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.tune import STRATEGIES, Choice, Equals, Float, Int, Space, State
from visutility.tune.problem import Problem
from visutility.tune.strategies import _replay
from visutility.tune.strategies._evolution import first, plan, rates, stepped
from visutility.tune.strategies.cmaes import CMAES

GRIDS = Space(
    {
        "k": Int(0, 9),
        "x": Float(0, 1),
        "kind": Choice(["a", "b", "c"]),
        "n": Int(1, 100, log=True, when=Equals("kind", "a", "b")),
        "y": Float(0, 1, when=Equals("kind", "b")),
    }
)
NUMBERS = Space({f"x{at}": Float(0, 1) for at in range(4)})


def follow(strategy, space, objective, trials, seed=0, problem=None, batch=1, order=None):
    state = strategy.init(space, seed, problem=problem or Problem())
    for number in range(0, trials, batch):
        for at in range(number, number + batch):
            state = strategy.asked(state, at, strategy.suggest(state, at))
        waiting = list(state.pending)
        for at, params in waiting if order is None else [waiting[i] for i in order]:
            state = strategy.observe(state, at, params, objective(params))
    return state


def bowl(params):
    return sum(((v if isinstance(v, (int, float)) else 1.0) - 0.3) ** 2 for v in params.values())


@pytest.fixture(autouse=True)
def nothing_kept():
    _replay._kept.clear()
    yield
    _replay._kept.clear()


def test_weights_and_rates_are_those_of_the_tutorial():
    """Table 1 for n = 10, λ = 10, worked out by hand: w'_i = ln(5.5) - ln(i)."""
    raw = [math.log(5.5) - math.log(i) for i in range(1, 11)]
    found = rates(10, 10)
    assert found.weights[:5] == pytest.approx(np.array(raw[:5]) / sum(raw[:5]))
    assert found.mass == pytest.approx(sum(raw[:5]) ** 2 / sum(r * r for r in raw[:5]))
    assert found.mass == pytest.approx(3.167, abs=1e-3)
    assert found.one == pytest.approx(2 / (11.3**2 + found.mass))
    assert found.rank == pytest.approx(2 * (0.25 + found.mass + 1 / found.mass - 2) / (144 + found.mass))
    assert found.sigma == pytest.approx((found.mass + 2) / (15 + found.mass))
    assert found.weights.sum() < found.weights[:5].sum() == pytest.approx(1.0)
    assert found.norm == pytest.approx(3.084, abs=1e-3)  # mean length of ten standard normals


def test_a_generation_of_equals_in_the_mean_changes_no_mean():
    layout = plan(NUMBERS)
    shape = first(layout, np.full(4, 0.5), 0.2, 8)
    after = stepped(shape, layout, np.tile(shape.mean, (8, 1)), np.zeros((8, 0), dtype=np.intp), rates(4, 8).weights)
    assert after.mean == pytest.approx(shape.mean)
    assert after.sigma < shape.sigma


def test_the_covariance_learns_an_axis():
    """A narrow valley that no parameter is parallel to: the longest axis ends up along it."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    state = follow(CMAES(), space, lambda p: (p["x"] - p["y"]) ** 2 * 1e4 + (p["x"] + p["y"] - 1.2) ** 2, 150)
    shape = _replay.replayed(state, 0.2, None).shapes[-1]
    longest = shape.basis[:, np.argmax(shape.axes)]
    assert abs(longest @ np.array([1, 1]) / math.sqrt(2)) > 0.99


def test_the_margin_keeps_neighbouring_values_within_reach():
    """Hamano 2022: both neighbours of the mean's cell have a probability of at least α / 2, α = 1 / (dλ)."""
    space = Space({"k": Int(0, 9), "x": Float(0, 1)})
    state = follow(CMAES(), space, lambda p: (p["k"] - 4) ** 2 + (p["x"] - 0.3) ** 2, 300)
    shape = _replay.replayed(state, 0.2, None).shapes[-1]
    spread = shape.spreads()[0]
    assert math.floor(shape.mean[0] * 10) == 4
    for chance in (norm.cdf((0.4 - shape.mean[0]) / spread), norm.sf((0.5 - shape.mean[0]) / spread)):
        assert chance >= 0.999 / (2 * 2 * shape.population)
    assert shape.spreads()[1] < 0.02


def test_the_margin_at_the_ends_of_a_range():
    space = Space({"k": Int(0, 9), "x": Float(0, 1)})
    state = follow(CMAES(), space, lambda p: p["k"] + (p["x"] - 0.3) ** 2, 200)
    shape = _replay.replayed(state, 0.2, None).shapes[-1]
    assert norm.sf((0.1 - shape.mean[0]) / shape.spreads()[0]) >= 0.999 / (2 * shape.population)
    assert min(one.params["k"] for one in state.observed) == 0


def test_odds_go_to_the_best_option_and_keep_the_others_possible():
    space = Space({"c": Choice(["a", "b", "c"]), "x": Float(0, 1)})
    state = follow(CMAES(), space, lambda p: "cab".index(p["c"]) + (p["x"] - 0.3) ** 2, 200)
    odds = _replay.replayed(state, 0.2, None).shapes[-1].odds[0]
    assert odds.sum() == pytest.approx(1.0)
    assert odds.argmax() == 2
    assert odds.min() >= (1 - 0.73) / 2 - 1e-12


def test_draws_are_found_again_where_a_grid_or_a_condition_hides_them():
    """Every draw of a study that was told in order, grids and inactive parameters included."""
    state = follow(CMAES(), GRIDS, bowl, 80)
    layout = plan(GRIDS)
    now = _replay.replayed(state, 0.2, None)
    start, size = len(now.observed) - now.shapes[-1].population, now.shapes[-1].population
    before = _replay.Replay(now.key, now.observed[:start], now.shapes[:-1])
    places = _replay._places(state, layout, before, start, size)
    drawn = [_replay.drawn(state, now.shapes[-2], one.number) for one in state.observed[start : start + size]]
    hidden = ~state.masks[start : start + size][:, layout.numbers]
    assert hidden.any()
    again = np.array(drawn)[:, layout.numbers]
    assert places[hidden] == pytest.approx(again[hidden])
    assert places[:, 0] == pytest.approx(again[:, 0])  # k: the draw itself, not the middle of its cell


@pytest.mark.parametrize("space", [NUMBERS, GRIDS], ids=["numbers", "grids"])
def test_a_kept_replay_changes_no_bit(space):
    """Going on from a kept replay, or working all out again, gives the same arrays."""
    state = follow(CMAES(), space, bowl, 60)
    kept = _replay.replayed(state, 0.2, None).shapes[-1]
    _replay._kept.clear()
    again = _replay.replayed(State.from_json(state.to_json()), 0.2, None).shapes[-1]
    for name in ("mean", "cov", "stretch", "towards", "along"):
        assert getattr(kept, name).tobytes() == getattr(again, name).tobytes()
    assert kept.sigma == again.sigma
    assert [one.tobytes() for one in kept.odds] == [one.tobytes() for one in again.odds]


def test_kept_replays_are_bounded_and_studies_do_not_share_them():
    for seed in range(12):
        follow(CMAES(), NUMBERS, bowl, 20, seed)
    assert len(_replay._kept) == _replay.KEPT
    up = follow(CMAES(), NUMBERS, bowl, 20)
    down = follow(CMAES(), NUMBERS, lambda p: -bowl(p), 20)
    assert CMAES().suggest(up, 20) != CMAES().suggest(down, 20)


def test_nobody_waits_for_a_lost_worker():
    """Trial 0 is never told: generations go by what was told."""
    strategy = CMAES()
    state = strategy.init(NUMBERS, 0)
    for number in range(200):
        params = strategy.suggest(state, number)
        state = strategy.asked(state, number, params)
        if number:
            state = strategy.observe(state, number, params, bowl(params))
    assert state.values.min() < 1e-4


def test_workers_that_finish_out_of_order_still_learn():
    order = [3, 0, 7, 5, 1, 6, 2, 4]
    state = follow(CMAES(), NUMBERS, bowl, 320, batch=8, order=order)
    assert state.values.min() < 1e-4


def test_a_converged_run_starts_again_with_twice_the_population():
    state = follow(CMAES(), Space({"x": Float(0, 1), "y": Float(0, 1)}), bowl, 900)
    now = _replay.replayed(state, 0.2, None)
    assert now.run >= 1
    assert now.shapes[-1].population == 6 * 2**now.run


def test_failures_alone_start_again_elsewhere():
    state = follow(CMAES(), NUMBERS, lambda _: None, 40)
    now = _replay.replayed(state, 0.2, None)
    assert (now.run, now.shapes[-1].population) == (5, 8)


@pytest.mark.slow
def test_it_finds_what_random_search_cannot():
    """A turned ellipsoid in 8 dimensions, axes 1 to 1000, 1,200 trials: below 1/200 of random search's best, 6 times.

    Random search under another name does that with p < 1e-6: the volume of a level falls with its 4th power.
    """
    basis = np.linalg.qr(rng(0, "turned").standard_normal((8, 8)))[0]
    space = Space({f"x{at}": Float(-1, 1) for at in range(8)})

    def objective(p):
        return float(10.0 ** (np.arange(8) * 6 / 7) @ (basis @ (np.array(list(p.values())) - 0.2)) ** 2)

    for seed in range(6):
        random = follow(STRATEGIES["random"](), space, objective, 1200, seed).values.min()
        assert follow(CMAES(), space, objective, 1200, seed).values.min() < random / 200


@pytest.mark.slow
def test_whole_numbers_and_choices_reach_their_optimum():
    """But for the number that matters a ten-thousandth of the first, one of 4 million × 64 configurations."""
    space = Space({f"k{at}": Int(0, 20) for at in range(5)} | {f"c{at}": Choice(list("abcd")) for at in range(3)})

    def objective(p):
        return sum(10**at * (p[f"k{at}"] - 7) ** 2 for at in range(5)) / 1e3 + sum(
            p[f"c{at}"] != "c" for at in range(3)
        )

    for seed in range(3):
        assert follow(CMAES(), space, objective, 1200, seed).values.min() <= 0.01


@pytest.mark.parametrize(
    "bad", [{"sigma": 0.0}, {"sigma": 1.5}, {"sigma": True}, {"population": 3}, {"population": 8.0}]
)
def test_settings_are_checked(bad):
    with pytest.raises(InvalidSetting, match=next(iter(bad))):
        CMAES(**bad)
