"""Which rows of a source a fetch returns: the one rule, over ids and times alone."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, InvalidData, InvalidSetting
from visutility.data._schema import TIME


def microseconds(since: datetime | None) -> int | None:
    """Return the microseconds since 1970 of a time with a zone. Raises `InvalidData` without one."""
    if since is None:
        return None
    if since.tzinfo is None:
        raise InvalidData(f"since {since!r} has no zone", hint="pass a datetime with tzinfo=UTC")
    return int(pa.scalar(since.astimezone(UTC), TIME).value)


def newer(times: pa.Array | pa.ChunkedArray, since: int | None) -> NDArray[np.bool_]:
    """Return which of these times are later than `since`, shape (n,); a null is later than nothing."""
    if since is None:
        return np.ones(len(times), np.bool_)
    values = times.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
    mask: NDArray[np.bool_] = values > since
    return mask


def oldest_first(ids: Sequence[str], times: pa.Array | pa.ChunkedArray, limit: int | None) -> NDArray[np.int64]:
    """Return the positions of the `limit` oldest rows by (time, id), rows without a time first, shape (m,)."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidSetting(f"limit is {limit!r}", hint="pass a whole number from 1, or None for all")
    values = times.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
    order = np.lexsort((np.asarray(ids, dtype=np.str_), values)) if len(ids) else np.zeros(0, np.int64)
    return order[:limit].astype(np.int64)


def empty(name: str, since: datetime | None) -> EmptyWindow:
    """Return the error for a source that has nothing to give."""
    when = "" if since is None else f" newer than {since.astimezone(UTC).isoformat()}"
    return EmptyWindow(f"{name} has no rows{when}", hint="wait for data, or ask for an earlier time")


def no_times(name: str) -> InvalidData:
    """Return the error for `since` asked of rows without a time column."""
    return InvalidData(
        f"{name} has no times, so nothing is newer than `since`", hint="add a time column, or ask for all"
    )
