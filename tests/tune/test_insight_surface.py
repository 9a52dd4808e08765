"""The model's mean along parameters, axes, and Pareto fronts."""

import math

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.tune import Choice, Equals, Float, Int, Space, Study
from visutility.tune.constraints import AtMost
from visutility.tune.insight import Findings, along, evidence, front, model_of, surface, ticks, value_of, written
from visutility.tune.options import options_of
from visutility.tune.trial import COMPLETE, FAILED, Trial

SPACE = Space(
    {
        "x": Float(0.0, 1.0),
        "kind": Choice(["a", "b"]),
        "y": Float(0.0, 1.0, when=Equals("kind", "b")),
        "z": Float(0.0, 1.0, when=Equals("kind", "a")),
    }
)


def value(params):
    return (params["x"] - 0.3) ** 2 + (0.0 if params["kind"] == "b" else 0.5) + (params.get("y", 0.0) - 0.5) ** 2


def findings(n, objective=value, space=SPACE, **options):
    study = Study(space, strategy="sobol")
    found = [study.ask() for _ in range(n)]
    trials = [Trial(t.number, t.params, "sobol", COMPLETE, objective(t.params)) for t in found]
    return Findings(space, options_of(**options), trials)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_mean_along_a_parameter_has_the_shape_of_the_function(direction):
    flip = 1.0 if direction == "minimize" else -1.0
    model = model_of(evidence(findings(100, lambda p: flip * value(p), direction=direction)))
    places, expected = along(model, "x")
    assert places[np.argmin(flip * expected)] == pytest.approx(0.3, abs=0.05)
    known = flip * np.array([value(t.params) for t in findings(100).trials])
    assert known.min() <= expected.min() <= expected.max() <= known.max()
    places, expected = along(model, "kind")
    assert places.tolist() == [0.25, 0.75]
    assert flip * (expected[0] - expected[1]) > 0.2


def test_a_surface_is_open_where_one_of_its_parameters_is_not_active():
    model = model_of(evidence(findings(100)))
    found = surface(model, "kind", "y")
    assert found.values.shape == (len(found.y), 2)
    assert np.isnan(found.values[:, 0]).all()
    assert np.isfinite(found.values[:, 1]).all()
    assert found.y[np.argmin(found.values[:, 1])] == pytest.approx(0.5, abs=0.08)
    assert (np.diff(found.levels) >= 0.0).all()
    assert found.levels[0] == pytest.approx(np.nanmin(found.values))
    assert found.levels[-1] == pytest.approx(np.nanmax(found.values))
    assert np.isnan(surface(model, "y", "z").values).all()  # never active together
    assert len(surface(model, "y", "z").levels) == 0


def test_a_surface_has_the_names_way_round():
    model = model_of(evidence(findings(100)))
    one, other = surface(model, "x", "y"), surface(model, "y", "x")
    assert pytest.approx(other.values, abs=1e-9) == one.values.T
    with pytest.raises(InvalidSetting, match="parameter 'nope' is unknown"):
        surface(model, "x", "nope")


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0], [2.0] * 10])
def test_there_is_no_model_of_too_little(values):
    trials = [Trial(at, {"x": at / 10, "kind": "b", "y": 0.1}, "", COMPLETE, v) for at, v in enumerate(values)]
    assert model_of(evidence(Findings(SPACE, options_of(), trials))) is None


def test_a_thinned_model_sees_the_best_and_says_how_many():
    model = model_of(evidence(findings(128)), points=40)
    assert model.rows == 40
    assert model.skill > 0.8
    kept = evidence(findings(128)).thinned(40)
    assert len(kept) == 40
    assert set(np.argsort(evidence(findings(128)).losses)[:20]) <= set(kept)


def test_the_best_are_at_least_eight_or_half_and_equals_are_in_together():
    seen = evidence(findings(100))
    assert seen.best(0.1).sum() == 10
    assert seen.best(0.01).sum() == 8
    assert evidence(findings(6)).best(0.1).sum() == 3
    assert evidence(findings(1)).best(0.1).tolist() == [True]
    assert evidence(findings(0)).best(0.1).tolist() == []
    assert evidence(findings(20, lambda _: 1.0)).best(0.1).all()


PARAMETERS = [
    Float(0.0, 1.0),
    Float(-1e-9, 1e12),
    Float(1e-8, 1.0, log=True),
    Float(0.3, 0.31, log=True),
    Float(2.0, 70.0, log=True),
    Float(0.0, 1.0, step=0.25),
    Float(0.1, 0.7, step=0.001),
    Int(1, 3),
    Int(1, 1),
    Int(3, 1000, log=True),
    Int(0, 10**9, step=7),
    Int(16, 512, step=16),
    Choice([None, True, 1.5, "x"]),
    Choice(["only"]),
]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=repr)
def test_ticks_lie_inside_in_order_and_say_their_value(parameter):
    found = ticks(parameter)
    places = [place for place, _ in found]
    assert 1 <= len(found) <= (len(parameter.options) if isinstance(parameter, Choice) else 13)
    assert places == sorted(places)
    assert all(0.0 <= place <= 1.0 for place in places)
    assert len({text for _, text in found}) == len(found)
    if not isinstance(parameter, Choice):
        for place, text in found:
            meant = float(text)
            assert parameter.to_unit(parameter.adopt("tick", meant)) == pytest.approx(place, abs=0.02)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (1e-5, "1e-5"), (0.001, "0.001"), (12.5, "12.5"), (20000, "20000"), (1.5e6, "1.5e6"), (-3.0, "-3")],
)
def test_numbers_on_an_axis_are_short(number, text):
    assert written(number) == text


def test_a_front_holds_what_nothing_else_beats():
    space = Space({"x": Float(0.0, 1.0)})
    rows = [(1.0, 5.0), (2.0, 4.0), (2.0, 6.0), (3.0, 9.0), (0.5, 0.0), (1.0, 5.0)]
    options = options_of({"loss": "minimize", "gain": "maximize"}, constraints={"size": AtMost(1.0)})
    trials = [
        options.completed(
            Trial(at, {"x": 0.1}, "", COMPLETE, loss, {"loss": loss, "gain": gain, "size": float(at == 3) * 2})
        )
        for at, (loss, gain) in enumerate(rows)
    ]
    trials.append(Trial(6, {"x": 0.1}, "", FAILED, failure="no"))
    found = front(Findings(space, options, trials))
    assert found.objectives == ("loss", "gain")
    assert found.numbers.tolist() == [0, 1, 2, 4, 5]  # trial 3 breaks the constraint
    assert found.numbers[found.best].tolist() == [0, 2, 4, 5]
    assert value_of(trials[6], "loss", options) is None
    with pytest.raises(InvalidSetting, match="one objective has its `best`"):
        front(findings(4))
    assert len(front(Findings(space, options, [])).best) == 0


def test_a_value_that_is_not_finite_is_none():
    trial = Trial(0, {}, "", COMPLETE, 1.0, {"a": 1.0, "b": math.inf})
    options = options_of({"a": "minimize", "b": "minimize"})
    assert value_of(trial, "a", options) == 1.0
    assert value_of(trial, "b", options) is None
