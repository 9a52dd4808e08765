"""Named streams: each gets what it would get alone, whatever comes, goes, is saved or refused."""

import numpy as np
import pytest

from visutility.core import codec
from visutility.core.errors import AlreadyExists, EmptyWindow, Invalid, InvalidObservation, StreamNotFound
from visutility.core.rng import rng
from visutility.monitor import EDetector, Fleet, Level, Rolling


def stream(name, rate=0.1, n=300):
    return (rng(0, name, n).random(n) < rate).astype(float)


def fleet_of(*names, detector=None):
    fleet = Fleet(detector or EDetector(arl=1000))
    fleet.add_all({name: stream(f"{name} reference") for name in names})
    return fleet


def alone(name, values, detector=None):
    detector = detector or EDetector(arl=1000)
    _, said = detector.update(detector.init([stream(f"{name} reference")]), values)
    return [verdict[1:] for verdict in said]


@pytest.mark.parametrize("detector", [EDetector(arl=1000), Rolling(window=50, arl=1000)], ids=lambda d: d.name)
def test_each_stream_gets_what_it_gets_alone(detector):
    fleet = fleet_of("a", "b", "c", detector=detector)
    values = {"a": stream("a", 0.5), "c": stream("c", 0.7, 120), "b": stream("b")}
    found = fleet.update(values)
    assert {"a", "c"} <= set(found)
    for name, own in values.items():
        assert [verdict[1:] for verdict in found.get(name, [])] == alone(name, own, detector)
    assert all(verdict.stream == fleet.row(name) for name, said in found.items() for verdict in said)


def test_names_beside_values_are_the_same_as_a_mapping():
    values = {"a": stream("a", 0.5), "b": stream("b", 0.5)}
    by_mapping, by_names = fleet_of("a", "b"), fleet_of("a", "b")
    found = by_mapping.update(values)
    mixed = np.stack([values["a"], values["b"]]).T.ravel()
    other = by_names.update(mixed, ["a", "b"] * 300)
    assert {name: list(said) for name, said in found.items()} == {name: list(said) for name, said in other.items()}
    assert by_mapping.save() == by_names.save()
    assert any(verdict.level is Level.ALARM for verdict in found["a"])


def test_streams_come_and_go_without_touching_others():
    fleet = fleet_of("a", "b", "c")
    first, second = stream("c", 0.3, 100), stream("c", 0.6, 200)
    said = [verdict[1:] for verdict in fleet.update({"a": stream("a"), "c": first}).get("c", [])]
    fleet.remove("a")
    fleet.add("d", stream("d reference"))
    said += [verdict[1:] for verdict in fleet.update({"c": second, "d": stream("d")}).get("c", [])]
    assert said == alone("c", np.concatenate([first, second]))
    assert fleet.names == ("b", "c", "d")
    assert [fleet.row(name) for name in fleet.names] == [0, 1, 2]
    assert "a" not in fleet


def test_a_fleet_can_become_empty_and_start_again():
    fleet = fleet_of("a")
    fleet.remove("a")
    assert (len(fleet), fleet.scores(), fleet.update({})) == (0, {}, {})
    assert Fleet.load(fleet.save()).names == ()
    fleet.add("a", stream("a reference"))
    assert list(fleet.scores()) == ["a"]


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened():
    fleet = fleet_of("a", "b", detector=Rolling(window=40, parts=4, arl=5000, low=0.0, high=1.0))
    fleet.update({"a": stream("a", 0.1, 77), "b": stream("b", 0.2, 13)})
    again = Fleet.load(fleet.save())
    assert again.save() == fleet.save()
    assert again.detector == fleet.detector
    more = {"b": stream("more", 0.6), "a": stream("other", 0.5)}
    assert {k: list(v) for k, v in again.update(more).items()} == {k: list(v) for k, v in fleet.update(more).items()}
    assert again.learnt("a") == fleet.learnt("a")
    assert again.evidence("b") == fleet.evidence("b")


def test_what_is_refused_changes_nothing():
    fleet = fleet_of("a", "b")
    before = fleet.save()
    with pytest.raises(AlreadyExists, match="'b' is watched already"):
        fleet.add_all({"z": stream("z"), "b": stream("b")})
    with pytest.raises(EmptyWindow):
        fleet.add_all({"y": stream("y"), "z": [0.0]})
    with pytest.raises(StreamNotFound, match="'z' is not watched"):
        fleet.update({"a": [1.0], "z": [0.0]})
    with pytest.raises(InvalidObservation, match="nan at position 3"):
        fleet.update({"a": [1.0, 0.0], "b": [0.0, float("nan")]})
    with pytest.raises(InvalidObservation, match="'a' has values of shape"):
        fleet.update({"a": [[1.0]]})
    with pytest.raises(InvalidObservation, match="came with 2 values"):
        fleet.update([1.0, 0.0], ["a"])
    with pytest.raises(Invalid, match="without names"):
        fleet.update([1.0])
    for call in (fleet.remove, fleet.row, fleet.learnt, fleet.evidence):
        with pytest.raises(StreamNotFound):
            call("z")
    assert fleet.save() == before


def test_bytes_that_are_not_a_fleet_are_refused():
    for data in (b"", b"fleet", fleet_of("a").save()[:200], codec.pack_arrays({}, version=9)):
        with pytest.raises(Invalid):
            Fleet.load(data)
