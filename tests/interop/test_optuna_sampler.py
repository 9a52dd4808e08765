"""Our strategies as an Optuna sampler: conditions, several objectives, constraints, threads, resumption."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import optuna
import pytest

from visutility import Choice, Equals, Float, Int, Space, Study
from visutility.core.errors import InvalidSetting
from visutility.interop._optuna_space import Sightings
from visutility.interop.optuna import VisuTilitySampler
from visutility.tune.strategies import Grid, Sobol
from visutility.tune.strategy import AbstractStrategy, Past


def valley(trial):
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", -5, 5)
    return (x - 1) ** 2 + (y + 2) ** 2


def branches(trial):
    """Two learners with a parameter each; the best is svm with c = 10: value 0."""
    if trial.suggest_categorical("learner", ["svm", "forest"]) == "svm":
        return abs(np.log10(trial.suggest_float("c", 1e-3, 1e3, log=True)) - 1)
    return 0.5 + abs(trial.suggest_int("depth", 1, 12) - 6) / 10


BRANCHES = Space(
    {
        "learner": Choice(["svm", "forest"]),
        "c": Float(1e-3, 1e3, log=True, when=Equals("learner", "svm")),
        "depth": Int(1, 12, when=Equals("learner", "forest")),
    }
)


def test_it_finds_what_random_search_does_not():
    """30 uniform draws come within .05 of the best with probability 1 - (1 - .05 pi / 100) ** 30 < .05."""
    study = optuna.create_study(sampler=VisuTilitySampler(seed=1))
    study.optimize(valley, n_trials=30)
    assert study.best_value < 0.05


def test_maximize():
    study = optuna.create_study(direction="maximize", sampler=VisuTilitySampler(seed=1))
    study.optimize(lambda trial: -valley(trial), n_trials=30)
    assert study.best_value > -0.05


def test_conditions_are_learnt():
    study = optuna.create_study(sampler=VisuTilitySampler(seed=3))
    study.optimize(branches, n_trials=12)
    space = study.sampler._known(study).space
    assert space.parameters["c"].when == Equals("learner", "svm")
    assert space.parameters["depth"].when == Equals("learner", "forest")
    assert space.parameters["learner"].when is None


def test_a_declared_space_is_searched_whole_from_the_first_trial():
    sampler = VisuTilitySampler("sobol", seed=4, space=BRANCHES)
    study = optuna.create_study(sampler=sampler)
    study.optimize(branches, n_trials=8)
    ours = Study(BRANCHES, strategy="sobol", seed=4)
    assert [t.params for t in study.trials] == [t.params for t in ours.ask_batch(8)]


@pytest.mark.parametrize("strategy", ["bayesian", "random"])
def test_the_same_suggestions_as_a_study_of_ours(strategy):
    sampler = VisuTilitySampler(strategy, seed=4, space=BRANCHES)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(branches, n_trials=12)
    ours = Study(BRANCHES, "maximize", strategy=strategy, seed=4)
    for theirs in study.trials:
        trial = ours.ask()
        assert trial.params == theirs.params
        ours.tell(trial, theirs.value)


def test_history():
    best = {"learner": "svm", "c": 10.0}
    past = Past(
        "before", BRANCHES, ((best, 0.0), ({"learner": "forest", "depth": 2}, 0.9), ({"learner": "svm", "c": 1.0}, 1.0))
    )
    study = optuna.create_study(sampler=VisuTilitySampler("bayesian", seed=0, space=BRANCHES, history=[past]))
    study.optimize(branches, n_trials=4)
    ours = Study(BRANCHES, strategy="bayesian", seed=0, history=[past])
    for theirs in study.trials:
        trial = ours.ask()
        assert trial.params == theirs.params
        ours.tell(trial, theirs.value)


def test_an_exhausted_strategy_stops_the_study():
    space = Space({"a": Choice(["x", "y"]), "n": Int(1, 3)})
    study = optuna.create_study(sampler=VisuTilitySampler(Grid(), space=space, seed=0))
    study.optimize(lambda t: t.suggest_int("n", 1, 3) + len(t.suggest_categorical("a", ["x", "y"])), n_trials=50)
    tried = {tuple(sorted(t.params.items())) for t in study.trials[:6]}
    assert len(tried) == 6
    assert len(study.trials) <= 7  # the one in which it noticed


def test_two_objectives_reach_both_ends():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        y = trial.suggest_float("y", 0, 1)
        return x + 5 * (y - 0.5) ** 2, (1 - x) + 5 * (y - 0.5) ** 2

    study = optuna.create_study(directions=["minimize", "minimize"], sampler=VisuTilitySampler("bayesian", seed=0))
    study.optimize(objective, n_trials=25)
    assert len(study.best_trials) >= 4


def test_constraints_are_kept_and_learnt():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("excess", 0.6 - x)  # x must be at least .6
        return x

    sampler = VisuTilitySampler("bayesian", seed=0, constraints_func=lambda trial: (trial.user_attrs["excess"],))
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=20)
    assert study.trials[3].system_attrs["constraints"] == (pytest.approx(0.6 - study.trials[3].params["x"]),)
    feasible = [t.value for t in study.trials if t.params["x"] >= 0.6]
    assert 0.6 <= min(feasible) < 0.75


def test_failed_and_pruned_trials():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if x > 0.8:
            raise RuntimeError("too large")
        trial.report(x, 1)
        if x < 0.2:
            raise optuna.TrialPruned
        return x

    study = optuna.create_study(sampler=VisuTilitySampler("bayesian", seed=0))
    study.optimize(objective, n_trials=25, catch=RuntimeError)
    assert {t.state.name for t in study.trials} >= {"COMPLETE", "PRUNED"}


def test_threads_share_what_is_under_way():
    study = optuna.create_study(sampler=VisuTilitySampler("bayesian", seed=0))
    study.optimize(valley, n_trials=24, n_jobs=4)
    points = [tuple(t.params.values()) for t in study.trials]
    assert len(set(points)) == 24


def test_pickled_samplers_go_on(tmp_path, optuna_database):
    storage = optuna_database(f"sqlite:///{tmp_path}/optuna.db")
    whole = optuna.create_study(sampler=VisuTilitySampler("bayesian", seed=7))
    whole.optimize(valley, n_trials=12)
    study = optuna.create_study(storage=storage, study_name="s", sampler=VisuTilitySampler("bayesian", seed=7))
    study.optimize(valley, n_trials=6)
    sampler = pickle.loads(pickle.dumps(study.sampler))
    again = optuna.load_study(study_name="s", storage=storage, sampler=sampler)
    again.optimize(valley, n_trials=6)
    assert [t.params for t in again.trials] == [t.params for t in whole.trials]


def test_seedless_samplers_differ():
    firsts = set()
    for _ in range(3):
        study = optuna.create_study(sampler=VisuTilitySampler())
        study.optimize(valley, n_trials=1)
        firsts.add(study.trials[0].params["x"])
    assert len(firsts) == 3


def test_bad_arguments():
    with pytest.raises(InvalidSetting, match="unknown"):
        VisuTilitySampler("magic")
    with pytest.raises(InvalidSetting, match="not a Space"):
        VisuTilitySampler(space={"x": 1})


@dataclass(frozen=True, slots=True)
class Narrow(AbstractStrategy):
    """Learns from one value alone."""

    name: ClassVar[str] = "narrow"
    learns: ClassVar[bool] = True

    def suggest(self, state, number):
        return state.space.decode([0.5] * state.space.dim)


def test_strategies_that_overlook_objectives_are_refused():
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=VisuTilitySampler(Narrow(), seed=0))
    with pytest.raises(InvalidSetting, match="'narrow' does not take"):
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0), n_trials=3)


def test_a_strategy_of_ones_own():
    study = optuna.create_study(sampler=VisuTilitySampler(Sobol(), seed=0))
    study.optimize(valley, n_trials=3)
    assert len(study.trials) == 3


def test_what_no_choice_explains_is_sampled_alone():
    seen = Sightings()
    spread = optuna.distributions.FloatDistribution(0, 1)
    seen.see({"a": 0.1}, {"a": spread})
    seen.see({"a": 0.1, "b": 0.2}, {"a": spread, "b": spread})
    assert list(seen.space().space.names) == ["a"]


def test_nested_conditions_are_learnt():
    seen = Sightings()
    kind = optuna.distributions.CategoricalDistribution(["svm", "tree", None])
    kernel = optuna.distributions.CategoricalDistribution(["rbf", "linear"])
    gamma = optuna.distributions.FloatDistribution(1e-3, 1, log=True)
    seen.see({"kind": "svm", "kernel": "rbf", "gamma": 0.1}, {"kind": kind, "kernel": kernel, "gamma": gamma})
    seen.see({"kind": "svm", "kernel": "linear"}, {"kind": kind, "kernel": kernel})
    seen.see({"kind": None}, {"kind": kind})
    space = seen.space().space
    assert space.parameters["kernel"].when == Equals("kind", "svm")
    assert space.parameters["gamma"].when == Equals("kernel", "rbf")
