"""Stored alarms as incidents: what happened to the watches is replayed, in order, into a `monitor.AlertList`.

A pure function of stored rows: every process that replays the same rows gets the same incidents with the same numbers,
and rows that are added later change neither the numbers nor the alarms of what is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np

from visutility.core.codec import to_time
from visutility.loop.alarm_rows import Followed, Found, Judged, Stream, Turn
from visutility.monitor import AlertList, AlertRules, Changes, Incident

QUIET: Final = 1000  # values without a verdict after which a watch is quiet
RULES: Final = AlertRules(close_below=0.5, quiet=QUIET, most=1_000_000)
_KEYS = ("model", "metric", "detector", "version")


@final
@dataclass(frozen=True, slots=True)
class StoredAlarm:
    """One alarm, as it is stored, with what it led to and what was said of it."""

    id: str
    model: str
    version: int
    metric: str
    detector: str
    position: int
    at: str
    score: float
    limit: float
    evidence: dict[str, float]
    promise: str
    followed: Followed | None
    judged: Judged | None

    @property
    def followed_by(self) -> str:
        """Say what it led to."""
        return "nothing yet: it waits for more values" if self.followed is None else self.followed.words

    @property
    def words(self) -> str:
        """Say why it was raised."""
        known = self.evidence
        now = next((known[name] for name in ("mean_since", "window_mean", "mean") if name in known), None)
        before = next(
            (known[name] for name in ("mean_before", "reference_mean", "baseline_mean") if name in known), None
        )
        text = f"evidence {self.score:.3g}, limit {self.limit:.3g}"
        if now is None or before is None:
            return text
        since, last = known.get("since"), known.get("position")
        over = "" if since is None or last is None else f" over the last {last - since + 1:.0f} values"
        return f"{self.metric} {now:.3g} on average{over}, {before:.3g} before; {text}"


@final
@dataclass(frozen=True, slots=True)
class AlarmIncident:
    """Alarms that are one thing to look at. `closed` is "" while it is open; `into` is the incident that took it in."""

    id: int
    what: str
    streams: tuple[str, ...]
    models: tuple[str, ...]
    opened: str
    last_alarm: str
    closed: str
    ended: str  # why it closed, in words
    peak: float  # the largest evidence, in limits
    alarms: tuple[StoredAlarm, ...]  # in order

    @property
    def followed(self) -> StoredAlarm:
        """Return the alarm that says most about what followed: its newest run, else suggestion, wait or refusal."""
        return max(enumerate(self.alarms), key=lambda one: (_telling(one[1].followed), one[0]))[1]

    @property
    def judged(self) -> str:
        """Say what people said of its alarms: "true", "false", or both; "" while they said nothing."""
        said = [one.judged.judgement for one in self.alarms if one.judged is not None]
        if not said:
            return ""
        if len(said) == len(self.alarms) and len(set(said)) == 1:
            return said[0]
        return ", ".join(f"{said.count(one)} of {len(self.alarms)} {one}" for one in ("true", "false") if one in said)


def _telling(followed: Followed | None) -> int:
    if followed is None:
        return 2
    return 4 if followed.run is not None else 3 if followed.decision == "suggest" else 1


@final
@dataclass(frozen=True, slots=True)
class Incidents:
    """All incidents of a project, those that wait for somebody first, closed ones last and newest first.

    `merged` maps the number of an incident that became part of another one to that one's.
    """

    found: tuple[AlarmIncident, ...]
    merged: Mapping[int, int]


def replay(turns: Sequence[Turn], streams: Mapping[str, Stream], verdicts: Mapping[str, Found]) -> Incidents:
    """Return the incidents of these turns, in the order of their times. Everything else says who is who."""
    at_work = _Replay(streams, verdicts)
    for turn in sorted(turns, key=lambda one: (one.at, one.order)):
        at_work.take(turn)
    return at_work.result()


@dataclass(slots=True)
class _Past:
    """What an incident was in while it was open: streams that alarmed, alarms, in order."""

    streams: dict[str, None] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    last: Incident | None = None
    closed: str = ""
    ended: str = ""


class _Replay:
    def __init__(self, streams: Mapping[str, Stream], verdicts: Mapping[str, Found]) -> None:
        self._streams = streams
        self._verdicts = verdicts
        self._rows: list[str] = []  # watches, in the rows of the list
        self._list: AlertList | None = None
        self._past: dict[int, _Past] = {}
        self._merged: dict[int, int] = {}
        self._stopped: set[str] = set()

    def take(self, turn: Turn) -> None:
        """Take what happened next."""
        if turn.kind == "start":
            self._start(turn)
        elif turn.kind == "stop":
            self._stopped.update(turn.watches)
            rows = [at for at, one in enumerate(self._rows) if one in turn.watches]
            self._note(self._alerts.retire(rows), turn, turn.words)
        else:
            self._update(turn)

    def result(self) -> Incidents:
        open_ids = []
        if self._list is not None:
            for one in self._list.incidents:
                if all(self._verdicts[alarm].judged for alarm in self._past[one.id].alarms):
                    self._list.acknowledge(one.id, "a person")
            for one in self._list.ranked().shown:
                open_ids.append(one.id)
                self._past[one.id].last = one
        closed = [at for at in self._past if at not in open_ids and at not in self._merged]
        closed.sort(key=lambda at: (self._past[at].closed, at), reverse=True)
        return Incidents(tuple(self._incident(at) for at in [*open_ids, *closed]), dict(self._merged))

    @property
    def _alerts(self) -> AlertList:
        if self._list is None:
            raise RuntimeError("a verdict of a watch that nobody started")
        return self._list

    def _start(self, turn: Turn) -> None:
        """Have these watches, and those that go on, in the list; those that were stopped go."""
        self._stopped.difference_update(turn.watches)
        rows = [one for one in self._rows if one not in self._stopped and one not in turn.watches] + list(turn.watches)
        keys = {name: np.array([str(getattr(self._streams[one], name)) for one in rows]) for name in _KEYS}
        if self._list is None:
            self._list = AlertList(keys, RULES)
        else:
            was = {one: at for at, one in enumerate(self._rows)}
            self._list = self._list.moved(keys, [was.get(one, -1) for one in rows])
        self._rows = rows

    def _update(self, turn: Turn) -> None:
        (stream,) = turn.watches
        at, size = self._rows.index(stream), len(self._rows)
        raised, score, values = np.zeros(size, np.bool_), np.zeros(size), np.zeros(size, np.int64)
        if turn.kind == "quiet":
            values[at] = QUIET
        else:
            raised[at], score[at] = turn.kind == "alarm", _ratio(self._verdicts[turn.verdict])
        changes = self._alerts.update(to_time(turn.at), raised, score, values)
        if turn.kind == "alarm":
            held = next(one.id for one in self._alerts.incidents if at in one.rows)
            past = self._past.setdefault(held, _Past())
            past.streams[stream] = None
            past.alarms.append(turn.verdict)
        self._note(changes, turn, f"{QUIET:,} values without an alarm")

    def _note(self, changes: Changes, turn: Turn, words: str) -> None:
        for ended, into in changes.merged:
            self._merged[ended] = into
            was, now = self._past[ended], self._past.setdefault(into, _Past())
            now.streams = {**was.streams, **now.streams}
            now.alarms = sorted({*was.alarms, *now.alarms}, key=self._order)
        for one in changes.closed:
            past = self._past[one.id]
            past.last, past.closed, past.ended = one, turn.at, words

    def _order(self, verdict: str) -> tuple[str, str]:
        return self._verdicts[verdict].at, verdict

    def _incident(self, at: int) -> AlarmIncident:
        past = self._past[at]
        if past.last is None:
            raise RuntimeError(f"incident {at} was never open")
        streams = [self._streams[one] for one in past.streams]
        alarms = [self._verdicts[one] for one in past.alarms]
        return AlarmIncident(
            at,
            _what(past.last, streams),
            tuple(one.name for one in streams),
            tuple(sorted({one.model for one in streams})),
            alarms[0].at,
            alarms[-1].at,
            past.closed,
            past.ended,
            max(_ratio(one) for one in alarms),
            tuple(_stored(one, self._streams[one.watch]) for one in alarms),
        )


def _ratio(found: Found) -> float:
    """Return the evidence in limits; 1 where a limit is no scale, or for what has just begun to rise."""
    if found.level != "alarm" or not found.limit > 0.0:
        return 1.0
    return max(found.score / found.limit, 1.0)


def _what(last: Incident, streams: Sequence[Stream]) -> str:
    """Say in a few words what is the matter: one watch, or what several have in common."""
    if len(streams) == 1:
        return streams[0].name
    common = {name: getattr(streams[0], name) for name in _KEYS if len({getattr(s, name) for s in streams}) == 1}
    words = []
    if "model" in common:
        words.append(f"{common['model']}:{common['version']}" if "version" in common else str(common["model"]))
    words += [str(common["metric"])] if "metric" in common else []
    words += [f"by {common['detector']}"] if "detector" in common else []
    return f"{' '.join(words) or 'several models'}: {len(streams)} of {max(last.size, len(streams))} watches"


def _stored(found: Found, stream: Stream) -> StoredAlarm:
    return StoredAlarm(
        found.id,
        stream.model,
        stream.version,
        stream.metric,
        stream.detector,
        found.position,
        found.at,
        found.score,
        found.limit,
        found.evidence,
        found.promise,
        found.followed,
        found.judged,
    )
