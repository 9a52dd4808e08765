"""q-values against SciPy's, and the global p-value."""

import numpy as np
import pytest
from scipy import stats

from visutility.monitor.drift.fdr import benjamini_hochberg, simes

DRAWS = [np.random.default_rng(seed).random(size) ** 3 for seed, size in enumerate((1, 2, 7, 100))]


@pytest.mark.parametrize("p", [*DRAWS, np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.2, 0.2])])
def test_q_values_are_those_of_scipy(p):
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p), abs=1e-15)


def test_no_test_at_all_says_nothing():
    assert len(benjamini_hochberg([])) == 0
    assert simes([]) == 1.0


def test_simes_is_the_least_q_value():
    assert simes([0.04, 0.03, 0.5]) == pytest.approx(0.06)


def test_simes_has_its_size():
    """A correct one fails with probability 1e-6 under another seed; p = 0.06 slips through with 0.06."""
    draws = np.random.default_rng(3).random((4000, 10))
    rejected = sum(simes(row) <= 0.05 for row in draws)
    assert stats.binom.ppf(1e-6, 4000, 0.05) <= rejected <= stats.binom.isf(1e-6, 4000, 0.05)
