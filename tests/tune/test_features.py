"""What the surrogate sees of a configuration: distances between options, ranks, and inactive parameters."""

from itertools import combinations

import numpy as np
import pytest

from visutility.tune import Choice, Equals, Float, Int, Space
from visutility.tune.surrogate.features import layout

SPACE = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 5),
        "kind": Choice(["a", "b", "c", "d"]),
        "size": Choice([16, 32, 64], ordered=True),
        "flag": Choice([False, True]),
        "fixed": Choice(["only"]),
        "depth": Int(1, 100, when=Equals("kind", "a", "b")),
        "act": Choice(["x", "y", "z"], when=Equals("kind", "a")),
    }
)
BASE = {"lr": 1e-2, "layers": 2, "kind": "c", "size": 32, "flag": False, "fixed": "only"}


def features(*configurations):
    rows = [SPACE.encode(params) for params in configurations]
    return layout(SPACE).features(np.array([unit for unit, _ in rows]), np.array([mask for _, mask in rows]))


def distance(one, other) -> float:
    a, b = features(one, other)
    return float(np.linalg.norm(a - b))


def test_any_two_options_of_an_unordered_choice_are_equally_far_apart():
    space = Space({"kind": Choice(list("abcde")), "flag": Choice([False, True])})
    rows = [space.encode({"kind": kind, "flag": flag}) for kind in "abcde" for flag in (False, True)]
    x = layout(space).features(np.array([u for u, _ in rows]), np.array([m for _, m in rows]))
    same_flag = x[::2]
    apart = [np.linalg.norm(a - b) for a, b in combinations(same_flag, 2)]
    assert apart == pytest.approx([1.0] * 10)
    assert np.linalg.norm(x[0] - x[1]) == pytest.approx(1.0)  # two options too


def test_numbers_and_ranks_fill_one_column_from_zero_to_one():
    low = BASE | {"lr": 1e-4, "layers": 1, "size": 16}
    high = BASE | {"lr": 1e-1, "layers": 5, "size": 64}
    a, b = features(low, high)
    changed = np.flatnonzero(a != b)
    assert (a[changed] == 0.0).all()
    assert b[changed] == pytest.approx([1.0, 1.0, 1.0])
    assert distance(BASE | {"size": 16}, BASE | {"size": 32}) == pytest.approx(0.5)


def test_an_inactive_parameter_makes_no_difference():
    a, b = features(BASE, BASE | {"kind": "d"})
    kind = slice(2, 6)
    assert np.delete(a, np.r_[kind]) == pytest.approx(np.delete(b, np.r_[kind]))
    assert distance(BASE, BASE | {"kind": "d"}) == pytest.approx(1.0)  # the kind alone


def test_an_active_parameter_is_at_most_half_its_range_from_an_inactive_one():
    for depth in (1, 50, 100):
        off = features(BASE | {"kind": "b", "depth": depth}, BASE | {"kind": "c"})
        assert np.abs(off[0] - off[1])[8] <= 0.5  # the column of depth
    acts = [distance(BASE | {"kind": "a", "depth": 50, "act": act}, BASE) for act in ("x", "y", "z")]
    assert acts == pytest.approx([acts[0]] * 3)  # no option is nearer to "inactive" than another


def test_columns_of_one_parameter_share_a_group_and_a_single_value_has_none():
    plan = layout(SPACE)
    assert plan.groups.tolist() == [0, 1, 2, 2, 2, 2, 3, 4, 5, 6, 6, 6]
    assert plan.parameters == 7
    assert layout(Space({"a": Choice(["only"])})).parameters == 0


def test_gradients_are_followed_along_numbers_with_many_values():
    plan = layout(SPACE)
    assert [SPACE.names[i] for i in plan.smooth] == ["lr", "depth"]


def test_the_neighbours_differ_in_one_grid_parameter():
    plan = layout(SPACE)
    params = BASE | {"kind": "a", "depth": 1, "act": "x"}
    unit, mask = SPACE.encode(params)
    rows, _ = SPACE.snap(plan.neighbours(unit, mask, np.full(SPACE.dim, 0.5)))
    found = [SPACE.decode(row) for row in rows]
    changes = [
        {name for name in SPACE.names if one.get(name) != params.get(name)} - {"act", "depth"} or {"below"}
        for one in found
    ]
    assert all(len(change) == 1 for change in changes)
    assert sorted(one["kind"] for one in found if one["kind"] != "a") == ["b", "c", "d"]
    assert sorted(one["layers"] for one in found if one["layers"] != 2) == [1, 3]
    assert sorted(one["size"] for one in found if one["size"] != 32) == [16, 64]
    assert sorted(one["act"] for one in found if one.get("act", "x") != "x") == ["y", "z"]
    assert [one["depth"] for one in found if one["kind"] == "a" and one["depth"] != 1] == [2]  # no cell below the first


def test_a_parameter_that_becomes_active_takes_the_place_it_is_given():
    plan = layout(SPACE)
    unit, mask = SPACE.encode(BASE)
    fill = np.full(SPACE.dim, 0.5)
    fill[SPACE.names.index("depth")] = 0.995
    rows, _ = SPACE.snap(plan.neighbours(unit, mask, fill))
    assert {one["depth"] for one in map(SPACE.decode, rows) if "depth" in one} == {100}
