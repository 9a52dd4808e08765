"""Stored alarms as incidents: what happened to the watches is replayed, in order, into a `monitor.AlertList` a model.

A pure function of stored rows: every process that replays the same rows gets the same incidents with the same numbers,
and rows that are added later change neither the numbers nor the alarms of what is there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, final

import numpy as np
from sqlalchemy import Connection

from visutility.core.codec import to_time
from visutility.loop.alarm_rows import Followed, Found, History, Judged, Stream, Turn, quiet_turns
from visutility.loop.handling import Handled
from visutility.monitor import AlertList, AlertRules, Changes

QUIET: Final = 1000  # values without a verdict after which a watch is quiet
RULES: Final = AlertRules(close_below=0.5, quiet=QUIET)
_KEYS = ("model", "version", "metric", "detector")


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
    short: str  # what came of it, for a table
    outcome: str  # and in full

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
    """Alarms of one model that are one thing to look at. `closed` is "" while it is open.

    `acknowledged` and `snoozed` are None once it got news since; `snoozed` also when its time has come.
    """

    id: int
    model: str
    what: str
    streams: tuple[str, ...]
    opened: str
    last_alarm: str
    closed: str
    ended: str  # why it closed, in words
    peak: float  # the largest evidence, in limits
    alarms: tuple[StoredAlarm, ...]  # in order
    acknowledged: Handled | None = None
    snoozed: Handled | None = None

    @property
    def standing(self) -> Literal["open", "acknowledged", "snoozed", "closed"]:
        """Say whether somebody has to look at it now."""
        if self.closed:
            return "closed"
        if self.snoozed is not None:
            return "snoozed"
        return "open" if self.acknowledged is None else "acknowledged"

    @property
    def followed(self) -> StoredAlarm:
        """Return the alarm that says most about what followed: its newest run, else suggestion, wait or refusal."""
        return max(enumerate(self.alarms), key=lambda one: (_telling(one[1].followed), one[0]))[1]

    @property
    def judged(self) -> str:
        """Say what people said of its alarms: "true", "false", or both; "" while they said nothing."""
        said = {word: count for word, count in self.said.items() if count}
        if len(self.alarms) in said.values():
            return next(iter(said))
        return ", ".join(f"{count} of {len(self.alarms)} {word}" for word, count in said.items())

    @property
    def said(self) -> dict[str, int]:
        """Count what people said of its alarms: {"true": …, "false": …}."""
        words = [one.judged.judgement for one in self.alarms if one.judged is not None]
        return {word: words.count(word) for word in ("true", "false")}


def _telling(followed: Followed | None) -> int:
    if followed is None:
        return 2
    return 4 if followed.run is not None else 3 if followed.decision == "suggest" else 1


@final
@dataclass(frozen=True, slots=True)
class Incidents:
    """All incidents of a project: those that nobody looks after first, then acknowledged, snoozed and closed ones.

    `merged` maps the number of an incident that became part of another one to that one's.
    """

    found: tuple[AlarmIncident, ...]
    merged: Mapping[int, int]


def replay(connection: Connection, history: History, now: str) -> Incidents:
    """Return the incidents of a project as they are `now`, or when something happened last if that was later."""
    at_work = _Replay(history.streams, history.verdicts)
    turns = [*history.turns, *history.handled, *quiet_turns(connection, history, QUIET)]
    for turn in sorted(turns, key=lambda one: (one.at, one.order)):
        at_work.take(turn)
        now = max(now, turn.at)
    return at_work.result(now)


@dataclass(slots=True)
class _Past:
    """What an incident was in while it was open: watches that alarmed, and their alarms, in order."""

    id: int
    streams: dict[str, None] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    closed: str = ""
    ended: str = ""
    acknowledged: Handled | None = None
    snoozed: Handled | None = None

    def handle(self, done: Handled) -> None:
        """Take what somebody did; of what is closed nobody has to do anything."""
        if self.closed:
            return
        if done.way == "acknowledged":
            self.acknowledged = done
        elif done.way == "snoozed":
            self.snoozed = done
        else:
            self.news()

    def news(self) -> None:
        """Forget who looked after it: they have to look again."""
        self.acknowledged = self.snoozed = None


class _Replay:
    """The incidents of all models, numbered in the order in which they opened."""

    def __init__(self, streams: Mapping[str, Stream], verdicts: Mapping[str, Found]) -> None:
        self._streams = streams
        self._verdicts = verdicts
        self._models: dict[str, _Watches] = {}
        self._past: dict[tuple[str, int], _Past] = {}  # by model id and the number in the model's list
        self._numbered: list[_Past] = []
        self._merged: dict[int, int] = {}
        self._holds: dict[str, _Past] = {}  # by alarm: where it was counted at first
        self._stopped: set[str] = set()

    def take(self, turn: Turn) -> None:
        """Take what happened next."""
        if turn.handled is not None:
            if turn.verdict in self._holds:
                self._now(self._holds[turn.verdict]).handle(turn.handled)
            return
        model = self._streams[turn.watches[0]].model_id
        watches = self._models.setdefault(model, _Watches(self._streams))
        if turn.kind == "start":
            self._stopped.difference_update(turn.watches)
            watches.start(turn.watches, self._stopped)
        elif turn.kind == "stop":
            self._stopped.update(turn.watches)
            self._note(model, watches.stop(turn.watches), turn.at, turn.words)
        else:
            evidence = _ratio(self._verdicts[turn.verdict]) if turn.verdict else 0.0
            changes, held = watches.update(turn, evidence)
            if turn.kind == "alarm" and held is not None:
                past = self._holds[turn.verdict] = self._at(model, held)
                if turn.watches[0] not in past.streams:
                    past.news()
                past.streams[turn.watches[0]] = None
                past.alarms.append(turn.verdict)
            self._note(model, changes, turn.at, f"{QUIET:,} values without an alarm")

    def result(self, now: str) -> Incidents:
        """Return what there is at a time after all turns."""
        past = [one for one in self._past.values() if one.alarms and one.id not in self._merged]
        found = [self._incident(one, now) for one in past]
        waiting = [one for one in found if not one.closed]
        waiting.sort(key=_place)
        closed = sorted((one for one in found if one.closed), key=lambda one: (one.closed, one.id), reverse=True)
        return Incidents((*waiting, *closed), dict(self._merged))

    def _at(self, model: str, local: int) -> _Past:
        found = self._past.get((model, local))
        if found is None:
            found = self._past[model, local] = _Past(len(self._past) + 1)
            self._numbered.append(found)
        return found

    def _now(self, past: _Past) -> _Past:
        """Return what an incident became part of; itself if it did not."""
        while past.id in self._merged:
            past = self._numbered[self._merged[past.id] - 1]
        return past

    def _note(self, model: str, changes: Changes, at: str, words: str) -> None:
        for ended, into in changes.merged:
            was, now = self._at(model, ended), self._at(model, into)
            self._merged[was.id] = now.id
            now.streams = {**was.streams, **now.streams}
            now.alarms = sorted({*was.alarms, *now.alarms}, key=self._order)
            now.news()
        for one in changes.closed:
            past = self._at(model, one.id)
            past.closed, past.ended = at, words

    def _order(self, verdict: str) -> tuple[int, str]:
        return self._verdicts[verdict].alarm.position, verdict

    def _incident(self, past: _Past, now: str) -> AlarmIncident:
        streams = [self._streams[one] for one in past.streams]
        alarms = [self._verdicts[one] for one in past.alarms]
        return AlarmIncident(
            past.id,
            streams[0].model,
            _what(streams),
            tuple(dict.fromkeys(one.name for one in streams)),
            alarms[0].alarm.at,
            alarms[-1].alarm.at,
            past.closed,
            past.ended,
            max(_ratio(one) for one in alarms),
            tuple(_stored(one, self._streams[one.watch], one.watch in self._stopped) for one in alarms),
            past.acknowledged,
            past.snoozed if past.snoozed is not None and past.snoozed.until > now and not past.closed else None,
        )


class _Watches:
    """The alert list of one model: its watches that are at work."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._streams = streams
        self._rows: list[str] = []
        self._list: AlertList | None = None

    def start(self, watches: Sequence[str], stopped: Collection[str]) -> None:
        """Have these in the list, and those that go on."""
        rows = [one for one in self._rows if one not in stopped and one not in watches] + list(watches)
        keys = {name: np.array([str(getattr(self._streams[one], name)) for one in rows]) for name in _KEYS}
        if self._list is None:
            self._list = AlertList(keys, RULES)
        else:
            was = {one: at for at, one in enumerate(self._rows)}
            self._list = self._list.moved(keys, [was.get(one, -1) for one in rows])
        self._rows = rows

    def stop(self, watches: Sequence[str]) -> Changes:
        """Close these."""
        return self._alerts.retire([at for at, one in enumerate(self._rows) if one in watches])

    def update(self, turn: Turn, evidence: float) -> tuple[Changes, int | None]:
        """Take what one of them said, and return the number of the incident it is open in after that."""
        at, size = self._rows.index(turn.watches[0]), len(self._rows)
        raised, score, values = np.zeros(size, np.bool_), np.zeros(size), np.zeros(size, np.int64)
        raised[at], score[at], values[at] = turn.kind == "alarm", evidence, QUIET if turn.kind == "quiet" else 0
        changes = self._alerts.update(to_time(turn.at), raised, score, values)
        return changes, next((one.id for one in self._alerts.incidents if at in one.rows), None)

    @property
    def _alerts(self) -> AlertList:
        if self._list is None:
            raise RuntimeError("a turn of a watch that nobody started")
        return self._list


def _place(one: AlarmIncident) -> tuple[bool, bool, bool, float, int]:
    """Return where an open incident stands among others: what waits for somebody first."""
    judged = sum(one.said.values()) == len(one.alarms)
    return one.snoozed is not None, one.acknowledged is not None, judged, -one.peak, one.id


def _ratio(found: Found) -> float:
    """Return the evidence in limits; 1 where a limit is no scale, or for what has just begun to rise."""
    alarm = found.alarm
    if alarm.level != "alarm" or not alarm.limit > 0.0:
        return 1.0
    return max(alarm.score / alarm.limit, 1.0)


def _what(streams: Sequence[Stream]) -> str:
    """Say in a few words what is the matter: one watch, or what several have in common."""
    names = dict.fromkeys(one.name for one in streams)
    if len(names) == 1:
        return next(iter(names))
    versions = sorted({one.version for one in streams})
    metrics, detectors = (sorted({getattr(one, name) for one in streams}) for name in ("metric", "detector"))
    return f"{streams[0].model}:{versions[-1]} {', '.join(metrics)} by {', '.join(detectors)}"


def _stored(found: Found, stream: Stream, stopped: bool) -> StoredAlarm:
    if found.followed is not None:
        short, outcome = found.followed.short, found.followed.words
    elif "tolerance" in stream.reference:
        short = "undecided" if stopped else "waits for more values"
        outcome = "undecided: its version is watched no longer" if stopped else short
    else:
        short = outcome = "nothing: the model had no policy"
    alarm = found.alarm
    return StoredAlarm(
        alarm.id,
        alarm.model,
        alarm.version,
        alarm.metric,
        alarm.detector,
        alarm.position,
        alarm.at,
        alarm.score,
        alarm.limit,
        alarm.evidence,
        alarm.promise,
        found.followed,
        found.judged,
        short,
        outcome,
    )
