"""All randomness: a generator made from a seed and names, so that there is no generator state to keep."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, final

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence
from numpy.typing import NDArray

from visutility.core._seeding import drawn
from visutility.core.errors import InvalidSetting

_read, _pack = Struct(">8I").unpack, Struct("<8I").pack


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that this seed and these names stand for; the same in every process.

    Each distinct tuple of names gives an independent stream: the SHA-256 of the tuple seeds PCG64.
    Raises `InvalidSetting` for a seed that is not a whole number and a name that is neither text nor one.
    """
    try:
        sha = _begun(seed, *names[:-1])
    except TypeError:  # what cannot be hashed is no name either
        sha = _begun.__wrapped__(seed, *names[:-1])
    if names:
        sha = sha.copy()
        sha.update(_said(names[-1]))
    digest = sha.digest()
    words = _read(digest)[::-1]  # of the number below
    entropy: Any = _Words(words) if words[-1] else int.from_bytes(digest, "big")
    return np.random.Generator(np.random.PCG64(entropy))


@final
class _Words(ISpawnableSeedSequence):
    """What `SeedSequence(words)` is, for eight words of 32 bits, the last of them not 0."""

    def __init__(self, words: Sequence[int]) -> None:
        self._words = words
        self._whole: np.random.SeedSequence | None = None

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        """Return so many words of seed."""
        if n_words == 4 and dtype is np.uint64:  # what PCG64 wants
            return np.frombuffer(_pack(*drawn(self._words)), dtype="<u8").astype(np.uint64, copy=False)
        return self.whole.generate_state(n_words, dtype)

    def spawn(self, n_children: int) -> list[Any]:
        """Return so many that are independent of this one, and of those spawned before."""
        return self.whole.spawn(n_children)

    @property
    def whole(self) -> np.random.SeedSequence:
        """NumPy's own."""
        if self._whole is None:
            self._whole = np.random.SeedSequence(self._words)
        return self._whole


@lru_cache(maxsize=256, typed=True)
def _begun(seed: int, *names: str | int) -> "hashlib._Hash":
    """The hash of a seed and of names that others are to follow: mostly the same for all trials of a study."""
    if not _whole(seed):
        raise InvalidSetting(f"seed {seed!r} is not a whole number", hint="pass an int")
    return hashlib.sha256(b"".join(map(_said, (seed, *names))))


def _said(name: str | int) -> bytes:
    """A name as bytes that no other name, and no two of them in a row, have."""
    text = str(name)
    if isinstance(name, str):
        return f"s{len(text)}:{text}".encode()
    if _whole(name):
        return f"i{len(text)}:{text}".encode()
    raise InvalidSetting(f"{name!r} cannot name a generator", hint="use text and whole numbers")


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
