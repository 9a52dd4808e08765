"""`RiverDetector`: our detectors wherever River takes one, held to River's own checks."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from river import checks, drift, forest, tree

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.interop.river import RiverDetector
from visutility.monitor import DETECTORS, make_detector

pytestmark = pytest.mark.slow

ALONE = sorted(set(DETECTORS) - {"e-detector"})  # what learns from a stream's own first values
MODELS = [
    *(RiverDetector(kind) for kind in ALONE),
    RiverDetector("e-detector", reference=tuple(float(at % 10 == 0) for at in range(150)), arl=1e4),
    RiverDetector("page_hinkley", "both", arl=1e4),
]
CHECKS = [
    pytest.param(model, check, id=f"{model.kind}-{model.direction}-{check.__name__}")
    for model in MODELS
    for check in checks.yield_checks(model)
]
# What River runs on drift detectors: everything it yields for one. None of its checks on data sets is yielded, since a
# drift detector is no classifier, regressor, transformer, clusterer or recommender and learns from no pairs (x, y).
GENERAL = {
    "check_repr",
    "check_str",
    "check_tags",
    "check_clone_same_class",
    "check_clone_is_idempotent",
    "check_init_has_default_params_for_tests",
    "check_init_default_params_are_not_mutable",
    "check_doc",
    "check_clone_changes_memory_addresses",
    "check_mutate_can_be_idempotent",
    "check_pickling_supports_roundtrip",
    "check_repr_roundtrips_clone",
    "check_clone_with_new_params_applies",
    "check_get_params_matches_signature",
}


def errors(rates, *names):
    return (rng(1, "river", *names).random(len(rates)) < rates).astype(int)


def alarms(detector, values):
    found = []
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(at)
    return found


@pytest.mark.parametrize(("model", "check"), CHECKS)
def test_rivers_own_checks(model, check):
    check(model.clone())


def test_these_are_all_checks_that_river_has_for_a_drift_detector():
    assert {check.__name__ for check in checks.yield_checks(RiverDetector())} >= GENERAL
    assert {check.__name__ for check in checks.yield_checks(drift.ADWIN())} == GENERAL
    checks.check_estimator(RiverDetector())


@pytest.mark.parametrize("kind", ALONE)
def test_drift_is_detected_where_our_detector_alarms(kind):
    values = errors(np.repeat([0.1, 0.5], [1500, 400]), kind)
    settings = {"period": 24, "phases": 2} if kind == "seasonal" else {}  # a day of 1,440 values is not learnt in 1,500
    ours = make_detector(kind, **settings)
    _, said = ours.update(ours.init(1), values)
    wanted = [verdict.position for verdict in said if str(verdict.level) == "alarm"]
    assert wanted
    assert alarms(RiverDetector(kind, **settings), values.tolist()) == wanted


def test_a_warning_comes_before_the_alarm_and_ends_with_it():
    detector, seen = RiverDetector("page_hinkley", arl=1e4), []
    for value in errors(np.repeat([0.1, 0.4], [1000, 120]), "warning").tolist():
        detector.update(value)
        seen.append((detector.warning_detected, detector.drift_detected, detector.verdict))
    first = next(at for at, (_, drifted, _) in enumerate(seen) if drifted)
    assert first >= 1000
    assert any(warned for warned, _, _ in seen[1000:first])
    assert not any(warned and drifted for warned, drifted, _ in seen)
    assert seen[first][2].position == first
    first = next(at for at, (warned, _, _) in enumerate(seen) if warned)
    assert (str(seen[first][2].level), seen[first][2].position) == ("warning", first)


def test_both_directions():
    detector = RiverDetector("page_hinkley", "both")
    found = alarms(detector, errors(np.repeat([0.3, 0.7], [1000, 200]), "up").tolist())
    assert found
    assert found[0] >= 1000
    assert len(detector.scores) == 2
    assert alarms(RiverDetector("page_hinkley", "both"), errors(np.repeat([0.7, 0.3], [1000, 200]), "down").tolist())
    assert not alarms(RiverDetector("page_hinkley"), errors(np.repeat([0.7, 0.3], [1000, 200]), "down").tolist())


def test_clones_start_anew_and_pickles_go_on():
    values = errors(np.repeat([0.1, 0.5], [1000, 300]), "clone").tolist()
    detector = RiverDetector("cusum", arl=1e4)
    wanted = alarms(detector, values)
    assert alarms(detector.clone(), values) == wanted
    half = RiverDetector("cusum", arl=1e4)
    first = alarms(half, values[:1010])
    copied = half.clone(include_attributes=True)
    assert copied.scores == half.scores
    assert first + [1010 + at for at in alarms(pickle.loads(pickle.dumps(half)), values[1010:])] == wanted
    assert detector.clone({"direction": "fall"}).direction == "fall"
    assert detector.clone({"arl": 500.0}).settings == {"arl": 500.0}


def test_it_serves_inside_rivers_models():
    """A forest and a retraining classifier take it, clone it and react to it."""
    draw = rng(2, "river", "inside")
    model = drift.DriftRetrainingClassifier(
        tree.HoeffdingTreeClassifier(), RiverDetector("page_hinkley", arl=1e3, warning=0.1)
    )
    grove = forest.ARFClassifier(
        n_models=2,
        seed=1,
        drift_detector=RiverDetector("adwin"),
        warning_detector=RiverDetector("adwin", delta=0.01),
    )
    began = model.model
    for at in range(1200):
        x = {"a": float(draw.random()), "b": float(draw.random())}
        y = (x["a"] > 0.5) if at < 700 else (x["a"] < 0.5)
        for one in (model, grove):
            one.predict_one(x)
            one.learn_one(x, y)
    assert model.model is not began
    assert sum(tracker for tracker in grove._drift_tracker.values()) >= 1


def test_what_cannot_be_is_refused_at_once():
    with pytest.raises(InvalidSetting, match="'magic' is unknown"):
        RiverDetector("magic")
    with pytest.raises(InvalidSetting, match="direction 'sideways'"):
        RiverDetector("adwin", "sideways")
    with pytest.raises(InvalidSetting, match="no setting arl"):
        RiverDetector("adwin", arl=5.0)
    with pytest.raises(InvalidSetting, match="goes by the clock"):
        RiverDetector("seasonal", season="day")
    with pytest.raises(EmptyWindow):
        RiverDetector("e-detector")
    detector = RiverDetector("adwin")
    for wrong in ("?", None, float("nan"), 1.5):
        with pytest.raises(InvalidObservation):
            detector.update(wrong)
    detector.update(True)
    detector.update(np.float32(0.5))


def test_without_river_the_import_says_what_to_install():
    code = (
        "import sys; sys.modules['river'] = None\n"
        "from visutility.core.errors import MissingExtra\n"
        "try: import visutility.interop.river\n"
        "except MissingExtra as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "visutility[river]" in done.stdout
