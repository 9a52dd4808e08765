"""Fleets: each stream gets what it would get alone, whatever comes, goes, is saved or refused."""

import numpy as np
import pytest

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.core.rng import rng
from visutility.monitor import EDetector, Fleet, Level, Rolling


def stream(name, rate=0.1, n=300):
    return (rng(0, name, n).random(n) < rate).astype(float)


def reference(at):
    return stream(f"reference {at}")


def fleet_of(n, detector=None):
    return Fleet(detector or EDetector(arl=1000), streams=[reference(at) for at in range(n)])


def alone(at, values, detector=None):
    detector = detector or EDetector(arl=1000)
    _, said = detector.update(detector.init([reference(at)]), values)
    return [verdict[1:] for verdict in said]


def of(said, at):
    return [verdict[1:] for verdict in said if verdict.stream == at]


DETECTORS = [EDetector(arl=1000), Rolling(window=50, arl=1000)]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.name)
def test_each_stream_gets_what_it_gets_alone(detector):
    values = np.stack([stream("a", 0.5), stream("b"), stream("c", 0.7)])
    dense, ragged = fleet_of(3, detector), fleet_of(3, detector)
    said = list(dense.update(values))
    other = list(ragged.update(values.T.ravel(), np.tile([0, 1, 2], 300)))
    assert said == other
    assert any(verdict.level is Level.ALARM for verdict in said)
    for at, own in enumerate(values):
        assert of(said, at) == alone(at, own, detector)
    np.testing.assert_array_equal(dense.scores(), ragged.scores())


def test_streams_come_and_go_without_touching_others():
    fleet = fleet_of(3)
    first, second = stream("c", 0.3, 100), stream("c", 0.6, 200)
    said = of(fleet.update(first, np.full(100, 2)), 2)
    fleet.remove([0])
    assert fleet.add([reference(3)]).tolist() == [3]
    assert fleet.ids.tolist() == [1, 2, 3]
    assert (0 in fleet, 2 in fleet, len(fleet)) == (False, True, 3)
    found = fleet.update(np.stack([stream("b", 0.1, 200), second, stream("d", 0.9, 200)]))
    assert said + of(found, 2) == alone(2, np.concatenate([first, second]))
    assert of(found, 3) == alone(3, stream("d", 0.9, 200))
    assert found.alarm.tolist() == [False, True, True]
    assert found.ids.tolist() == [1, 2, 3]
    with pytest.raises(StreamNotFound, match="id 0 at position 1 names no stream"):
        fleet.update([1.0, 1.0], [1, 0])


def test_a_fleet_can_become_empty_and_start_again(tmp_path):
    fleet = fleet_of(1)
    fleet.remove(0)
    assert (len(fleet), len(fleet.scores()), len(fleet.update([], []))) == (0, 0, 0)
    assert len(fleet.update(np.zeros((0, 7))).alarm) == 0
    with pytest.raises(InvalidObservation, match="no streams"):
        fleet.update([[1.0]])
    fleet.save(tmp_path / "fleet")
    again = Fleet.load(tmp_path / "fleet")
    assert again.add([reference(0)]).tolist() == [1]
    assert of(again.update(stream("a", 0.6), np.full(300, 1)), 1) == alone(0, stream("a", 0.6))


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(tmp_path):
    fleet = fleet_of(3, Rolling(window=40, parts=4, arl=5000, low=0.0, high=1.0))
    fleet.remove(1)
    fleet.update(np.stack([stream("a", 0.1, 77), stream("b", 0.2, 77)]))
    fleet.save(tmp_path / "one")
    again = Fleet.load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert again.detector == fleet.detector
    more = np.stack([stream("more", 0.6), stream("other", 0.5)])
    assert list(again.update(more)) == list(fleet.update(more))
    assert again.learnt(0) == fleet.learnt(0)
    assert again.evidence(2) == fleet.evidence(2)
    assert again.add([reference(5)]).tolist() == fleet.add([reference(5)]).tolist() == [3]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one", "two"]


def test_what_is_refused_changes_nothing(tmp_path):
    fleet = fleet_of(2)
    fleet.update([[1.0, 0.0], [0.0, 0.0]])
    fleet.save(tmp_path / "before")
    with pytest.raises(EmptyWindow):
        fleet.add([stream("y"), [0.0]])
    with pytest.raises(EmptyWindow, match="use eprocess"):
        fleet.add(2)
    with pytest.raises(Invalid, match="-1 streams"):
        fleet.add(-1)
    for bad in (float("nan"), float("inf"), 1.5):
        with pytest.raises(InvalidObservation, match="position 1 of stream 1"):
            fleet.update([[1.0, 0.0], [0.0, bad]])
        with pytest.raises(InvalidObservation, match="position 2"):
            fleet.update([0.0, 0.0, bad], [0, 1, 1])
    for shape in ((3, 2), (2,), (2, 2, 2)):
        with pytest.raises(InvalidObservation, match="shape"):
            fleet.update(np.zeros(shape))
    with pytest.raises(InvalidObservation, match="came with 2 values"):
        fleet.update([1.0, 0.0], [0])
    with pytest.raises(InvalidObservation, match="numbers only"):
        fleet.update([["a"], ["b"]])
    for call in (fleet.remove, fleet.learnt, fleet.evidence):
        with pytest.raises(StreamNotFound):
            call(2)
    with pytest.raises(StreamNotFound, match="id 9 at position 1"):
        fleet.remove([0, 9])
    fleet.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


def test_masked_ids_are_refused_also_after_a_removal(tmp_path):
    fleet = fleet_of(3)
    masked = np.ma.array([0, 2], mask=[False, True])
    for _ in range(2):
        fleet.save(tmp_path / "before")
        for call in (lambda: fleet.update([1.0, 1.0], masked), lambda: fleet.remove(masked)):
            with pytest.raises(InvalidObservation, match="ids has masked values"):
                call()
        fleet.save(tmp_path / "after")
        assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
        fleet.remove(1) if 1 in fleet else None
    assert fleet.update([1.0, 1.0], np.ma.array([0, 2])).ids.tolist() == [0, 2]  # nothing is masked
    fleet.remove([0, 2])
    with pytest.raises(InvalidObservation, match="ids has masked values"):
        fleet.update([1.0, 1.0], masked)


def test_empty_batches_say_nothing_and_change_nothing(tmp_path):
    fleet = fleet_of(2)
    fleet.save(tmp_path / "before")
    assert len(fleet.update(np.zeros((2, 0)))) == 0
    assert len(fleet.update([], [])) == 0
    fleet.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


def test_files_that_are_not_a_fleet_are_refused(tmp_path):
    fleet_of(2).save(tmp_path / "fleet")
    whole = (tmp_path / "fleet").read_bytes()
    edited = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    for data in (b"", b"fleet", whole[:200], edited, codec.pack_arrays({}, version=9)):
        (tmp_path / "fleet").write_bytes(data)
        with pytest.raises(Invalid):
            Fleet.load(tmp_path / "fleet")


@pytest.mark.parametrize(
    "change",
    [
        {"fleet": [1]},
        {"fleet": {"kind": "e-detector", "settings": {"arl": 1000.0}}},
        {"fleet": {"kind": ["e-detector"], "settings": {}, "next": 2}},
        {"fleet": {"kind": "e-detector", "settings": 3, "next": 2}},
        {"fleet": {"kind": "e-detector", "settings": {"arl": 1000.0}, "next": "2"}},
        {"fleet": {"kind": "e-detector", "settings": {"arl": 1000.0}, "next": 1}},
        {"ids": np.array([0])},
        {"ids": np.array([-1, 0])},
        {"ids": np.array([1, 0])},
        {"ids": np.array([0.0, 1.0])},
        {"ids": np.zeros(0, np.int64)[None]},
        {"state": np.zeros(0, np.uint8)},
    ],
)
def test_a_fleet_of_parts_that_do_not_fit_is_refused(tmp_path, change):
    fleet_of(2).save(tmp_path / "fleet")
    version, parts = codec.unpack_arrays((tmp_path / "fleet").read_bytes())
    for name, value in change.items():
        parts[name] = value if name != "fleet" else np.frombuffer(codec.dumps(value).encode(), np.uint8)
    (tmp_path / "fleet").write_bytes(codec.pack_arrays(parts, version=version))
    with pytest.raises(Invalid):
        Fleet.load(tmp_path / "fleet")


@pytest.mark.parametrize("streams", [2.5, None, np.array(3.0)])
def test_streams_are_a_number_or_reference_windows(streams):
    with pytest.raises(Invalid, match="no number of streams"):
        Fleet("eprocess", streams=streams)


@pytest.mark.parametrize("detector", [None, 5, EDetector])
def test_a_fleet_needs_a_detector(detector):
    with pytest.raises(InvalidSetting, match="no detector"):
        Fleet(detector, streams=2)
