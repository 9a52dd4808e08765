"""All randomness: a generator made from a seed and names, so that there is no generator state to keep."""

import hashlib

import numpy as np

from visutility.core.errors import InvalidSetting


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that this seed and these names stand for; the same in every process.

    Each distinct tuple of names gives an independent stream: the SHA-256 of the tuple seeds PCG64.
    Raises `InvalidSetting` for a seed that is not a whole number and a name that is neither text nor one.
    """
    if not _whole(seed):
        raise InvalidSetting(f"seed {seed!r} is not a whole number", hint="pass an int")
    for name in names:
        if not isinstance(name, str) and not _whole(name):
            raise InvalidSetting(f"{name!r} cannot name a generator", hint="use text and whole numbers")
    parts = [f"{'s' if isinstance(n, str) else 'i'}{len(str(n))}:{n}" for n in (seed, *names)]
    digest = hashlib.sha256("".join(parts).encode()).digest()
    words = np.frombuffer(digest[::-1], dtype="<u4")  # of the number below, which NumPy takes longer to split
    return np.random.Generator(np.random.PCG64(words if words[-1] else int.from_bytes(digest, "big")))


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
