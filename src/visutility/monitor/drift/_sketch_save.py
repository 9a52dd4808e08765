"""What a saved `TableSketch` holds, and that nothing else is taken for one."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from visutility.core import codec
from visutility.core.errors import Invalid
from visutility.monitor.drift.columns import BUCKETS, KEPT, LabelSketch, NumberSketch
from visutility.monitor.drift.multivariate import JointSketch
from visutility.monitor.drift.tables import ColumnType

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
_SHARED = {"label": "u1", "row_hashes": "u8", "row_counts": "i8"}
_JOINT = {"centre": "f8", "scale": "f8", "sums": "f8"}
_NUMBER = {
    "edges": "f8",
    "below": "i8",
    "whole": "i8",
    "numbers": "f8",
    "least": "u8",
    "guards": "f8",
    "beyond": "i8",
}
_LABEL = {"names": "u1", "counts": "i8", "buckets": "i8", "nulls": "i8", "least": "u8"}
_OF_TYPE = {"number": NumberSketch, "time": NumberSketch, "boolean": LabelSketch, "text": LabelSketch}


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """What `save` writes beside the arrays."""

    rows: Annotated[int, msgspec.Meta(ge=0)]
    types: list[tuple[str, ColumnType]]
    columns: list[tuple[str, Literal["number", "label"]]]
    names: tuple[str, ...] | None
    categorical: tuple[str, ...]
    joint: tuple[str, ...] | None
    likened: bool = False


class Saved(msgspec.Struct):
    """What a sketch is made of."""

    label: Label
    columns: dict[str, NumberSketch | LabelSketch]
    joint: JointSketch | None
    row_hashes: NDArray[np.uint64]
    row_counts: NDArray[np.int64]


def checked(packed: Arrays, rows_kept: int) -> Saved:
    """Return the parts of saved arrays, or raise `Invalid` with what no `save` would have written."""
    try:
        return _parts(packed, rows_kept)
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"not a table sketch: {error}", hint="pass what save returned") from None


def _parts(packed: Arrays, rows_kept: int) -> Saved:
    label = msgspec.convert(codec.loads(packed["label"].tobytes()), Label)
    kinds = dict(label.columns)
    wanted = _SHARED | ({} if label.joint is None else {f"joint.{part}": kind for part, kind in _JOINT.items()})
    for at, kind in enumerate(kinds.values()):
        wanted |= {f"{at}.{part}": of for part, of in (_NUMBER if kind == "number" else _LABEL).items()}
    for name, array in packed.items():
        _need(array.dtype == wanted.get(name), f"{name} of {array.dtype}")
        _need(array.ndim == (2 if name == "joint.sums" else 1), f"{name} of shape {array.shape}")
    _need(set(packed) == set(wanted), f"only {sorted(packed)}")
    _need(len(kinds) == len(label.columns) and len(dict(label.types)) == len(label.types), "a column twice")
    hashes, counts = packed["row_hashes"], packed["row_counts"]
    _need(_rising(hashes) and len(hashes) <= rows_kept and hashes.shape == counts.shape, "hashes of rows")
    _need((counts > 0).all() and int(counts.sum()) <= label.rows, "counts of rows")
    columns = {}
    for at, (name, kind) in enumerate(kinds.items()):
        parts = _under(f"{at}.", packed)
        columns[name] = _number(parts) if kind == "number" else _label(parts)
    for name, of in label.types:
        made = columns.get(name)
        _need(of in ("null", "other") or isinstance(made, _OF_TYPE[of]), f"column {name!r} of type {of}")
        _need((of == "other") == (made is None), f"column {name!r} of type {of}")
        _need(made is None or made.size == label.rows, f"column {name!r} of other rows than {label.rows}")
    joint = None if label.joint is None else _joint(label.joint, _under("joint.", packed), label.rows)
    return Saved(label, columns, joint, hashes, counts)


def _number(parts: dict[str, NDArray[Any]]) -> NumberSketch:
    parts = _in_order(parts)
    edges, below, guards, beyond = (parts[name] for name in ("edges", "below", "guards", "beyond"))
    _need(parts["whole"].shape == (3,) and parts["numbers"].shape == (4,), "no moments of a column")
    _need((parts["whole"] >= 0).all() and not parts["numbers"][3] < 0.0, "negative counts")
    made = NumberSketch.of_arrays(parts)
    _need(_rising(edges) and np.isfinite(edges).all() and _counts(below, edges, made.n), "counts between edges")
    _need(len(guards) in (0, 4) and not (guards[1:] < guards[:-1]).any(), "guards")
    _need(_counts(beyond, guards, made.n), "counts beyond guards")
    _need(_rising(made.least) and len(made.least) <= KEPT, "hashes of a column")
    _need(not made.n or made.low <= made.high, "values without a range")
    return made


def _in_order(parts: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays with the last guard as it is now: of a constant column it was the upper end itself."""
    guards, beyond = parts["guards"], parts["beyond"]
    if guards.shape != (4,) or beyond.shape != (4,) or not guards[3] < guards[2] == math.nextafter(guards[3], math.inf):
        return parts
    at = [0, 1, 2, 2]
    return parts | {"guards": guards[at], "beyond": beyond[at]}


def _label(parts: dict[str, NDArray[Any]]) -> LabelSketch:
    names = msgspec.convert(codec.loads(parts["names"].tobytes()), list[str])
    _need(len(set(names)) == len(names) == len(parts["counts"]), "counts of labels")
    _need(parts["buckets"].shape == (BUCKETS,) and parts["nulls"].shape == (1,), "buckets of labels")
    _need(all((parts[name] >= 0).all() for name in ("counts", "buckets", "nulls")), "negative counts")
    made = LabelSketch.of_arrays(parts)
    _need(_rising(made.least) and len(made.least) <= KEPT, "hashes of a column")
    return made


def _joint(names: tuple[str, ...], parts: dict[str, NDArray[Any]], rows: int) -> JointSketch:
    made = JointSketch.of_arrays(names, parts)
    size = 3 * len(names) + 1
    _need(made.centre.shape == made.scale.shape == (len(names),) and made.sums.shape == (size, size), "sums")
    _need(len(set(names)) == len(names), "a column twice")
    _need(bool(np.isfinite(made.centre).all() and np.isfinite(made.sums).all() and (made.scale > 0.0).all()), "sums")
    _need(made.sums[-1, -1] == (rows if len(names) > 1 else 0), f"sums of other rows than {rows}")
    return made


def _counts(below: NDArray[Any], edges: NDArray[Any], n: int) -> bool:
    """Whether these count, of n values, those below each edge."""
    return below.shape == edges.shape and bool((np.diff(below, prepend=0, append=n) >= 0).all())


def _rising(values: NDArray[Any]) -> bool:
    return bool((values[1:] > values[:-1]).all())


def _under(prefix: str, packed: Arrays) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in packed.items() if name.startswith(prefix)}


def _need(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(f"it holds {what}")
