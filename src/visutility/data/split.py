"""Rows into parts by the hash of their id: a row keeps its part whatever else is added, removed or shuffled."""

import hashlib
import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting


def assign(ids: Iterable[str], shares: Mapping[str, float], seed: int) -> NDArray[np.int64]:
    """Return, for each id, the position in `shares` of the part it belongs to, shape (n,).

    The first 64 bits of SHA-256(seed, id), as a fraction of 2^64, fall into the cumulative shares in their order.
    So a part depends on the id, the seed and the shares alone; its size is binomial around its share. Raises
    `InvalidSetting` unless every share is above 0 and they sum to 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InvalidSetting(f"seed {seed!r} is not a whole number", hint="pass an int")
    bounds = _bounds(shares)
    prefix = f"split {int(seed)} "
    hashes = [hashlib.sha256((prefix + image_id).encode()).digest()[:8] for image_id in ids]
    where = np.frombuffer(b"".join(hashes), ">u8").astype(np.float64) / 2.0**64
    return np.searchsorted(bounds, where, side="right").astype(np.int64)


def _bounds(shares: Mapping[str, float]) -> NDArray[np.float64]:
    values = [float(share) for share in shares.values()]
    if not values or not all(0 < share <= 1 for share in values) or not math.isclose(sum(values), 1, abs_tol=1e-9):
        raise InvalidSetting(f"shares {dict(shares)!r} do not sum to 1", hint="give each part a share above 0")
    return np.cumsum(values)[:-1]
