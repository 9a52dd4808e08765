"""A struct of arrays: what a detector remembers, the streams along the last axis of every array.

One stream is a state of one row; a fleet is one state. The functions here never change what they are given,
except `put`, which writes into its first argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


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
