"""Which trials the process sees, and that what is kept between calls changes nothing but the time."""

import os
import subprocess
import sys

import numpy as np
import pytest

from visutility.core.codec import dumps, loads
from visutility.core.errors import StudyClosed
from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Space, State, Study
from visutility.tune.problem import Problem
from visutility.tune.strategies import Bayesian
from visutility.tune.strategies.sobol import sobol_point
from visutility.tune.strategy import Observation
from visutility.tune.surrogate import failure, model
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.gp import Hyper, Prior, factored
from visutility.tune.surrogate.region import box_around
from visutility.tune.surrogate.warp import bend_of

MIXED = Space(
    {
        "kind": Choice(["a", "b", "c"]),
        "x": Float(0, 1),
        "k": Int(1, 64, log=True),
        "rate": Float(1e-4, 1, log=True, when=Equals("kind", "a", "b")),
    }
)
SMALL = Space({"k": Int(1, 5), "kind": Choice(["a", "b"]), "flag": Choice([True, False], when=Equals("kind", "a"))})


def forget() -> None:
    for cached in (model._fitted, model._refitted, model._factor, failure._process):
        cached.cache_clear()


def objective(params):
    if params["k"] > 48:
        return None
    return (params["x"] - 0.3) ** 2 + 0.1 * abs(np.log2(params["k"]) - 3) + ("rate" in params) * 0.05


def told(space: Space, n: int, f=objective, seed: int = 0) -> State:
    """The state after n random trials."""
    state = State(space, seed)
    units = rng(seed, "told").random((n, space.dim))
    for number, unit in enumerate(units):
        params = space.decode(unit)
        state = state.with_observed(Observation(number, params, f(params)))
    return state


# -- the factor ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1e-2, 1e-6])
@pytest.mark.parametrize("more", [1, 7])
def test_rows_appended_give_the_factor_of_all_rows(noise, more):
    x = rng(0, "rows").random((40, 3))
    hyper, groups = Hyper(np.array([0.3, 0.8, 2.0]), 1.3, noise), np.arange(3)
    whole = factored(hyper, x, groups).lower
    grown = factored(hyper, x[:26], groups)
    for start in range(26, 40, more):
        grown = grown.with_rows(x[start : start + more])
    assert grown.lower == pytest.approx(whole, abs=1e-8)
    assert (np.triu(grown.lower, 1) == 0.0).all()


def test_a_row_appended_twice_keeps_the_factor_regular():
    x = rng(0, "rows").random((6, 2))
    factor = factored(Hyper(np.ones(2), 1.0, 1e-6), x, np.arange(2)).with_rows(x[[0, 0, 1]])
    assert np.isfinite(factor.lower).all()
    assert (factor.lower.diagonal() > 0.0).all()


def test_being_told_its_own_mean_changes_the_variance_alone():
    x, at = rng(1, "x").random((12, 2)), rng(2, "at").random((5, 2))
    hyper, groups, y = Hyper(np.array([0.4, 0.9]), 1.0, 1e-3), np.arange(2), rng(3, "y").standard_normal(12)
    before = factored(hyper, x, groups).given(y)
    after = before.without_doubt(at[:2])
    told_so = factored(hyper, np.concatenate([x, at[:2]]), groups).given(np.append(y, before.mean(at[:2])))
    assert after.mean(at) == pytest.approx(before.mean(at), abs=1e-12)
    assert after.mean(at) == pytest.approx(told_so.mean(at), abs=1e-6)
    assert after.predict(at)[1] == pytest.approx(told_so.predict(at)[1], abs=1e-9)
    assert (after.predict(at)[1][:2] < 0.1 * before.predict(at)[1][:2] + 0.05).all()


# -- purity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 17, 41, 100])
def test_caches_kept_or_not_the_process_is_the_same_to_the_last_bit(n):
    plan = layout(MIXED)
    states = [told(MIXED, count) for count in range(2, n + 1)]
    forget()
    for state in states:  # as a study does: from trial to trial
        along = model.own_process(model.Seen.of(state, plan), plan, Prior(), 64)
    forget()
    fresh = model.own_process(model.Seen.of(states[-1], plan), plan, Prior(), 64)
    assert (along.lower == fresh.lower).all()
    assert (along.alpha == fresh.alpha).all()
    assert (along.hyper.vector() == fresh.hyper.vector()).all()


RESUME = """
import sys
from visutility.core.codec import dumps, loads
from visutility.tune import State
from visutility.tune.strategies import Bayesian
from visutility.tune.strategies.sobol import sobol_point
state, strategy = State.from_json(loads(sys.stdin.read())), Bayesian(points=24, candidates=64)
print(dumps([strategy.suggest(state, number) for number in range(40, 46)]))
"""


@pytest.mark.slow
def test_another_process_goes_on_as_this_one_does():
    """Beyond what the process sees, with failed and pending trials, turns of every kind: resumed from JSON."""
    strategy, state = Bayesian(points=24, candidates=64), State(MIXED, 5)
    for number in range(40):
        params = strategy.suggest(state, number)
        state = strategy.asked(state, number, params)
        if number % 7 or number < 10:
            state = strategy.observe(state, number, params, objective(params))
    here = [strategy.suggest(state, number) for number in range(40, 46)]
    done = subprocess.run(
        [sys.executable, "-c", RESUME],
        input=dumps(state.to_json()),
        env={**os.environ, "PYTHONHASHSEED": "99", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loads(done.stdout) == here


# -- what it sees ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 64, 65, 100, 700])
def test_the_rows_seen_are_bounded_and_hold_the_newest(n):
    draw = rng(n, "seen")
    x, values = draw.random((n, 2)), draw.random(n)
    nothing = np.empty((0, 2))
    seen = model.Seen(x, values, np.arange(n), nothing, nothing, nothing)
    for centre in (None, x[0]):
        rows, anchor = model.rows_seen(seen, 64, centre)
        assert len(rows) <= 64
        assert (np.diff(rows) > 0).all()
        assert set(range(n - min(n, 1), n)) <= set(rows)
        assert anchor <= len(rows)
        if n <= 64:
            assert len(rows) == n
    nearest = np.argsort(((x - x[0]) ** 2).sum(1))[:40]
    assert n <= 64 or set(nearest) <= set(rows)


def test_the_selection_changes_at_milestones_alone():
    """Between them rows are only appended: that is what the factor relies on."""
    draw = rng(0, "selection")
    x, values = draw.random((400, 2)), draw.random(400)
    nothing, before, changed = np.empty((0, 2)), np.empty(0, dtype=int), 0
    for n in range(100, 400):
        seen = model.Seen(x[:n], values[:n], np.arange(n), nothing, nothing, nothing)
        rows, _ = model.rows_seen(seen, 64)
        changed += not np.array_equal(rows[: len(before)], before)
        before = rows
    assert 20 < changed < 60  # one in eight trials


def test_the_box_holds_the_nearest_and_little_else():
    plan = layout(MIXED)
    state = told(MIXED, 2000)
    seen = model.Seen.of(state, plan)
    units, masks = state.units[seen.at], state.masks[seen.at]
    low, high = box_around(seen.x[7], seen.x, units, masks, plan)
    near = np.argsort(((seen.x - seen.x[7]) ** 2).sum(1))[:64]
    inside = ((units >= low) & (units <= high)) | ~masks
    assert inside[near].all()
    assert inside.all(1).sum() < 800
    assert (low[0], high[0]) == (0.0, 1.0)  # the unordered choice


def test_the_first_trials_are_a_sobol_sequence_that_has_every_option():
    for seed in range(6):
        asked = [trial.params for trial in Study(MIXED, strategy="bayesian", seed=seed).ask_batch(5)]
        assert asked == [MIXED.decode(sobol_point(seed, MIXED.dim, number)) for number in range(5)]
        assert {params["kind"] for params in asked} == {"a", "b", "c"}


# -- what the problem says -------------------------------------------------------------------------------------------


def test_a_deterministic_problem_is_never_asked_twice_and_then_closed():
    strategy = Bayesian()
    state = strategy.init(SMALL, 0, problem=Problem(deterministic=True))
    for number in range(15):
        params = strategy.suggest(state, number)
        state = strategy.observe(state, number, params, params["k"] + (params["kind"] == "a"))
    assert len({SMALL.key(o.params) for o in state.observed}) == SMALL.size == 15
    with pytest.raises(StudyClosed, match="all 15"):
        strategy.suggest(state, 15)


def test_a_noisy_problem_that_is_spent_looks_again_at_what_is_good():
    strategy = Bayesian()
    state = strategy.init(SMALL, 0)
    for number in range(15):
        params = strategy.suggest(state, number)
        value = params["k"] + (params["kind"] == "a") + 0.3 * rng(number, "noise").standard_normal()
        state = strategy.observe(state, number, params, float(value))
    again = [strategy.suggest(state, number)["k"] for number in range(15, 23)]
    assert np.mean(again) < 2.5  # of 1 to 5; at random 3


@pytest.mark.slow
def test_declared_noise_is_what_the_process_takes_it_for():
    state = told(MIXED, 60, lambda p: 10.0 * p["x"])
    seen, plan = model.Seen.of(state, layout(MIXED)), layout(MIXED)
    rate = bend_of(seen.values).rate
    for declared in (0.3, 3.0):
        process = model.own_process(seen, plan, Prior(declared=declared), 64)
        assert 0.4 < process.hyper.noise**0.5 / (declared * rate) < 2.0
    assert Prior(declared=0.0).resolved(rate).noise[0] < -13.0
