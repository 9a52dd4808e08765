"""Reports: what is refused, and that they survive JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from mutants import of_json

from visutility.core.errors import Invalid, InvalidSetting, VisuTilityError
from visutility.monitor.drift import KINDS, ColumnDrift, DriftReport, Finding, Histogram, compare

ROW = ColumnDrift(
    "age", "numeric", "location", 3.0, 0.001, 0.002, 0.4, "standardised mean difference", True,
    Histogram((0.25, 0.75), edges=(0.0, 1.0, 2.0)), Histogram((1.0,), labels=("other",)), {"mean": 1.5},
)  # fmt: skip
BROKEN = Finding("nulls", "age", "broken", 0.5, "half are missing")
REPORT = DriftReport(
    "table", True, 0.002, 0.05, (10, 20), "age drifted", (ROW,), (BROKEN,), None, (3, 1), "data broken"
)


def test_a_report_survives_json():
    assert DriftReport.from_json(json.loads(json.dumps(REPORT.to_json()))) == REPORT
    assert ROW.to_json()["details"] == {"mean": 1.5}
    assert BROKEN.to_json()["severity"] == "broken"
    assert Histogram().to_json() == {"shares": [], "edges": [], "labels": []}


@pytest.mark.parametrize(
    "change",
    [
        {"drifted": False},
        {"p_value": 1.5},
        {"p_value": math.nan},
        {"level": 0.0},
        {"status": "ok"},
        {"status": "drift"},
        {"quality": ()},
    ],
)
def test_a_report_that_contradicts_itself_is_refused(change):
    with pytest.raises(Invalid):
        replace(REPORT, **change)


@pytest.mark.parametrize(
    "change", [{"p_value": -0.1}, {"q_value": 2.0}, {"effect": math.inf}, {"details": {"mean": math.nan}}]
)
def test_a_row_with_impossible_numbers_is_refused(change):
    with pytest.raises(Invalid):
        replace(ROW, **change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shares": (0.5, 0.5), "edges": (0.0, 1.0)},
        {"shares": (0.5, 0.5), "labels": ("a",)},
        {"shares": (1.0,), "labels": ("a",), "edges": (0.0, 1.0)},
        {"shares": (1.2, -0.2), "labels": ("a", "b")},
        {"shares": (1.0,), "edges": (1.0, 0.0)},
        {"shares": (1.0,), "edges": (0.0, math.inf)},
    ],
)
def test_a_histogram_that_does_not_fit_is_refused(wrong):
    with pytest.raises(Invalid):
        Histogram(**wrong)


@pytest.mark.parametrize("data", [{"kind": "table"}, {}, {1: 2}, [1, 2], [["kind", "table"]], None, 5, "table", b""])
def test_other_data_is_no_report(data):
    with pytest.raises(Invalid, match=r"^not a drift report: .+ pass what to_json returned$"):
        DriftReport.from_json(data)


def test_a_report_that_was_edited_is_refused_or_is_one():
    draw, refused = np.random.default_rng(3), 0
    for _ in range(1000):
        try:
            made = DriftReport.from_json(of_json(REPORT.to_json(), draw))
        except VisuTilityError:
            refused += 1
        else:
            assert DriftReport.from_json(made.to_json()) == made
    assert 500 < refused < 1000


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(InvalidSetting, match="unknown kind 'tabel'") as caught:
        compare([[1.0]], [[1.0]], kind="tabel")
    assert ", ".join(sorted(KINDS)) in caught.value.hint


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_unknown_setting_and_an_impossible_level_are_refused(kind):
    with pytest.raises(InvalidSetting, match="no setting 'speed'"):
        compare([[1.0]], [[1.0]], kind=kind, speed=3)
    with pytest.raises(Invalid, match="level"):
        compare([[1.0]], [[1.0]], kind=kind, level=1.5)
