"""When the trials of a durable study were asked, and when they ended."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from visutility.core.codec import to_time
from visutility.store.schema import trial

_times = (
    select(trial.c.number, trial.c.asked_at, trial.c.told_at)
    .where(trial.c.study_id == bindparam("of"))
    .order_by(trial.c.number)
)


def study_times(connection: Connection, study_id: str) -> dict[int, tuple[datetime, datetime | None]]:
    """Return (asked, told) of each trial of the study with this id, by number; told is None while it is pending."""
    rows = connection.execute(_times, {"of": study_id})
    return {number: (to_time(asked), None if told is None else to_time(told)) for number, asked, told in rows}
