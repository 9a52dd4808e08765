"""A struct of arrays: what a detector remembers, the streams along the last axis of every array.

One stream is a state of one row; a fleet is one state. The functions here never change what they are given,
except `put`, which writes into its first argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import Invalid

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

MANY = 2.0**53  # more values than any stream has had
VAST = 1e280  # no product of bets that was ever won is larger; one more bet on it does not overflow
_FEW = 64  # streams
_EDITED = "the bytes were edited"


@dataclass(frozen=True, slots=True)
class StreamState:
    """Base of detector states: arrays only, each with one entry per stream on its last axis."""

    seen: Ints  # (s,) values since init; the position of the next value


S = TypeVar("S", bound=StreamState)


def streams(state: StreamState) -> int:
    """Return how many streams the state holds."""
    return len(state.seen)


def arrays(state: StreamState) -> dict[str, NDArray[Any]]:
    """Return the arrays of a state by name; they are the state's own, not copies."""
    return {field.name: getattr(state, field.name) for field in fields(state)}


def piece(state: S, rows: slice) -> S:
    """Return the state of rows that follow each other; its arrays are the state's own."""
    return type(state)(**{name: array[..., rows] for name, array in arrays(state).items()})


def take(state: S, rows: Ints) -> S:
    """Return a new state of these rows, in this order. Every array is a copy."""
    return type(state)(**{name: np.take(array, rows, axis=-1) for name, array in arrays(state).items()})


def copy(state: S) -> S:
    """Return a new state equal to this one. Every array is a copy."""
    return type(state)(**{name: array.copy() for name, array in arrays(state).items()})


def put(state: StreamState, rows: Ints, part: StreamState) -> None:
    """Write the rows of `part` over these rows of `state`, in place."""
    for name, array in arrays(state).items():
        array[..., rows] = getattr(part, name)


def join(states: Iterable[S]) -> S:
    """Return one state of all their rows, in order. At least one state."""
    parts = list(states)
    names = [field.name for field in fields(parts[0])]
    joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names}
    return type(parts[0])(**joined)


def between(state: StreamState, low: float, high: float, *names: str, missing: bool = False) -> None:
    """Raise `Invalid` unless all numbers in these arrays are from `low` to `high`; where some may be `missing`, or NaN.

    For states that were saved: it reads each number once, and needs no memory but where some may be missing.
    """
    parts = [getattr(state, name) for name in names]
    if len(state.seen) < _FEW:  # a call for all arrays costs less than one for each
        parts = [np.concatenate([part.reshape(-1) for part in parts])]
    for part in parts:
        if not (_within_or_missing if missing else _within)(part, low, high):
            raise Invalid(
                f"a number in {', '.join(names)} of a saved state is not in [{low:g}, {high:g}]", hint=_EDITED
            )


def _within(part: NDArray[Any], low: float, high: float) -> bool:
    if low == 0.0 and part.dtype == np.float64:  # as whole numbers, negative ones and NaN are the largest
        largest = np.maximum.reduce(part.view(np.uint64), axis=None)
        if largest <= np.float64(high).view(np.uint64):
            return True
    return bool(np.minimum.reduce(part, axis=None) >= low and np.maximum.reduce(part, axis=None) <= high)


def _within_or_missing(part: NDArray[Any], low: float, high: float) -> bool:
    return not ((part < low) | (part > high)).any()


def agree(right: Bools, what: str) -> None:
    """Raise `Invalid`, which says what is wrong in a saved state, unless all is right."""
    if not right.all():
        raise Invalid(f"a saved state holds {what}", hint=_EDITED)
