"""What earlier studies say: how alike they are is read off the values, and a scale that moved does not matter."""

import numpy as np
import pytest

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Past, Space
from visutility.tune.strategy import Observation, State
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.gp import Hyper, condition
from visutility.tune.surrogate.memory import LEVELS, UNTOLD, recall, remember
from visutility.tune.surrogate.model import Seen
from visutility.tune.surrogate.transfer import joined, level_of, relation

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1), "kind": Choice(["a", "b", "c"])})
PLAN = layout(SPACE)


def bowl(params, shift=0.0):
    return (params["x"] - 0.3 - shift) ** 2 + (params["y"] - 0.6) ** 2 + 0.2 * "bac".index(params["kind"])


def draws(n, seed, space=SPACE):
    draw = rng(seed, "memory")
    return [space.decode(draw.random(space.dim)) for _ in range(n)]


def past(f, n=40, seed=0):
    return Past(f"study {seed}", SPACE, tuple((params, f(params)) for params in draws(n, seed)))


def seen(f, n, seed=9):
    observed = tuple(Observation(i, params, f(params)) for i, params in enumerate(draws(n, seed)))
    return Seen.of(State(SPACE, 0, observed), PLAN)


def rows(params, space=SPACE):
    encoded = [space.encode(one) for one in params]
    return layout(space).features(np.array([u for u, _ in encoded]), np.array([m for _, m in encoded]))


def test_the_relation_of_studies_falls_with_age_and_is_a_covariance():
    ages = np.array([3.0, 3.0, 2.0, 1.0, 0.0])
    between, onto = relation(ages, 0.5)
    assert between[0, 1] == 1.0
    assert between[0, 2] == pytest.approx(0.5)
    assert onto == pytest.approx([0.5**1.5, 0.5**1.5, 0.5**1.25, 0.5, 1.0])
    assert between[-1] == pytest.approx(onto)
    for level in (0.0, *LEVELS):
        assert np.linalg.eigvalsh(relation(np.arange(9.0), level)[0]).min() > -1e-12


def test_rows_appended_to_a_level_are_the_process_of_all_rows():
    """Against one factorisation of old and new rows together."""
    draw = rng(1, "appended")
    hyper, groups = Hyper(np.array([0.5, 0.8]), 1.3, 0.01), np.array([0, 1])
    x, y, ages = draw.random((12, 2)), draw.standard_normal(12), np.repeat([2.0, 1.0], 6)
    new, told, at = draw.random((5, 2)), draw.standard_normal(5), draw.random((7, 2))
    level = level_of(hyper, x / hyper.lengths, y, ages, 0.8)
    fast = joined(hyper, groups, x / hyper.lengths, level, new, told)
    every = relation(np.concatenate([ages, np.zeros(5)]), 0.8)
    slow = condition(hyper, np.concatenate([x, new]), np.concatenate([y, told]), groups, *every)
    for one, other in zip(fast.predict(at), slow.predict(at), strict=True):
        assert one == pytest.approx(other, rel=1e-9)
    alone = condition(hyper, x, y, groups, *relation(ages, 0.8))
    assert joined(hyper, groups, x / hyper.lengths, level, new[:0], told[:0]).mean(at) == pytest.approx(alone.mean(at))


def test_like_studies_are_believed_and_inverted_and_unrelated_ones_are_not():
    memory = remember((past(bowl, seed=1), past(bowl, seed=2)), PLAN)
    assert memory is not None
    first = memory.belief(seen(bowl, 0))
    assert first.useless == 0.0
    assert first.level.rho == UNTOLD
    assert memory.belief(seen(bowl, 8)).useless < 0.1
    assert memory.belief(seen(bowl, 8)).level.rho >= 0.8
    assert memory.belief(seen(lambda p: -bowl(p), 8)).useless > 0.9
    waves = [memory.belief(seen(lambda p, k=k: float(np.sin(9 * p["x"] * k + 7 * p["y"])), 8)) for k in (1, 2, 3)]
    assert np.mean([one.useless > 0.5 for one in waves]) == 1.0


@pytest.mark.parametrize(("scale", "origin"), [(1.0, 0.0), (1.5, 0.1), (0.7, -0.2), (1000.0, 5.0), (1e-6, 0.0)])
def test_a_level_and_a_spread_that_moved_do_not_matter(scale, origin):
    memory = remember((past(bowl, seed=1), past(bowl, seed=2)), PLAN)
    assert memory is not None
    new = seen(lambda p: scale * bowl(p) + origin, 8)
    belief = memory.belief(new)
    assert belief.useless < 0.2
    at = draws(200, 5)
    assert np.corrcoef(memory.process(new, belief).mean(rows(at)), [bowl(params) for params in at])[0, 1] > 0.9


def test_one_disappointing_value_on_the_same_scale_says_more_than_one_on_another():
    memory = remember((past(bowl, seed=1), past(bowl, seed=2)), PLAN)
    assert memory is not None
    best = {"x": 0.3, "y": 0.6, "kind": "b"}

    def after(value):
        return memory.belief(Seen.of(State(SPACE, 0, (Observation(0, best, value),)), PLAN)).useless

    assert after(0.5) > 2 * after(0.01)
    assert after(1e6) == pytest.approx(0.2, rel=1e-3)  # of one value on an unknown scale nothing can be learnt


def test_the_later_study_counts_for_more():
    old, new = past(lambda p: bowl(p, 0.5), seed=1), past(bowl, seed=2)
    memory, other = remember((old, new), PLAN), remember((new, old), PLAN)
    assert memory is not None
    assert other is not None
    nothing = seen(bowl, 0)
    at = PLAN.features(*SPACE.snap(np.array([[0.3, 0.6, 0.5], [0.8, 0.6, 0.5]])))
    first = memory.process(nothing, memory.belief(nothing)).mean(at)
    second = other.process(nothing, other.belief(nothing)).mean(at)
    assert first[0] - first[1] < second[0] - second[1]


def test_what_cannot_be_used_is_left_out():
    elsewhere = Past("other", Space({"z": Float(0, 1)}), (({"z": 0.5}, 1.0), ({"z": 0.2}, 2.0)))
    point = {"x": 0.5, "y": 0.5, "kind": "a"}
    one = Past("one", SPACE, ((point, 1.0),))
    flat = Past("flat", SPACE, tuple((params, 3.0) for params in draws(9, 1)))
    broken = Past("broken", SPACE, ((point, float("nan")), (point, 1.0)))
    assert remember((), PLAN) is None
    assert remember((elsewhere, one, flat, broken, Past("empty", SPACE, ())), PLAN) is None
    memory = remember((elsewhere, past(bowl, 300, seed=1), flat, past(bowl, 300, seed=2)), PLAN)
    assert memory is not None
    assert len(memory.x) == len(memory.targets) == 200
    assert sorted(set(memory.ages)) == [1.0, 2.0]


def test_hundreds_of_studies_and_thousands_of_trials_are_bounded():
    memory = remember([past(bowl, 30, seed=k) for k in range(150)], PLAN)
    assert memory is not None
    assert len(memory.x) <= 200
    assert max(memory.ages) <= 8
    new = seen(bowl, 400)
    assert len(memory.process(new, memory.belief(new)).alpha) <= 400  # 200 old rows, and at most 200 new ones


def test_what_an_old_study_did_not_have_is_not_invented():
    """A parameter added since and an option that is gone sit at the centre; a number out of its range stays outside."""
    old = Space({"lr": Float(1e-4, 1.0, log=True), "kind": Choice(["a", "gone"]), "size": Int(1, 100)})
    new = Space(
        {
            "lr": Float(1e-3, 1e-1, log=True),
            "kind": Choice(["a", "b", "c"]),
            "size": Int(1, 50),
            "added": Choice(["p", "q", "r"]),
            "extra": Float(0, 1, when=Equals("kind", "a")),
        }
    )
    plan = layout(new)
    trials = (({"lr": 1.0, "kind": "gone", "size": 99}, 1.0), ({"lr": 1e-2, "kind": "a", "size": 25}, 2.0))
    memory = remember([Past("old", old, trials)], plan)
    assert memory is not None
    assert memory.units[0, 0] == 1.0  # moved to the bound, as a configuration to try
    lr, size = memory.x[:, 0], memory.x[:, 4]
    assert lr == pytest.approx([1.5, 0.5])  # but the value is not taken to be that of the bound
    assert size == pytest.approx([2.0, 24 / 49])
    centre = 0.5**0.5 / 3
    assert memory.x[:, 5:8] == pytest.approx(np.full((2, 3), centre))
    assert memory.x[0, 1:4] == pytest.approx(np.full(3, centre))
    assert memory.x[1, 1:4] == pytest.approx([0.5**0.5, 0.0, 0.0])
    assert memory.x[:, 8] == pytest.approx([0.5, 0.5])


def test_recalling_is_remembering():
    history = (past(bowl, seed=1),)
    kept, again, fresh = recall(history, PLAN), recall(history, PLAN), remember(history, PLAN)
    assert kept is again is not None
    assert fresh is not None
    assert (kept.targets == fresh.targets).all()
    assert (kept.hyper.vector() == fresh.hyper.vector()).all()
