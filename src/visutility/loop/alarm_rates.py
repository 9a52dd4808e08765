"""How often the monitor of a project is wrong: the false-alarm rate it promised beside the one that was measured.

Measured by what people said of the alarms and, where they said nothing, by what the gate's rows show beyond doubt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, final

import numpy as np
from sqlalchemy import Connection, select

from visutility.core.codec import loads
from visutility.core.errors import VisuTilityError
from visutility.loop.alarm_rows import Found, History, Stream, values_after
from visutility.loop.work import of_rows
from visutility.monitor import OwnRate, RateReport
from visutility.monitor.stats import mean_upper
from visutility.store.blobs import Blobs
from visutility.store.schema import gate_report, model_version

Judgements = Literal["true", "false"]
CONFIRM_LEVEL: Final = 0.01  # the chance that a champion which is no worse than it was is called worse


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


def measured_rates(connection: Connection, blobs: Blobs, history: History) -> list[PromisedRate]:
    """Return the rate of each promise: watches of one detector with one `arl` share it; others promise none."""
    confirmed = _confirmed(connection, blobs, history)
    promises: dict[tuple[str, float], list[Stream]] = {}
    for one in history.streams.values():
        if one.arl is not None:
            promises.setdefault((one.detector, one.arl), []).append(one)
    counted = _counted(connection, history, confirmed)
    return [_rate(*of, promises[of], counted) for of in sorted(promises)]


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


def _counted(connection: Connection, history: History, confirmed: set[str]) -> dict[str, _Own]:
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


def _stretches(history: History) -> dict[str, list[_Stretch]]:
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


def _confirmed(connection: Connection, blobs: Blobs, history: History) -> set[str]:
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
