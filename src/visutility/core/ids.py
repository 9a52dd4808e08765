"""Ids that sort by the time they were made, and names that people choose."""

import re
import secrets
import threading
from datetime import UTC, datetime, timedelta

from visutility.core.errors import InvalidName

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


_lock = threading.Lock()
_last = (0, 0)  # milliseconds and random part of the newest id of this process


def new_id(now: datetime) -> str:
    """Return 26 characters: 48 bits of milliseconds since 1970, then 80 bits that start at random.

    Ids sort by time, and those one process makes in the same millisecond by the order they were made in. They are
    unique, not secret, and never seeded: two processes must not make the same one.
    """
    global _last
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)  # exact: a float timestamp rounds some down
    with _lock:
        same = milliseconds == _last[0]
        part = _last[1] + 1 + secrets.randbits(32) if same else secrets.randbits(79)
        _last = (milliseconds, part)
    number = (milliseconds << 80) | part
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def checked_name(name: str, what: str) -> str:
    """Return `name` if it fits the pattern of all names; raise `InvalidName` saying `what` it was for."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            f"{what} name {name!r} does not fit",
            hint="use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting and ending with a letter or digit",
        )
    return name
