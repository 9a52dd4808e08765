"""The study: ask, tell, report, prune; failures; exact resume; the same suggestions for the same completion order."""

import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visutility.core.codec import dumps, loads
from visutility.core.errors import (
    Invalid,
    InvalidObservation,
    InvalidParameter,
    InvalidSetting,
    MissingMetric,
    StudyClosed,
    TrialClosed,
    TrialNotFound,
)
from visutility.tune import (
    STRATEGIES,
    AbstractStrategy,
    Choice,
    Equals,
    Failure,
    Float,
    Int,
    MedianStopping,
    Past,
    Space,
    Study,
    Trial,
)
from visutility.tune.strategies.grid import Grid

SPACE = Space(
    {
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "opt": Choice(["sgd", "adam"]),
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 8),
    }
)
CHAMPION = {"opt": "adam", "lr": 0.0123456789012345, "layers": 2}


def loss(params):
    return abs(math.log10(params["lr"]) + 2) + params["layers"] / 8 + params.get("momentum", 0.3)


def test_the_champion_that_was_enqueued_is_trial_0():
    study = Study(SPACE, strategy="random")
    study.enqueue(CHAMPION)
    study.enqueue({**CHAMPION, "layers": np.int64(3)})
    first, second, third = study.ask_batch(3)
    assert (first.number, first.params, first.origin) == (0, CHAMPION, "enqueued")
    assert (second.number, second.params["layers"], second.origin) == (1, 3, "enqueued")
    assert (third.number, third.origin) == (2, "random")
    study.enqueue({**CHAMPION, "layers": 8})
    assert study.ask().params["layers"] == 8


def test_an_enqueued_configuration_is_checked_at_once():
    study = Study(SPACE)
    with pytest.raises(InvalidParameter, match="'layers': 9"):
        study.enqueue({**CHAMPION, "layers": 9})
    assert study.trials == ()


def test_a_study_minimizes_and_maximizes_in_the_users_own_sign():
    for direction, best in (("minimize", 1.0), ("maximize", 3.0)):
        study = Study(SPACE, direction, "random")
        for value in (2.0, 3.0, 1.0, 3.0, 1.0):
            study.tell(study.ask(), value)
        assert study.best.value == best
        assert study.best.number == {1.0: 2, 3.0: 1}[best]  # the earliest of equals
        assert [value for _, value in study.history] == [2.0, 3.0, 1.0, 3.0, 1.0]
        flip = 1 if direction == "minimize" else -1
        assert [value for _, value in study.past().trials] == [flip * v for v in (2.0, 3.0, 1.0, 3.0, 1.0)]


def test_metrics_are_kept_and_the_objective_is_found_by_name():
    study = Study(SPACE, "maximize", "random", objective="accuracy")
    told = study.tell(study.ask(), {"accuracy": np.float32(0.5), "f1": 0.25, "loss": math.inf, "epochs": 3})
    assert (told.state, told.value) == ("complete", 0.5)
    assert told.metrics == {"accuracy": 0.5, "f1": 0.25, "epochs": 3.0}  # not finite: left out
    assert study.best == told


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (math.nan, "accuracy is nan"),
        (-math.inf, "accuracy is -inf"),
        ({"accuracy": math.nan, "f1": 0.5}, "accuracy is nan"),
        (Failure("out of memory"), "out of memory"),
    ],
)
def test_failed_trials(result, why):
    study = Study(SPACE, "maximize", "random", objective="accuracy")
    told = study.tell(study.ask(), result)
    assert (told.state, told.value, told.failure) == ("failed", None, why)
    with pytest.raises(TrialNotFound, match="no trial is complete"):
        _ = study.best
    study.tell(study.ask(), 0.5)
    assert study.best.number == 1
    assert study.history == [(study.best.params, 0.5)]


TELLS_REFUSED = {
    "unknown number": (lambda s, t: s.tell(7, 0.5), TrialNotFound, "trial 7 was not asked"),
    "negative number": (lambda s, t: s.tell(-1, 0.5), TrialNotFound, "trial -1 was not asked"),
    "a boolean number": (
        lambda s, t: s.tell(True, 0.5),
        TrialNotFound,
        "True is a bool, neither a trial nor its number",
    ),
    "a text for a trial": (
        lambda s, t: s.tell("0", 0.5),
        TrialNotFound,
        "'0' is a str, neither a trial nor its number",
    ),
    "another study's trial": (
        lambda s, t: s.tell(replace(t, params={**t.params, "layers": 9}), 0.5),
        TrialNotFound,
        "asked with layers=.*, not 9: it is of another study, or its params were changed",
    ),
    "a text": (lambda s, t: s.tell(t, "0.5"), InvalidObservation, "value '0.5' is not a number"),
    "nothing": (lambda s, t: s.tell(t, None), InvalidObservation, "value None is not a number"),
    "a boolean": (lambda s, t: s.tell(t, True), InvalidObservation, "value True is not a number"),
    "a complex number": (lambda s, t: s.tell(t, 1j), InvalidObservation, "value 1j is not a number"),
    "an array": (lambda s, t: s.tell(t, np.zeros(2)), InvalidObservation, "is not a number"),
    "metrics without it": (lambda s, t: s.tell(t, {"f1": 0.5}), MissingMetric, r"\['f1'\] lack the objective 'value'"),
    "no metrics": (lambda s, t: s.tell(t, {}), MissingMetric, "lack the objective"),
    "a metric no number": (
        lambda s, t: s.tell(t, {"value": 1, "f1": "high"}),
        InvalidObservation,
        "metric 'f1' 'high' is not a number",
    ),
    "a metric no name": (lambda s, t: s.tell(t, {"value": 1, 3: 1.0}), InvalidObservation, "metric name 3"),
    "a failure without reason": (lambda s, t: s.tell(t, Failure("")), InvalidObservation, "failure reason ''"),
    "a report below zero": (lambda s, t: s.report(t, -1, 0.5), InvalidObservation, "step -1"),
    "a report no number": (lambda s, t: s.report(t, 0, "low"), InvalidObservation, "'low' is not a number"),
    "a report going back": (
        lambda s, t: [s.report(t, step, 0.5) for step in (3, 2)],
        InvalidObservation,
        "step 2 is below the last",
    ),
}


@pytest.mark.parametrize("case", TELLS_REFUSED)
def test_malformed_tells_are_refused_and_change_nothing(case):
    tell, error, says = TELLS_REFUSED[case]
    study = Study(SPACE, strategy="random")
    trial = study.ask()
    with pytest.raises(error, match=says) as refused:
        tell(study, trial)
    assert refused.value.hint
    assert [t.state for t in study.trials] == ["pending"]
    assert study.tell(trial, 0.5).state == "complete"


def test_a_trial_whose_params_were_changed_is_refused_and_its_number_is_not():
    study = Study(SPACE, strategy="random")
    trial = study.ask()
    before, trial.params["lr"] = trial.params["lr"], 0.05
    with pytest.raises(TrialNotFound, match=rf"trial 0 was asked with lr={before}, not 0.05") as refused:
        study.tell(trial, 0.5)
    assert "enqueue" in refused.value.hint
    assert study.tell(trial.number, 0.5).params["lr"] == before


@pytest.mark.parametrize("changed", [np.array([1, 2]), np.array([0.05]), np.array([]), [0.05], math.nan])
def test_a_trial_whose_params_became_no_setting_is_refused(changed):
    study = Study(SPACE, strategy="random")
    trial = study.ask()
    trial.params["lr"] = changed
    with pytest.raises(TrialNotFound, match="trial 0 was asked with lr="):
        study.tell(trial, 0.5)
    trial = study.trials[0]
    trial.params["of mine"] = changed  # what was not asked for is not looked at
    trial.params["lr"] = np.float64(trial.params["lr"])
    assert study.tell(trial, 0.5).state == "complete"


def test_a_trial_ends_once():
    study = Study(SPACE, strategy="random")
    ends = (lambda t: study.tell(t, 0.5), lambda t: study.tell(t.number, Failure("x")), study.prune)
    for end in ends:
        trial = study.ask()
        ended = end(trial)
        for again in (*ends, lambda t: study.report(t, 0, 1.0)):
            with pytest.raises(TrialClosed, match=f"trial {trial.number} ended already"):
                again(trial)
        assert study.trials[trial.number] == ended


def test_parameters_given_out_are_the_callers_own():
    study = Study(SPACE, strategy="random")
    trial = study.ask()
    kept = dict(trial.params)
    trial.params.pop("lr")
    assert study.tell(trial, 1.0).params == kept
    study.best.params.clear()
    study.history[0][0].clear()
    study.trials[0].params.clear()
    assert study.best.params == kept


def test_the_budget_closes_the_study():
    study = Study(SPACE, strategy="random", budget=3)
    assert len(study.ask_batch(2)) == 2
    assert len(study.ask_batch(5)) == 1
    for ask in (study.ask, lambda: study.ask_batch(2)):
        with pytest.raises(StudyClosed, match="all 3 trials of the budget"):
            ask()
    study.tell(2, 1.0)  # trials under way may still end
    assert study.best.number == 2


def test_a_grid_that_is_used_up_closes_the_study():
    study = Study(Space({"k": Int(1, 5)}), strategy="grid")
    assert sorted(t.params["k"] for t in study.ask_batch(9)) == [1, 2, 3, 4, 5]
    with pytest.raises(StudyClosed, match="all 5 configurations"):
        study.ask()


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2", np.True_, np.int64(0), np.float64(1.0)])
def test_bad_batch_sizes_are_refused(n):
    study = Study(SPACE)
    with pytest.raises(InvalidSetting, match="batch size"):
        study.ask_batch(n)
    assert study.trials == ()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"space": {"x": Float(0, 1)}}, InvalidSetting, "is not a Space"),
        ({"direction": "up"}, InvalidSetting, "direction 'up'"),
        ({"strategy": "best"}, InvalidSetting, "'best' is unknown"),
        ({"seed": 1.5}, InvalidSetting, "seed 1.5"),
        ({"seed": True}, InvalidSetting, "seed True"),
        ({"objective": ""}, InvalidSetting, "objective ''"),
        ({"budget": 0}, InvalidSetting, "budget 0"),
        ({"budget": np.True_}, InvalidSetting, "budget True|budget np.True_"),
        ({"workers": np.float64(2.0)}, InvalidSetting, "workers"),
        ({"budget": 0, "strategy": Grid()}, InvalidSetting, "budget 0"),
        ({"history": {"lr": 1}}, InvalidSetting, "is not a list of studies"),
        ({"history": [3]}, InvalidSetting, "is no earlier study"),
        (
            {"history": [Past("odd", SPACE, (("lr", 1.0),))]},
            InvalidParameter,
            "odd: configuration 'lr' is not a mapping",
        ),
        ({"history": [Past("odd", SPACE, (({}, 10**400),))]}, InvalidObservation, "odd: value is beyond"),
        ({"history": [Past("odd", SPACE, (3,))]}, InvalidObservation, "odd holds 3, not a"),
        ({"history": [({"lr": 1}, 0.5)]}, InvalidObservation, "a history is a list of lists"),
        ({"history": [[({"lr": 1}, "low")]]}, InvalidObservation, "'low' is not a number"),
        ({"history": [[("lr", 0.5)]]}, InvalidParameter, "'lr' is not a mapping"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, says):
    with pytest.raises(error, match=says) as refused:
        Study(**{"space": SPACE, **arguments})
    assert refused.value.hint


@pytest.mark.parametrize("strategy", ["random", "auto", Grid()])
def test_numpy_integers_are_whole_numbers(strategy):
    plain, ours = (
        Study(SPACE, "minimize", strategy, seed=kind(3), budget=kind(4), workers=kind(2)) for kind in (int, np.int64)
    )
    for study, kind in ((plain, int), (ours, np.int32)):
        for trial in study.ask_batch(kind(5)):
            assert study.report(trial, kind(2), 0.5)
            study.tell(trial, 0.5)
    assert len(ours.trials) == 4
    assert json.dumps(ours.snapshot()) == json.dumps(plain.snapshot())


def test_history_may_be_studies_pasts_and_lists_oldest_first():
    earlier = Study(SPACE, "maximize", "random")
    for value in (0.5, math.nan, 0.75):
        earlier.tell(earlier.ask(), value)
    past = Past("old", SPACE, ((CHAMPION, 0.25),))
    listed = [({"lr": np.float64(0.5), "gone": 1}, 0.5), (CHAMPION, None), (CHAMPION, math.nan), [CHAMPION, 2]]
    study = Study(SPACE, "maximize", "random", history=[past, earlier, listed])
    first, second, third = study.snapshot()["history"]
    assert first["trials"] == [[CHAMPION, 0.25]]  # a Past is lower-is-better already
    assert [value for _, value in second["trials"]] == [-0.5, -0.75]
    assert third["trials"] == [[{"lr": 0.5, "gone": 1}, -0.5], [CHAMPION, -2.0]]
    with pytest.raises(InvalidSetting, match=r"history=\[study\]"):
        Study(SPACE, history=earlier)


def test_reports_stop_what_is_worse_than_the_median():
    for direction, flip in (("minimize", 1), ("maximize", -1)):
        study = Study(SPACE, direction, "random", stopping="median")
        for start in range(5):
            trial = study.ask()
            assert all(study.report(trial, step, flip * (10.0 + start - step)) for step in range(4))
            study.tell(trial, flip * (6.0 + start))
        good, bad = study.ask_batch(2)
        assert study.report(good, 0, flip * 11.0)
        assert not study.report(bad, 0, flip * 13.0)
        assert study.report(bad, 0, flip * 1.0)  # a step is kept as it was first reported, and judged once
        assert not study.report(good, 1, math.nan)
        assert study.prune(bad).reports == ((0, flip * 13.0),)
        assert study.trials[good.number].reports == ((0, flip * 11.0),)
        assert (study.trials[bad.number].state, study.trials[bad.number].value) == ("pruned", None)
        assert study.best.number == 0
        lenient = Study.restore(without_rule(study))
        assert lenient.report(lenient.ask(), 0, flip * 99.0)


def without_rule(study):
    data = study.snapshot()
    return {**data, "options": {**data["options"], "stopping": None}}


def test_a_pruned_trial_teaches_its_last_report():
    study = Study(SPACE, "maximize", "random")
    one, two = study.ask_batch(2)
    study.report(one, 0, 0.5)
    study.report(one, 4, 0.75)
    study.prune(one)
    study.prune(two)
    assert [o.value for o in study._search.state.observed] == [-0.75, None]
    assert study.history == []


def test_optimize_asks_calls_and_tells():
    study = Study(SPACE, strategy="random", seed=4, budget=20)
    best = study.optimize(loss, 50)
    assert len(study.trials) == 20
    assert best.value == min(loss(trial.params) for trial in study.trials)

    def broken(params):
        raise KeyError("depth")

    study = Study(SPACE, strategy="random")
    with pytest.raises(KeyError, match="depth"):
        study.optimize(broken, 3)
    assert [(t.state, t.failure) for t in study.trials] == [("failed", "KeyError: 'depth'")]


def test_a_study_can_be_driven_by_threads():
    study = Study(SPACE, strategy="random", seed=5)

    def work():
        for _ in range(25):
            trial = study.ask()
            study.report(trial, 0, 1.0)
            study.tell(trial, loss(trial.params))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [t.number for t in study.trials] == list(range(100))
    assert {t.state for t in study.trials} == {"complete"}
    alone = Study(SPACE, strategy="random", seed=5)
    assert [t.params for t in study.trials] == [t.params for t in alone.ask_batch(100)]


# -- resume and order ------------------------------------------------------------------------------------------------


def drive(study, moves):
    """Follow a script: None asks, k >= 0 ends the k-th pending trial; every fifth fails, every seventh is pruned."""
    for move in moves:
        pending = [t for t in study.trials if t.state == "pending"]
        if move is None or not pending:
            study.ask()
            continue
        trial = pending[move % len(pending)]
        study.report(trial, 1, loss(trial.params))
        if trial.number % 7 == 3:
            study.prune(trial)
        else:
            study.tell(trial, math.nan if trial.number % 5 == 2 else loss(trial.params))
    return study


def new_study(strategy):
    past = Past("old", SPACE, tuple(({**CHAMPION, "layers": k}, loss({**CHAMPION, "layers": k})) for k in (1, 4, 8)))
    study = Study(SPACE, "minimize", strategy, seed=3, history=[past], budget=200)
    study.enqueue(CHAMPION)
    study.enqueue({**CHAMPION, "layers": 5})
    return study


moves = st.lists(st.none() | st.integers(0, 3), min_size=8, max_size=24)


@pytest.mark.parametrize(
    "strategy", [pytest.param(name, marks=[pytest.mark.slow] * STRATEGIES[name].learns) for name in sorted(STRATEGIES)]
)
@given(before=moves, after=moves)
@settings(max_examples=5)
def test_a_restored_study_goes_on_as_if_never_saved(strategy, before, after):
    study = drive(new_study(strategy), before)
    text = dumps(study.snapshot())
    read = Study.restore(loads(text))
    assert dumps(read.snapshot()) == text
    assert read.trials == study.trials
    assert read.reason == study.reason
    assert drive(read, [*after, None, None]).trials == drive(study, [*after, None, None]).trials
    assert read.snapshot() == study.snapshot()


CHILD = """
import json, sys
from visutility.tune import Study
study = Study.restore(json.load(sys.stdin))
print(json.dumps([t.params for t in study.ask_batch(5)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_another_process_goes_on_exactly(strategy):
    study = drive(new_study(strategy), [None, None, None, 1, 0, None, 0, None, 0, None])
    env = {**os.environ, "PYTHONHASHSEED": "99", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    text = json.dumps(study.snapshot())
    done = subprocess.run([sys.executable, "-c", CHILD], input=text, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [t.params for t in study.ask_batch(5)]


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_same_completion_order_gives_the_same_trials(strategy):
    """Four at a time, ending in a fixed shuffled order: whoever evaluates them, the trials are the same."""

    def parallel(threads):
        study = new_study(strategy)
        for _ in range(4):
            batch = study.ask_batch(4)
            values = {}

            def evaluate(trials, values=values):
                for trial in trials:
                    values[trial.number] = loss(trial.params)

            workers = [threading.Thread(target=evaluate, args=(batch[at::threads],)) for at in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            for at in (2, 0, 3, 1):
                study.tell(batch[at], values[batch[at].number])
        return study.trials

    assert parallel(1) == parallel(2) == parallel(4)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda d: d.pop("format"), "format None"),
        (lambda d: d.update(format=99), "format 99"),
        (lambda d: d.pop("trials"), "not a whole study snapshot"),
        (lambda d: d["trials"].pop(0), "missing trials"),
        (lambda d: d["told"].pop(), "missing trials"),
        (lambda d: d.update(strategy="gone"), "'gone' is unknown"),
        (lambda d: d["space"].pop("parameters"), "not a stored space"),
        (lambda d: d["trials"][0].pop("params"), "not a whole study snapshot"),
    ],
)
def test_a_snapshot_that_was_cut_or_edited_is_refused(edit, says):
    data = loads(dumps(drive(new_study("random"), [None, None, 0, None]).snapshot()))
    edit(data)
    with pytest.raises(Invalid, match=says):
        Study.restore(data)


def test_a_snapshot_must_be_a_mapping():
    with pytest.raises(Invalid, match="format None"):
        Study.restore([])


def test_a_strategy_of_the_users_own_is_given_back_to_restore():
    class Corner(AbstractStrategy):
        name = "corner"

        def suggest(self, state, number):
            return state.space.decode([0.0] * state.space.dim)

    study = Study(SPACE, strategy=Corner())
    study.tell(study.ask(), 1.0)
    assert (study.strategy_name, study.reason) == ("corner", "it was given")
    data = loads(dumps(study.snapshot()))
    with pytest.raises(InvalidSetting, match="'corner' is unknown"):
        Study.restore(data)
    assert Study.restore(data, Corner()).ask() == study.ask()


def test_trials_survive_json():
    trial = Trial(3, CHAMPION, "random", "complete", 0.5, {"f1": 0.25}, None, ((0, 1.0), (2, 0.5)))
    assert Trial.from_json(loads(dumps(trial.to_json()))) == trial


def test_the_rule_can_be_chosen():
    study = Study(SPACE, strategy="random", stopping=MedianStopping(startup=1))
    first, second = study.ask_batch(2)
    study.report(first, 0, 1.0)
    study.tell(first, 1.0)
    assert not study.report(second, 0, 2.0)
    assert Study.restore(study.snapshot()).report(1, 1, 0.5)
