"""How values become bytes and come back: one JSON, one array format, one hash.

JSON here has sorted keys, no spaces and no NaN, so that equal values have equal bytes and equal hashes.
"""

import hashlib
import math
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from visutility.core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MARK = b"visutility arrays 1\n"
_KINDS = "biufcmMSU"
_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


def dumps(value: object) -> str:
    """Return canonical JSON of plain data, msgspec structs and dataclasses. Sets become sorted lists.

    Raises `Invalid` for NaN, infinities, keys that are not text and types JSON does not have.
    """
    try:
        plain = msgspec.to_builtins(value, enc_hook=_unknown, order="sorted")
        if not _is_finite(plain):
            _refuse_non_finite(plain, "value")
        return _encoder.encode(plain).decode()
    except (TypeError, UnicodeError, RecursionError) as error:
        raise Invalid(f"cannot store {type(value).__name__}: {error}", hint="pass plain data with text keys") from None


def dumps_plain(value: object) -> str:
    """Return what `dumps` does, of what is known to be plain data with text keys and finite numbers."""
    return _encoder.encode(value).decode()


def loads(text: str | bytes) -> Any:
    """Return the plain data of a JSON text. Raises `Invalid` when it is not JSON."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid(f"not JSON: {error}", hint="the text was cut or edited") from None


def sha256(data: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def to_text(at: datetime) -> str:
    """Return a UTC time as fixed-width text that sorts by time. Raises `Invalid` when it has no zone."""
    if at.tzinfo is None:
        raise Invalid(f"time {at!r} has no zone", hint="pass a datetime with tzinfo=UTC")
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="microseconds")[:-6] + "Z"


def to_time(text: str) -> datetime:
    """Return the UTC time that `to_text` wrote. Raises `Invalid` for any other text: it would not sort."""
    try:
        at = datetime.fromisoformat(text)
        written = to_text(at)
    except ValueError:
        written = None
    if written != text:
        raise Invalid(f"time {text!r} is not like 2026-01-31T08:00:00.000000Z", hint="use UTC with microseconds")
    return at


def pack_floats(values: "NDArray[np.float64]") -> bytes:
    """Return the values as little-endian 8-byte floats."""
    import numpy as np

    return np.ascontiguousarray(values, dtype="<f8").tobytes()


def unpack_floats(data: bytes) -> "NDArray[np.float64]":
    """Return what `pack_floats` packed, shape (n,). Raises `Invalid` when a value was cut."""
    import numpy as np

    if len(data) % 8:
        raise Invalid(f"{len(data)} bytes are not whole floats of 8 bytes", hint="the bytes were cut or edited")
    return np.frombuffer(data, dtype="<f8").astype(np.float64)


def pack_arrays(arrays: "Mapping[str, NDArray[Any]]", *, version: int) -> bytes:
    """Return named arrays and a format version as bytes: a mark, a JSON header, the arrays' own bytes, a checksum.

    A tenth of the time of NumPy's npz, which matters where a state is saved with every event. Raises `Invalid` for an
    array of objects or records.
    """
    import numpy as np

    kept = {name: np.asarray(array) for name, array in arrays.items()}
    strange = sorted(name for name, array in kept.items() if array.dtype.kind not in _KINDS)
    if strange:
        raise Invalid(f"cannot pack {strange}: not arrays of numbers or text", hint="pack arrays of numbers or text")
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in kept.items()]
    header = _encoder.encode([version, listed])
    body = b"".join((_MARK, len(header).to_bytes(4, "little"), header, *(array.tobytes() for array in kept.values())))
    return body + zlib.crc32(body).to_bytes(4, "little")


def unpack_arrays(data: bytes) -> "tuple[int, dict[str, NDArray[Any]]]":
    """Return (version, arrays) as `pack_arrays` got them. Raises `Invalid` for other bytes, or for damaged ones."""
    import numpy as np

    body = memoryview(data)[:-4]  # not copied
    if body[: len(_MARK)] != _MARK or zlib.crc32(body).to_bytes(4, "little") != data[-4:]:
        raise Invalid(f"not packed arrays: {len(data)} bytes", hint="the bytes were cut or edited")
    at = len(_MARK) + 4
    end = at + int.from_bytes(body[len(_MARK) : at], "little")
    arrays = {}
    try:
        version, listed = _decoder.decode(body[at:end])
        for name, kind, shape in listed:
            dtype, count = np.dtype(kind), math.prod(shape)
            if not isinstance(name, str) or dtype.kind not in _KINDS or any(side < 0 for side in shape):
                raise ValueError(f"{name!r} is {kind!r} of shape {shape}")
            flat = np.frombuffer(body, dtype, count, end) if count else np.empty(0, dtype)
            arrays[name] = flat.reshape(shape).copy()
            end += count * dtype.itemsize
        if end != len(body):
            raise ValueError(f"{len(body) - end} bytes are left over")
    except Exception as error:  # a header that was forged, checksum and all, may say almost anything
        raise Invalid(f"not packed arrays: {error}", hint="the bytes were edited") from error
    return version, arrays


def _unknown(value: object) -> object:
    item = getattr(value, "item", None)  # NumPy scalars; arrays of one element are refused by ndim
    if callable(item) and getattr(value, "ndim", 1) == 0:
        return item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _is_finite(value: object) -> bool:
    """Whether no number in plain data is NaN or infinite. Says it faster than `_refuse_non_finite`, but not where."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_is_finite, value))


def _refuse_non_finite(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{where} is {value!r}", hint="JSON has no NaN or infinity; report it as a failure instead")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            _refuse_non_finite(inner, f"{where}[{at}]")
