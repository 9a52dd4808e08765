"""The outlook and the stop rule: what is left to gain, when a study closes, and when it must not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from visutility.core.codec import dumps, loads
from visutility.core.errors import InvalidSetting, StudyClosed, TrialNotFound
from visutility.core.rng import rng
from visutility.tune import AtMost, Choice, Enough, Failure, Float, Int, Options, Space, State, Study, options_of
from visutility.tune.surrogate.stop import outlook

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1), "kind": Choice(["a", "b", "c"])})


def bowl(params):
    return (params["x"] - 0.3) ** 2 + (params["y"] - 0.6) ** 2 + 0.2 * "bac".index(params["kind"])


def driven(objective, n, **arguments):
    study = Study(SPACE, **arguments)
    for _ in range(n):
        try:
            trial = study.ask()
        except StudyClosed:
            break
        study.tell(trial, objective(trial.params))
    return study


@pytest.mark.slow
def test_a_study_closes_when_nothing_is_left_to_gain():
    study = driven(bowl, 100, seed=1, stop_when=Enough(gain=0.01))
    assert 12 <= len(study.trials) < 60
    assert study.best.value < 0.01
    with pytest.raises(StudyClosed, match="further trials are not expected to pay: the next 10 trials") as closed:
        study.ask()
    assert "a gain of at least 0.01 has a probability of" in str(closed.value)
    again = Study.restore(loads(dumps(study.snapshot())))
    with pytest.raises(StudyClosed, match="not expected to pay"):
        again.ask()
    study.enqueue({"x": 0.5, "y": 0.5, "kind": "a"})
    assert study.ask().origin == "enqueued"  # what a person asks for is asked


@pytest.mark.slow
def test_it_closes_on_pure_noise():
    """Values of configurations far apart could be structure: that they are chance is seen once some are close."""
    draw = rng(3, "noise")
    found = driven(lambda _: float(draw.standard_normal()), 100, stop_when=Enough())
    assert len(found.trials) < 100


@pytest.mark.slow
def test_it_closes_on_declared_noise_and_on_one_value_throughout():
    draw = rng(3, "noise")
    declared = driven(lambda _: float(draw.standard_normal()), 60, strategy="random", noise=1.0, stop_when=Enough())
    assert len(declared.trials) < 60
    assert declared.outlook().worth == 1.0
    flat = driven(lambda _: 1.0, 60, strategy="random", stop_when=Enough())
    assert len(flat.trials) < 20


@pytest.mark.slow
def test_it_stays_open_while_a_study_improves():
    """Every trial gains a tenth of what is left, whatever its configuration: no model can know, the record shows."""
    values = iter(100.0 * 0.9**k for k in range(60))
    study = driven(lambda _: next(values), 60, strategy="random", stop_when=Enough(gain=0.1))
    assert len(study.trials) == 60


def test_it_is_off_unless_asked_for_and_the_budget_still_holds():
    assert len(driven(bowl, 40, strategy="random").trials) == 40
    assert len(driven(bowl, 40, strategy="random", budget=5, stop_when=Enough()).trials) == 5


def test_the_outlook_tells_gain_chance_and_cost():
    study = Study(SPACE, "maximize", "sobol", objective="score")
    for _ in range(20):
        trial = study.ask()
        study.tell(trial, {"score": -bowl(trial.params), "seconds": 3.0 + trial.number})
    ahead = study.outlook(trials=5, gain=0.02, cost="seconds")
    assert ahead.cost == pytest.approx(12.5)
    assert "the next 62.5 seconds are expected to gain" in str(ahead)
    assert (ahead.trials, ahead.worth, ahead.unit) == (5, 0.02, "seconds")
    assert 0.0 <= ahead.interval[0] <= ahead.gain <= ahead.interval[1] * 1.5
    assert 0.0 <= ahead.next <= ahead.gain <= ahead.left
    assert 0.0 <= ahead.chance <= 1.0
    assert study.outlook(trials=20).gain >= study.outlook(trials=1).gain
    assert study.outlook(gain=0.5).chance <= study.outlook(gain=1e-6).chance


def test_the_outlook_is_a_function_of_the_state():
    study = driven(bowl, 12, strategy="random", seed=2)
    assert Study.restore(loads(dumps(study.snapshot()))).outlook() == study.outlook() == study.outlook()
    state = study._search.state
    scaled = tuple(replace(o, value=1000 * o.value + 7) for o in state.observed)
    moved = State(state.space, state.seed, scaled)
    one, other = outlook(state, 10), outlook(moved, 10)
    assert one is not None
    assert other is not None
    assert other.gain == pytest.approx(1000 * one.gain, rel=1e-6)  # no unit is preferred
    assert other.chance == one.chance


@pytest.mark.slow
def test_the_outlook_of_a_known_function_is_honest():
    """The 90 % interval of what random trials leave to gain holds the truth in at least 16 of 24 studies.

    A right implementation, with 90 % each, fails that with p = 4e-4 under other seeds.
    """
    held = 0
    for seed in range(24):
        study = driven(bowl, 15, strategy="random", seed=seed)
        ahead = study.outlook(trials=100)
        low, high = ahead.interval
        held += low - 1e-3 <= study.best.value <= high + 1e-3  # the optimum is 0: all of it can be gained
    assert held >= 16


def test_with_constraints_only_what_holds_them_can_be_gained():
    constrained = Study(SPACE, "minimize", "sobol", constraints={"x": AtMost(0.1)})
    free = Study(SPACE, "minimize", "sobol")
    for study in (constrained, free):
        for _ in range(40):
            trial = study.ask()
            study.tell(trial, {"value": bowl(trial.params), "x": trial.params["x"]})
    ahead = constrained.outlook(trials=50)
    assert constrained.best.value - ahead.left == pytest.approx(0.04, abs=0.03)  # (0.1 - 0.3)²
    assert free.best.value - free.outlook(trials=50).left == pytest.approx(0.0, abs=0.03)


def test_a_small_space_that_is_used_up_has_nothing_left():
    study = Study(Space({"k": Int(1, 6)}), strategy="grid", deterministic=True)
    for _ in range(6):
        trial = study.ask()
        study.tell(trial, float((trial.params["k"] - 3) ** 2))
    assert study.outlook().gain < 0.05


def test_where_too_little_is_known_there_is_no_outlook():
    study = Study(SPACE, strategy="random", stop_when=Enough())
    for result in (1.0, 2.0, 3.0, math.nan, Failure("no")):
        study.tell(study.ask(), result)
    with pytest.raises(TrialNotFound, match="too few trials to look ahead"):
        study.outlook()
    study.tell(study.ask(), 4.0)
    assert study.outlook().unit == "trials"
    with pytest.raises(TrialNotFound, match="no complete trial told the metric 'seconds'"):
        study.outlook(cost="seconds")
    assert Study(Space({"only": Choice(["a"])}), strategy="random").ask().params == {"only": "a"}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Enough(gain=0.0), "gain 0.0"),
        (lambda: Enough(gain=math.nan), "gain nan"),
        (lambda: Enough(gain="much"), "gain 'much'"),
        (lambda: Enough(chance=0.0), "chance 0.0"),
        (lambda: Enough(chance=1.0), "chance 1.0"),
        (lambda: Enough(chance=None), "chance None"),
        (lambda: Enough(trials=0), "trials 0"),
        (lambda: Enough(trials=True), "trials True"),
        (lambda: Study(SPACE, stop_when=0.01), "stop_when 0.01"),
        (lambda: Study(SPACE, {"a": "minimize", "b": "minimize"}, stop_when=Enough()), "stop_when with 2 objectives"),
        (lambda: Study(SPACE, {"a": "minimize", "b": "minimize"}).outlook(), "the outlook of 2 objectives"),
        (lambda: Study(SPACE).outlook(gain=-1), "gain -1"),
        (lambda: Study(SPACE).outlook(trials=0), "trials 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, says):
    with pytest.raises(InvalidSetting, match=says) as refused:
        call()
    assert refused.value.hint


def test_the_rule_survives_json():
    options = options_of(stop_when=Enough(np.float64(0.5), 0.2, 7))
    assert Options.from_json(loads(dumps(options.to_json()))) == options


@pytest.mark.parametrize("scale", [1e290, 1.7e308])
def test_values_at_the_end_of_what_a_float_holds_have_an_outlook(scale):
    """The figures were not numbers; they are those of the same study with smaller values."""

    def told(factor):
        study = Study(Space({"x": Float(0, 1)}), strategy="sobol", noise=0.01 * factor)
        for _ in range(12):
            trial = study.ask()
            study.tell(trial, factor * (2 * (trial.params["x"] - 0.3) ** 2 - 0.9))
        return study.outlook(5)

    large, usual = told(scale), told(1.0)
    for name in ("gain", "next", "left", "worth", "lately"):
        assert getattr(large, name) / scale == pytest.approx(getattr(usual, name), rel=1e-6)
    assert large.chance == usual.chance
    assert large.interval[0] / scale == pytest.approx(usual.interval[0], rel=1e-6)
