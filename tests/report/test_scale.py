import math
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from visutility.report.html import number
from visutility.report.scale import scale

FINITE = st.floats(-1e9, 1e9, allow_subnormal=False).map(lambda x: 0.0 if abs(x) < 1e-6 else x)


@settings(max_examples=200)
@given(st.lists(FINITE, min_size=1, max_size=10), st.booleans())
def test_an_axis_shows_every_value_and_its_ticks_are_round(values, round_ends):
    axis = scale(values, round_ends=round_ends)
    assert axis is not None
    assert axis.low < axis.high
    for value in values:
        assert -1e-6 <= axis.place(value) <= 1000 + 1e-6
    assert 1 <= len(axis.ticks) <= 9
    steps = {round((b - a) / (axis.high - axis.low), 6) for a, b in pairwise(axis.ticks)}
    assert len(steps) <= 1
    if len(axis.ticks) > 1:
        step = axis.ticks[1] - axis.ticks[0]
        assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 3) in (1, 2, 5)


@settings(max_examples=200)
@example([1e9 - 2000, 1e9])
@example([1e-6, 2e-6])
@example([-3e-4, 5e-4])
@given(st.lists(FINITE, min_size=2, max_size=6, unique=True))
def test_tick_labels_tell_ticks_apart_and_are_their_values(values):
    assume(max(values) - min(values) > 1e-6 * max(map(abs, values)))
    axis = scale(values)
    labels = [axis.label(tick) for tick in axis.ticks]
    assert len(set(labels)) == len(labels)
    for label, tick in zip(labels, axis.ticks, strict=True):
        assert float(label.replace("−", "-").replace(",", "")) == pytest.approx(tick, rel=1e-9, abs=1e-12)


def test_whole_axes_have_whole_ticks():
    assert scale([0, 3], whole=True).ticks == (0, 1, 2, 3)
    assert scale([7], whole=True).ticks == (6, 7, 8)


def test_nothing_has_no_axis():
    assert scale([]) is None
    assert scale([math.nan, math.inf]) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.98765, "0.988"), (0.5, "0.500"), (12.345, "12.3"), (1234.5, "1,230"), (123_456.7, "123,000"), (3, "3"),
        (3.0, "3"), (1_234_567, "1,234,567"), (-0.25, "−0.250"), (0.99999, "1.00"), (0.00012, "1.20e−4"),
        (2.5e8, "2.50e8"), (0.0, "0"), (None, "–"), (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_and_counts_all(value, shown):
    assert number(value) == shown
