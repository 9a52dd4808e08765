"""Saved things, wrong in one place: what a file edited by hand, or written by other code, may hold."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from visutility.core import codec

_OTHER = (None, True, -1, 3, 0.5, 1e300, 10**30, "", "x", "\x00", [], {}, [[]], [1, "a"], {"a": 1})
_TYPES = ("<f8", "<f4", "<i8", "|i1", "|u1", "<u8", "|b1", "<c16", "<M8[s]", "<U3", "|S2")


def of_json(plain: Any, draw: np.random.Generator) -> Any:
    """Return plain data that differs in one place, any place: another value, one more or fewer, or one twice."""
    if isinstance(plain, (dict, list)) and plain and draw.random() < 0.8:
        copy = plain.copy()
        keys = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
        at = keys[draw.integers(len(keys))]
        how = draw.random()
        if how < 0.1:
            del copy[at]
        elif how < 0.2 and isinstance(copy, list):
            copy.insert(at, copy[at])
        elif how < 0.2:
            copy["more"] = _OTHER[draw.integers(len(_OTHER))]
        else:
            copy[at] = of_json(copy[at], draw)
        return copy
    return _OTHER[draw.integers(len(_OTHER))]


def of_array(array: Any, draw: np.random.Generator) -> Any:
    """Return an array that differs in its type, its shape or one of its values."""
    how = draw.integers(6)
    if how == 0:
        kind = np.dtype(_TYPES[draw.integers(len(_TYPES))])
        return np.zeros(array.shape, kind) if kind.kind in "cMUS" else np.zeros(array.shape).astype(kind)
    if how == 1:
        flat = array.reshape(-1)
        shapes = (array[None], array[..., None], flat[:0], array[..., :-1], flat[0] if flat.size else np.zeros(()))
        return np.asarray(shapes[draw.integers(len(shapes))])
    if how == 2:
        return np.concatenate((array, array), axis=-1)
    copy = array.copy()
    if copy.size:
        odd = (-1, 0, 1, 7, 2**31, -(2**62), np.nan, np.inf, -1e300, 2**63 - 1)[draw.integers(10)]
        with np.errstate(all="ignore"):
            kept = np.asarray(odd).astype(copy.dtype) if copy.dtype.kind in "US" or np.isfinite(odd) else odd
            copy.flat[draw.integers(copy.size)] = kept if copy.dtype.kind == "f" or np.isfinite(odd) else 0
    return copy


def of_arrays(data: bytes, labels: tuple[str, ...], draw: np.random.Generator) -> bytes:
    """Return packed arrays that differ in one: those in `labels` hold JSON, or what is packed inside them."""
    version, packed = codec.unpack_arrays(data)
    name = list(packed)[draw.integers(len(packed))] if draw.random() < 0.5 else labels[draw.integers(len(labels))]
    how = draw.random()
    if how < 0.04:
        return data[: draw.integers(len(data))]
    if how < 0.08:
        version = _OTHER[draw.integers(len(_OTHER))]
    elif how < 0.12:
        del packed[name]
    elif how < 0.16:
        packed["more"] = packed[name]
    elif name in labels and how < 0.95:
        plain = of_json(codec.loads(packed[name].tobytes()), draw)
        packed[name] = np.frombuffer(codec.dumps(plain).encode(), np.uint8)
    else:
        packed[name] = of_array(packed[name], draw)
    return codec.pack_arrays(packed, version=version)


def mutants(data: bytes, labels: tuple[str, ...], seed: int, number: int) -> Iterator[bytes]:
    """Yield so many mutants of what was packed; always the same for a seed."""
    draw = np.random.default_rng([seed, 41])
    for _ in range(number):
        yield of_arrays(data, labels, draw)
