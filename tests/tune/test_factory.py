"""Which strategy "auto" takes, and what it says."""

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from visutility.core.errors import InvalidSetting
from visutility.tune import STRATEGIES, AbstractStrategy, Choice, Equals, Float, Int, Past, Space, Study, factory
from visutility.tune.factory import find_strategy, make_strategy
from visutility.tune.priors import Near
from visutility.tune.problem import Problem

SMALL = Space({"k": Int(1, 4), "kind": Choice(["a", "b", "c"])})
MIXED = Space({"lr": Float(1e-4, 1, log=True), "opt": Choice(["a", "b"]), "m": Float(0, 1, when=Equals("opt", "a"))})
WIDE = Space({f"x{at}": Float(0, 1) for at in range(101)})
NUMBERS = Space({"lr": Float(1e-4, 1, log=True), "k": Int(1, 900), "x": Float(0, 1, step=0.1)})
PAST = Past("earlier", MIXED, (({"lr": 0.1, "opt": "b"}, 0.5), ({"lr": 0.2, "opt": "b"}, 0.4)))


@pytest.mark.parametrize(
    ("space", "seen", "kind", "says"),
    [
        (SMALL, {"budget": 12}, "grid", "only 12 configurations, and 12 trials"),
        (SMALL, {"budget": 11}, "bayesian", "11 trials .* 1 number and 1 choice"),
        (SMALL, {}, "bayesian", "open number of trials"),
        (MIXED, {"budget": 4}, "sobol", "4 trials with nothing to learn from"),
        (MIXED, {"budget": 5}, "bayesian", "5 trials .* 2 numbers and 1 choice, 1 of them conditional"),
        (MIXED, {"budget": 3, "history": (PAST,)}, "bayesian", "2 trials of 1 earlier study inform"),
        (MIXED, {"budget": 3, "history": (Past("empty", MIXED, ()),)}, "sobol", "3 trials"),
        (
            MIXED,
            {"budget": 30, "history": (PAST, Past("elsewhere", NUMBERS, (({"other": 1}, 1.0), ({"other": 2}, 2.0))))},
            "bayesian",
            "^2 trials of 1 earlier study inform .*; 1 of 2 earlier studies has no usable trial in this space$",
        ),
        (
            MIXED,
            {"budget": 3, "history": (Past("elsewhere", NUMBERS, (({"other": 1}, 1.0),)),)},
            "sobol",
            "3 trials with nothing to learn from .*; 1 of 1 earlier studies has",
        ),
        (MIXED, {"budget": 3, "history": (Past("flat", MIXED, PAST.trials[:1] * 9),)}, "sobol", "3 trials"),
        (MIXED, {"budget": 3, "modality": "image"}, "bayesian", "images costs enough"),
        (MIXED, {"budget": 2, "modality": "image"}, "sobol", "2 trials"),
        (MIXED, {"budget": 3, "modality": "tabular"}, "sobol", "3 trials"),
        (MIXED, {"budget": 1}, "sobol", "1 trial with nothing to learn from before is best"),
        (WIDE, {"budget": 50}, "local", "101 parameters are too many"),
        (
            WIDE,
            {"budget": 50, "history": (Past("wide", WIDE, (({next(iter(WIDE.names)): 0.5}, 1.0),)),)},
            "local",
            "101 parameters are too many",
        ),
        (MIXED, {"budget": 16, "workers": 16}, "sobol", "all 16 trials run at once"),
        (
            SMALL,
            {"budget": 12, "history": (PAST,)},
            "grid",
            "try each of them; 1 of 1 earlier studies has no usable trial in this space$",
        ),
        (
            SMALL,
            {"budget": 12, "history": (Past("k", SMALL, (({"k": 2}, 1.0),)),)},
            "grid",
            "try each of them; it does not use the history$",
        ),
        (
            MIXED,
            {"budget": 30, "history": (PAST,), "problem": Problem(objectives=2)},
            "bayesian",
            "30 trials can learn from one another .*; it does not use the history$",
        ),
        (MIXED, {"budget": 17, "workers": 16}, "bayesian", "17 trials can learn"),
        (MIXED, {"budget": 16, "workers": 16, "history": (PAST,)}, "bayesian", "2 trials of 1 earlier"),
        (MIXED, {"budget": 9000}, "cmaes", "9000 trials .* 2 numbers and 1 choice, 1 of them conditional"),
        (NUMBERS, {"budget": 2000}, "cmaes", "2000 trials are enough to learn .* over 3 numbers"),
        (NUMBERS, {"budget": 1999}, "bayesian", "1999 trials can learn"),
        (NUMBERS, {"budget": 2000, "history": (PAST,)}, "bayesian", "2 trials of 1 earlier"),
        (NUMBERS, {"budget": 2000, "problem": Problem(priors=(("lr", Near(0.1)),))}, "bayesian", "cmaes .* priors"),
        (NUMBERS, {"budget": 2000, "problem": Problem(objectives=2, constraints=1)}, "cmaes", "2000 trials"),
    ],
)
def test_auto_looks_and_says_why(space, seen, kind, says):
    chosen = make_strategy("auto", space=space, **seen)
    assert chosen.strategy.name == kind
    assert re.search(says, chosen.reason)
    assert "\n" not in chosen.reason


@pytest.mark.parametrize("kind", ["auto", "random", "tpe", "bayesian"])
@pytest.mark.parametrize("trial", [({"lr": 0.1}, 10**400), ({"lr": 0.1}, None), ({"lr": 0.1}, "1"), ("lr", 1.0)])
def test_a_trial_that_is_none_is_not_counted(kind, trial):
    history = (PAST, Past("odd", MIXED, (trial, trial)), Past("with one more", MIXED, (*PAST.trials, trial)))
    reason = make_strategy(kind, space=MIXED, budget=30, history=history).reason
    assert reason.endswith("1 of 3 earlier studies has no usable trial in this space")
    assert kind != "auto" or "4 trials of 2 earlier studies inform" in reason


def test_only_the_studies_that_are_remembered_are_counted():
    assert "16 trials of 8 earlier studies" in make_strategy(space=MIXED, budget=30, history=(PAST,) * 12).reason


@pytest.mark.parametrize("kind", sorted(STRATEGIES))
def test_every_strategy_is_made_by_name(kind):
    chosen = make_strategy(kind, space=MIXED)
    assert type(chosen.strategy) is STRATEGIES[kind]
    assert chosen.reason == "it was asked for by name"


@pytest.mark.parametrize("kind", sorted(STRATEGIES))
def test_a_history_that_is_not_used_is_not_claimed(kind):
    """What the reason says is what the first three suggestions show."""
    chosen = make_strategy(kind, space=MIXED, history=(PAST,))
    with_it, without = (chosen.strategy.init(MIXED, 0, past) for past in ((PAST,), ()))
    used = any(chosen.strategy.suggest(with_it, at) != chosen.strategy.suggest(without, at) for at in range(3))
    assert ("does not use the history" in chosen.reason) == (not used)


@pytest.mark.parametrize("modality", ["images", "Image", 3, ["image"]])
def test_an_unknown_modality_is_refused_with_the_known_ones(modality):
    with pytest.raises(InvalidSetting, match=r"modality .* is unknown") as refused:
        make_strategy("auto", space=MIXED, modality=modality)
    assert "'image', 'other', 'tabular'" in refused.value.hint
    with pytest.raises(InvalidSetting, match=r"modality .* is unknown"):
        Study(MIXED, strategy=STRATEGIES["random"](), modality=modality)


def test_settings_reach_the_strategy():
    assert make_strategy("grid", space=MIXED, levels=7).strategy.settings == {"levels": 7}
    with pytest.raises(InvalidSetting, match=r"'random' does not take the settings \['levels'\]"):
        make_strategy("random", space=MIXED, levels=7)
    with pytest.raises(InvalidSetting, match=r"it takes \['levels'\]"):
        make_strategy("grid", space=MIXED, depth=7)


def test_an_unknown_strategy_is_refused_with_the_names():
    with pytest.raises(InvalidSetting, match="'cma' is unknown") as refused:
        make_strategy("cma", space=MIXED)
    assert str(sorted(["auto", *STRATEGIES])) in refused.value.hint


@pytest.mark.parametrize("budget", [0, -3, 2.5, True, "10"])
def test_a_bad_budget_is_refused(budget):
    with pytest.raises(InvalidSetting, match="is not a number of trials"):
        make_strategy(space=MIXED, budget=budget)


@pytest.mark.parametrize("workers", [0, -3, 2.5, True, "10"])
def test_bad_workers_are_refused(workers):
    with pytest.raises(InvalidSetting, match="is not a number of workers"):
        make_strategy(space=MIXED, workers=workers)


def test_a_study_hands_its_workers_on():
    assert Study(MIXED, budget=8, workers=8).strategy_name == "sobol"
    assert Study(MIXED, budget=8).strategy_name == "bayesian"


@dataclass(frozen=True)
class Corner(AbstractStrategy):
    name: ClassVar[str] = "corner"

    def suggest(self, state, number):
        return state.space.decode([0.0] * state.space.dim)


@pytest.fixture
def installed(monkeypatch):
    """Entry points of another package."""

    class Installed(EntryPoint):
        def load(self):
            return {"corner": Corner, "broken": dict}[self.name]

    points = [Installed(name, f"other:{name}", factory.GROUP) for name in ("corner", "broken")]
    monkeypatch.setattr(factory, "entry_points", lambda *, group: points if group == "visutility.strategies" else [])


@pytest.mark.usefixtures("installed")
def test_strategies_of_other_packages_are_found():
    assert find_strategy("corner") is Corner
    assert make_strategy("corner", space=MIXED).strategy == Corner()
    with pytest.raises(InvalidSetting, match="'broken' of 'other:broken' is no strategy"):
        find_strategy("broken")
    with pytest.raises(InvalidSetting, match="'broken', 'cmaes', 'corner'"):
        find_strategy("missing")


def test_entry_points_are_not_searched_for_our_own(monkeypatch):
    monkeypatch.setattr(factory, "entry_points", lambda **_: pytest.fail("searched"))
    assert find_strategy("grid") is STRATEGIES["grid"]
