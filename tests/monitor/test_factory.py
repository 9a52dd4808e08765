"""Detectors by name, ours and other packages'."""

from dataclasses import fields
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from visutility.core.errors import Invalid, InvalidSetting
from visutility.monitor import DETECTORS, EDetector, Rolling, Verdicts, factory, make_detector


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_a_detector_by_name(kind):
    detector = make_detector(kind, direction="fall")
    assert type(detector) is DETECTORS[kind]
    assert (detector.name, detector.direction) == (kind, "fall")
    assert "5000" in detector.promise(5000)


def test_an_unknown_name_or_setting_lists_the_known_ones():
    with pytest.raises(InvalidSetting, match=rf"'magic' is unknown\. use one of {', '.join(sorted(DETECTORS))}"):
        make_detector("magic")
    with pytest.raises(InvalidSetting, match=r"rolling has no setting size\. it has allowed, arl"):
        make_detector("rolling", size=3)


@pytest.mark.parametrize("kind", sorted(DETECTORS))
@pytest.mark.parametrize("value", ["12", [], 1j, True, b"1"])
def test_a_setting_that_is_no_number_is_refused_by_name(kind, value):
    for setting in fields(DETECTORS[kind]):
        with pytest.raises(InvalidSetting, match=setting.name):
            make_detector(kind, **{setting.name: value})


@pytest.mark.parametrize(("kind", "name"), [("rolling", "parts"), ("seasonal", "phases"), ("adwin", "block")])
def test_a_count_is_a_whole_number(kind, name):
    with pytest.raises(InvalidSetting, match=rf"{name} 2\.5 is not a whole number"):
        make_detector(kind, **{name: 2.5})
    assert getattr(make_detector(kind, **{name: np.int64(10)} | ({"period": 100} if kind == "seasonal" else {})), name)


def test_a_state_is_of_equal_settings_however_they_were_written():
    saved, loads = EDetector(arl=1000), EDetector(arl=1000.0)
    state = saved.init([[0.0] * 50])
    assert loads.save(loads.load(saved.save(state))) == loads.save(state)
    with pytest.raises(Invalid, match="was given to"):
        EDetector(arl=1001.0).load(saved.save(state))


@pytest.mark.parametrize("kind", [None, 3, ["auto"], EDetector])
def test_a_name_is_a_text(kind):
    with pytest.raises(InvalidSetting, match="use one of adwin"):
        make_detector(kind)


def test_installed_packages_add_detectors_but_replace_none(monkeypatch):
    group = "visutility.detectors"
    offered = [
        EntryPoint("other", "visutility.monitor.detectors.rolling:Rolling", group),
        EntryPoint("rolling", "visutility.monitor.detectors.betting:EDetector", group),
        EntryPoint("wrong", "visutility.monitor.detectors.betting:BETS", group),
    ]
    monkeypatch.setattr(factory, "entry_points", lambda group: EntryPoints(offered).select(group=group))
    assert make_detector("other", window=20) == Rolling(window=20)
    assert isinstance(make_detector("rolling"), Rolling)
    assert isinstance(make_detector("e-detector"), EDetector)
    with pytest.raises(InvalidSetting, match=r"'wrong' of visutility\.detectors gives 8"):
        make_detector("wrong")
    with pytest.raises(InvalidSetting, match=rf"use one of {', '.join(sorted([*DETECTORS, 'other', 'wrong']))}"):
        make_detector("magic")


def test_verdicts_say_which_streams_alarmed():
    detector = EDetector(arl=100)
    state = detector.init([[0.0] * 50] * 3)
    state, said = detector.update(state, [1.0] * 20 + [0.0] * 5, [1] * 20 + [2] * 5)
    assert isinstance(said, Verdicts)
    assert said.alarm.tolist() == [False, True, False]
    assert len(said) == len(list(said)) == len(said.reasons)
    assert said.evidence.tolist() == [0.0, max(said.score), detector.scores(state)[2]]
