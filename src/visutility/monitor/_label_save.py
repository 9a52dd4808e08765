"""What a saved `LabelJoin` holds, and that nothing else is taken for one."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from visutility.core import codec
from visutility.core.errors import Invalid

_COLUMNS = {
    "id": "iU",
    "at": "f",
    "said": "f",
    "expected": "f",
    "label": "f",
    "loss": "f",
    "order": "i",
    "arrival": "i",
}
_HELD = {"held": "iU", "held_label": "f", "held_at": "f"}


class Kept(msgspec.Struct, forbid_unknown_fields=True):
    """What `save` writes beside the arrays."""

    metric: Literal["accuracy", "mae"]
    scale: float
    keep: int
    early: int
    unknown: Literal["hold", "refuse"]
    contradiction: Literal["refuse", "first", "last"]
    counts: dict[str, int]
    arrivals: int
    orders: int


def checked(packed: Mapping[str, NDArray[Any]], counts: Collection[str]) -> Kept:
    """Return the settings among saved arrays, or raise `Invalid` with what no `save` would have written.

    `counts` are the names of what is counted.
    """
    try:
        if set(packed) != {"settings", "times", *_COLUMNS, *_HELD}:
            raise ValueError(f"it holds {sorted(packed)}")
        kept = msgspec.convert(codec.loads(packed["settings"].tobytes()), Kept)
        if set(kept.counts) != set(counts):
            raise ValueError(f"it counts {sorted(kept.counts)}")
        times, order, label = packed["times"], packed["order"], packed["label"]
        if times.dtype.kind != "f" or times.shape != (3,) or np.isnan(times).any():
            raise ValueError("its times are not three")
        for columns, ids in ((_COLUMNS, packed["id"]), (_HELD, packed["held"])):
            for name, kinds in columns.items():
                if packed[name].dtype.kind not in kinds or packed[name].shape != (len(ids),):
                    raise ValueError(f"{name} is of shape {packed[name].shape} for {ids.shape} ids")
            if len(np.unique(ids)) < len(ids):
                raise ValueError("an id is there twice")
        if np.isin(packed["id"], packed["held"]).any():
            raise ValueError("a label is held for a prediction that is there")
        finite = [packed[name] for name in ("at", "said", "held_label")]
        if not all(np.isfinite(column).all() for column in finite) or np.isnan(packed["held_at"]).any():
            raise ValueError("a number is not finite")
        if ((order < 0) != np.isnan(label)).any() or (order >= kept.orders).any():
            raise ValueError("its labels do not fit their order")
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise Invalid(f"not a saved LabelJoin: {error}", hint="pass what save gave") from None
    return kept
