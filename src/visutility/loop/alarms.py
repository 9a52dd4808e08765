"""A project's alarms for people: incidents, what somebody said of them, and the false-alarm rate measured by that.

Incidents are made anew from the stored rows each time (`loop.incidents`); a judgement is a row and an audit event.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, final

import numpy as np
from sqlalchemy import Connection, insert, select

from visutility.core.codec import loads
from visutility.core.errors import Invalid, NotFound, VisuTilityError
from visutility.loop.alarm_rows import (
    Found,
    Stream,
    Turn,
    quiet_turns,
    read_judgements,
    read_streams,
    read_verdicts,
    story,
    values_after,
)
from visutility.loop.incidents import QUIET, AlarmIncident, Incidents, StoredAlarm, replay
from visutility.loop.work import of_rows
from visutility.monitor import OwnRate, RateReport
from visutility.monitor.stats import mean_upper
from visutility.store import audit
from visutility.store.blobs import Blobs
from visutility.store.engine import Store, Tx
from visutility.store.schema import alarm_judgement, gate_report, model_version

Judgements = Literal["true", "false"]
CONFIRM_LEVEL: Final = 0.01  # the chance that a champion which is no worse than it was is called worse
_COVERS = 500  # rows that one audit event covers at most


@final
@dataclass(frozen=True, slots=True)
class PromisedRate:
    """One promise, what was measured of it, and on what.

    `repeated` alarms came with or after a true one, of a stream that had changed: they are not counted. `confirmed`
    alarms count as true because of what the gate measured; people said nothing of them.
    """

    detector: str
    arl: float
    watches: int
    repeated: int
    confirmed: int
    report: RateReport

    def to_json(self) -> dict[str, Any]:
        """Return plain data; what is not finite is None."""
        plain = asdict(self)
        report = plain.pop("report")
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in report.items()}
        return {**plain, **finite, "summary": self.report.summary}


@final
@dataclass(frozen=True, slots=True)
class Judgement:
    """What `judge` did: which alarms it was about, and of how many it changed what is said."""

    judgement: str
    alarms: tuple[str, ...]
    changed: int


@final
class Alarms:
    """The alarms of a project; `Project.alarms` is one."""

    def __init__(self, store: Store, blobs: Blobs, actor: str) -> None:
        self._store = store
        self._blobs = blobs
        self._actor = actor

    def incidents(self, model: str | None = None) -> tuple[AlarmIncident, ...]:
        """Return every incident, or those of a model: what waits for somebody first, closed ones last."""
        with self._store.read() as connection:
            found = _History.read(connection).incidents(connection).found
        return tuple(one for one in found if model is None or model == one.model)

    def incident(self, which: int | str) -> AlarmIncident:
        """Return an incident by its number, or by the id of one of its alarms. Raises `NotFound` and `Invalid`."""
        with self._store.read() as connection:
            return _find(_History.read(connection).incidents(connection), which)

    def judge(self, which: int | str, judgement: str, *, why: str, by: str | None = None) -> Judgement:
        """Say that the alarms of an incident (its number), or one alarm (its id), were "true" or "false".

        The last word counts; the words before stay in the audit log. Saying the same again changes nothing.
        Raises `NotFound`, and `Invalid` for another judgement or one without a reason.
        """
        if judgement not in ("true", "false"):
            raise Invalid(f"the judgement is {judgement!r}", hint="say true or false")
        if not isinstance(why, str) or not why.strip():
            what = "blank" if isinstance(why, str) else "no text"
            raise Invalid(f"the reason {why!r} is {what}", hint="say what was found: it goes into the audit log")
        if by is not None and not (isinstance(by, str) and by.strip()):
            raise Invalid(f"by is {by!r}", hint="say who judged, or leave it out")
        found = self.incident(which)  # before writers have to wait
        about = [one for one in found.alarms if _number(which) is not None or one.id == which]
        with self._store.write("alarms.judge") as tx:
            changed = _judge(tx, about, judgement, by=self._actor if by is None else by, why=why)
        return Judgement(judgement, tuple(one.id for one in about), changed)

    def rates(self) -> list[PromisedRate]:
        """Return the false-alarm rate of each promise, measured by what was said of the alarms.

        Watches of one detector with one `arl` share a promise; those that promise no rate are left out.
        """
        with self._store.read() as connection:
            history = _History.read(connection)
            confirmed = _confirmed(connection, self._blobs, history)
            promises: dict[tuple[str, float], list[Stream]] = {}
            for one in history.streams.values():
                if one.arl is not None:
                    promises.setdefault((one.detector, one.arl), []).append(one)
            counted = _counted(connection, history, confirmed)
            return [_rate(*of, promises[of], counted) for of in sorted(promises)]


@dataclass(frozen=True, slots=True)
class _History:
    """All there is to know, read once."""

    streams: dict[str, Stream]
    verdicts: dict[str, Found]
    turns: list[Turn]

    @classmethod
    def read(cls, connection: Connection) -> "_History":
        streams, verdicts = read_streams(connection), read_verdicts(connection)
        return cls(streams, verdicts, story(connection, streams, verdicts))

    def incidents(self, connection: Connection) -> Incidents:
        quiet = quiet_turns(connection, self.turns, self.streams, self.verdicts, QUIET)
        return replay([*self.turns, *quiet], self.streams, self.verdicts)


def _number(which: int | str) -> int | None:
    if isinstance(which, bool) or not isinstance(which, (int, str)):
        raise Invalid(f"{which!r} is no incident and no alarm", hint="give an incident's number or an alarm's id")
    if isinstance(which, int):
        return which
    return int(which) if which.isascii() and which.isdigit() and len(which) < 20 else None


def _find(incidents: Incidents, which: int | str) -> AlarmIncident:
    number = _number(which)
    for one in incidents.found:
        if one.id == number or any(alarm.id == which for alarm in one.alarms):
            return one
    if number is not None and number in incidents.merged:
        into = incidents.merged[number]
        while into in incidents.merged:
            into = incidents.merged[into]
        raise NotFound(f"incident {number} became part of incident {into}", hint=f"look at {into} instead")
    raise NotFound(
        f"there is no incident or alarm {which!r}", hint="`visutility alarms list --all` lists all incidents"
    )


# -- judgements --------------------------------------------------------------------------------------------------------


def _judge(tx: Tx, alarms: Sequence[StoredAlarm], judgement: str, *, by: str, why: str) -> int:
    """Write what is said of each alarm of which something else, or nothing, was said. Returns of how many."""
    said = read_judgements(tx.connection)
    news = [one for one in alarms if one.id not in said or said[one.id].judgement != judgement]
    for subject in sorted({f"{one.model}/{one.metric}" for one in news}):
        of = [one.id for one in news if f"{one.model}/{one.metric}" == subject]
        for first in range(0, len(of), _COVERS):
            ids = of[first : first + _COVERS]
            numbers = {one: said[one].number + 1 if one in said else 1 for one in ids}
            rows = [
                {"verdict_id": one, "number": numbers[one], "judgement": judgement, "judged_at": tx.now(),
                 "judged_by": by, "why": why}
                for one in ids
            ]  # fmt: skip
            tx.execute(insert(alarm_judgement), rows)
            audit.append(
                tx,
                "alarm.judged",
                subject,
                by=by,
                why=why,
                before={one: said[one].judgement for one in ids if one in said},
                after={"judgement": judgement, "alarms": ids},
                covers=[("alarm_judgement", (one, numbers[one])) for one in ids],
            )
    return len(news)


# -- the measured rate -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Own:
    """What counts of one watch: alarms, each with what is said of it, and how much is left out."""

    alarms: list[tuple[str, Judgements | None]] = field(default_factory=list)
    excused: int = 0
    repeated: int = 0
    confirmed: int = 0


def _rate(detector: str, arl: float, watches: Sequence[Stream], counted: Mapping[str, _Own]) -> PromisedRate:
    rate, own = OwnRate(arl), [counted[one.id] for one in watches]
    rate.watched(sum(one.seen for one in watches))  # all first: an alarm is never taken for earlier than it was
    for stream, one in zip(watches, own, strict=True):
        for alarm, said in one.alarms:
            rate.alarm(alarm, stream.id)
            if said is not None:
                rate.judge(alarm, said)
        rate.excuse(min(one.excused, stream.seen))
    repeated, confirmed = sum(one.repeated for one in own), sum(one.confirmed for one in own)
    return PromisedRate(detector, arl, len(watches), repeated, confirmed, rate.report())


def _counted(connection: Connection, history: _History, confirmed: set[str]) -> dict[str, _Own]:
    """Return what counts of each watch."""
    own = {one: _Own() for one in history.streams}
    for stretch in (one for of in _stretches(history).values() for one in of):
        streams: dict[tuple[int, str], list[Found]] = {}
        for found in (history.verdicts[one] for one in stretch.alarms):
            of = history.streams[found.watch]
            streams.setdefault((of.version, of.metric), []).append(found)
        for (version, metric), alarms in streams.items():
            true = _count(alarms, own, confirmed)
            if true is None:
                continue
            values = _values_since(connection, history.streams[true.watch], true, stretch)
            for watch in (history.streams[one] for one in stretch.watches):
                own[watch.id].excused += values * ((watch.version, watch.metric) == (version, metric))
    return own


def _count(alarms: Sequence[Found], own: Mapping[str, _Own], confirmed: set[str]) -> Found | None:
    """Count the alarms of one stream in one stretch, each for its watch. Returns the first true one.

    From that one on the stream has changed, for every watch of it. Only what somebody called false counts from then
    on, and of each watch the first alarm that is said to be true.
    """
    said = {one.alarm.id: _said(one, confirmed) for one in alarms}
    true = min(
        (one for one in alarms if said[one.alarm.id] == "true"), key=lambda one: one.alarm.position, default=None
    )
    right = set()
    for one in alarms:
        word, of = said[one.alarm.id], own[one.watch]
        if true is not None and one.alarm.position >= true.alarm.position and word != "false":
            if word is None or one.watch in right:
                of.repeated += 1
                continue
            right.add(one.watch)
            of.confirmed += one.judged is None
        of.alarms.append((one.alarm.id, word))
    return true


def _said(found: Found, confirmed: set[str]) -> Judgements | None:
    if found.judged is not None:
        return "true" if found.judged.judgement == "true" else "false"
    return "true" if found.alarm.id in confirmed else None


@dataclass(slots=True)
class _Stretch:
    """A time in which the same watches of a model were at work. `end` is where its streams ended, by metric.

    `sure` names the metrics of which that was stored; for others it is what later stretches say: not after that.
    `stopped` is "" while it lasts.
    """

    watches: set[str] = field(default_factory=set)
    alarms: list[str] = field(default_factory=list)
    end: dict[str, int] = field(default_factory=dict)
    sure: frozenset[str] = frozenset()
    stopped: str = ""


def _stretches(history: _History) -> dict[str, list[_Stretch]]:
    """Return the stretches of each model, in order."""
    found: dict[str, list[_Stretch]] = {one.model_id: [] for one in history.streams.values()}
    for turn in history.turns:
        of = found[history.streams[turn.watches[0]].model_id]
        if turn.ends is not None:
            if of:
                of[-1].stopped, of[-1].end, of[-1].sure = turn.at, dict(turn.ends), frozenset(turn.ends)
            of.append(_Stretch())
        if turn.kind == "start":
            of[-1].watches.update(turn.watches)
        elif turn.kind == "alarm":
            of[-1].alarms.append(turn.verdict)
    for of in found.values():
        later: dict[str, int] = {}
        for stretch in reversed(of):
            stretch.end = {**later, **stretch.end}
            later = dict(stretch.end)
            for alarm in (history.verdicts[one] for one in reversed(stretch.alarms)):
                later[history.streams[alarm.watch].metric] = alarm.chunk
    return found


def _values_since(connection: Connection, stream: Stream, found: Found, stretch: _Stretch) -> int:
    """Return how many values a watch had after an alarm, until it was stopped."""
    count, end = found.left, stretch.end.get(stream.metric, math.inf)
    by_time = stretch.stopped and stream.metric not in stretch.sure
    for row in values_after(connection, stream, found.chunk):
        if row.first_position < end and not (by_time and row.received_at > stretch.stopped):
            count += int(row.n)
    return count


def _confirmed(connection: Connection, blobs: Blobs, history: _History) -> set[str]:
    """Return the alarms whose retrain run passed the gate, and measured that the version that alarmed had become
    worse: another one may have been made champion before the run began.
    """
    sure = set()
    for found in history.verdicts.values():
        after = found.followed
        if after is None or after.run is None or after.gate != "pass":
            continue
        stream = history.streams[found.watch]
        seen = _measured(connection, blobs, after.run, stream.version)
        if seen is None:
            continue
        fresh, old = (of_rows(part, stream.metric) for part in seen)
        if became_worse(fresh, old, stream.reference):
            sure.add(found.alarm.id)
    return sure


def _measured(
    connection: Connection, blobs: Blobs, run_id: str, version: int
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return what a run's gate measured of the champion on fresh rows and on old ones.

    None where the champion was another version, and where that cannot be read.
    """
    measured = (
        select(gate_report.c.evidence)
        .join(model_version, model_version.c.id == gate_report.c.champion_id)
        .where(gate_report.c.run_id == run_id, model_version.c.number == version)
    )
    evidence = connection.execute(measured).scalar()
    try:
        seen = loads(blobs.get(loads(evidence)["measured"])) if evidence else {}
    except (VisuTilityError, KeyError):
        return None
    return (seen["gate.champion"], seen["old.champion"]) if {"gate.champion", "old.champion"} <= set(seen) else None


def became_worse(fresh: Sequence[float], old: Sequence[float], reference: Mapping[str, Any]) -> bool:
    """Return whether a metric is larger on fresh rows than it was, beyond doubt: than on old rows, and than its
    watch's reference window.

    Bounds on the means are compared, each wrong with a chance of at most half of `CONFIRM_LEVEL`: those of
    `mean_upper` err with up to twice their `delta` where values strictly between 0 and 1 are rare. Of the reference
    window only size and mean are stored: its bound is Hoeffding's (1963, theorem 1), for any values in [0, 1].
    """
    now, then = np.asarray(fresh, np.float64), np.asarray(old, np.float64)
    rows, mean = int(reference.get("rows", 0)), float(reference.get("mean", 1.0))
    if not len(now) or not len(then) or not rows:
        return False
    if not all(bool(((one >= 0.0) & (one <= 1.0)).all()) for one in (now, then)) or not 0.0 <= mean <= 1.0:
        return False
    low = 1.0 - mean_upper(1.0 - now, CONFIRM_LEVEL / 4.0)
    return low > max(mean_upper(then, CONFIRM_LEVEL / 4.0), _hoeffding_upper(mean, rows, CONFIRM_LEVEL / 2.0))


def _hoeffding_upper(mean: float, rows: int, delta: float) -> float:
    """Return the bound u above `mean` at which rows * KL(mean, u) = log(1 / delta), by bisection."""
    wanted, low, high = math.log(1.0 / delta) / rows, mean, 1.0
    for _ in range(60):
        u = (low + high) / 2.0
        gap = (mean * math.log(mean / u) if mean > 0.0 else 0.0) + (
            (1.0 - mean) * math.log((1.0 - mean) / (1.0 - u)) if mean < 1.0 and u < 1.0 else 0.0
        )
        low, high = (u, high) if gap < wanted else (low, u)
    return high
