"""Structs that cross a boundary: what a serving process sends, and what everything else shares about it."""

import math
from datetime import datetime

import msgspec

from visutility.core.errors import InvalidData, InvalidObservation
from visutility.core.ids import checked_name

MAX_VALUES = 100_000


class MetricsEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of values of one metric of one model version, in the order they were observed.

    `id` makes delivery exactly-once: a second event with the same id is acknowledged and ignored.
    `prediction_ids`, when given, has one id per value, so that a late label finds its prediction.
    `at` is the time of the last value, UTC.
    """

    id: str
    model: str
    version: int
    metric: str
    values: list[float]
    at: datetime
    prediction_ids: list[str] | None = None

    def checked(self) -> "MetricsEvent":
        """Return this event if every field is usable. Raises `InvalidName`, `InvalidData` or `InvalidObservation`."""
        try:
            event = msgspec.convert(msgspec.structs.asdict(self), MetricsEvent)
        except msgspec.ValidationError as error:
            raise InvalidData(
                f"event {self.id!r} does not fit: {error}", hint="send plain Python values, arrays as lists"
            ) from None
        event._check_fields()
        event._check_values()
        return event

    def _check_fields(self) -> None:
        if not _is_id(self.id):
            raise InvalidData(f"event id {self.id!r} does not fit", hint="use 1 to 128 printable characters")
        checked_name(self.model, "model")
        checked_name(self.metric, "metric")
        if not 1 <= self.version < 2**31:
            raise InvalidData(f"event {self.id!r} names version {self.version}", hint="versions count from 1")
        if self.at.tzinfo is None:
            raise InvalidData(f"event {self.id!r} has a time `at` without a zone: {self.at}", hint="send UTC")

    def _check_values(self) -> None:
        if not 1 <= len(self.values) <= MAX_VALUES:
            raise InvalidData(
                f"event {self.id!r} has {len(self.values)} values", hint=f"send 1 to {MAX_VALUES} an event"
            )
        if not all(map(math.isfinite, self.values)):
            at, value = next((n, v) for n, v in enumerate(self.values) if not math.isfinite(v))
            raise InvalidObservation(
                f"{self.metric} of {self.model} has {value!r} at position {at} of the values of event {self.id!r}",
                hint="send finite numbers; leave out predictions without a metric",
            )
        ids = self.prediction_ids
        if ids is not None and len(ids) != len(self.values):
            raise InvalidData(
                f"event {self.id!r} has {len(self.values)} values and {len(ids)} prediction_ids",
                hint="send one id per value, or none at all",
            )
        if ids is not None and not all(map(_is_id, ids)):
            wrong = next(name for name in ids if not _is_id(name))
            raise InvalidData(
                f"event {self.id!r} has {wrong!r} among its prediction_ids", hint="use 1 to 128 printable characters"
            )


def _is_id(text: str) -> bool:
    return 1 <= len(text) <= 128 and text.isprintable()


class Actor(msgspec.Struct, frozen=True):
    """Who did something, and why: goes with every change into the audit log."""

    by: str
    why: str = ""
