"""Beliefs about good values: what may be said, what is refused, and how it is kept."""

import math

import pytest

from visutility.core.codec import dumps, loads
from visutility.core.errors import Invalid
from visutility.tune import Choice, Equals, Float, Int, Likely, Near, Options, Space, Study, options_of
from visutility.tune.priors import shares

SPACE = Space(
    {
        "opt": Choice(["sgd", "adam", "rmsprop"]),
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 8),
        "width": Choice([16, 32, 64], ordered=True),
    }
)
BELIEFS = {"opt": Likely({"adam": 0.7}), "lr": Near(1e-3, 0.1), "layers": Near(3), "width": Near(32, spread=0.5)}


def test_beliefs_survive_json():
    options = options_of(priors=BELIEFS, space=SPACE)
    assert dict(options.priors) == BELIEFS
    assert Options.from_json(loads(dumps(options.to_json()))) == options
    assert options.problem.needs == {"priors"}
    assert type(options.problem).from_json(loads(dumps(options.problem.to_json()))) == options.problem


def test_options_that_are_not_named_share_what_is_left():
    assert shares(Likely({"adam": 0.7}), ["sgd", "adam", "rmsprop"]) == pytest.approx([0.15, 0.7, 0.15])
    certain = shares(Likely({"adam": 1.0}), ["sgd", "adam"])
    assert math.isclose(sum(certain), 1.0)
    assert 0.0 < certain[0] < 0.01  # none is ruled out
    assert shares(Likely({True: 0.9}), [1, True]) == pytest.approx([0.1, 0.9])


REFUSED = {
    "no mapping": ([("lr", Near(1e-3))], "are not a mapping"),
    "an unknown parameter": ({"rate": Near(1e-3)}, "name the parameter 'rate'"),
    "no text": ({3: Near(1e-3)}, "name the parameter 3"),
    "a number": ({"lr": 1e-3}, "the belief about 'lr', a number, is 0.001"),
    "near an unordered option": ({"opt": Near("adam")}, "the belief about 'opt', a choice"),
    "options of a number": ({"lr": Likely({1e-3: 0.5})}, "the belief about 'lr', a number"),
    "a value out of range": ({"lr": Near(1.0)}, "'lr': 1.0"),
    "a value off the grid": ({"layers": Near(2.5)}, "'layers': 2.5"),
    "an unknown option": ({"opt": Likely({"lion": 0.5})}, "'opt': 'lion'"),
    "a text for a number": ({"lr": Near("low")}, "'lr': 'low'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_beliefs_that_do_not_fit_the_space_are_refused(case):
    priors, says = REFUSED[case]
    with pytest.raises(Invalid, match=says) as refused:
        Study(SPACE, priors=priors)
    assert refused.value.hint


@pytest.mark.parametrize("spread", [0.0, -1.0, 2.0, math.nan, "wide", None, True])
def test_a_spread_is_a_share_of_the_range(spread):
    with pytest.raises(Invalid, match="the spread of a belief"):
        Near(1.0, spread)


@pytest.mark.parametrize("options", [{}, {"a": 0.0}, {"a": -1}, {"a": 1.5}, {"a": math.nan}, {"a": 0.7, "b": 0.7}])
def test_probabilities_are_probabilities(options):
    with pytest.raises(Invalid, match="probabilit"):
        Likely(options)


def test_a_strategy_that_would_overlook_them_is_refused():
    for strategy in ("random", "sobol", "grid"):
        with pytest.raises(Invalid, match=f"{strategy!r} does not take priors into account"):
            Study(SPACE, strategy=strategy, priors=BELIEFS)
