"""How values become bytes and come back: one JSON, one array format, one hash.

JSON here has sorted keys, no spaces and no NaN, so that equal values have equal bytes and equal hashes.
"""

import hashlib
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from visutility.core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


def dumps(value: object) -> str:
    """Return canonical JSON of plain data, msgspec structs and dataclasses.

    Raises `Invalid` for NaN, infinities and types JSON does not have.
    """
    try:
        plain = msgspec.to_builtins(value, enc_hook=_unknown)
    except (TypeError, NotImplementedError) as error:
        raise Invalid(f"cannot store {type(value).__name__}: {error}", hint="pass plain data") from None
    _refuse_non_finite(plain, "value")
    return _encoder.encode(plain).decode()


def loads(text: str | bytes) -> Any:
    """Return the plain data of a JSON text. Raises `Invalid` when it is not JSON."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"not JSON: {error}", hint="the text was cut or edited") from None


def sha256(data: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def to_text(at: datetime) -> str:
    """Return a UTC time as fixed-width text that sorts by time. Raises `Invalid` when it has no zone."""
    if at.tzinfo is None:
        raise Invalid(f"time {at!r} has no zone", hint="pass a datetime with tzinfo=UTC")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_time(text: str) -> datetime:
    """Return the UTC time that `to_text` wrote."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid(
            f"time {text!r} is not like 2026-01-31T08:00:00.000000Z", hint="use UTC with microseconds"
        ) from None


def pack_floats(values: "NDArray[np.float64]") -> bytes:
    """Return the values as little-endian 8-byte floats."""
    import numpy as np

    return np.ascontiguousarray(values, dtype="<f8").tobytes()


def unpack_floats(data: bytes) -> "NDArray[np.float64]":
    """Return what `pack_floats` packed, shape (n,)."""
    import numpy as np

    return np.frombuffer(data, dtype="<f8").astype(np.float64)


def pack_arrays(arrays: "Mapping[str, NDArray[Any]]", *, version: int) -> bytes:
    """Return named arrays and a format version as one npz; no pickle is ever written."""
    import numpy as np

    out = io.BytesIO()
    stored: dict[str, Any] = {"__version__": np.int64(version), **arrays}
    np.savez(out, allow_pickle=False, **stored)
    return out.getvalue()


def unpack_arrays(data: bytes) -> "tuple[int, dict[str, NDArray[Any]]]":
    """Return (version, arrays) of what `pack_arrays` packed; pickled content is refused."""
    import numpy as np

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise Invalid(f"not packed arrays: {error}", hint="the bytes were cut or edited") from None
    return int(arrays.pop("__version__")), arrays


def _unknown(value: object) -> object:
    item = getattr(value, "item", None)  # NumPy scalars; arrays of one element are refused by ndim
    if callable(item) and getattr(value, "ndim", 1) == 0:
        return item()
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _refuse_non_finite(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{where} is {value!r}", hint="JSON has no NaN or infinity; report it as a failure instead")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            _refuse_non_finite(inner, f"{where}[{at}]")
