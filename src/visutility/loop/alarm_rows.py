"""What a project stored about its alarms: watches, verdicts, what followed, judgements, and in which order it happened.

The order is the audit log's, which no clock can turn around: `story` gives what happened to the watches as turns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, select

from visutility.core.codec import loads, to_text
from visutility.loop import handling
from visutility.loop.policy import AT_WORK
from visutility.loop.watch import Alarm, stored_alarm
from visutility.monitor import make_detector
from visutility.store import audit
from visutility.store.schema import (
    alarm_judgement,
    gate_report,
    metric_chunk,
    model,
    retrain_trigger,
    run,
    verdict,
    watch,
)

Kind = Literal["start", "stop", "alarm", "warning", "quiet", "handled"]
_MOVES = ("alias.promoted", "alias.rolled-back")
_KINDS = (
    "watch.started",
    "watch.resumed",
    "watch.missing",
    "verdict.alarm",
    "verdict.warning",
    *_MOVES,
    *handling.KINDS,
)
_PAGE = audit.MAX_EVENTS


@dataclass(frozen=True, slots=True)
class Stream:
    """A watch: one metric of one version under one detector. `arl` is None where the detector promises no rate."""

    id: str
    model_id: str
    model: str
    version: int
    metric: str
    detector: str
    arl: float | None
    reference: dict[str, Any]
    seen: int  # values

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.model}:{self.version} {self.metric} by {self.detector}"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a person said of an alarm last; `number` counts what was said of it, from 1."""

    judgement: str
    by: str
    at: str
    why: str
    number: int


@dataclass(frozen=True, slots=True)
class Followed:
    """What an alarm led to: the policy's decision and, where that was a run, what became of it."""

    decision: str  # run | suggest | refuse
    reason: str
    run: str | None
    status: str  # of the run; "" without one
    version: int | None  # that the run registered
    promoted: bool
    gate: str  # its answer; "" when it was not asked
    short: str  # what came of it, for a table
    words: str


@dataclass(frozen=True, slots=True)
class Found:
    """A stored verdict. `left` values of its event came after it, and the next event begins after `chunk`."""

    alarm: Alarm
    watch: str
    chunk: int
    left: int
    followed: Followed | None
    judged: Judged | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that happened to watches, or that somebody did with the incident of an alarm of theirs (`handled`).

    `at` never runs backwards; (`at`, `order`) sorts.

    A start that stopped all other watches of its model has `ends`: where the model's streams ended then, by metric, as
    far as it was stored.
    """

    at: str
    order: float
    kind: Kind
    watches: tuple[str, ...]
    verdict: str = ""
    words: str = ""
    ends: Mapping[str, int] | None = None
    handled: handling.Handled | None = None


def read_streams(connection: Connection) -> dict[str, Stream]:
    """Return every watch there ever was, by its id."""
    c = watch.c
    rows = connection.execute(
        select(
            c.id, c.model_id, model.c.name, c.version_number, c.metric, c.detector, c.settings, c.reference, c.position,
        ).join(model, model.c.id == c.model_id).order_by(c.id)
    )  # fmt: skip
    return {
        row.id: Stream(
            row.id, row.model_id, row.name, row.version_number, row.metric, row.detector,
            _arl(row.detector, loads(row.settings)), loads(row.reference), row.position,
        )
        for row in rows
    }  # fmt: skip


def _arl(name: str, settings: dict[str, Any]) -> float | None:
    arl = getattr(make_detector(name, **settings), "arl", None)
    return None if arl is None else float(arl)


def read_verdicts(connection: Connection) -> dict[str, Found]:
    """Return every alarm and warning, by its id, with what followed and what was said of it."""
    judged = read_judgements(connection)
    v, t, chunk = verdict.c, retrain_trigger.c, metric_chunk.c
    rows = connection.execute(
        select(
            verdict, chunk.first_position, (chunk.first_position + chunk["count"] - 1 - v.position).label("left"),
            t.decision, t.reason, run.c.id.label("run"), run.c.status, run.c.outcome, run.c.failure, run.c.waiting_for,
            gate_report.c.answer, model.c.name,
        )
        .join(model, model.c.id == v.model_id)
        .join(metric_chunk, chunk.id == v.chunk_id)
        .outerjoin(retrain_trigger, t.verdict_id == v.id)
        .outerjoin(run, run.c.trigger_id == t.id)
        .outerjoin(gate_report, gate_report.c.run_id == run.c.id)
    )  # fmt: skip
    return {
        row.id: Found(
            stored_alarm(row, row.name), row.watch_id, row.first_position, row.left, _followed(row), judged.get(row.id),
        )
        for row in rows
    }  # fmt: skip


def _followed(row: Any) -> Followed | None:
    if row.decision is None:
        return None
    outcome = {} if row.outcome is None else loads(row.outcome)
    version, promoted = outcome.get("version"), bool(outcome.get("promoted", False))
    if row.run is None:
        what = {"suggest": "suggested a run", "refuse": "no run"}.get(row.decision, row.decision)
        cause = "one is at work" if row.reason.endswith(AT_WORK) else row.reason.partition(": ")[0]
        short, words = f"{what}: {cause}", f"{what}: {row.reason}"
    elif promoted:
        short = f"promoted {row.name}:{version}"
        words = f"run {row.run} {short}"
    elif row.status == "done":
        reason = outcome.get("reason", "it said no reason")
        short = f"promoted nothing, gate: {row.answer}" if row.answer else "promoted nothing"
        words = f"run {row.run} promoted nothing: {reason}"
    elif row.status == "waiting":
        short = f"waits for {row.waiting_for}"
        words = f"run {row.run} {short}"
    else:
        short, words = f"run {row.status}", f"run {row.run} is {row.status}" + (f": {row.failure}" * bool(row.failure))
    return Followed(
        row.decision, row.reason, row.run, row.status or "", version, promoted, row.answer or "", short, words
    )


def read_judgements(connection: Connection) -> dict[str, Judged]:
    """Return what was said last of each alarm that somebody judged."""
    c = alarm_judgement.c
    rows = connection.execute(select(alarm_judgement).order_by(c.verdict_id, c.number))
    return {row.verdict_id: Judged(row.judgement, row.judged_by, row.judged_at, row.why, row.number) for row in rows}


@dataclass(frozen=True, slots=True)
class History:
    """All there is to know, read once: watches and verdicts by id, what happened to them, and what people did."""

    streams: dict[str, Stream]
    verdicts: dict[str, Found]
    turns: list[Turn]
    handled: list[Turn]

    @classmethod
    def read(cls, connection: Connection) -> "History":
        """Return the history of a project."""
        streams, verdicts = read_streams(connection), read_verdicts(connection)
        turns = story(connection, streams, verdicts)
        done = [one for one in turns if one.kind == "handled"]
        return cls(streams, verdicts, [one for one in turns if one.kind != "handled"], done)


# -- the order of things -----------------------------------------------------------------------------------------------


def story(connection: Connection, streams: Mapping[str, Stream], verdicts: Mapping[str, Found]) -> list[Turn]:
    """Return what happened to the watches, and what was done with their incidents, in the order of the audit log.

    A start or a resumption of watches of a model stops its others, and so does a move of `champion` to another version.
    """
    turns: list[Turn] = []
    active: dict[str, list[str]] = {}  # by model id
    latest, began = "", (0, "")
    for event in _events(connection):
        latest = max(latest, to_text(event.at))
        if event.kind in handling.KINDS:
            alarm, done = handling.read(event)
            if alarm in verdicts:
                turns.append(Turn(latest, event.seq, "handled", (verdicts[alarm].watch,), alarm, handled=done))
            continue
        if event.kind.startswith("verdict."):
            found = verdicts.get(event.covers[0].key[0]) if event.covers else None
            if found is None:
                continue
            at_work = active.setdefault(streams[found.watch].model_id, [])
            if found.watch not in at_work:  # `champion` moved to a version that nobody could watch
                at_work.append(found.watch)
                turns.append(Turn(latest, event.seq, "start", (found.watch,)))
            kind: Kind = "alarm" if found.alarm.level == "alarm" else "warning"
            turns.append(Turn(latest, event.seq, kind, (found.watch,), found.alarm.id))
            continue
        if event.kind == "watch.missing":
            turns += _missing(event, latest, active, streams)
            continue
        started, ends = _started(event, streams), None
        if event.kind in _MOVES:
            model_id, keep = event.after["alias"]["model_id"], event.after["alias"]["number"]
            stays = [one for one in active.get(model_id, ()) if streams[one].version == keep]
            words = f"{event.subject} moved to version {keep}"
        elif not started:
            continue
        else:
            first, model_id = streams[started[0]], streams[started[0]].model_id
            together = event.kind == "watch.started" and began == (event.seq - 1, model_id)
            stays = active.get(model_id, []) if together else []
            ends = None if together else event.after.get("ends", {})
            words = f"{first.model}:{first.version} is watched from then on"
            began = (event.seq, model_id)
        stopped = tuple(one for one in active.get(model_id, ()) if one not in (*stays, *started))
        if stopped:
            turns.append(Turn(latest, event.seq, "stop", stopped, words=words))
        if started:
            turns.append(Turn(latest, event.seq, "start", tuple(started), ends=ends))
        active[model_id] = [*stays, *started]
    return turns


def _missing(
    event: audit.AuditEvent, at: str, active: dict[str, list[str]], streams: Mapping[str, Stream]
) -> list[Turn]:
    """Return that a champion which nobody can watch stopped watches, and where their streams ended then."""
    stopped = tuple(one for one in (event.after or {}).get("stopped", ()) if one in streams)
    if not stopped:
        return []
    active[streams[stopped[0]].model_id] = []
    words = f"nobody can watch {event.subject}"
    return [Turn(at, event.seq, "stop", stopped, words=words, ends=event.after["ends"])]


def _started(event: audit.AuditEvent, streams: Mapping[str, Stream]) -> list[str]:
    """Return the watches that an event started or took up again."""
    if event.kind == "watch.resumed":
        ids = event.after["watches"]
    else:
        ids = [one.key[0] for one in event.covers if one.table == "watch"]
    return [one for one in ids if one in streams]


def _events(connection: Connection) -> list[audit.AuditEvent]:
    found: list[audit.AuditEvent] = []
    for kind in _KINDS:
        page = audit.events(connection, kind=kind, limit=_PAGE)
        found += page
        while len(page) == _PAGE:
            page = audit.events(connection, kind=kind, after=page[-1].seq, limit=_PAGE)
            found += page
    return sorted(found, key=lambda event: event.seq)


def quiet_turns(connection: Connection, history: History, quiet: int) -> list[Turn]:
    """Return when each watch had had `quiet` values without a verdict, after each verdict that was followed by them."""
    streams, verdicts = history.streams, history.verdicts
    found, ends = [], _ends(history.turns, streams)
    for before, after in _gaps(history.turns):
        last = verdicts[before.verdict]
        next_one = None if after is None or not after.verdict else verdicts[after.verdict]
        if next_one is not None and next_one.alarm.position - last.alarm.position <= quiet:
            continue
        end = ends.get(last.alarm.id) if next_one is None else next_one.alarm.position
        at = _quiet_at(connection, streams[last.watch], last, end, quiet)
        if at is None or (after is not None and not next_one and at > after.at):
            continue
        when = max(at, before.at) if after is None else min(max(at, before.at), after.at)
        found.append(Turn(when, before.order + 0.5, "quiet", (last.watch,)))
    return found


def _ends(turns: Sequence[Turn], streams: Mapping[str, Stream]) -> dict[str, int]:
    """Return where the stream of each verdict ended when its model's watches were started next, where that is known."""
    found: dict[str, int] = {}
    later: dict[str, Mapping[str, int]] = {}  # by model id
    for turn in reversed(turns):
        of = streams[turn.watches[0]]
        if turn.ends is not None:
            later[of.model_id] = turn.ends
        elif turn.verdict and of.metric in later.get(of.model_id, {}):
            found[turn.verdict] = later[of.model_id][of.metric]
    return found


def _gaps(turns: Sequence[Turn]) -> Iterator[tuple[Turn, Turn | None]]:
    """Give each verdict with what happened to its watch next: another verdict, a stop, or nothing."""
    last: dict[str, Turn] = {}
    for turn in turns:
        for one in turn.watches:
            if one in last:
                yield last.pop(one), turn
            if turn.verdict:
                last[one] = turn
    yield from ((turn, None) for turn in last.values())


def _quiet_at(connection: Connection, stream: Stream, last: Found, end: int | None, quiet: int) -> str | None:
    """Return when the `quiet`-th value after a verdict came, if it came before the position `end`."""
    count = last.left if end is None else min(last.left, end - last.alarm.position - 1)
    if count >= quiet:
        return last.alarm.at
    for row in values_after(connection, stream, last.chunk):
        if end is not None and row.first_position >= end:
            return None
        count += row.n if end is None else min(row.n, end - row.first_position)
        if count >= quiet:
            return str(row.received_at)
    return None


def values_after(connection: Connection, stream: Stream, position: int) -> Iterator[Any]:
    """Give the events of a watch's version and metric that begin after a position: first_position, n, received_at."""
    key = {"model": stream.model_id, "metric": stream.metric, "version": stream.version}
    with connection.execute(_AFTER, {**key, "position": position}) as rows:
        yield from rows


_AFTER = (
    select(
        metric_chunk.c.first_position,
        metric_chunk.c["count"].label("n"),
        metric_chunk.c.received_at,
    )
    .where(
        metric_chunk.c.model_id == bindparam("model"),
        metric_chunk.c.metric == bindparam("metric"),
        metric_chunk.c.version_number == bindparam("version"),
        metric_chunk.c.first_position > bindparam("position"),
    )
    .order_by(metric_chunk.c.first_position)
)
