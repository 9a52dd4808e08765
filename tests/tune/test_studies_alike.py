"""What earlier studies say: how alike they are is read off the values, and a scale that moved does not matter."""

import numpy as np
import pytest

from visutility.core.rng import rng
from visutility.tune import Choice, Float, Past, Space
from visutility.tune.strategy import Observation, State
from visutility.tune.surrogate.features import layout
from visutility.tune.surrogate.gp import Prior
from visutility.tune.surrogate.memory import LEVELS, UNTOLD, recall, relation, remember
from visutility.tune.surrogate.model import Seen

SPACE = Space({"x": Float(0, 1), "y": Float(0, 1), "kind": Choice(["a", "b", "c"])})
PLAN = layout(SPACE)


def bowl(params, shift=0.0):
    return (params["x"] - 0.3 - shift) ** 2 + (params["y"] - 0.6) ** 2 + 0.2 * "bac".index(params["kind"])


def draws(n, seed):
    draw = rng(seed, "memory")
    return [SPACE.decode(draw.random(3)) for _ in range(n)]


def past(f, n=40, seed=0):
    return Past(f"study {seed}", SPACE, tuple((params, f(params)) for params in draws(n, seed)))


def seen(f, n, seed=9):
    observed = tuple(Observation(i, params, f(params)) for i, params in enumerate(draws(n, seed)))
    return Seen.of(State(SPACE, 0, observed), PLAN)


def test_the_relation_of_studies_falls_with_age_and_is_a_covariance():
    ages = np.array([3.0, 3.0, 2.0, 1.0, 0.0])
    between, onto = relation(ages, 0.5)
    assert between[0, 1] == 1.0
    assert between[0, 2] == pytest.approx(0.5)
    assert onto == pytest.approx([0.5**1.5, 0.5**1.5, 0.5**1.25, 0.5, 1.0])
    assert between[-1] == pytest.approx(onto)
    for level in LEVELS:
        assert np.linalg.eigvalsh(relation(np.arange(9.0), level)[0]).min() > -1e-12


def test_like_studies_are_believed_and_inverted_ones_are_not():
    memory = remember((past(bowl, seed=1), past(bowl, seed=2)), PLAN)
    assert memory is not None
    assert memory.level(seen(bowl, 1), PLAN, 500) == UNTOLD
    assert memory.level(seen(bowl, 8), PLAN, 500) >= 0.8
    assert memory.level(seen(lambda p: -bowl(p), 8), PLAN, 500) == 0.0


@pytest.mark.parametrize(("scale", "origin"), [(1.0, 0.0), (1.5, 0.1), (0.7, -0.2)])
def test_a_level_and_a_spread_that_moved_do_not_matter(scale, origin):
    memory = remember((past(bowl, seed=1), past(bowl, seed=2)), PLAN)
    assert memory is not None
    new = seen(lambda p: scale * bowl(p) + origin, 8)
    assert memory.level(new, PLAN, 500) >= 0.8
    process = memory.process(new, PLAN, 500, 0.8)
    at = draws(200, 5)
    rows = [SPACE.encode(params) for params in at]
    means = process.mean(PLAN.features(np.array([u for u, _ in rows]), np.array([m for _, m in rows])))
    assert np.corrcoef(means, [bowl(params) for params in at])[0, 1] > 0.9


def test_the_later_study_counts_for_more():
    old, new = past(lambda p: bowl(p, 0.5), seed=1), past(bowl, seed=2)
    memory, other = remember((old, new), PLAN), remember((new, old), PLAN)
    assert memory is not None
    assert other is not None
    nothing = Seen.of(State(SPACE, 0), PLAN)
    units = np.array([[0.3, 0.6, 0.5], [0.8, 0.6, 0.5]])
    at = PLAN.features(*SPACE.snap(units))
    first = memory.process(nothing, PLAN, 500, UNTOLD).mean(at)
    second = other.process(nothing, PLAN, 500, UNTOLD).mean(at)
    assert first[0] - first[1] < second[0] - second[1]


def test_what_cannot_be_used_is_left_out():
    elsewhere = Past("other", Space({"z": Float(0, 1)}), (({"z": 0.5}, 1.0), ({"z": 0.2}, 2.0)))
    one = Past("one", SPACE, (({"x": 0.5, "y": 0.5, "kind": "a"}, 1.0),))
    assert remember((), PLAN) is None
    assert remember((elsewhere, one, Past("empty", SPACE, ())), PLAN) is None
    memory = remember((elsewhere, past(bowl, 300, seed=1), past(bowl, 300, seed=2)), PLAN)
    assert memory is not None
    assert len(memory.x) == len(memory.targets) == 200
    assert sorted(set(memory.ages)) == [1.0, 2.0]


def test_recalling_is_remembering():
    history = (past(bowl, seed=1),)
    kept, again, fresh = recall(history, PLAN), recall(history, PLAN), remember(history, PLAN)
    assert kept is again is not None
    assert fresh is not None
    assert (kept.targets == fresh.targets).all()
    assert (kept.hyper.vector() == fresh.hyper.vector()).all()
    assert Prior().mode(PLAN.parameters).vector() != pytest.approx(kept.hyper.vector())
