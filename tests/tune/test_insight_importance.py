"""Importance: PED-ANOVA against cases by hand and functional ANOVA by brute force, Sobol indices against theory."""

import itertools
import math
import sys

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.tune import Choice, Equals, Failure, Float, Int, Space, Study
from visutility.tune.insight import (
    METHODS,
    Findings,
    evidence,
    importance,
    model_of,
    ped_anova,
    sobol_indices,
)
from visutility.tune.insight.ped_anova import effect
from visutility.tune.options import options_of
from visutility.tune.trial import COMPLETE, Trial


def findings(space, pairs, **options):
    """A study of (params, value) pairs."""
    trials = [Trial(at, params, "given", COMPLETE, float(value)) for at, (params, value) in enumerate(pairs)]
    return Findings(space, options_of(**options), trials)


def sampled(space, objective, n, **options):
    """A study of the first `n` points of a Sobol sequence."""
    study = Study(space, strategy="sobol", seed=3)
    found = [study.ask().params for _ in range(n)]
    return findings(space, [(params, objective(params)) for params in found], **options)


def test_an_effect_worked_by_hand():
    """Three of the best four have "a", as has half of all: v = ¼ [½ (3/2 - 1)² + ½ (1/2 - 1)²] = 1/16."""
    values = {"a": [1, 2, 3, 9], "b": [4, 6, 7, 8]}
    pairs = [({"kind": kind, "z": 1}, value) for kind in values for value in values[kind]]
    seen = evidence(findings(Space({"kind": Choice(["a", "b"]), "z": Int(1, 1)}), pairs))
    assert ped_anova(seen, top=0.5, chance=False) == pytest.approx([1 / 16, 0.0], abs=1e-15)


def test_where_every_combination_was_tried_it_is_functional_anova():
    """The main effect of a parameter on b, "is among the best", summed over all combinations."""
    space = Space({"a": Choice(list("uvw")), "b": Int(0, 4), "c": Choice([1, 2, 4, 8], ordered=True)})
    combinations = [
        dict(zip("abc", values, strict=True)) for values in itertools.product("uvw", range(5), (1, 2, 4, 8))
    ]
    pairs = [
        (p, math.sin(3.0 * "uvw".index(p["a"])) + 0.3 * p["b"] ** 1.5 + 0.1 * p["c"] * p["b"]) for p in combinations
    ]
    seen = evidence(findings(space, pairs))
    best = seen.best(0.25)
    expected = []
    for name in space.names:
        values = [params[name] for params, _ in pairs]
        means = [np.mean([hit for hit, other in zip(best, values, strict=True) if other == v]) for v in set(values)]
        expected.append(np.var(means))
    assert ped_anova(seen, top=0.25, chance=False) == pytest.approx(expected, rel=1e-12)


def test_a_conditional_parameter_counts_where_it_is_active():
    """Half of the trials have it; there it decides everything, and the branch itself nothing."""
    space = Space({"branch": Choice(["a", "b"]), "x": Choice([0, 1], when=Equals("branch", "b")), "y": Choice([0, 1])})
    rows = [{"branch": "a", "y": y} for y in (0, 1) for _ in range(4)]
    rows += [{"branch": "b", "x": x, "y": y} for x in (0, 1) for y in (0, 1) for _ in range(2)]
    value = {"a": lambda p: p["y"], "b": lambda p: p["x"]}
    seen = evidence(findings(space, [(p, value[p["branch"]](p)) for p in rows]))
    branch, x, y = ped_anova(seen, top=0.5, chance=False)
    assert branch == 0.0
    assert x == pytest.approx(0.5 * 0.25)  # half of the trials, among which the share of best is 0 or 1
    assert y == pytest.approx(0.0625)  # the share of best is 3/4 or 1/4


@pytest.mark.parametrize("parameter", [Choice(list("abc")), Int(1, 4), Choice([1, 2, 3], ordered=True)])
def test_chance_is_taken_off_exactly(parameter):
    """Over every way to draw 3 best of 9 trials at random, the effect is 0 on average."""
    places = np.array([parameter.to_unit(parameter.nth(at % parameter.count)) for at in (0, 0, 0, 0, 1, 1, 2, 2, 2)])
    found = []
    for drawn in itertools.combinations(range(9), 3):
        best = np.isin(np.arange(9), drawn)
        found.append(effect(parameter, places, best, 9, chance=True))
    assert np.mean(found) == pytest.approx(0.0, abs=1e-15)
    assert np.std(found) > 0.01


def test_many_trials_taken_together_in_fine_steps_say_the_same(monkeypatch):
    draw = np.random.default_rng(2)
    places, best = draw.random(700), draw.random(700) < 0.2
    best |= np.abs(places - 0.4) < 0.05
    together = effect(Float(0.0, 1.0), places, best, 700, chance=True)
    monkeypatch.setattr(sys.modules[effect.__module__], "FINE", 700)
    assert effect(Float(0.0, 1.0), places, best, 700, chance=True) == pytest.approx(together, rel=0.01)


def branches(params):
    return (
        (math.log10(params["lr"]) + 2) ** 2
        + {"a": 3.0, "b": 0.0, "c": 2.0}[params["kind"]]
        + 4.0 * (params.get("momentum", 0.0) - 0.3) ** 2
        + 0.02 * params["depth"]
    )


SPACE = Space(
    {
        "lr": Float(1e-5, 1.0, log=True),
        "depth": Int(1, 12),
        "kind": Choice(["a", "b", "c"]),
        "momentum": Float(0.0, 1.0, when=Equals("kind", "b")),
        "dummy": Float(0.0, 1.0),
        "fixed": Choice([3]),
    }
)


@pytest.mark.parametrize("method", METHODS)
def test_shares_add_up_and_a_parameter_without_effect_has_next_to_none(method):
    found = importance(sampled(SPACE, branches, 256), method)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert set(found.shares) == set(SPACE.names)
    assert list(found.shares)[:2] == ["lr", "kind"]
    assert found.shares["dummy"] < 0.02
    assert found.shares["fixed"] == 0.0
    assert found.unknown == ""
    assert found.trials == 256


def test_where_a_strategy_closed_in_the_model_still_knows_a_dummy():
    study = Study(SPACE, seed=1)
    study.optimize(branches, 40)
    assert importance(study).shares["dummy"] < 0.05
    assert importance(study).shares["lr"] > 0.3


@pytest.mark.parametrize("method", METHODS)
def test_permuted_parameters_have_permuted_importance(method):
    study = sampled(SPACE, branches, 64)
    turned = Space({name: SPACE.parameters[name] for name in reversed(SPACE.names)})
    again = findings(turned, [({n: t.params[n] for n in turned.names if n in t.params}, t.value) for t in study.trials])
    one, other = importance(study, method).shares, importance(again, method).shares
    tolerance = 1e-12 if method == "ped-anova" else 0.03  # the design of the Sobol' indices differs by column
    assert other == pytest.approx(one, abs=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_units_and_direction_of_the_values_do_not_matter(method):
    study = sampled(SPACE, branches, 64)
    pairs = [(trial.params, trial.value) for trial in study.trials]
    scaled = findings(SPACE, [(params, 1e6 * value - 17.0) for params, value in pairs])
    turned = findings(SPACE, [(params, -value) for params, value in pairs], direction="maximize")
    for other in (scaled, turned):
        assert importance(other, method).shares == pytest.approx(importance(study, method).shares, abs=1e-3)


def test_ped_anova_sees_ranks_alone():
    study = sampled(SPACE, branches, 64)
    bent = findings(SPACE, [(trial.params, math.exp(trial.value)) for trial in study.trials])
    assert importance(bent, "ped-anova").shares == importance(study, "ped-anova").shares


def test_sobol_indices_of_the_ishigami_function():
    """Ishigami and Homma (1990): a = 7, b = 0.1; variances in closed form. The model bends the values, a little."""
    space = Space({name: Float(-math.pi, math.pi) for name in ("x1", "x2", "x3")})

    def ishigami(p):
        return math.sin(p["x1"]) + 7.0 * math.sin(p["x2"]) ** 2 + 0.1 * p["x3"] ** 4 * math.sin(p["x1"])

    model = model_of(evidence(sampled(space, ishigami, 300)))
    found = sobol_indices(model)
    v1 = 0.5 * (1.0 + 0.1 * math.pi**4 / 5.0) ** 2
    v2, v13 = 7.0**2 / 8.0, 0.1**2 * math.pi**8 * (1.0 / 18.0 - 1.0 / 50.0)
    whole = v1 + v2 + v13
    assert model.skill > 0.9
    assert found.first == pytest.approx(np.array([v1, v2, 0.0]) / whole, abs=0.05)
    assert found.total == pytest.approx(np.array([v1 + v13, v2, v13]) / whole, abs=0.05)


def test_sobol_indices_of_a_sum_are_the_shares_of_its_terms():
    space = Space({name: Float(0.0, 1.0) for name in "abc"})
    model = model_of(evidence(sampled(space, lambda p: 4.0 * p["a"] + 2.0 * p["b"] + p["c"], 64)))
    found = sobol_indices(model)
    expected = np.array([16.0, 4.0, 1.0]) / 21.0
    assert found.first == pytest.approx(expected, abs=0.02)
    assert found.total == pytest.approx(expected, abs=0.02)


def test_a_model_of_noise_says_that_it_knows_nothing():
    noise = np.random.default_rng(5).normal(size=100)
    study = sampled(Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}), lambda _: 0.0, 100)
    pairs = [(trial.params, value) for trial, value in zip(study.trials, noise, strict=True)]
    assert importance(findings(study.space, pairs)).skill < 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "0 of at least 4"),
        ([1.0], "1 of at least 4"),
        ([None] * 9, "0 of at least 4"),
        ([2.0] * 9, "the same value"),
    ],
    ids=["empty", "one", "all failed", "constant"],
)
def test_where_nothing_can_be_said_it_says_why(method, values, why):
    study = Study(SPACE, strategy="random")
    for value in values:
        study.tell(study.ask(), Failure("no") if value is None else value)
    found = importance(study, method)
    assert why in found.unknown
    assert set(found.shares.values()) == {0.0}


def test_a_space_without_choice_has_no_importance():
    study = findings(Space({"x": Choice([1])}), [({"x": 1}, value) for value in range(9)])
    for method in METHODS:
        assert importance(study, method).shares == {"x": 0.0}


def test_each_objective_has_its_own_importance():
    space = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    study = Study(space, {"loss": "minimize", "gain": "maximize"}, strategy="sobol")
    for _ in range(64):
        trial = study.ask()
        study.tell(trial, {"loss": trial.params["a"], "gain": trial.params["b"]})
    for method in METHODS:
        assert importance(study, method).objective == "loss"
        assert importance(study, method, objective="loss").shares["a"] > 0.95
        assert importance(study, method, objective="gain").shares["b"] > 0.95


def test_bad_arguments_are_refused():
    study = sampled(SPACE, branches, 16)
    with pytest.raises(InvalidSetting, match="choose one of ped-anova, gp"):
        importance(study, "fanova")
    with pytest.raises(InvalidSetting, match="objective 'los' is unknown"):
        importance(study, objective="los")
    for top in (0.0, 1.0, -1.0):
        with pytest.raises(InvalidSetting, match="between 0 and 1"):
            importance(study, "ped-anova", top=top)
