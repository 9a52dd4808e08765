"""Fitted references, remembered by their content: a reference window that comes again is not learnt again."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.detector import unmasked

T = TypeVar("T")
KEPT = 4
_fits: OrderedDict[tuple[object, ...], Any] = OrderedDict()


def fitted(fit: Callable[[NDArray[Any], int], T], values: NDArray[Any], seed: int) -> T:
    """Return fit(values, seed), or what it returned for an equal array; the last `KEPT` results are kept.

    Costs a hash of the array's bytes. `fit` must be a pure function and its result immutable.
    """
    unmasked(values, "reference")
    try:
        data = np.ascontiguousarray(values)
    except ValueError:  # rows of unequal length: `fit` says what it takes
        return fit(values, seed)
    if data.dtype.kind not in "biuf":  # the bytes of objects say nothing about them
        return fit(data, seed)
    digest = hashlib.sha256(data.view(np.uint8).data if data.size else b"").digest()
    key = (fit.__module__, fit.__qualname__, data.shape, data.dtype.str, digest, seed)
    if key not in _fits:
        found = fit(data, seed)
        _fits[key] = found
        while len(_fits) > KEPT:
            _fits.popitem(last=False)
        return found
    result: T = _fits[key]
    return result
