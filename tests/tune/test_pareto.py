"""Fronts and hypervolumes: hand-worked cases, properties, and Monte Carlo."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visutility.core.rng import rng
from visutility.tune.pareto import front, hypervolume


def rows(columns, most=12):
    places = st.integers(0, 6).map(float)
    return st.integers(1, most).flatmap(lambda n: arrays(np.float64, (n, columns), elements=places))


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


@given(st.integers(1, 4).flatmap(rows))
def test_the_front_is_what_nothing_dominates(points):
    expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
    assert front(points).tolist() == expected
    assert expected


@pytest.mark.slow
@given(st.integers(1, 4).flatmap(rows))
def test_every_point_off_the_front_is_dominated_by_one_on_it(points):
    kept = front(points)
    for place in set(range(len(points))) - set(kept.tolist()):
        assert any(dominates(points[k], points[place]) for k in kept)


def by_inclusion_and_exclusion(points, reference):
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            sides = np.maximum(reference - np.max(some, axis=0), 0.0)
            total += (-1) ** (size + 1) * float(np.prod(sides))
    return total


@given(st.integers(1, 4).flatmap(lambda columns: rows(columns, most=7)))
def test_hypervolume_by_inclusion_and_exclusion(points):
    reference = np.full(points.shape[1], 5.0)
    assert hypervolume(points, reference) == pytest.approx(by_inclusion_and_exclusion(points, reference), abs=1e-9)


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[1.0], [3.0]], [4.0], 3.0),
        ([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]], [4.0, 4.0], 6.0),  # a staircase of 3 + 2 + 1 cells
        ([[1.0, 3.0], [2.0, 3.0]], [4.0, 4.0], 3.0),  # dominated: adds nothing
        ([[1.0, 5.0], [5.0, 1.0]], [4.0, 4.0], 0.0),  # beyond the reference
        ([[1.0, 4.0]], [4.0, 4.0], 0.0),  # on it
        ([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], [2.0, 2.0, 2.0], 7.0),  # a cube of 8 less one corner
        ([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]], [2.0, 2.0, 2.0, 2.0], 8.0 + 2.0 - 1.0),
    ],
)
def test_hypervolume_of_hand_worked_cases(points, reference, volume):
    assert hypervolume(np.array(points), reference) == volume


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_hypervolume_by_monte_carlo(columns):
    """A right implementation fails with p = 6e-7 under another seed (5 standard errors)."""
    draw = rng(1, "hypervolume", columns)
    points = draw.random((30, columns))
    darts = draw.random((20_000, columns)) * 1.1
    hit = (points[None] <= darts[:, None]).all(axis=2).any(axis=1).mean()
    error = 5 * math.sqrt(hit * (1 - hit) / len(darts))
    assert abs(hypervolume(points, [1.1] * columns) / 1.1**columns - hit) < error


@given(rows(3), rows(3))
def test_more_points_never_take_volume_away(some, more):
    reference = [6.5] * 3
    joined = hypervolume(np.concatenate([some, more]), reference)
    assert joined >= max(hypervolume(some, reference), hypervolume(more, reference)) - 1e-9
