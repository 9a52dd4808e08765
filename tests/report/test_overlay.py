"""Two histograms on one scale: what is drawn is what is there."""

import math
import re

import numpy as np
import pytest

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.report.overlay import BARS, Overlay, binned, moved, overlay, overlay_small


def histogram(values, edges):
    return np.histogram(values, edges)[0] / len(values)


def areas(chart):
    """Share of each window that lies within the drawn bars."""
    drawn = binned(chart)
    return [float((shares * np.diff(drawn.edges)).sum()) for shares in (drawn.reference, drawn.current)]


def test_areas_are_shares_whatever_the_edges():
    g = rng(0, "overlay")
    old, new = g.normal(size=2000), g.normal(1, 2, size=3000)
    edges = np.unique(np.concatenate((np.quantile(old, np.linspace(0, 1, 200)), [-30, 30])))
    chart = Overlay("x", histogram(old, edges), histogram(new, edges), edges)
    drawn = binned(chart)
    assert len(drawn.reference) <= BARS
    assert (np.diff(drawn.edges) > 0).all()
    for area, outside in zip(areas(chart), drawn.outside, strict=True):
        assert area + outside == pytest.approx(1.0, abs=1e-9)
        assert outside <= 0.01
    share = moved(chart)
    assert share == pytest.approx(0.5 * np.abs(histogram(old, edges) - histogram(new, edges)).sum())


def test_windows_cut_at_different_edges_are_drawn_on_one_scale():
    chart = Overlay("x", [0.5, 0.5], [1.0], [0.0, 1.0, 2.0], [1.0, 3.0])
    drawn = binned(chart)
    assert (drawn.low, drawn.high) == (0.0, 3.0)
    assert areas(chart) == pytest.approx([1.0, 1.0])
    assert moved(chart) == pytest.approx(0.5)


def test_one_value_alone_and_values_that_repeat_keep_their_share():
    one = Overlay("x", [1.0], [1.0], [7.0, 7.0])
    assert areas(one) == pytest.approx([1.0, 1.0])
    assert moved(one) == pytest.approx(0.0)
    repeated = Overlay("x", [0.25, 0.0, 0.75], [0.75, 0.0, 0.25], [0.0, 0.0, 5.0, 5.0])
    assert areas(repeated) == pytest.approx([1.0, 1.0])
    assert moved(repeated) == pytest.approx(0.5)


def test_far_values_beyond_the_axis_are_told():
    old = np.array([0.25, 0.25, 0.25, 0.25, 0.0])
    new = np.array([0.25, 0.25, 0.25, 0.246, 0.004])
    chart = Overlay("x", old, new, [0, 1, 2, 3, 4, 1e9])
    assert binned(chart).high == 4.0
    assert "0.4% of the current values lie beyond the axis." in overlay(chart, title="x")
    assert "beyond the axis" not in overlay(Overlay("x", old, old, [0, 1, 2, 3, 4, 1e9]), title="x")


def test_labels_are_pairs_of_bars_the_most_different_first():
    names = [f"label {at}" for at in range(12)]
    old, new = np.full(12, 1 / 12), np.full(12, 1 / 12)
    new[3], new[4] = 0.0, 1 / 6
    html = overlay(Overlay("x", old, new, labels=names), title="x", note="Drifted.")
    shown = re.findall(r">(label \d+)</text>", html)
    assert len(shown) == 8
    assert set(shown[:2]) == {"label 3", "label 4"}
    assert "The 8 of 12 labels whose shares differ most." in html
    assert moved(Overlay("x", old, new, labels=names)) == pytest.approx(1 / 12)


def test_a_window_without_values_says_so():
    for chart in (Overlay("x", [], [], []), Overlay("x", [0.0], [0.0], [0.0, 1.0])):
        assert "no data" in overlay(chart, title="x")
        assert math.isnan(moved(chart))
    gone = Overlay("x", [0.5, 0.5], [], [0, 1, 2], [])
    assert overlay(gone, title="x").count('class="data line"') == 1  # only in the legend
    assert "<svg" in overlay_small(gone)


def test_words_from_outside_are_escaped_and_equal_input_gives_equal_bytes():
    chart = Overlay('<script>"', [0.5, 0.5], [0.4, 0.6], labels=['<b>"', "x"])
    for html in (overlay(chart, title='<i>"', note="<u>"), overlay_small(chart)):
        assert "<script" not in html
        assert "<b>" not in html
        assert "<i>" not in html
        assert "<u>" not in html
    assert overlay(chart, title="t") == overlay(chart, title="t")


def test_shares_that_do_not_fit_are_refused():
    for wrong in (Overlay("x", [1.0], [1.0], [0.0]), Overlay("x", [1.0], [0.5, 0.5], labels=["a"])):
        for draw in (overlay_small, moved, lambda one: overlay(one, title="x")):
            with pytest.raises(InvalidSetting):
                draw(wrong)


@pytest.mark.parametrize("value", [0.0, 5e-324, 5.0, -2e16, 1e300, float(np.finfo(float).max)])
def test_a_column_of_one_value_is_a_bar_around_it(value):
    drawn = binned(Overlay("x", [1.0], [1.0], [value, value]))
    shown = min(value, 1e290)
    assert drawn.low < shown < drawn.high
    assert (drawn.reference * np.diff(drawn.edges)).tolist() == pytest.approx([1.0])
    assert "nan" not in overlay(Overlay("x", [1.0], [1.0], [value, value]), title="x")


def test_a_column_of_one_value_that_became_another_is_two_bars():
    drawn = binned(Overlay("x", [1.0, 0.0], [0.0, 1.0], [0.0, 1.0, 1.0]))
    assert (drawn.low, drawn.high) == (0.0, pytest.approx(1.0))


def test_values_too_far_apart_to_subtract_are_drawn():
    assert "<path" in overlay(Overlay("x", [0.5, 0.5], [0.5, 0.5], [-1.7e308, 0.0, 1.7e308]), title="x")


def test_long_labels_are_cut():
    chart = Overlay("x", [0.4, 0.6], [0.7, 0.3], labels=("a" * 10_000, "b"))
    assert len(overlay(chart, title="x")) < 3000
    assert len(overlay_small(chart)) < 1000
    assert "a" * 59 + "…" in overlay(chart, title="x")
