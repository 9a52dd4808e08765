"""All randomness: a generator made from a seed and names, so that there is no generator state to keep."""

import hashlib

import numpy as np

from visutility.core.errors import InvalidSetting


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that this seed and these names stand for; the same in every process.

    Each distinct tuple of names gives an independent stream: the SHA-256 of the tuple seeds PCG64.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InvalidSetting(f"seed {seed!r} is not a whole number", hint="pass an int")
    parts = [f"{'i' if isinstance(n, (int, np.integer)) else 's'}{len(str(n))}:{n}" for n in (int(seed), *names)]
    digest = hashlib.sha256("".join(parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
