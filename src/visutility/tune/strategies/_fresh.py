"""Avoiding what was tried already, where a space is finite."""

from collections.abc import Callable

from visutility.tune.space import Params
from visutility.tune.strategy import State

_TRIES = 64


def taken(state: State) -> set[object]:
    """Return the keys of every configuration asked so far. O(n d)."""
    tried = {state.space.key(o.params) for o in state.observed}
    return tried | {state.space.key(params) for _, params in state.pending}


def fresh(state: State, draw: Callable[[], Params]) -> Params:
    """Return the first draw that no trial has had; the last one when 64 in a row were had, or the space is infinite."""
    params = draw()
    if state.space.size is None:
        return params
    tried = taken(state)
    for _ in range(_TRIES):
        if state.space.key(params) not in tried:
            break
        params = draw()
    return params
