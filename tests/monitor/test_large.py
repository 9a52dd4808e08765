"""Batches of many values go through loops of their own: the same verdicts and states, to the bit, compiled or not."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from visutility.core.errors import InvalidObservation
from visutility.core.rng import rng
from visutility.monitor import Fleet, large, loops, make_detector
from visutility.monitor.detectors import eprocess
from visutility.monitor.state import arrays

COMPILED = loops.compiled()
KINDS = ("dense", "sixteens", "ragged", "mixed")


def test_numba_is_here_and_switched_on():
    assert COMPILED is not None


def schedule(seed, streams, kind, rounds=10):
    """Batches of errors or losses whose rate rises halfway; a few streams have most of the ragged values."""
    draw = rng(seed, "large", kind)
    for at in range(rounds):
        rate = 0.1 if at < rounds / 2 else 0.6
        is_dense = kind in ("dense", "sixteens") or (kind == "mixed" and draw.random() < 0.5)
        each = 16 * int(draw.integers(1, 4)) if kind == "sixteens" else int(draw.integers(1, 130))
        shape = (streams, each) if is_dense else int(draw.integers(1, 70 * streams))
        values = draw.random(shape)
        values = values < rate if seed % 2 else (2 * rate * values).clip(0, 1)
        ids = None if is_dense else (draw.random(shape) ** 2 * streams).astype(np.int64)
        yield values.astype(np.float32), ids


def told(detector, streams, kind, seed):
    """Everything that a fleet says and is, as bytes where it is numbers."""
    fleet, said = Fleet(detector, streams), []
    for values, ids in schedule(seed, streams, kind):
        found = fleet.update(values, ids)
        said.append((list(found), found.evidence.tobytes(), found.alarm.tobytes()))
    return said, {name: array.tobytes() for name, array in arrays(fleet._state).items()}


@pytest.fixture
def use(monkeypatch):
    """Have every batch go through these loops, or none."""

    def choose(which):
        monkeypatch.setattr(eprocess, "ENOUGH", 0)
        monkeypatch.setattr(eprocess, "compiled", lambda: which)

    return choose


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("streams", "arl"), [(1, 1e4), (3, 100), (40, 1e4), (300, 1e6)])
@pytest.mark.parametrize("seed", range(4))
def test_the_loops_say_what_numpy_says(use, kind, streams, arl, seed):
    detector = make_detector("eprocess", arl=arl)
    use(None)
    expected = told(detector, streams, kind, seed)
    use(COMPILED)
    assert told(detector, streams, kind, seed) == expected
    assert any(verdicts for verdicts, *_ in expected[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_streams_may_be_taken_some_at_a_time(use, monkeypatch, kind, rows):
    detector = make_detector("eprocess", arl=100)
    use(None)
    expected = told(detector, 40, kind, 1)
    use(COMPILED)
    monkeypatch.setattr(large, "_ROWS", rows)
    monkeypatch.setattr(large, "_PIECE", 3 * rows)
    assert told(detector, 40, kind, 1) == expected


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_more_streams_than_the_cache_holds(use, whole):
    streams, n, draw = 2**18 + 3, 1_000_000, rng(0, "many", str(whole))
    values = draw.random((2, n), np.float32)
    values = (values < 0.4).astype(np.float32) if whole else values
    ids = (draw.random((2, n)) ** 8 * streams).astype(np.int64)
    answers = []
    for which in (None, COMPILED):
        use(which)
        fleet = Fleet(make_detector("eprocess", arl=100), streams)
        found = [list(fleet.update(*batch)) for batch in zip(values, ids, strict=True)]
        answers.append((found, {name: array.tobytes() for name, array in arrays(fleet._state).items()}))
    assert answers[0] == answers[1]
    assert any(answers[0][0])


@pytest.mark.parametrize("kind", KINDS)
def test_compiling_changes_nothing(use, kind):
    use(COMPILED)
    expected = told(make_detector("eprocess", arl=100), 5, kind, 1)
    use(loops.PLAIN)
    assert told(make_detector("eprocess", arl=100), 5, kind, 1) == expected


def test_a_loop_that_rounds_otherwise_is_caught(use):
    def careless(wealth, first, worth, scores):
        scores[:] = wealth[:, first : first + len(scores)].mean(axis=0, dtype=np.float64) * worth

    detector = make_detector("eprocess", arl=1e4)
    use(None)
    expected = told(detector, 40, "dense", 0)
    use(COMPILED._replace(scores=careless))
    assert told(detector, 40, "dense", 0) != expected


def test_alarms_of_one_batch_come_in_order_of_arrival(use):
    use(COMPILED)
    fleet = Fleet(make_detector("eprocess", arl=100), 30)
    draw = rng(0, "order")
    fleet.update((draw.random((30, 640)) < 0.1).astype(np.float32))
    values, ids = (draw.random(60_000) < 0.7).astype(np.float32), draw.integers(0, 30, 60_000)
    found = fleet.update(values, ids)
    nth = np.array([np.flatnonzero(ids == verdict.stream)[verdict.position - 640] for verdict in found])
    assert len(found) > 30
    assert (np.diff(nth) > 0).all()
    dense = fleet.update(np.ones((30, 320), np.float32))
    ends = dense.position - (640 + np.bincount(ids, minlength=30))[dense.stream]
    assert len(dense) >= 30
    assert (np.diff(ends * 30 + dense.stream) > 0).all()


BAD = [np.nan, np.inf, -np.inf, -0.001, 1.001, 2048.0, -2048.0, 4097.0, 1e30, -1e-3]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("is_ragged", [False, True])
def test_a_bad_value_anywhere_is_named_and_nothing_is_taken(use, bad, is_ragged):
    use(COMPILED)
    fleet = Fleet("eprocess", 50)
    fleet.update(np.full((50, 40), 0.25, np.float32))
    before = {name: array.copy() for name, array in arrays(fleet._state).items()}
    for at in (0, 31, 777, 4999):
        for shape in ((50, 100), (500, 10), (50, 16)):
            values = np.full(max(shape) * 50, 0.5, np.float32) if is_ragged else np.full(shape, 0.5, np.float32)[:50]
            if at >= values.size:
                continue
            values.flat[at] = bad
            batch = (values, np.arange(values.size) % 50) if is_ragged else (values,)
            with pytest.raises(InvalidObservation, match="position"):
                fleet.update(*batch)
            assert all(np.array_equal(array, before[name]) for name, array in arrays(fleet._state).items())


@pytest.mark.parametrize("bad", BAD)
def test_nothing_but_bad_values(use, bad):
    """However many blocks such values seem to fill, nothing is written outside of the arrays: Python would see it."""
    use(loops.PLAIN)
    fleet = Fleet("eprocess", 1)
    fleet.update(np.zeros((1, 31), np.float32))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(InvalidObservation, match="position 0"):
        fleet.update(np.full(40, bad, np.float32), np.zeros(40, np.int64))


def test_errors_and_losses_may_come_in_turn(use):
    draw, answers = rng(0, "in turn"), []
    batches = [draw.random((2, 3000)) for _ in range(12)]
    for which in (None, COMPILED):
        use(which)
        fleet, found = Fleet(make_detector("eprocess", arl=100), 20), []
        for at, (values, ids) in enumerate(batches):
            values = values.copy() if at % 3 == 2 else (values < 0.1 + 0.5 * (at > 6)).astype(float)
            if at % 3 == 1:
                values[-1] = 0.25  # seen when all others have been taken
            found += [list(fleet.update(values.astype(np.float32), (20 * ids).astype(np.int64)))]
        answers.append((found, {name: array.tobytes() for name, array in arrays(fleet._state).items()}))
    assert answers[0] == answers[1]
    assert any(answers[0][0])


def test_values_just_outside_are_rounded_or_refused_as_in_small_batches(use):
    """Whatever float32 around the ends: the loops refuse exactly what NumPy refuses."""
    ends = np.array([0.0, 1.0], np.float32)
    steps = rng(0, "ends").integers(-(2**22), 2**22, 300)
    values = np.concatenate([(ends[:, None].view(np.int32) + steps).view(np.float32).ravel(), -ends, [-1e-5, -1e-4]])
    for value in values.astype(np.float32):
        answers = []
        for which in (None, COMPILED):
            use(which)
            try:
                answers.append(Fleet("eprocess", 2).update(np.full((2, 32), value)).evidence.tolist())
            except InvalidObservation as error:
                answers.append(str(error))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("kind", ["float64", "bool", "int8", "float16", ">f4"])
def test_values_of_any_type_and_ids_of_any_kind(use, kind):
    draw = rng(0, "types")
    values = draw.random((20, 96)) < 0.3
    ids = draw.integers(0, 20, values.size)
    answers = []
    for which in (None, COMPILED):
        use(which)
        fleet = Fleet(make_detector("eprocess", arl=50), 20)
        found = [fleet.update(values.astype(kind)), fleet.update(values.astype(kind).ravel(), ids.astype(np.uint8))]
        answers.append([(list(one), one.evidence.tolist()) for one in found])
    assert answers[0] == answers[1]


def test_arrays_that_cannot_be_written_or_have_gaps(use):
    values = (rng(0, "gaps").random((40, 64)) < 0.2).astype(np.float32)
    ids = rng(1, "gaps").integers(0, 20, values.size // 2)
    answers = []
    for which in (None, COMPILED):
        use(which)
        fleet = Fleet("eprocess", 20)
        frozen = values[::2]
        frozen.flags.writeable = ids.flags.writeable = False
        fleet.update(frozen)
        fleet.update(np.asfortranarray(values[:20]))
        answers.append(fleet.update(np.repeat(values.ravel()[::2], 2)[::2], ids).evidence.tolist())
    assert answers[0] == answers[1]


@pytest.mark.parametrize(("low", "high", "direction"), [(-2.0, 6.0, "rise"), (0.0, 1.0, "fall")])
def test_other_ranges_and_directions(use, low, high, direction):
    detector = make_detector("eprocess", arl=200, low=low, high=high, direction=direction)
    values = low + (high - low) * rng(0, "range").random((30, 200))
    values[:, 100:] = high if direction == "rise" else low
    answers = []
    for which in (None, COMPILED):
        use(which)
        answers.append([verdict for half in np.hsplit(values, 2) for verdict in Fleet(detector, 30).update(half)])
    assert answers[0] == answers[1]
    values[1, 3] = high + 1.0
    with pytest.raises(InvalidObservation, match="position 3 of stream 1"):
        Fleet(detector, 30).update(values)


def test_nothing_is_compiled_in_the_midst_of_a_batch(use):
    """Compiling may fail, and a batch is taken whole or not at all."""

    def known():
        return [len(loop.signatures) for loop in COMPILED]

    use(COMPILED)
    before = known()
    for kind in KINDS:
        for seed in range(2):
            told("eprocess", 40, kind, seed)
    fleet, values = Fleet(make_detector("eprocess", arl=50), 40), np.ones((40, 50), np.float32)
    values.flags.writeable = False
    for batch in (values, np.asfortranarray(values), values.astype(">f4"), values[:, ::2], values.astype(np.float64)):
        fleet.update(batch)
    ids = np.repeat(np.arange(40, dtype=np.int32), 50)
    ids.flags.writeable = False
    fleet.update(values.ravel(), ids)
    assert known() == before


def test_only_large_batches_need_the_loops(monkeypatch):
    asked = []
    monkeypatch.setattr(eprocess, "compiled", lambda: asked.append(True) or COMPILED)
    fleet = Fleet("eprocess", 64)
    fleet.update(np.zeros((64, 100), np.float32))
    assert not asked
    fleet.update(np.zeros((64, 1024), np.float32))
    assert asked


@pytest.mark.parametrize("numba", [None, SimpleNamespace(config=SimpleNamespace(DISABLE_JIT=True))])
def test_nothing_is_compiled_where_numba_is_missing_or_switched_off(monkeypatch, numba):
    monkeypatch.setitem(sys.modules, "numba", numba)  # None: cannot be imported
    assert loops.compiled.__wrapped__() is None


@pytest.mark.parametrize("is_full", [False, True])
def test_loops_are_compiled_anew_where_there_is_no_folder_to_keep_them_or_no_room(monkeypatch, is_full):
    def njit(loop=None, cache=False):
        def refuse(_):
            raise RuntimeError("cannot cache function: no locator available")

        def fails(*_):
            raise OSError("No space left on device")

        if is_full and cache:
            return lambda _: fails
        return refuse if cache else loop

    monkeypatch.setitem(sys.modules, "numba", SimpleNamespace(config=SimpleNamespace(DISABLE_JIT=False), njit=njit))
    assert loops.compiled.__wrapped__() == loops.PLAIN
