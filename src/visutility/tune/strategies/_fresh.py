"""Avoiding what was tried already, where a space is finite."""

from collections.abc import Callable

from visutility.tune.listing import listing
from visutility.tune.space import Params
from visutility.tune.strategy import State

_TRIES = 32
_LISTED = 4096  # up to this size, what is left is found by going through the list


def taken(state: State) -> set[object]:
    """Return the keys of every configuration asked so far. O(n d)."""
    key = state.space.key
    return {key(o.params) for o in state.observed} | {key(params) for _, params in state.pending}


def fresh(state: State, draw: Callable[[], Params]) -> Params:
    """Return the first draw if the space is infinite, else one that no trial has had while such are found.

    After 32 draws in vain, a space of at most 4096 configurations is searched for one that is left.
    """
    params = draw()
    size = state.space.size
    if size is None:
        return params
    tried = taken(state)
    for _ in range(_TRIES):
        if state.space.key(params) not in tried:
            return params
        params = draw()
    if len(tried) < size <= _LISTED:
        untried = (p for p in map(listing(state.space).nth, range(size)) if state.space.key(p) not in tried)
        return next(untried, params)
    return params
