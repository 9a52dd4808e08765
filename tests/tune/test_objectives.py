"""Several objectives and outcome constraints: what is told, what is refused, what stands, and what is kept."""

import math

import numpy as np
import pytest

from visutility.core.codec import dumps, loads
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, MissingMetric, TrialNotFound
from visutility.tune import AtLeast, AtMost, Enough, Failure, Float, MedianStopping, Options, Space, Study, options_of

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1)})
BOTH = {"accuracy": "maximize", "latency_ms": "minimize"}


def told(*results, direction=BOTH, **arguments):
    study = Study(SPACE, direction, "random", **arguments)
    for result in results:
        study.tell(study.ask(), result)
    return study


def both(accuracy, latency):
    return {"accuracy": accuracy, "latency_ms": latency}


def test_the_front_holds_what_no_other_trial_beats():
    study = told(both(0.5, 10), both(0.9, 30), both(0.8, 40), both(0.7, 20), both(0.7, 20), Failure("no"))
    assert [t.number for t in study.front] == [0, 1, 3, 4]
    assert (study.trials[1].value, study.trials[1].metrics) == (0.9, {"accuracy": 0.9, "latency_ms": 30.0})
    assert study.hypervolume(both(0.4, 50)) == pytest.approx(0.1 * 40 + 0.2 * 30 + 0.2 * 20)
    assert study.hypervolume(both(0.95, 50)) == 0.0
    with pytest.raises(Invalid, match=r"no single trial is the best of \['accuracy', 'latency_ms'\]. read `front`"):
        _ = study.best


def test_the_first_objective_is_a_trials_value_and_the_others_reach_the_strategy():
    study = told(both(0.5, 10), direction=BOTH)
    seen = study._search.state.observed[0]
    assert (seen.value, seen.others, seen.excess) == (-0.5, (10.0,), ())
    assert study.history == [(study.trials[0].params, 0.5)]
    assert (study.direction, study.objective) == ("maximize", "accuracy")


def test_the_front_of_one_objective_is_its_best_trials():
    study = told(3.0, 1.0, 2.0, 1.0, direction="minimize")
    assert [t.number for t in study.front] == [1, 3]
    assert study.hypervolume({"value": 4.0}) == 3.0
    one = told({"f1": 0.5}, {"f1": 0.75}, direction={"f1": "maximize"})
    assert one.best.number == 1


def test_best_is_among_the_trials_that_hold_the_constraints():
    study = told(
        both(0.9, 30),
        both(0.8, 20),
        both(0.7, 10),
        direction="maximize",
        objective="accuracy",
        constraints={"latency_ms": AtMost(20), "accuracy": AtLeast(0.5)},
    )
    assert study.best.number == 1
    assert [t.feasible for t in study.trials] == [False, True, True]
    assert study.trials[0].excess == pytest.approx({"latency_ms": 10.0, "accuracy": -0.4})
    assert [t.number for t in study.front] == [1]
    seen = study._search.state.observed
    assert [s.holds(2) for s in seen] == [False, True, True]
    assert seen[2].excess == pytest.approx((-10.0, -0.2))
    assert [value for _, value in study.past().trials] == [-0.8, -0.7]  # what another study learns from


def test_where_nothing_is_feasible_the_nearest_trial_is_named():
    study = told(both(0.9, 30), both(0.8, 24), both(0.7, 26), direction=BOTH, constraints={"latency_ms": AtMost(20)})
    for read in (lambda: study.front, lambda: Study.restore(study.snapshot()).front):
        with pytest.raises(TrialNotFound, match="none of 3 complete trials") as found:
            read()
        assert found.value.hint == "trial 1 is nearest: it exceeds 'latency_ms' by 4"
    assert study.hypervolume(both(0, 100)) == 0.0
    with pytest.raises(TrialNotFound, match="no trial is complete"):
        _ = told(direction=BOTH).front


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_trial_without_a_finite_metric_that_is_needed_failed(broken):
    study = told(both(0.9, broken), direction=BOTH)
    assert (study.trials[0].state, study.trials[0].failure) == ("failed", f"latency_ms is {broken}")
    study = told(both(0.9, broken), direction="maximize", objective="accuracy", constraints={"latency_ms": AtMost(1)})
    trial = study.trials[0]
    assert (trial.state, trial.feasible, trial.excess) == ("failed", False, {})
    assert study._search.state.observed[0].value is None


TELLS = {
    "a number alone": (0.9, MissingMetric, r"the number 0.9 alone lacks \['latency_ms', 'size'\]"),
    "a lacking objective": ({"accuracy": 0.9, "size": 1}, MissingMetric, r"lack \['latency_ms'\]"),
    "a lacking constraint": (both(0.9, 1), MissingMetric, r"lack \['size'\], which the study needs"),
    "a lacking first objective": ({"latency_ms": 1, "size": 1}, MissingMetric, "lack the objective 'accuracy'"),
    "a text": ({**both(0.9, "fast"), "size": 1}, InvalidObservation, "metric 'latency_ms' 'fast' is not a number"),
    "a boolean": ({**both(0.9, 1), "size": True}, InvalidObservation, "metric 'size' True is not a number"),
    "a list": ([0.9, 1.0], InvalidObservation, r"value \[0.9, 1.0\] is not a number"),
    "a pair": ((0.9, 1.0), InvalidObservation, "is not a number"),
    "an array": (np.array([0.9, 1.0]), InvalidObservation, "is not a number"),
    "nothing": ({}, MissingMetric, "lack the objective"),
}


@pytest.mark.parametrize("case", TELLS)
def test_malformed_tells_are_refused_and_change_nothing(case):
    result, error, says = TELLS[case]
    study = Study(SPACE, BOTH, "random", constraints={"size": AtMost(2)})
    trial = study.ask()
    with pytest.raises(error, match=says) as refused:
        study.tell(trial, result)
    assert refused.value.hint
    assert study.trials[0].state == "pending"
    assert study.tell(trial, {**both(0.9, 1.0), "size": 1}).feasible


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"direction": {}}, "names no metric"),
        ({"direction": {"a": "up"}}, "direction 'up'"),
        ({"direction": {"": "minimize"}}, "names the metric ''"),
        ({"direction": {3: "minimize"}}, "names the metric 3"),
        ({"direction": BOTH, "objective": "f1"}, "objective 'f1' beside the directions"),
        ({"direction": ["minimize", "maximize"]}, "direction .'minimize', 'maximize'. is unknown"),
        ({"constraints": [("a", AtMost(1))]}, "are not a mapping"),
        ({"constraints": {"a": 20.0}}, "the constraint on 'a' is 20.0"),
        ({"constraints": {"": AtMost(1)}}, "names? the metric ''"),
        ({"deterministic": 1}, "deterministic is 1"),
        ({"noise": -0.1}, "noise -0.1"),
        ({"noise": math.nan}, "noise nan"),
        ({"noise": "low"}, "noise 'low'"),
        ({"noise": True}, "noise True"),
        ({"noise": 0.1, "deterministic": True}, "noise 0.1 of a deterministic"),
        ({"noise": 0.1, "direction": BOTH}, "noise 0.1 with 2 objectives"),
        ({"stopping": "best"}, "stopping 'best'"),
    ],
)
def test_malformed_options_are_refused(arguments, says):
    with pytest.raises(InvalidSetting, match=says) as refused:
        Study(SPACE, **{"strategy": "random", **arguments})
    assert refused.value.hint


@pytest.mark.parametrize("bound", [math.nan, math.inf, "20", None, True])
@pytest.mark.parametrize("kind", [AtMost, AtLeast])
def test_a_bound_is_a_finite_number(kind, bound):
    with pytest.raises(InvalidSetting, match="no finite number") as refused:
        kind(bound)
    assert refused.value.hint


@pytest.mark.parametrize("reference", [{"accuracy": 0.5}, {}, [0.5, 10.0], None, 3])
def test_a_reference_gives_each_objective(reference):
    with pytest.raises(InvalidSetting, match="does not give each of"):
        told(both(0.5, 1)).hypervolume(reference)


def test_options_survive_json_and_older_ones_are_read():
    options = options_of(BOTH, constraints={"size": AtMost(np.float64(2)), "f1": AtLeast(0.5)}, deterministic=True)
    assert Options.from_json(loads(dumps(options.to_json()))) == options
    noisy = options_of("maximize", "f1", noise=0.25, stopping=None)
    assert Options.from_json(loads(dumps(noisy.to_json()))) == noisy
    assert Options.from_json({"objectives": [["loss", "minimize"]]}) == options_of(objective="loss", stopping="median")
    assert (noisy.problem.noise, options.problem.constraints, options.problem.objectives) == (0.25, 2, 2)


def test_a_snapshot_of_format_1_is_read():
    study = told(1.0, 2.0, direction="maximize", objective="f1")
    data = loads(dumps(study.snapshot()))
    options = data.pop("options")
    assert data["format"] == 2
    for trial in data["trials"]:
        del trial["excess"]
    data |= {"format": 1, "direction": "maximize", "objective": "f1", "stopping": {"startup": 3, "warmup": 1}}
    read = Study.restore(data)
    assert read.options == options_of("maximize", "f1", stopping=MedianStopping(3, 1))
    assert read.trials == study.trials
    assert read.ask() == study.ask()
    assert Study.restore({**data, "stopping": None}).options.stopping is None
    assert read.snapshot()["options"]["objectives"] == options["objectives"]


def test_reports_of_several_objectives_never_stop_a_trial():
    study = told(*(both(0.9, 1) for _ in range(3)))
    trial = study.ask()
    assert all(study.report(trial, step, -1e9) for step in range(5))
    study.prune(trial)
    assert study._search.state.observed[-1].value is None


def test_what_is_given_out_is_the_callers_own():
    study = told(both(0.9, 1), constraints={"latency_ms": AtMost(2)})
    study.front[0].excess.clear()
    study.trials[0].metrics.clear()
    assert study.front[0].excess == {"latency_ms": -1.0}


@pytest.mark.parametrize(
    "build",
    [lambda huge: AtMost(huge), lambda huge: Study(SPACE, noise=huge), lambda huge: Enough(gain=huge)],
    ids=["a bound", "noise", "a gain"],
)
def test_numbers_beyond_a_float_are_refused(build):
    with pytest.raises(InvalidSetting):
        build(10**400)
