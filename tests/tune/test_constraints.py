"""Constraints at work: the model of feasibility, known problems, and everything a study can have at once."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm

from visutility.core.codec import dumps, loads
from visutility.core.rng import rng
from visutility.tune import AtLeast, AtMost, Choice, Equals, Failure, Float, Int, Likely, Near, Space, Study
from visutility.tune.problem import Problem
from visutility.tune.strategy import Observation, State
from visutility.tune.surrogate.feasible import Feasible, constraint_terms, feasible_rows
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.model import Seen

SQUARE = Space({"x": Float(0, 6), "y": Float(0, 6)})
PLAN = layout(SQUARE)


def ring(params):
    """Below 0 within 2 of the middle."""
    return math.hypot(params["x"] - 3, params["y"] - 3) - 2


def state(n, constraints=1, untold=()):
    configurations = [SQUARE.decode(row) for row in rng(3, "ring").random((n, 2))]
    seen = tuple(
        Observation(at, p, p["x"], (), () if at in untold else (ring(p),) * constraints)
        for at, p in enumerate(configurations)
    )
    return State(SQUARE, 0, seen, problem=Problem(constraints=constraints))


def test_the_model_knows_where_a_constraint_holds():
    known = state(60)
    (term,) = constraint_terms(known, PLAN, Seen.of(known, PLAN), 256)
    inside, outside = ({"x": 3.0, "y": 2.5}, {"x": 4.0, "y": 3.5}), ({"x": 0.1, "y": 0.2}, {"x": 5.9, "y": 5.0})
    for places, holds in ((inside, True), (outside, False)):
        units, masks = (np.array(one) for one in zip(*map(SQUARE.encode, places), strict=True))
        chances = np.exp(term.score(PLAN.features(units, masks)))
        assert ((chances > 0.9) if holds else (chances < 0.1)).all()


def test_the_probability_and_its_gradient():
    class Line:
        def predict(self, x):
            return x[:, 0], 1 + x[:, 1] ** 2

        def gradients(self, x):
            flat = np.zeros(len(x))
            return (*self.predict(x), np.stack([flat + 1, flat], axis=1), np.stack([flat, 2 * x[:, 1]], axis=1))

    term = Feasible(Line(), 0.5)
    x = rng(1, "line").standard_normal((9, 2)) * [10.0, 1.0]
    value, slope = term.slopes(x)
    assert value == pytest.approx(norm.logcdf((0.5 - x[:, 0]) / (1 + x[:, 1] ** 2)))
    for column in range(2):
        step = np.eye(2)[column] * 1e-6
        assert slope[:, column] == pytest.approx((term.score(x + step) - term.score(x - step)) / 2e-6, rel=1e-4)
    far = term.slopes(np.array([[1e6, 0.0]]))
    assert np.isfinite(far[0]).all()
    assert far[1][0, 0] < 0


def test_trials_that_told_nothing_of_the_constraints_are_left_out():
    known = state(10, untold=(2, 5))
    seen = Seen.of(known, PLAN)
    holds = [ring(o.params) <= 0.0 for o in known.observed]
    assert feasible_rows(known, seen).tolist() == [at not in (2, 5) and one for at, one in enumerate(holds)]
    assert len(constraint_terms(known, PLAN, seen, 256)) == 1
    assert constraint_terms(state(5, untold=(0, 1, 2, 3)), PLAN, Seen.of(state(5, untold=(0, 1, 2, 3)), PLAN), 9) == []


@pytest.mark.parametrize("excess", [-1.0, 1.0])
def test_a_constraint_that_always_or_never_held_says_so(excess):
    seen = tuple(Observation(k, SQUARE.decode([k / 4, k / 4]), float(k), (), (excess,)) for k in range(4))
    known = State(SQUARE, 0, seen, problem=Problem(constraints=1))
    (term,) = constraint_terms(known, PLAN, Seen.of(known, PLAN), 256)
    units, masks = known.units, known.masks
    chances = np.exp(term.score(PLAN.features(units, masks)))
    assert ((chances > 0.5) if excess < 0 else (chances < 0.5)).all()


def gardner(params):
    """Gardner et al. (2014), simulation 2: a feasible region of four small islands, 1.6 % of the square."""
    return {"value": math.sin(params["x"]) + params["y"], "c": math.sin(params["x"]) * math.sin(params["y"])}


def test_where_the_best_feasible_value_is_known():
    side = np.linspace(0, 6, 1201)
    x, y = np.meshgrid(side, side)
    feasible = np.sin(x) * np.sin(y) <= -0.95
    assert feasible.mean() == pytest.approx(0.016, abs=0.002)
    assert (np.sin(x) + y)[feasible].min() == pytest.approx(GARDNER, abs=2e-3)


GARDNER = 0.2533


def branin_disc(params):
    x, y = params["x"], params["y"]
    hill = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return {
        "value": hill + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10,
        "c": (x - 2.5) ** 2 + (y - 7.5) ** 2,
    }


PROBLEMS = {
    "gardner": (SQUARE, gardner, AtMost(-0.95), GARDNER, 0.05),
    "branin-disc": (Space({"x": Float(-5, 10), "y": Float(0, 15)}), branin_disc, AtMost(50), 0.397887, 0.05),
}


def best_feasible(problem, seed, n, aware):
    space, measure, bound, _, _ = PROBLEMS[problem]
    study = Study(space, seed=seed, constraints={"c": bound} if aware else None)
    found = math.inf
    for _ in range(n):
        trial = study.ask()
        metrics = measure(trial.params)
        study.tell(trial, metrics)
        found = min(found, metrics["value"]) if bound.excess(metrics["c"]) <= 0 else found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_feasible_optimum_is_found(problem):
    """Within .05 of it after 40 trials in at least 7 of 8 studies; it was in 8 of 8 for three sets of seeds."""
    *_, optimum, within = PROBLEMS[problem]
    found = [best_feasible(problem, seed, 40, aware=True) for seed in range(8)]
    assert sum(one <= optimum + within for one in found) >= 7


@pytest.mark.slow
def test_knowing_of_the_constraint_beats_not_knowing():
    """Better in at least 11 of 12 pairs: with no difference p = .003."""
    pairs = [[best_feasible("gardner", seed, 25, aware) for aware in (True, False)] for seed in range(12)]
    assert sum(aware < unaware for aware, unaware in pairs) >= 11


# -- everything at once ----------------------------------------------------------------------------------------------

MIXED = Space(
    {
        "opt": Choice(["sgd", "adam", "rmsprop"]),
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 8),
    }
)


def measured(params):
    """Accuracy and latency, a size that is constrained, and failures where the learning rate is large."""
    if params["lr"] > 0.05:
        return Failure("diverged")
    accuracy = 1 - abs(math.log10(params["lr"]) + 2.5) / 4 - 0.1 * (params["opt"] == "rmsprop")
    size = params["layers"] ** 2 + params.get("momentum", 0.0)
    return {"accuracy": accuracy + params["layers"] / 40, "latency_ms": params["layers"] * 3.0, "size": size}


def all_at_once(strategy="auto", seed=5):
    priors = {"lr": Near(1e-3), "opt": Likely({"adam": 0.6})} if strategy in ("auto", "bayesian") else None
    return Study(
        MIXED,
        {"accuracy": "maximize", "latency_ms": "minimize"},
        strategy,
        seed,
        constraints={"size": AtMost(40), "accuracy": AtLeast(0.4)},
        priors=priors,
    )


def driven(study, n, pending=2):
    """Tell with some trials always under way, the newest first every third time."""
    under_way = []
    for step in range(n):
        under_way.append(study.ask())
        if len(under_way) > pending:
            trial = under_way.pop(-1 if step % 3 == 0 else 0)
            study.tell(trial, measured(trial.params))
    return study


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["auto", "bayesian", "random", "sobol", "tpe"])
def test_objectives_constraints_beliefs_and_failures_together(strategy):
    study = driven(all_at_once(strategy), 30)
    assert {t.state for t in study.trials} >= {"complete", "pending"}
    assert len({MIXED.key(t.params) for t in study.trials}) == 30
    front = study.front
    assert all(t.feasible and t.metrics["size"] <= 40 for t in front)
    assert study.hypervolume({"accuracy": 0.3, "latency_ms": 30}) > 0
    if strategy == "auto":
        assert study.strategy_name == "bayesian"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["bayesian", "tpe", "random"])
def test_it_resumes_exactly_and_repeats(strategy):
    whole = driven(all_at_once(strategy), 24)
    text = dumps(driven(all_at_once(strategy), 24).snapshot())
    assert dumps(whole.snapshot()) == text
    read = Study.restore(loads(text))
    assert dumps(read.snapshot()) == text
    assert driven(read, 6).trials == driven(whole, 6).trials


CHILD = """
import json, sys
from visutility.tune import Study
study = Study.restore(json.load(sys.stdin))
print(json.dumps([t.params for t in study.ask_batch(4)]))
"""


@pytest.mark.slow
def test_another_process_goes_on_exactly():
    study = driven(all_at_once(), 16)
    env = {**os.environ, "PYTHONHASHSEED": "99", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    text = json.dumps(study.snapshot())
    done = subprocess.run([sys.executable, "-c", CHILD], input=text, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [t.params for t in study.ask_batch(4)]


def zdt1(params):
    """Zitzler, Deb and Thiele (2000), problem 1 with three parameters."""
    first, *others = (params[name] for name in ("x", "y", "z"))
    rise = 1 + 9 * sum(others) / len(others)
    return {"one": first, "two": rise * (1 - math.sqrt(first / rise))}


def front_volume(strategy, seed, constraints=None):
    cube = Space({name: Float(0, 1) for name in ("x", "y", "z")})
    study = Study(cube, {"one": "minimize", "two": "minimize"}, strategy, seed, constraints=constraints)
    for _ in range(25):
        trial = study.ask()
        study.tell(trial, zdt1(trial.params))
    return study.hypervolume({"one": 1.1, "two": 6.0})


@pytest.mark.slow
@pytest.mark.parametrize("constraints", [None, {"two": AtMost(4.0)}])
def test_the_front_beats_that_of_random_search(constraints):
    """In each of 8 pairs: random search itself passes with p = .004."""
    for seed in range(8):
        assert front_volume("bayesian", seed, constraints) > front_volume("random", seed, constraints)
