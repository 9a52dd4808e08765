"""When earlier studies are left alone for good, and what a study goes on with then: as if it had never had them.

Left at trial D, the study is the cold one of its seed: trial 1 was the first trial of that, trial D is its second. So
what a history costs that misleads is known, the D - 1 other trials that it had a say in, and not more.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from visutility.tune.space import Params
from visutility.tune.strategy import State
from visutility.tune.surrogate.gp import Array
from visutility.tune.surrogate.memory import Memory
from visutility.tune.surrogate.model import Seen

TRIED: Final = 9  # values, in telling order, by which it is decided
USELESS: Final = 0.5  # the past is left once it is more probably of no use than this,
RANKED: Final = 4  # or once so many values are ordered the other way round than it says
SAME: Final = 1e-9  # rows of the cube that are closer are not told apart


def values_to_leave(state: State, seen: Seen, memory: Memory) -> int | None:
    """Return after how many values it showed that the earlier studies are of no use; None while they may be of some.

    What the first two to nine values say stands, whatever is told later.
    """
    for count in range(2, min(len(seen.values), TRIED) + 1):
        if _outdone(state, seen, memory, count) or _contradicted(
            memory, seen.x[:count].tobytes(), seen.values[:count].tobytes()
        ):
            return count
    return None


def _outdone(state: State, seen: Seen, memory: Memory, count: int) -> bool:
    """Whether trial 0, the earlier configuration expected most of, did worse than trial 1, the study's own first.

    Where the past is of use that hardly happens. It says nothing where a user's own configuration was trial 0 instead.
    """
    places = {state.observed[at].number: at for at in seen.at[:count]}
    if 0 not in places or 1 not in places or state.values[places[0]] <= state.values[places[1]]:
        return False
    return _remembered(memory, state.units[places[0]])


def _remembered(memory: Memory, unit: Array) -> bool:
    return bool((np.abs(memory.units - unit) < SAME).all(axis=1).any())


@lru_cache(maxsize=64)
def _contradicted(memory: Memory, x_bytes: bytes, value_bytes: bytes) -> bool:
    """Whether these values make the past more probably useless than not, or are in the opposite order of its own."""
    values = np.frombuffer(value_bytes)
    x = np.frombuffer(x_bytes).reshape(len(values), -1)
    if len(values) >= RANKED and _agreement(memory.expected(x), values) < 0.0:
        return True
    return memory.weighed(x, values).useless > USELESS


def _agreement(first: Array, second: Array) -> float:
    """The rank correlation of Spearman (1904), equal values in the order given; 0 or more where it says nothing."""
    a, b = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (first, second))
    return float(np.corrcoef(a, b)[0, 1])


def study_alone(state: State, seen: Seen, memory: Memory, count: int, first: Params) -> tuple[State, int]:
    """Return the study without a history, and what is to be taken off the number of a trial in it.

    What it tried while it listened, its own first trial excepted, is left out, so that it goes on exactly as the cold
    study of its seed, whose first configuration is `first`. Where the user's own configurations came first, nothing is.
    """
    alone = replace(state, history=())
    told = state.observed[: int(seen.at[count - 1]) + 1]
    places = {trial.number: at for at, trial in enumerate(told)}
    listened = 0 in places and _remembered(memory, state.units[places[0]])
    if not listened or 1 not in places or told[places[1]].params != first:
        return alone, 0
    until = max(places)
    return alone.without_trials(frozenset(range(until + 1)) - {1}), until
