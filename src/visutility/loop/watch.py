"""The Monitor: takes metrics events, keeps them, updates detectors, and tells its observers.

An event, its effect on every detector's state, the verdicts it causes and whatever the deciders make of them (a
trigger, a run) commit in one transaction: an accepted event is in the database with all of it, or was never accepted.
Observers are told after the commit; one that raises is reported and the rest are told all the same.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, func, insert, select, update

from visutility.core.codec import dumps, loads, pack_floats, to_text
from visutility.core.errors import ModelNotFound, VersionNotFound
from visutility.core.wire import MetricsEvent
from visutility.loop.metrics import Metrics
from visutility.monitor import AbstractDetector, Verdicts, make_detector
from visutility.store import audit
from visutility.store.engine import Store, Tx
from visutility.store.schema import metric_chunk, model, model_version, verdict, watch


@dataclass(frozen=True, slots=True)
class Alarm:
    """A verdict that is not OK, as stored: `position` counts the model's values of this metric from 0."""

    id: str
    model: str
    model_id: str
    version: int
    metric: str
    detector: str
    level: str
    position: int
    score: float
    limit: float
    evidence: dict[str, float]
    promise: str
    at: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Values that a watch has just been shown; `reference` is what it keeps of its reference window."""

    watch_id: str
    model: str
    reference: dict[str, Any]
    chunk_id: str
    count: int
    end: int  # position after the last of them, in the model's stream of this metric


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to one event: where its first value stands in the stream; `duplicate` when it was known already."""

    event_id: str
    position: int
    duplicate: bool
    verdicts: tuple[Alarm, ...]


class Observer(Protocol):
    """Told about each verdict after its commit."""

    def notify(self, alarm: Alarm) -> None:
        """Take notice. May raise; the monitor and the other observers go on."""


@runtime_checkable
class Decider(Protocol):
    """Asked about each verdict inside its transaction: what it writes commits with the verdict, or not at all."""

    def decide(self, tx: Tx, alarm: Alarm) -> None:
        """Write what follows from the verdict. If it raises, nothing of the event is accepted."""


@runtime_checkable
class Reviewer(Protocol):
    """A decider that may leave an alarm for later: asked again, in the transaction, when its watch saw more values."""

    def review(self, tx: Tx, seen: Seen) -> None:
        """Write what follows. If it raises, nothing of the event is accepted."""


@final
class Monitor:
    """The subject of the observer pattern. One object for each process; any number of processes."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._deciders: list[Decider] = []
        self._reviewers: list[Reviewer] = []
        self._observers: list[Observer] = []
        self._ids: dict[tuple[str, int], str] = {}
        self._watching: dict[str, _Live] = {}

    def subscribe(self, observer: Observer | Decider) -> None:
        """Add an observer, or a decider if it has `decide`; one that has `review` too is asked again."""
        if isinstance(observer, Reviewer):
            self._reviewers.append(observer)
        if isinstance(observer, Decider):
            self._deciders.append(observer)
        else:
            self._observers.append(observer)

    def ingest(self, *events: MetricsEvent) -> list[Receipt]:
        """Accept events, all or none. Raises `InvalidObservation`, `InvalidData`, `ModelNotFound`, `VersionNotFound`.

        An event whose id was accepted before is acknowledged again and changes nothing.
        """
        for one in events:
            one.checked()
        start = self._store.clock.elapsed()
        try:
            with self._store.write("monitor.ingest") as tx:
                receipts = self._accept(tx, events)
        except BaseException:
            self._watching.clear()  # the states in memory are ahead of the database
            raise
        self._metrics.ingest_seconds.observe(self._store.clock.elapsed() - start)
        self._count(events, receipts)
        for receipt in receipts:
            for alarm in receipt.verdicts:
                self._tell(alarm)
        return receipts

    def _accept(self, tx: Tx, events: Sequence[MetricsEvent]) -> list[Receipt]:
        known = {
            row.event_id: row.first_position for row in tx.execute(_KNOWN, {"ids": [event.id for event in events]})
        }
        ends: dict[tuple[str, str], int] = {}
        watched: dict[tuple[str, str, int], list[Any]] = {}
        receipts = []
        for event in events:
            if event.id in known:
                receipts.append(Receipt(event.id, known[event.id], True, ()))
                continue
            model_id = self._model_id(tx.connection, event.model, event.version)
            stream = (model_id, event.metric)
            if stream not in ends:
                ends[stream] = tx.execute(_END, {"model": model_id, "metric": event.metric}).scalar() or 0
            first = known[event.id] = ends[stream]
            ends[stream] = first + len(event.values)
            values = np.asarray(event.values, dtype=np.float64)
            chunk = tx.new_id()
            tx.execute(_INSERT_CHUNK, _chunk_row(tx, chunk, model_id, event, values, first))
            key = (model_id, event.metric, event.version)
            if key not in watched:
                watched[key] = list(tx.execute(_WATCHES, dict(zip(_KEY, key, strict=True))).mappings())
                for row in watched[key]:
                    self._bring_up(row, event.model)
            found = self._update_watches(tx, chunk, watched[key], event, values, first)
            receipts.append(Receipt(event.id, first, False, tuple(found)))
        for row in (row for rows in watched.values() for row in rows):
            self._save(tx, row)
        return receipts

    def _update_watches(
        self, tx: Tx, chunk: str, rows: Sequence[Any], event: MetricsEvent, values: NDArray[np.float64], first: int
    ) -> list[Alarm]:
        alarms = []
        for row in rows:
            live = self._watching[row["id"]]
            before = live.seen
            live.state, verdicts = live.detector.update(live.state, values, at=event.at.timestamp())
            live.seen += len(values)
            alarms += self._record(tx, row, live.detector, verdicts, chunk, event, first - before)
        for alarm in alarms:
            for decider in self._deciders:
                decider.decide(tx, alarm)
        for row in rows:
            seen = Seen(row["id"], event.model, loads(row["reference"]), chunk, len(values), first + len(values))
            for reviewer in self._reviewers:
                reviewer.review(tx, seen)
        return alarms

    def _record(
        self,
        tx: Tx,
        row: Any,
        detector: AbstractDetector[Any],
        verdicts: Verdicts,
        chunk: str,
        event: MetricsEvent,
        shift: int,
    ) -> list[Alarm]:
        promise = detector.promise(int(loads(row["reference"])["rows"]))
        alarms = []
        for found in verdicts:
            alarm = Alarm(
                tx.new_id(),
                event.model,
                row["model_id"],
                event.version,
                event.metric,
                row["detector"],
                str(found.level),
                found.position + shift,
                found.score,
                found.limit,
                found.evidence,
                promise,
                tx.now(),
            )
            tx.execute(insert(verdict), _verdict_row(alarm, row["id"], chunk))
            audit.append(
                tx,
                f"verdict.{alarm.level}",
                f"{alarm.model}/{alarm.metric}",
                by=f"monitor/{alarm.detector}",
                why=f"score {alarm.score:.4g} reached {alarm.limit:.4g} at value {alarm.position}",
                after={"position": alarm.position, "evidence": alarm.evidence},
                covers=[("verdict", (alarm.id,)), ("metric_chunk", (chunk,))],
            )
            alarms.append(alarm)
        return alarms

    def _bring_up(self, row: Any, name: str) -> None:
        """Have the watch's detector and state in memory, read afresh when another process moved it on."""
        live = self._watching.get(row["id"])
        if live is None or live.seen != row["position"]:
            detector = make_detector(row["detector"], **loads(row["settings"]))
            self._watching[row["id"]] = _Live(name, detector, detector.load(row["state"]), row["position"])

    def _save(self, tx: Tx, row: Any) -> None:
        """Write the state of a watch: once a transaction, however many events it holds."""
        live = self._watching[row["id"]]
        state = live.detector.save(live.state)
        tx.execute(_SAVE_WATCH, {"watch": row["id"], "state": state, "seen": live.seen, "now": tx.now()})
        at = self._metrics.score.labels(live.model, row["metric"], row["detector"])
        at.set(float(live.detector.scores(live.state)[0]))

    def _model_id(self, connection: Connection, name: str, version: int) -> str:
        found = self._ids.get((name, version))
        if found is None:
            row = connection.execute(_FIND, {"name": name, "version": version}).one_or_none()
            if row is None:
                raise ModelNotFound(f"no model is named {name!r}", hint="`visutility models` lists them")
            if row.number is None:
                raise VersionNotFound(
                    f"{name} has no version {version}", hint=f"`visutility versions {name}` lists them"
                )
            found = self._ids[name, version] = str(row.id)
        return found

    def _count(self, events: Sequence[MetricsEvent], receipts: Sequence[Receipt]) -> None:
        for event, receipt in zip(events, receipts, strict=True):
            result = "duplicate" if receipt.duplicate else "accepted"
            self._metrics.events.labels(event.model, event.metric, result).inc()
            if not receipt.duplicate:
                self._metrics.values.labels(event.model, event.metric).inc(len(event.values))
            for alarm in receipt.verdicts:
                self._metrics.verdicts.labels(alarm.model, alarm.metric, alarm.detector, alarm.level).inc()

    def _tell(self, alarm: Alarm) -> None:
        for observer in self._observers:
            try:
                observer.notify(alarm)
            except Exception as error:  # noqa: BLE001  an observer is foreign code and must not stop the others
                name = type(observer).__name__
                self._metrics.observer_errors.labels(name).inc()
                print(f"observer {name} raised {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201


def stored_alarm(row: Any, model: str) -> Alarm:
    """Return what a row of `verdict` says, of the model of that name."""
    return Alarm(
        row.id,
        model,
        row.model_id,
        row.version_number,
        row.metric,
        row.detector,
        row.level,
        row.position,
        row.score,
        row.limit,
        loads(row.evidence),
        row.promise,
        row.created_at,
    )


@dataclass(slots=True)
class _Live:
    model: str
    detector: AbstractDetector[Any]
    state: Any
    seen: int


def _chunk_row(
    tx: Tx, chunk: str, model_id: str, event: MetricsEvent, values: NDArray[np.float64], first: int
) -> dict[str, object]:
    return {
        "id": chunk,
        "event_id": event.id,
        "model_id": model_id,
        "version_number": event.version,
        "metric": event.metric,
        "first_position": first,
        "count": len(values),
        "total": float(values.sum()),
        "values": pack_floats(values),
        "prediction_ids": None if event.prediction_ids is None else dumps(event.prediction_ids),
        "at": to_text(event.at),
        "received_at": tx.now(),
    }


def _verdict_row(alarm: Alarm, watch_id: str, chunk: str) -> dict[str, object]:
    return {
        "id": alarm.id,
        "watch_id": watch_id,
        "model_id": alarm.model_id,
        "metric": alarm.metric,
        "version_number": alarm.version,
        "detector": alarm.detector,
        "level": alarm.level,
        "chunk_id": chunk,
        "position": alarm.position,
        "score": alarm.score,
        "limit": alarm.limit,
        "evidence": dumps(alarm.evidence),
        "promise": alarm.promise,
        "created_at": alarm.at,
    }


_INSERT_CHUNK = insert(metric_chunk)
_KNOWN = select(metric_chunk.c.event_id, metric_chunk.c.first_position).where(
    metric_chunk.c.event_id.in_(bindparam("ids", expanding=True))
)
_END = (
    select(metric_chunk.c.first_position + metric_chunk.c["count"])
    .where(metric_chunk.c.model_id == bindparam("model"), metric_chunk.c.metric == bindparam("metric"))
    .order_by(metric_chunk.c.first_position.desc())
    .limit(1)
)
_FIND = (
    select(model.c.id, func.max(model_version.c.number).label("number"))
    .select_from(
        model.outerjoin(
            model_version,
            (model_version.c.model_id == model.c.id) & (model_version.c.number == bindparam("version")),
        )
    )
    .where(model.c.name == bindparam("name"))
    .group_by(model.c.id)
)
_KEY = ("model", "metric", "version")
_WATCHES = select(watch).where(
    watch.c.model_id == bindparam("model"),
    watch.c.metric == bindparam("metric"),
    watch.c.version_number == bindparam("version"),
    watch.c.status == "active",
)
_SAVE_WATCH = (
    update(watch)
    .where(watch.c.id == bindparam("watch"))
    .values(state=bindparam("state"), position=bindparam("seen"), updated_at=bindparam("now"))
)
