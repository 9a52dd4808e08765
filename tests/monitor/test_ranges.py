"""Ranges: scaled to [0, 1] so that larger is worse, and back."""

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.monitor import Adwin, EDetector
from visutility.monitor.ranges import ends, scaled, unscaled


@pytest.mark.parametrize("kind", [Adwin, EDetector], ids=lambda kind: kind.name)
def test_values_are_scaled_so_that_larger_is_worse_and_come_back(kind):
    rise, fall = kind(low=-1.0, high=3.0), kind(direction="fall", low=-1.0, high=3.0)
    values = np.array([-1.0, 0.0, 3.0])
    assert rise.oriented(values).tolist() == scaled(rise, values).tolist() == [0.0, 0.25, 1.0]
    assert fall.oriented(values).tolist() == scaled(fall, values).tolist() == [1.0, 0.75, 0.0]
    for detector in (rise, fall):
        assert ends(detector) == (-1.0, 3.0)
        assert unscaled(detector, scaled(detector, values)).tolist() == values.tolist()
        assert unscaled(detector, scaled(detector, 0.5)) == 0.5


@pytest.mark.parametrize("kind", [Adwin, EDetector], ids=lambda kind: kind.name)
def test_an_open_end_is_refused_and_ends_of_short_floats_do_not_overflow(kind):
    for settings in ({"low": None}, {"high": None}):
        with pytest.raises(InvalidSetting, match="open end"):
            kind(**settings)
    detector = kind(low=np.float16(-6e4), high=np.float16(6e4))
    assert detector.oriented(np.array([0.0, 5.9e4])).tolist() == pytest.approx([0.5, 0.99166], abs=1e-3)
