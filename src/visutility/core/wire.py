"""Structs that cross a boundary: what a serving process sends, and what everything else shares about it."""

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
        """Return self if every field is usable. Raises `InvalidData` or `InvalidObservation`."""
        checked_name(self.model, "model")
        checked_name(self.metric, "metric")
        if not 1 <= len(self.id) <= 128:
            raise InvalidData(f"event id {self.id!r} is empty or too long", hint="use 1 to 128 characters")
        if self.version < 1:
            raise InvalidData(f"event {self.id!r} names version {self.version}", hint="versions count from 1")
        if self.at.tzinfo is None:
            raise InvalidData(f"event {self.id!r} has a time without a zone", hint="send UTC")
        if not 1 <= len(self.values) <= MAX_VALUES:
            raise InvalidData(
                f"event {self.id!r} has {len(self.values)} values", hint=f"send 1 to {MAX_VALUES} an event"
            )
        for at, value in enumerate(self.values):
            if not isinstance(value, (int, float)) or value != value or value in (float("inf"), float("-inf")):
                raise InvalidObservation(
                    f"{self.metric} of {self.model} has {value!r} at position {at} of event {self.id!r}",
                    hint="send finite numbers; leave out predictions without a metric",
                )
        if self.prediction_ids is not None and len(self.prediction_ids) != len(self.values):
            raise InvalidData(
                f"event {self.id!r} has {len(self.values)} values and {len(self.prediction_ids)} prediction ids",
                hint="send one id per value, or none at all",
            )
        return self


class Actor(msgspec.Struct, frozen=True):
    """Who did something, and why: goes with every change into the audit log."""

    by: str
    why: str = ""
