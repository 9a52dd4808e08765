"""What earlier studies do to a new one: help where they are right, and cost little where they are not."""

import numpy as np
import pytest

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Space, Study
from visutility.tune.strategy import Past
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.memory import LEVELS, relation, remember

SPACE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0), "z": Float(0.0, 1.0)})


def bowl(params, at=0.7):
    """A narrow bowl: 0 at (at, at, at)."""
    return sum((params[name] - at) ** 2 for name in "xyz")


def past(objective, seed, count=25):
    draw = rng(seed, "past")
    trials = [{name: float(value) for name, value in zip("xyz", draw.random(3), strict=True)} for _ in range(count)]
    best = sorted(trials, key=objective)[0]
    near = [{n: float(np.clip(v + 0.05 * draw.standard_normal(), 0, 1)) for n, v in best.items()} for _ in range(10)]
    return [(params, objective(params)) for params in (*trials, *near)]


def trials_to(level, objective, seed, history, most=40):
    study = Study(SPACE, strategy="bayesian", seed=seed, history=history)
    for number in range(1, most + 1):
        trial = study.ask()
        if study.tell(trial, objective(trial.params)).value <= level:
            return number
    return most


def mean_trials(history_of, seeds=range(8), level=0.01):
    return np.mean([trials_to(level, bowl, seed, history_of(seed)) for seed in seeds])


@pytest.mark.slow
def test_a_history_of_the_same_objective_helps_from_the_first_trial():
    cold = mean_trials(lambda seed: [])
    warm = mean_trials(lambda seed: [past(lambda p: bowl(p, 0.68), seed)])
    assert warm < 0.6 * cold
    first = [Study(SPACE, strategy="bayesian", seed=seed, history=[past(bowl, seed)]).ask().params for seed in range(5)]
    assert np.mean([bowl(params) for params in first]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inverted", "unrelated"])
def test_a_misleading_history_costs_at_most_ten_trials_in_the_mean(kind):
    """The margin docs/bayesian.md states. Fixed seeds: the outcome is exact, another set of seeds is a fair check."""
    wrong = {
        "inverted": lambda p: -bowl(p),
        "unrelated": lambda p: float(np.sin(37 * p["x"] + 11 * p["y"] - 23 * p["z"])),
    }
    cold = mean_trials(lambda seed: [])
    assert mean_trials(lambda seed: [past(wrong[kind], seed)]) <= cold + 10


def test_scales_do_not_matter():
    """A history in other units suggests the same first configuration."""
    history = past(bowl, 3)
    other = [(params, 1000 * value + 5) for params, value in history]
    first, second = (Study(SPACE, strategy="bayesian", seed=1, history=[one]).ask().params for one in (history, other))
    assert first == second


def test_suggestions_do_not_depend_on_what_was_asked_before_a_restart():
    history = [past(bowl, 1), past(bowl, 2)]
    study = Study(SPACE, strategy="bayesian", seed=5, history=history)
    for _ in range(6):
        trial = study.ask()
        study.tell(trial, bowl(trial.params))
    again = Study.restore(study.snapshot())
    assert [study.ask().params for _ in range(3)] == [again.ask().params for _ in range(3)]


def test_other_ranges_and_parameters_are_adopted():
    old = Space({"lr": Float(1e-4, 1.0, log=True), "gone": Int(1, 9)})
    new = Space(
        {
            "lr": Float(1e-3, 1e-1, log=True),
            "opt": Choice(["sgd", "adam"]),
            "momentum": Float(0.0, 0.9, when=Equals("opt", "sgd")),
        }
    )
    trials = tuple(({"lr": 10.0**-k, "gone": 3}, float(k)) for k in (0, 1, 2, 3, 4))
    study = Study(new, strategy="bayesian", seed=1, history=[Past("old", old, trials)])
    for _ in range(6):
        trial = study.ask()
        assert new.validate(trial.params) == trial.params
        study.tell(trial, trial.params["lr"])


def test_histories_that_share_nothing_or_say_nothing_are_no_memory():
    plan = layout(SPACE)
    foreign = Past("f", Space({"w": Float(0, 1)}), (({"w": 0.5}, 1.0), ({"w": 0.6}, 2.0)))
    assert remember([foreign], plan) is None
    assert remember([], plan) is None


def test_the_relation_of_studies_is_a_covariance_that_falls_with_age():
    ages = np.array([0.0, 0.0, 1.0, 2.0, 3.0])
    for level in LEVELS:
        factors, _ = relation(ages, level)
        assert np.array_equal(factors, factors.T)
        assert np.all(np.linalg.eigvalsh(factors) > -1e-9)
        assert factors[0, 1] == 1.0
    between, _ = relation(ages, 0.8)
    assert between[0, 2] > between[0, 3] > between[0, 4]
    assert between[0, 2] == pytest.approx(0.8)
