"""When earlier studies are not listened to, and what a study does then: it goes on as if it had never had them.

Trials asked while the new values speak against the past are those of the cold study of the same seed, one after the
other; its first one is trial 1. Should the values speak for the past again within nine trials, it is listened to
again. So what a history costs that misleads is known: the trials that it had a say in. That is exact where each trial
is told before the next is asked.
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

TRIED: Final = 9  # trials told, by which it is decided for good whether the past is left
USELESS: Final = 0.5  # the past is not listened to while it is more probably of no use than this,
PROVED: Final = (5, 0.35)  # or, from so many values on, than this: by then it should have shown its use;
RANKED: Final = 4  # or while so many values, or more, are ordered the other way round than it says


def silences(state: State, seen: Seen, memory: Memory) -> list[bool]:
    """Return whether the values speak against the past once 0, 1, 2, … trials were told, nine at most."""
    return [_silent(state, seen, memory, told) for told in range(min(len(state.observed), TRIED) + 1)]


def _silent(state: State, seen: Seen, memory: Memory, told: int) -> bool:
    count = int(np.searchsorted(seen.at, told))
    if count < 2:
        return False
    if _outdone(state, seen, memory, count):
        return True
    return _contradicted(memory, seen.x[:count].tobytes(), seen.values[:count].tobytes())


def _outdone(state: State, seen: Seen, memory: Memory, count: int) -> bool:
    """Whether trial 0, the earlier configuration expected most of, did worse than trial 1, the study's own first.

    Where the past is of use that hardly happens. It says nothing where a user's own configuration was trial 0 instead.
    """
    places = {state.observed[at].number: at for at in seen.at[:count]}
    if 0 not in places or 1 not in places or state.values[places[0]] <= state.values[places[1]]:
        return False
    return memory.holds(state.units[places[0]])


@lru_cache(maxsize=64)
def _contradicted(memory: Memory, x_bytes: bytes, value_bytes: bytes) -> bool:
    """Whether these values make the past too probably useless, or are in the opposite order of what it expects."""
    values = np.frombuffer(value_bytes)
    x = np.frombuffer(x_bytes).reshape(len(values), -1)
    if len(values) >= RANKED and _agreement(memory.expected(x), values) < 0.0:
        return True
    most = USELESS if len(values) < PROVED[0] else PROVED[1]
    return memory.weighed(x, values).useless > most


def _agreement(first: Array, second: Array) -> float:
    """The rank correlation of Spearman (1904), equal values in the order given."""
    a, b = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (first, second))
    return float(np.corrcoef(a, b)[0, 1])


def own_numbers(silent: list[bool], until: int) -> list[int]:
    """Return the trials before `until` that are the cold study's: 1, and those asked while the past was silent.

    Trial k is taken to have been asked when k trials were told, as it is with one worker.
    """
    return [k for k in range(1, until) if k == 1 or silent[min(k, len(silent) - 1)]]


def study_alone(state: State, memory: Memory, silent: list[bool], number: int, first: Params) -> tuple[State, int]:
    """Return the cold study that trial `number` is of, and its number there.

    What was tried while the past was listened to is left out, so that the study goes on exactly as the cold one of its
    seed, whose first configuration is `first`. Where the user's own configurations came first, nothing is left out.
    """
    alone = replace(state, history=())
    places = {trial.number: at for at, trial in enumerate(state.observed) if trial.number < 2}
    listened = 0 in places and memory.holds(state.units[places[0]])
    if not listened or 1 not in places or state.observed[places[1]].params != first:
        return alone, number
    own = own_numbers(silent, number)
    return alone.without_trials(frozenset(range(TRIED)) - frozenset(own)), len(own)
