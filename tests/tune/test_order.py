"""The order of trials that strategies share: against brute force, and by hand."""

import numpy as np
import pytest

from visutility.core.rng import rng
from visutility.tune import Float, Observation, Space, Study
from visutility.tune.pareto import by_fronts, crowding, front, undominated
from visutility.tune.problem import Problem
from visutility.tune.strategies._order import (
    BROKE,
    FAILED,
    UNKNOWN,
    WORKED,
    best_first,
    weighed,
)
from visutility.tune.strategies.cmaes import CMAES
from visutility.tune.strategies.local import Local
from visutility.tune.strategies.tpe import TPE


def seen(*rows):
    """Observations and values of (value, others, excess)."""
    trials = [Observation(at, {}, value, others, excess) for at, (value, others, excess) in enumerate(rows)]
    return trials, np.array([np.nan if value is None else value for value, _, _ in rows], dtype=np.float64)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_front_is_that_of_the_slow_way(objectives):
    for run in range(30):
        draw = rng(run, "points", objectives)
        points = draw.integers(0, 6, (40, objectives)).astype(float)  # with ties and equal rows
        beaten = [any((q <= p).all() and (q < p).any() for q in points) for p in points]
        assert (undominated(points) == ~np.array(beaten)).all()


@pytest.mark.parametrize("objectives", [2, 3])
def test_fronts_are_peeled_one_by_one(objectives):
    points = rng(0, "peel", objectives).random((60, objectives))
    order, left = by_fronts(points, 60).tolist(), set(range(60))
    while left:
        rows = np.array(sorted(left))
        members = set(rows[front(points[rows])].tolist())
        assert set(order[: len(members)]) == members
        order, left = order[len(members) :], left - members


def test_only_the_first_places_need_be_in_order():
    points = rng(1, "top").random((200, 2))
    assert by_fronts(points, 5).tolist()[:5] == by_fronts(points, 200).tolist()[:5]
    assert sorted(by_fronts(points, 5).tolist()) == list(range(200))


def test_crowding_of_three_points_on_a_line():
    assert crowding(np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]])).tolist() == [np.inf, 2.0, np.inf]
    assert crowding(np.array([[1.0, 1.0], [1.0, 1.0]])).tolist() == [0.0, 0.0]


def test_values_come_before_broken_constraints_and_these_before_failures():
    trials, values = seen((None, (), ()), (1.0, (), (2.0,)), (9.0, (), (0.0,)), (3.0, (), (-1.0,)), (0.0, (), (0.5,)))
    order, kinds = best_first(trials, values, Problem(constraints=1))
    assert order.tolist() == [3, 2, 4, 1, 0]
    assert kinds.tolist() == [FAILED, BROKE, WORKED, WORKED, BROKE]


def test_a_pruned_trial_holds_no_constraint_until_it_told():
    trials, values = seen((0.0, (), ()), (3.0, (), (-1.0,)), (None, (), ()), (1.0, (), (9.0,)), (-1.0, (), ()))
    order, kinds = best_first(trials, values, Problem(constraints=1))
    assert kinds.tolist() == [UNKNOWN, WORKED, FAILED, BROKE, UNKNOWN]
    assert order.tolist() == [1, 3, 4, 0, 2]
    assert [one.holds(1) for one in trials] == [False, True, False, False, False]
    assert [one.holds(0) for one in trials] == [True, False, False, False, True]


@pytest.mark.parametrize("strategy", [TPE(), CMAES(population=20), Local()], ids=lambda one: one.name)
def test_pruned_trials_do_not_draw_the_search_to_where_the_constraint_is_broken(strategy):
    """The less of `x` the better, at least .6 is allowed; below, every trial is pruned early, with a low value."""
    state = strategy.init(Space({"x": Float(0, 1)}), 0, problem=Problem(constraints=1))
    for number in range(60):
        params = {"x": (number * 0.37) % 1.0} if number < 20 else strategy.suggest(state, number)
        state = strategy.asked(state, number, params)
        excess = () if params["x"] < 0.5 else (0.6 - params["x"],)
        state = strategy.observe(state, number, params, params["x"], (), excess)
    later = [one.params["x"] for one in state.observed[20:]]
    assert np.mean([x > 0.5 for x in later]) > 0.6  # half of them when drawn by chance


def test_each_constraint_counts_in_units_of_its_largest_excess():
    trials, values = seen((0.0, (), (1000.0, 0.0)), (0.0, (), (0.0, 0.3)), (0.0, (), (0.0, 0.6)))
    assert best_first(trials, values, Problem(constraints=2))[0].tolist() == [1, 0, 2]


def test_equal_values_go_by_age_and_no_trials_are_no_error():
    trials, values = seen((1.0, (), ()), (1.0, (), ()), (0.0, (), ()))
    assert best_first(trials, values, Problem())[0].tolist() == [2, 0, 1]
    assert best_first([], np.empty(0), Problem(constraints=1))[0].tolist() == []


def test_several_objectives_by_front_then_failures():
    trials, values = seen((0.0, (1.0,), ()), (None, (), ()), (1.0, (0.0,), ()), (2.0, (2.0,), ()), (0.4, (0.4,), ()))
    order = best_first(trials, values, Problem(objectives=2))[0].tolist()
    assert set(order[:3]) == {0, 2, 4}
    assert order[3:] == [3, 1]


@pytest.mark.parametrize("strategy", ["bayesian", "cmaes", "local", "tpe"])
def test_objectives_at_the_end_of_what_a_float_holds_overflow_nowhere(strategy):
    study = Study(Space({"x": Float(0, 1)}), {"one": "minimize", "two": "maximize"}, strategy)
    for number in range(24):
        trial = study.ask()
        one = 1.7e308 * (1 if number % 3 else -1) * trial.params["x"]
        study.tell(trial, {"one": one, "two": -one if number % 2 else 1e308 * trial.params["x"]})
    assert study.front


def test_a_weighted_distance_by_hand():
    """Objectives in units of their range, the larger weighted part plus .05 of the sum."""
    trials, values = seen((0.0, (10.0,), ()), (2.0, (0.0,), ()), (1.0, (5.0,), ()), (None, (), ()))
    found = weighed(trials, values, Problem(objectives=2)).worth(np.array([0.75, 0.25]), slice(0, 4))
    assert found.tolist() == pytest.approx([0.2625, 0.7875, 0.375 + 0.025, np.inf])


def test_what_is_weighed_follows_the_order_of_the_kinds():
    draw = rng(2, "weighed")
    rows = []
    for _ in range(60):
        excess = draw.integers(-2, 3, 2).astype(float)
        rows.append((*draw.random(2).tolist(), tuple(excess.tolist()) if draw.random() < 0.7 else ()))
    trials, values = seen(*((a, (b,), excess) for a, b, excess in rows), (None, (), ()))
    worth = weighed(trials, values, Problem(objectives=2, constraints=2)).worth(np.array([0.4, 0.6]), slice(0, 61))
    kinds = best_first(trials, values, Problem(objectives=2, constraints=2))[1]
    assert set(kinds.tolist()) == {WORKED, BROKE, UNKNOWN, FAILED}
    for worse in (BROKE, UNKNOWN, FAILED):
        assert worth[kinds == worse].min() > worth[kinds == worse - 1].max()
    part = weighed(trials, values, Problem(objectives=2, constraints=2)).worth(np.array([0.4, 0.6]), slice(7, 19))
    assert part.tolist() == worth[7:19].tolist()
