"""What earlier studies do to a new one: help where they are right, and cost little where they are not."""

import json

import numpy as np
import pytest
from scipy.stats import wilcoxon

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Failure, Float, Int, Space, Study
from visutility.tune.strategies import Bayesian
from visutility.tune.strategy import Observation, Past, State
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.leaving import own_numbers, silences
from visutility.tune.surrogate.memory import remember, turn_of_past
from visutility.tune.surrogate.model import Seen

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


def trials_of(history_of, seeds, level=0.002):
    return np.array([trials_to(level, bowl, seed, history_of(seed)) for seed in seeds])


def asked(history, count=8, seed=1, scale=1.0):
    study = Study(SPACE, strategy="bayesian", seed=seed, history=history)
    found = []
    for _ in range(count):
        trial = study.ask()
        found.append(trial.params)
        study.tell(trial, scale * bowl(trial.params))
    return found


@pytest.mark.slow
def test_a_history_of_nearly_the_same_objective_helps_from_the_first_trial():
    """Sixteen pairs. If a history were of no use, p < .001 would come about once in a thousand other sets of seeds."""
    seeds = range(16)
    cold = trials_of(lambda seed: [], seeds)
    warm = trials_of(lambda seed: [past(lambda p: bowl(p, 0.68), seed)], seeds)
    assert wilcoxon(warm, cold, alternative="less").pvalue < 1e-3
    assert warm.mean() < 0.6 * cold.mean()
    first = [asked([past(bowl, seed)], count=1, seed=seed)[0] for seed in range(5)]
    assert np.mean([bowl(params) for params in first]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inverted", "unrelated"])
def test_a_misleading_history_costs_at_most_three_trials_in_the_mean(kind):
    """Twenty-four pairs. Their differences had a standard deviation of 2.2 (inverted) and 3.3 (unrelated), .5 and .7 in
    the mean: at a true cost of 1 another set of seeds fails in at most one of 600 cases; a cost of 5 passes in as few.
    """
    wrong = {
        "inverted": lambda p: -bowl(p),
        "unrelated": lambda p: float(np.sin(37 * p["x"] + 11 * p["y"] - 23 * p["z"])),
    }
    cold = trials_of(lambda seed: [], range(24))
    assert (trials_of(lambda seed: [past(wrong[kind], seed)], range(24)) - cold).mean() <= 3.0


def test_the_units_of_the_old_values_do_not_matter():
    """Other units before there is a value, and any two scales that are not the new one, give the same suggestions."""
    history = past(bowl, 3)

    def scaled(by, plus):
        return [[(params, by * value + plus) for params, value in history]]

    assert asked(scaled(1.0, 0.0), count=1) == asked(scaled(1000.0, 5.0), count=1)
    # Powers of two, so that not a bit of a mantissa changes.
    assert asked(scaled(2.0**10, 0.0)) == asked(scaled(2.0**20, 0.0)) == asked(scaled(2.0**-20, 0.0))
    assert asked(scaled(1.0, 0.0)) == asked(scaled(2.0**12, 0.0), scale=2.0**12)


@pytest.mark.parametrize(("scale", "origin"), [(1000.0, 5.0), (1e-6, -3.0)])
def test_a_history_in_other_units_helps_as_well(scale, origin):
    history = [[(params, scale * value + origin) for params, value in past(bowl, 3)]]
    assert min(bowl(params) for params in asked(history)) < 0.01


def test_the_order_of_studies_matters_and_that_of_trials_hardly():
    first, second = past(lambda p: bowl(p, 0.2), 1), past(lambda p: bowl(p, 0.8), 2)
    newest_high, newest_low = (asked(h, count=1)[0] for h in ([first, second], [second, first]))
    assert bowl(newest_high, 0.8) < bowl(newest_low, 0.8)
    backwards = [list(reversed(second))]
    assert asked([second], count=1)[0] == pytest.approx(asked(backwards, count=1)[0])


def test_suggestions_do_not_depend_on_what_was_asked_before_a_restart():
    history = [past(bowl, 1), past(bowl, 2)]
    study = Study(SPACE, strategy="bayesian", seed=5, history=history)
    for _ in range(6):
        trial = study.ask()
        study.tell(trial, bowl(trial.params))
    again = Study.restore(study.snapshot())
    assert [study.ask().params for _ in range(3)] == [again.ask().params for _ in range(3)]


def test_an_equal_state_from_json_suggests_the_same():
    strategy = Bayesian()
    pasts = [Past("old", SPACE, tuple(past(bowl, 1))), Past("older", SPACE, tuple(past(lambda p: -bowl(p), 2)))]
    state = strategy.init(SPACE, 3, pasts)
    for number in range(7):
        again = State.from_json(json.loads(json.dumps(state.to_json())))
        params = strategy.suggest(state, number)
        assert strategy.suggest(again, number) == params
        state = strategy.observe(strategy.asked(state, number, params), number, params, bowl(params))


@pytest.mark.parametrize(
    "history",
    [
        [[]],
        [[({"x": 0.5, "y": 0.5, "z": 0.5}, 1.0)]],
        [[({"x": 0.5, "y": 0.5, "z": 0.5}, 1.0)] * 5],
        [[({"x": 0.1 * k, "y": 0.5, "z": 0.5}, 7.0) for k in range(9)]],
        [[({"x": 0.5, "y": 0.5, "z": 0.5}, float("nan")), ({"x": 0.2, "y": 0.5, "z": 0.5}, 1.0)]],
        [[({"w": 0.5}, 1.0), ({"w": 0.7}, 2.0)]],
    ],
    ids=["empty", "one", "repeated", "constant", "nan", "foreign"],
)
def test_a_history_that_says_nothing_leaves_the_study_as_it_would_be(history):
    assert asked(history, count=7) == asked([], count=7)


def test_two_trials_and_equal_rows_are_a_history():
    point, other = {"x": 0.7, "y": 0.7, "z": 0.6}, {"x": 0.2, "y": 0.1, "z": 0.4}
    history = [[(point, 0.01)] * 20 + [(other, 1.0)] * 20]
    assert asked(history, count=8)[0] == point


def heard(study):
    """What the study's memory of its history makes of its trials: after how many told ones the past is silent."""
    state, plan = study._search.state, layout(SPACE)
    return silences(state, Seen.of(state, plan), remember(state.history, plan))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inverted", "unrelated", "outdone", "upside down"])
def test_while_its_history_is_silent_a_study_is_the_cold_one(kind):
    """The promise of docs/memory.md, exactly; of twelve such histories hardly one is listened to after nine trials."""
    left = 0
    for seed in range(12):
        study = Study(SPACE, strategy="bayesian", seed=seed, history=wrong_histories(seed)[kind])
        for _ in range(16):
            trial = study.ask()
            study.tell(trial, bowl(trial.params))
        silent = heard(study)
        own = own_numbers(silent, 16)
        assert [study.trials[k].params for k in own if k < 9 or silent[-1]] == asked([], len(own), seed)[
            : len(own) if silent[-1] else sum(k < 9 for k in own)
        ]
        left += silent[-1]
        assert own[0] == 1
    assert left >= (12 if kind == "outdone" else 10)


def wrong_histories(seed):
    """Histories that mislead; "upside down" is seen by the order of the values alone."""
    point = {"x": 0.02, "y": 0.02, "z": 0.02}
    draw = rng(seed, "others")
    others = [{name: float(v) for name, v in zip("xyz", draw.random(3), strict=True)} for _ in range(30)]
    return {
        "inverted": [past(lambda p: -bowl(p), seed)],
        "unrelated": [past(lambda p: float(np.sin(37 * p["x"] + 11 * p["y"] - 23 * p["z"])), seed)],
        "outdone": [[(point, -9.0), *((params, float(draw.random())) for params in others)]],
        "upside down": [[(params, 1e9 - 1e7 * bowl(params)) for params in others]],
    }


@pytest.mark.slow
def test_a_true_history_is_hardly_ever_silent():
    """Twenty seeds; on real models (docs/memory.md) one true history in ten is, here hardly one."""
    silent = 0
    for seed in range(20):
        study = Study(SPACE, strategy="bayesian", seed=seed, history=[past(lambda p: bowl(p, 0.68), seed)])
        for _ in range(9):
            trial = study.ask()
            study.tell(trial, bowl(trial.params))
        silent += heard(study)[-1]
    assert silent <= 3


@pytest.mark.slow
def test_a_history_is_listened_to_again_when_the_values_come_to_speak_for_it():
    """The third value disappoints, and those after it do not."""
    points = [{"x": v, "y": v, "z": v} for v in (0.7, 0.1, 0.65, 0.3, 0.9, 0.4, 0.75, 0.5, 0.6)]
    plan = layout(SPACE)
    memory = remember((Past("a", SPACE, tuple(past(bowl, 3))),), plan)
    values = [bowl(params) for params in points]
    values[2] = 0.05
    seen = tuple(Observation(k, params, v) for k, (params, v) in enumerate(zip(points, values, strict=True)))
    state = State(SPACE, 0, seen)
    silent = silences(state, Seen.of(state, plan), memory)
    assert silent[4]
    assert not any(silent[5:9])


def test_only_an_earlier_configuration_can_be_outdone():
    known, own = {"x": 0.1, "y": 0.1, "z": 0.1}, {"x": 0.9, "y": 0.2, "z": 0.4}
    plan = layout(SPACE)
    memory = remember((Past("a", SPACE, ((known, 0.0), ({"x": 0.5, "y": 0.5, "z": 0.5}, 1.0))),), plan)

    def left(first, value, second):
        state = State(SPACE, 0, (Observation(0, first, value), Observation(1, second, 0.5)))
        return silences(state, Seen.of(state, plan), memory)

    assert left(known, 0.8, own) == [False, False, True]
    assert left(known, 0.2, own) == [False] * 3  # it was the better one
    assert left(own, 0.8, known) == [False] * 3  # a user's own configuration came first
    assert left(known, None, own) == [False] * 3


def test_what_the_user_asked_for_first_is_not_forgotten_with_the_history():
    """Where configurations of the user's came first, a study that leaves its history knows all that was told."""
    mine = [{"x": 0.7, "y": 0.7, "z": v} for v in (0.6, 0.7, 0.8)]
    study = Study(SPACE, strategy="bayesian", seed=1, history=[past(lambda p: -bowl(p), 3)])
    for params in mine:
        study.enqueue(params)
    plain = Study(SPACE, strategy="bayesian", seed=1)
    for _ in range(10):
        trial = study.ask()
        study.tell(trial, bowl(trial.params))
    for params in (trial.params for trial in study.trials):
        plain.enqueue(params)
        plain.tell(plain.ask(), bowl(params))
    assert heard(study)[-1]
    assert study.ask().params == plain.ask().params


def test_failed_and_pending_trials_are_survived():
    study = Study(SPACE, strategy="bayesian", seed=2, history=[past(bowl, 1)])
    waiting = [study.ask() for _ in range(4)]
    assert len({tuple(trial.params.values()) for trial in waiting}) == 4
    study.tell(waiting[0], Failure("out of memory"))
    study.tell(waiting[2], bowl(waiting[2].params))
    for _ in range(5):
        trial = study.ask()
        assert SPACE.validate(trial.params) == trial.params
        study.tell(trial, bowl(trial.params))


def test_the_past_has_its_say_early():
    turns = [turn_of_past(number) for number in range(30)]
    assert turns[:6] == [True, False, True, True, False, True]
    assert sum(turns[:9]) == 6
    assert sum(turns[9:]) == 7


def test_other_ranges_and_parameters_are_adopted():
    old = Space({"lr": Float(1e-4, 1.0, log=True), "gone": Int(1, 9)})
    new = Space(
        {
            "lr": Float(1e-3, 1e-1, log=True),
            "opt": Choice(["sgd", "adam"]),
            "momentum": Float(0.0, 0.9, when=Equals("opt", "sgd")),
        }
    )
    trials = tuple(({"lr": 10.0**-k, "gone": 3}, abs(k - 2.0)) for k in (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4))
    study = Study(new, strategy="bayesian", seed=1, history=[Past("old", old, trials)])
    assert study.ask().params["lr"] == pytest.approx(1e-2)
    for _ in range(6):
        trial = study.ask()
        assert new.validate(trial.params) == trial.params
        study.tell(trial, abs(np.log10(trial.params["lr"]) + 2))


@pytest.mark.parametrize("value", [10**400, float("nan"), "text", True], ids=["huge", "nan", "text", "boolean"])
def test_what_is_no_number_is_not_known(value):
    plan = layout(Space({"x": Float(0, 1), "k": Int(1, 9), "y": Float(0, 1)}))
    trials = (({"x": value, "k": value, "y": 0.3}, 1.0), ({"x": 0.6, "k": 2, "y": 0.6}, 2.0))
    given, without = (remember([Past("old", plan.space, t)], plan) for t in (trials, (({"y": 0.3}, 1.0), trials[1])))
    assert (given.x == without.x).all()


@pytest.mark.parametrize(("options", "value"), [((1, 2, 3), True), ((0, 1), False), ((True, False), 1), ((1, 2), 7)])
def test_an_option_of_another_type_is_gone(options, value):
    plan = layout(Space({"c": Choice(options), "x": Float(0, 1)}))
    last = ({"c": options[1], "x": 0.6}, 2.0)
    given, without, first = (
        remember([Past("old", plan.space, (({**params, "x": 0.3}, 1.0), last))], plan)
        for params in ({"c": value}, {}, {"c": options[0]})
    )
    assert (given.x == without.x).all()
    assert (given.x != first.x).any()


def test_a_setting_that_is_no_option_of_any_kind_is_gone():
    space = Space({"c": Choice(["a", "b"]), "x": Float(0, 1)})
    trials = [({"c": np.array([1, 2]), "x": 0.3}, 1.0), ({"c": ["a"], "x": 0.6}, 2.0)]
    bare = [({"x": params["x"]}, value) for params, value in trials]
    study, alike = (Study(space, strategy="bayesian", seed=0, history=[past]) for past in (trials, bare))
    assert study.ask().params == alike.ask().params
