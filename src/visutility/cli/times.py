"""Times and durations as people type them."""

import re
from datetime import datetime, timedelta

from visutility.core.errors import Invalid

_LASTS = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def time_of(option: str, text: str) -> datetime:
    """Return a time with its zone: ISO 8601, or as commands print it. Raises `Invalid`."""
    written = f"{text[:-4]}Z" if text.endswith(" UTC") else text
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        what = "is no time" if at is None else "has no zone"
        raise Invalid(f"{option} {text!r} {what}", hint="give one such as 2026-01-31T08:00Z")
    return at


def lasting(option: str, text: str) -> timedelta:
    """Return a duration: days, hours, minutes and seconds, such as 1d12h or 90m. Raises `Invalid`."""
    found = _LASTS.fullmatch(text)
    if not text or found is None:
        raise Invalid(f"{option} {text!r} is no duration", hint="give one such as 2h, 30m or 1d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
