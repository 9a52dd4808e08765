"""What people do with an incident: look after it, put it off, or take that back.

Events of the audit log keep it, and nothing else does: each names one alarm of its incident, since a number may become
part of another one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

from visutility.core.codec import to_text
from visutility.store import audit
from visutility.store.engine import Tx

Way = Literal["acknowledged", "snoozed", "reopened"]
KINDS: Final = ("alarm.acknowledged", "alarm.snoozed", "alarm.reopened")


@dataclass(frozen=True, slots=True)
class Handled:
    """What was done with an incident. `by` looks after it, or put it off; `until` is for what was snoozed."""

    way: Way
    by: str
    at: str
    note: str = ""
    until: str = ""


def write(
    tx: Tx, subject: str, alarm: str, done: Handled, *, actor: str, incident: int, before: Mapping[str, Handled | None]
) -> None:
    """Append what was done to the audit log, for the incident that has this alarm."""
    said = {name: value for name, value in asdict(done).items() if name in ("by", "until") and value}
    after = {**said, "alarm": alarm, "incident": incident}
    audit.append(tx, f"alarm.{done.way}", subject, by=actor, why=done.note, before=before, after=after)


def read(event: audit.AuditEvent) -> tuple[str, Handled]:
    """Return the alarm that an event of one of `KINDS` names, and what was done."""
    way: Way = "acknowledged" if event.kind == KINDS[0] else "snoozed" if event.kind == KINDS[1] else "reopened"
    by, until = event.after.get("by", event.by), event.after.get("until", "")
    return event.after["alarm"], Handled(way, by, to_text(event.at), event.why, until)
