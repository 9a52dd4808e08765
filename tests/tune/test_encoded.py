"""The rows that states share: values of their own all the same, whoever grew from whom."""

import copy
import pickle
import threading

import numpy as np
import pytest

from visutility.tune import Choice, Equals, Float, Space, State
from visutility.tune.strategy import Observation

SPACE = Space({"x": Float(0, 1), "kind": Choice(["a", "b"]), "y": Float(0, 1, when=Equals("kind", "b"))})


def seen(number: int, x: float) -> Observation:
    params = {"x": x, "kind": "a"} if number % 2 else {"x": x, "kind": "b", "y": x / 2}
    return Observation(number, params, None if number % 5 == 4 else x)


def grown(state: State, numbers: range, shift: float = 0.0) -> list[State]:
    states = [state]
    for number in numbers:
        states.append(states[-1].with_observed(seen(number, (0.37 * number + shift) % 1.0)))
    return states


def same(state: State) -> bool:
    """Whether the rows are what they are when they are made from the observations."""
    encoded = [state.space.encode(one.params) for one in state.observed]
    units = np.array([unit for unit, _ in encoded]).reshape(-1, state.space.dim)
    masks = np.array([mask for _, mask in encoded], dtype=bool).reshape(-1, state.space.dim)
    values = np.array([np.nan if one.value is None else one.value for one in state.observed])
    alike = np.array_equal(state.units, units) and np.array_equal(state.masks, masks)
    return alike and np.array_equal(state.values, values, equal_nan=True)


def test_every_state_along_the_way_keeps_its_rows():
    states = grown(State(SPACE, 0), range(300))
    assert all(map(same, states[::13]))
    assert all(map(same, grown(State(SPACE, 0, states[70].observed), range(70, 150))[::7]))
    assert [len(state.values) for state in states] == list(range(301))


def test_two_studies_that_grow_from_one_state_do_not_meet():
    trunk = grown(State(SPACE, 0), range(40))
    first, second = grown(trunk[30], range(30, 90), 0.1)[-1], grown(trunk[30], range(30, 90), 0.2)[-1]
    assert same(first)
    assert same(second)
    assert same(trunk[40])
    assert not np.array_equal(first.units, second.units)


def test_the_rows_cannot_be_written():
    state = grown(State(SPACE, 0), range(3))[-1]
    for rows in (state.units, state.masks, state.values):
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 0


def test_a_copy_in_another_process_or_memory_is_equal():
    state = grown(State(SPACE, 0), range(10))[-1]
    for other in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state), State.from_json(state.to_json())):
        assert other == state
        assert same(other)
        assert same(other.with_observed(seen(10, 0.5)))
    assert same(state)


def test_threads_that_append_to_the_same_state_each_get_their_own_row():
    trunk = grown(State(SPACE, 0), range(5))[-1]
    found: list[State] = []
    start = threading.Barrier(8)

    def grow(shift: float) -> None:
        start.wait()
        found.append(grown(trunk, range(5, 60), shift)[-1])

    threads = [threading.Thread(target=grow, args=(0.1 * at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(map(same, found))
