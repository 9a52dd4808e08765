"""Report rows of the rank test: the effect has a unit, also where the reference does not vary."""

import numpy as np
import pytest

from visutility.core.rng import rng
from visutility.monitor.drift.ranks import rank_rows


def test_the_effect_is_in_reference_deviations():
    before, after = rng(0, "ranks").standard_normal((400, 1)), rng(1, "ranks").standard_normal((300, 1)) + 2.0
    (row,) = rank_rows(["level"], before, after, 0.05)
    assert row.drifted
    assert row.effect == pytest.approx((after.mean() - before.mean()) / before.std())
    assert row.effect_name == "change of the mean in reference deviations"


@pytest.mark.parametrize("level", [0.0, 0.1])  # the deviation of 0.1 repeated is a rounding error
def test_a_change_of_what_did_not_vary_has_an_effect(level):
    before = np.full((400, 1), level)
    after = np.where(rng(0, "ranks").random((300, 1)) < 0.5, level, level + 0.3)
    (row,) = rank_rows(["dark level"], before, after, 0.05)
    assert row.drifted
    assert 0.5 < row.effect < 1.5
    assert row.effect_name == "change of the mean in deviations of both windows"
    (same,) = rank_rows(["dark level"], before, before, 0.05)
    assert (same.effect, same.drifted) == (0.0, False)
