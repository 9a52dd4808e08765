"""What the arrays and times of a saved `AlertList` are, and that nothing else is taken for them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visutility.core import codec

_KINDS = {"codes": np.int64, "weights": np.float64, "incident": np.int64, "quiet": np.int64}


def check(packed: Mapping[str, NDArray[Any]], times: Iterable[str]) -> None:
    """Raise `ValueError` for arrays and times that no `save` has written; "" is no time yet."""
    odd = {name: str(packed[name].dtype) for name, kind in _KINDS.items() if packed[name].dtype != kind}
    if odd:
        raise ValueError(f"its arrays are of {odd}")
    if any((packed[name] < 0).any() for name in ("codes", "quiet")):
        raise ValueError("a code or a count is negative")
    for at in filter(None, times):
        codec.to_time(at)
