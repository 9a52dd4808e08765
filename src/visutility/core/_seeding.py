"""The hash of NumPy's `SeedSequence`, in plain integers.

In a loop of nothing else NumPy's own takes half the time. After a wait for the disk, when whatever it goes through must
come from memory again, it takes more: 5 % of the CPU time of a durable study's trial. The numbers are the same: those
of O'Neill, "Developing a seed_seq alternative" (2015), which NumPy promises to keep.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise, repeat
from typing import Final

_MASK: Final = 0xFFFFFFFF
_POOL: Final = 4  # words of the pool that all eight are mixed into
_OF_TARGET, _OF_SOURCE = 0xCA01F9DD, 0x4973F715


def _steps(first: int, factor: int, count: int) -> list[tuple[int, int]]:
    """The constant that each step of a hash starts with, and the next one, which it multiplies by."""
    constants = accumulate(repeat(factor, count), lambda constant, by: constant * by & _MASK, initial=first)
    return list(pairwise(constants))


_TAKEN = _steps(0x43B0D7E5, 0x931E8875, 32)
_OWN = _TAKEN[:_POOL]
_DRAWN = _steps(0x8B51F9DD, 0x58F38DED, 8)
_PAIRS = [(source, target) for source in range(8) for target in range(_POOL) if source != target]
_MIXED = [(*pair, *step) for pair, step in zip(_PAIRS, _TAKEN[_POOL:], strict=True)]


def drawn(words: Sequence[int]) -> list[int]:
    """Return `SeedSequence(words).generate_state(8)` of eight words of 32 bits."""
    pool = list(words)
    for at, (constant, factor) in enumerate(_OWN):
        hashed = (pool[at] ^ constant) * factor & _MASK
        pool[at] = hashed ^ hashed >> 16
    for source, target, constant, factor in _MIXED:
        hashed = (pool[source] ^ constant) * factor & _MASK
        mixed = (_OF_TARGET * pool[target] - _OF_SOURCE * (hashed ^ hashed >> 16)) & _MASK
        pool[target] = mixed ^ mixed >> 16
    found = []
    for word, (constant, factor) in zip(pool[:_POOL] * 2, _DRAWN, strict=True):
        hashed = (word ^ constant) * factor & _MASK
        found.append(hashed ^ hashed >> 16)
    return found
