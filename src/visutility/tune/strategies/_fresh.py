"""Avoiding what was tried already, where a space is finite."""

from collections.abc import Callable
from typing import final

import numpy as np

from visutility.tune.listing import listing
from visutility.tune.space import Mask, Params, Units
from visutility.tune.strategy import State

_TRIES = 32
_LISTED = 4096  # up to this size, what is left is found by going through the list


@final
class Tried:
    """What was asked so far, as rows of the cube: equal configurations have equal rows.

    `waiting` (g, d) are those of pending trials, where they are known already.
    """

    __slots__ = ("_rows",)

    def __init__(self, state: State, waiting: Units | None = None) -> None:
        self._rows = np.concatenate([state.units, pending_rows(state)[0] if waiting is None else waiting])

    def __contains__(self, unit: Units) -> bool:
        """Whether a snapped row (d,) was asked. O(n d)."""
        return bool((self._rows == unit).all(axis=1).any())


def pending_rows(state: State) -> tuple[Units, Mask]:
    """Return the places (g, d) of the pending configurations and what is active in them (g, d)."""
    rows = [state.space.encode(params) for _, params in state.pending]
    units = np.array([unit for unit, _ in rows]).reshape(-1, state.space.dim)
    return units, np.array([mask for _, mask in rows], dtype=bool).reshape(-1, state.space.dim)


def taken(state: State) -> set[object]:
    """Return the keys of every configuration asked so far. O(n d)."""
    key = state.space.key
    return {key(o.params) for o in state.observed} | {key(params) for _, params in state.pending}


def all_asked(state: State) -> bool:
    """Whether every configuration of a finite space was asked. O(n d) only once so many trials were."""
    size = state.space.size
    return size is not None and len(state.observed) + len(state.pending) >= size == len(taken(state))


def fresh(state: State, draw: Callable[[], Params], *, always: bool = False) -> Params:
    """Return a draw that no trial has had while such are found; after 32 in vain, any.

    Then a space of at most 4096 configurations is searched for one that is left. In an infinite space, where a
    configuration comes twice only if its conditions leave nothing continuous active, the first draw is returned as it
    comes, unless the objective is deterministic or the caller wants it checked `always`.
    """
    params = draw()
    size = state.space.size
    if size is None and not (always or state.problem.deterministic):
        return params
    tried = Tried(state)
    for _ in range(_TRIES):
        if state.space.encode(params)[0] not in tried:
            return params
        params = draw()
    if size is not None and size <= _LISTED and len(known := taken(state)) < size:
        untried = (p for p in map(listing(state.space).nth, range(size)) if state.space.key(p) not in known)
        return next(untried, params)
    return params
