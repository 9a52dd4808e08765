"""Saved things that were edited: each `load` refuses them in our own words, or gives what saves and goes on."""

import re
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from mutants import mutants, of_array, of_json

from visutility.core import codec
from visutility.core.errors import Invalid, VisuTilityError
from visutility.monitor import AlertList, AlertRules, Fleet, LabelJoin, OwnRate, RiskTracker, StreamFDR, make_detector
from visutility.monitor.state import take

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


ERRORS = np.random.default_rng(5).random((3, 1500)) < [[0.05], [0.2], [0.5]]
SCORES = np.random.default_rng(6).random((3, 1500))
MIXED = np.array([ERRORS[0], SCORES[0], [*ERRORS[1, :1400], *SCORES[1, :100]]], np.float64)
WATCHED = {  # detector -> three streams of what it is for
    "adwin": SCORES,
    "auto": MIXED,
    "cusum": MIXED,
    "dependent": ERRORS.astype(np.float64),
    "e-detector": MIXED,
    "eprocess": MIXED,
    "glr": MIXED,
    "page_hinkley": MIXED,
    "ranks": SCORES,
    "rolling": MIXED,
    "seasonal": SCORES,
}
SETTINGS = {"seasonal": {"period": 8, "phases": 2, "learning": 96}}
UNTIL = (0, 50, 613, 1500)  # values that were seen when the state was saved: none, few, enough to bet, many


@cache
def saved(kind):
    """A detector, and its states after so many values."""
    detector, values = make_detector(kind, **SETTINGS.get(kind, {})), WATCHED[kind]
    state = detector.init(list(values[:, :300]) if kind == "e-detector" else 3)
    return detector, [detector.save(detector.update(state, values[:, :until])[0]) for until in UNTIL]


def watch_on(detector, state, values):
    """Take values in each way that there is, unchanged ones and worse; say what there is to say."""
    said = []
    for batch, ids in (
        (values[:, :40], None),
        (values[:, 40:90].T.ravel(), np.arange(150) % 3),
        (np.ones((3, 300)), None),
    ):
        state, verdicts = detector.update(state, batch, ids)
        said += verdicts
    state, verdicts = detector.update(state, values[0, 90:390], np.zeros(300, np.int64))
    said += verdicts
    for stream in range(3):
        detector.learnt(state, stream)
        detector.evidence(state, stream)
    assert len(detector.scores(state)) == 3
    detector.load(detector.save(state))
    return said


def wrong_states(data, seed, number):
    """Mutants of a saved state, then as many of which one array after the other is wrong."""
    yield from mutants(data, ("detector",), seed, number)
    version, packed = codec.unpack_arrays(data)
    draw, names = np.random.default_rng([seed, 43]), sorted(set(packed) - {"detector"})
    for at in range(number):
        name = names[at % len(names)]
        yield codec.pack_arrays({**packed, name: of_array(packed[name], draw)}, version=version)


def states_are_refused_or_go_on(kind, number):
    detector, states = saved(kind)
    refused = 0
    for seed, data in enumerate(states):
        said = watch_on(detector, detector.load(data), WATCHED[kind])
        assert said or data is not states[-1]
        for wrong in wrong_states(data, seed, number):
            try:
                state = detector.load(wrong)
            except VisuTilityError:
                refused += 1
            else:
                watch_on(detector, state, WATCHED[kind])
    total = 2 * number * len(states)
    assert total // 2 < refused < total


@pytest.mark.slow
@pytest.mark.parametrize("kind", WATCHED)
def test_states_that_were_edited_are_refused_or_go_on(kind):
    states_are_refused_or_go_on(kind, 8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WATCHED)
def test_many_states_that_were_edited_are_refused_or_go_on(kind):
    states_are_refused_or_go_on(kind, 25)


def edited(data, name, change):
    version, packed = codec.unpack_arrays(data)
    return codec.pack_arrays({**packed, name: change(packed[name])}, version=version)


def put_last(value):
    def change(array):
        changed = array.copy()
        changed.flat[-1] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("kind", "name", "change", "words"),
    [
        ("cusum", "score", lambda array: array.astype(np.float32), "score of a saved state of 3 streams is float32"),
        ("cusum", "base", lambda array: array[:3], "base of a saved state of 3 streams is float64 of shape (3, 3)"),
        ("cusum", "seen", lambda array: array[:2], "of a saved state of 2 streams"),
        ("cusum", "seen", put_last(-1), "a number in seen"),
        ("cusum", "base", put_last(np.nan), "sums that no values have"),
        ("adwin", "filled", put_last(7), "a number in filled"),
        ("adwin", "inside", put_last(10**6), "a number in inside"),
        ("adwin", "total", put_last(np.inf), "a number in total, square"),
        ("auto", "kind", put_last(3), "a number in kind"),
        ("auto", "errors_inflation", put_last(64), "a number in inflation"),
        ("auto", "scores_inflation", put_last(22), "a number in inflation"),
        ("dependent", "ones", put_last(2000.0), "more errors than values"),
        ("dependent", "rates", put_last(1.0), "probabilities that do not sum to 1"),
        ("e-detector", "bets", put_last(1e6), "a bet of all that there is"),
        ("eprocess", "part", put_last(32.0), "a sum that no open block has"),
        ("glr", "start", put_last(10**6), "a starting point that is still to come"),
        ("glr", "best", put_last(1), "a best starting point that is none"),
        ("page_hinkley", "limits", put_last(np.nan), "a number in limits"),
        ("ranks", "below", put_last(10**6), "ranks of more values than there were"),
        ("ranks", "edges", put_last(-2.0), "edges or ranks out of order"),
        ("rolling", "ring", put_last(np.nan), "a number in part, ring"),
    ],
)
def test_a_state_that_no_save_has_written_says_what_is_wrong(kind, name, change, words):
    detector, states = saved(kind)
    with pytest.raises(Invalid, match=re.escape(words)):
        detector.load(edited(states[-1], name, change))


@pytest.mark.parametrize("kind", ["cusum", "page_hinkley", "rolling"])
def test_tiny_values_are_watched_and_saved_like_others(kind):
    """Their spread is a number, and its cube is 0."""
    detector, draw = make_detector(kind, low=0.0, high=1.0), np.random.default_rng(7)
    values = 1e-130 * draw.exponential(size=3000)
    values[2000:] *= 20.0
    state, verdicts = detector.update(detector.init(1), values)
    assert verdicts.alarm.all()
    assert detector.save(detector.load(detector.save(state))) == detector.save(state)


def test_a_glr_that_has_seen_errors_for_weeks_is_loaded_again():
    detector, states = saved("glr")
    state = take(detector.load(states[-1]), np.array([0]))
    blocks = 2**29 + 50 - int(state.blocks[0])
    state.blocks[:], state.best[:] = state.blocks + blocks, state.best + blocks * (state.best > 0)
    old = state.start > 0
    state.start[old] += blocks
    state.before[:, old] += 1e9
    state.total[:] += 1e9
    detector.load(detector.save(state))


def test_a_seasonal_part_that_starts_anew_keeps_no_values():
    detector = make_detector("seasonal", period=4, phases=2, learning=96, low=None, high=None)
    draw = np.random.default_rng(3)
    first, later = draw.standard_normal(1200), draw.standard_normal(1200) - 8.0
    first[5] = np.finfo(np.float64).max
    state, _ = detector.update(detector.init(1), first)
    for at in range(0, 1200, 40):
        state, _ = detector.update(state, later[at : at + 40])
        detector.load(detector.save(state))


def test_each_stream_of_a_large_fleet_is_checked():
    detector, states = saved("cusum")
    fleet = take(detector.load(states[-1]), np.arange(20_000) % 3)
    detector.load(detector.save(fleet))
    for at in (0, 9_999, 19_999):
        wrong = take(fleet, np.arange(20_000))
        wrong.score[at] = -1.0
        with pytest.raises(Invalid, match="a number in score"):
            detector.load(detector.save(wrong))


def test_fleets_that_were_edited_are_refused_or_go_on(tmp_path):
    path, refused = tmp_path / "fleet", 0
    for gone in ([], [1], [0, 1, 2, 3]):
        fleet = Fleet("rolling", 4)
        fleet.update(np.random.default_rng(1).random((4, 150)))
        fleet.remove(gone)
        fleet.save(path)
        for wrong in mutants(path.read_bytes(), ("fleet",), len(gone), 60):
            path.write_bytes(wrong)
            try:
                made = Fleet.load(path)
            except VisuTilityError:
                refused += 1
                continue
            made.add(1)
            made.update(np.full(len(made), made.detector.low), made.ids)
            made.save(path)
    assert 90 < refused < 180


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("ids", lambda array: array[0], "ids that are none of its streams"),
        ("ids", lambda array: array.astype(np.int32), "ids that are none of its streams"),
        ("ids", lambda array: np.array([0, -(2**63), 2]), "ids that are none of its streams"),
        ("fleet", lambda array: next_of(array, 10**30), "the next id"),
        ("fleet", lambda array: next_of(array, 2**62), "the next id"),
        ("fleet", lambda array: next_of(array, True), "the next id"),
    ],
)
def test_a_fleet_that_no_save_has_written_says_what_is_wrong(tmp_path, name, change, words):
    Fleet("cusum", 3).save(tmp_path / "fleet")
    (tmp_path / "fleet").write_bytes(edited((tmp_path / "fleet").read_bytes(), name, change))
    with pytest.raises(Invalid, match=words):
        Fleet.load(tmp_path / "fleet")


def next_of(array, following):
    return np.frombuffer(codec.dumps({**codec.loads(array.tobytes()), "next": following}).encode(), np.uint8)
