"""Saved things that were edited: each `load` refuses them in our own words, or gives what saves and goes on."""

from datetime import UTC, datetime

import numpy as np
import pytest
from mutants import mutants, of_json

from visutility.core import codec
from visutility.core.errors import VisuTilityError
from visutility.monitor import AlertList, AlertRules, LabelJoin, OwnRate, RiskTracker, StreamFDR

AT = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def alerts():
    """Two incidents in a fleet of five streams with two keys."""
    made = AlertList({"camera": list("abcde"), "slot": list("xyxyx")}, AlertRules(1.0, quiet=6))
    made.update(AT, [1, 0, 0, 1, 0], [9.0, 0.0, 0.0, 9.0, 0.0])
    return made.save()


def go_on_with_alerts(made):
    n = len(made.groups)
    made.ranked(NOW)
    made.update(NOW, np.arange(n) < 2, np.ones(n) * 9.0)
    made.save()


def labels():
    """Two predictions, one of them with its label, and a label that is held."""
    made = LabelJoin(metric="mae", scale=2.0, keep=10, keep_for=50.0)
    made.predict(["a", "b"], [1.0, 3.0], at=[1, 2], expected=[0.5, 0.25])
    made.label(["b", "z"], [2.0, 1.0])
    return made.save()


def go_on_with_labels(made):
    made.realised()
    made.label(["new"], [1.0])
    made.save()


FDR, RISK = StreamFDR(), RiskTracker()


def evidence():
    """Four streams, one of which has alarmed."""
    return FDR.save(FDR.update(FDR.init(4), [1.0, 2.0, 3.0, 4.0], 5, [False, True, False, False])[0])


def go_on_with_evidence(state):
    n = len(state.seen)
    FDR.save(FDR.update(state, np.ones(n), 5, np.zeros(n, np.bool_))[0])


def risk():
    """Forty losses against thirty."""
    draw = np.random.default_rng(1)
    return RISK.save(RISK.update(RISK.init(draw.random(30)), draw.random(40)))


def go_on_with_risk(state):
    RISK.risk(RISK.update(state, [0.5, 1.0]))
    RISK.save(state)


PACKED = {
    "alerts": (alerts, "label", AlertList.load, go_on_with_alerts),
    "labels": (labels, "settings", LabelJoin.load, go_on_with_labels),
    "evidence": (evidence, "settings", FDR.load, go_on_with_evidence),
    "risk": (risk, "settings", RISK.load, go_on_with_risk),
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_things_that_were_edited_are_refused_or_go_on(kind):
    make, label, load, go_on = PACKED[kind]
    data, refused = make(), 0
    go_on(load(data))
    for wrong in mutants(data, (label,), 3, 500):
        try:
            made = load(wrong)
        except VisuTilityError:
            refused += 1
        else:
            go_on(made)
    assert 250 < refused < 500


def test_rates_that_were_edited_are_refused_or_go_on():
    own = OwnRate(1000.0)
    own.watched(5000)
    for name in ("first", "second"):
        own.alarm(name, "camera")
    own.judge("first", "false")
    own.excuse(10)
    plain, draw, refused = codec.loads(own.save()), np.random.default_rng(4), 0
    for _ in range(500):
        try:
            made = OwnRate.load(codec.dumps(of_json(plain, draw)))
        except VisuTilityError:
            refused += 1
        else:
            made.unchanged("camera")
            made.report()
            made.save()
    assert 250 < refused < 500
