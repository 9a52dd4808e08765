"""Ids that sort by the time they were made, and names that people choose."""

import re
import secrets
from datetime import UTC, datetime, timedelta

from visutility.core.errors import InvalidName

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


def new_id(now: datetime) -> str:
    """Return 26 characters: 48 bits of milliseconds since 1970, then 80 random bits.

    Ids made in different milliseconds sort by time. They are unique, not secret, and never seeded:
    two processes must not make the same one.
    """
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)  # exact: a float timestamp rounds some down
    number = (milliseconds << 80) | secrets.randbits(80)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def checked_name(name: str, what: str) -> str:
    """Return `name` if it fits the pattern of all names; raise `InvalidName` saying `what` it was for."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            f"{what} name {name!r} does not fit",
            hint="use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting and ending with a letter or digit",
        )
    return name
