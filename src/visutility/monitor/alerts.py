"""Alarms of many streams as a short list of incidents: grouped, steady, ranked, and never twice.

A stream opens at its alarm and closes only after its evidence stayed low for a number of values. Open streams that a
group explains (see `explain`) are one incident. Nothing here reads a clock: times are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal, final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, NotFound
from visutility.monitor._alert_save import check
from visutility.monitor.explain import Explanation, Groups
from visutility.monitor.many import row_numbers
from visutility.monitor.state import Bools, Floats, Ints

FORMAT = 1
Standing = Literal["open", "acknowledged", "snoozed"]


@final
@dataclass(frozen=True, slots=True)
class AlertRules:
    """When a stream closes, and how long a list may be.

    `close_below` is in the units of the evidence that `update` gets, well below what raises an alarm; `quiet` is how
    many values it has to stay below. `depth`: of how many keys together a group may be.
    """

    close_below: float
    quiet: int = 1000
    most: int = 10
    depth: int = 2

    def __post_init__(self) -> None:
        if not np.isfinite(self.close_below):
            raise InvalidSetting(f"close_below {self.close_below!r} is not finite", hint="0.01 times the alarm's limit")
        for name in ("quiet", "most", "depth"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{name} {getattr(self, name)!r} is not 1 or more", hint="give a whole number")


@final
@dataclass(frozen=True, slots=True)
class Incident:
    """Streams that alarm for one reason. `keys` say which group: all streams there are when empty.

    `alarms` counts every alarm of its streams, repeated ones too. Times are as `AlertList` has them: never backwards.
    """

    id: int
    keys: tuple[tuple[str, str], ...]
    rows: tuple[int, ...]  # its open streams
    size: int  # streams of its group, open or not
    elsewhere: float  # share of the other streams that were open when it was explained
    opened: str  # UTC, as `core.codec.to_text` writes it
    last_alarm: str
    alarms: int
    peak: float  # the largest evidence of its streams
    by: str = ""  # who acknowledged it
    snoozed_until: str = ""

    def standing(self, now: str) -> Standing:
        """Return whether somebody has to look at it at that time."""
        if self.snoozed_until > now:
            return "snoozed"
        return "acknowledged" if self.by else "open"

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.size == 1:
            return ", ".join(f"{name} {value}" for name, value in self.keys)
        group = ", ".join(f"{name} {value}" for name, value in self.keys) or "every stream"
        return f"{group}: {len(self.rows)} of {self.size} streams; elsewhere {self.elsewhere:.1%}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "keys": dict(self.keys), "rows": list(self.rows), "summary": self.summary}


@final
@dataclass(frozen=True, slots=True)
class Changes:
    """What an update did: incidents that are new, that got another group, that ended, and (ended, goes on as) ids."""

    opened: tuple[Incident, ...] = ()
    regrouped: tuple[Incident, ...] = ()
    closed: tuple[Incident, ...] = ()
    merged: tuple[tuple[int, int], ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Ranked:
    """The list: at most `AlertRules.most` incidents, those that wait for somebody first, and how many are not shown."""

    shown: tuple[Incident, ...]
    further: int  # incidents that did not fit
    snoozed: int


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    """What `save` writes beside the arrays."""

    rules: AlertRules
    names: list[str]
    values: list[list[str]]
    known: list[Incident]
    next: int
    now: str


class AlertList:
    """The open incidents of a fleet. `keys` maps model, slice, camera, … to one value a stream, shape (n,) each.

    `weights` (n,) say how much a stream matters, in any unit: larger incidents come first. One writer.
    """

    def __init__(
        self,
        keys: Mapping[str, Sequence[str] | NDArray[Any]],
        rules: AlertRules,
        *,
        weights: ArrayLike | None = None,
    ) -> None:
        Groups.check(keys)
        self.rules = rules
        self.groups = Groups(keys, depth=rules.depth)
        n = len(self.groups)
        self.weights: Floats = np.ones(n) if weights is None else np.array(weights, np.float64)
        if self.weights.shape != (n,) or not (np.isfinite(self.weights) & (self.weights >= 0.0)).all():
            raise Invalid(f"weights of shape {self.weights.shape}", hint=f"give {n} numbers of 0 or more")
        self._incident: Ints = np.full(n, -1, np.int64)  # which incident a stream is open in
        self._quiet: Ints = np.zeros(n, np.int64)  # values since its evidence was last high
        self._known: dict[int, Incident] = {}
        self._next = 1
        self._now = ""

    @property
    def now(self) -> str:
        """The latest time that was given; "" before the first."""
        return self._now

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """All open incidents, oldest first."""
        return tuple(self._known.values())

    def update(self, at: datetime, alarm: ArrayLike, evidence: ArrayLike, values: ArrayLike = 1) -> Changes:
        """Take what a detector said of all streams at a time: `alarm` and `evidence`, shape (n,).

        `values` says how many values each stream had since the last call, one number or (n,). NaN evidence is no
        evidence: it does not count as quiet. A time before the latest one counts as the latest: the order of the calls
        decides. Raises `InvalidObservation` for another number of streams, and `Invalid` for a time without a zone;
        nothing has changed then.
        """
        raised, score, count = self._checked(alarm, evidence, values)
        self._now = max(self._now, codec.to_text(at))
        is_open = self._incident >= 0
        high = raised | (score >= self.rules.close_below)
        self._quiet = np.where(high, 0, self._quiet + np.where(np.isnan(score), 0, count))
        ended = is_open & (self._quiet >= self.rules.quiet)
        self._incident[ended] = -1
        self._recount(raised & is_open, score)
        closed = self._close()
        fresh = np.flatnonzero(raised & ~is_open)
        if not len(fresh):
            return Changes(closed=closed)
        return replace(self._regroup(fresh, score), closed=closed)

    def ranked(self, now: datetime | None = None) -> Ranked:
        """Return the list at a time (None: the latest given). Largest weight first, then peak, then the oldest."""
        at = self._now if now is None else max(self._now, codec.to_text(now))
        awake = [one for one in self._known.values() if one.standing(at) != "snoozed"]

        def place(one: Incident) -> tuple[bool, float, float, int]:
            return bool(one.by), -float(self.weights[list(one.rows)].sum()), -one.peak, one.id

        shown = tuple(sorted(awake, key=place)[: self.rules.most])
        return Ranked(shown, len(awake) - len(shown), len(self._known) - len(awake))

    def acknowledge(self, incident: int, by: str) -> Incident:
        """Note who looks after an incident: it goes to the end of the list until its group changes. `NotFound`."""
        if not by.strip():
            raise Invalid(f"nobody ({by!r}) acknowledged it", hint="say who looks after it")
        return self._replaced(incident, by=by)

    def snooze(self, incident: int, until: datetime) -> Incident:
        """Leave an incident out of the list until that time, or until its group changes. `NotFound`."""
        return self._replaced(incident, snoozed_until=codec.to_text(until))

    def retire(self, rows: ArrayLike) -> Changes:
        """Close these streams now: they are watched no longer, or their model was mended.

        Raises `Invalid` for rows that there are not, and `InvalidObservation` for what is no row number, such as a
        mask; nothing has changed then.
        """
        at = row_numbers(rows)
        if ((at < 0) | (at >= len(self.groups))).any():
            raise Invalid(f"rows {at.tolist()[:5]} name no stream", hint=f"there are {len(self.groups)}, from 0")
        self._incident[at] = -1
        return Changes(closed=self._close())

    def moved(
        self,
        keys: Mapping[str, Sequence[str] | NDArray[Any]],
        came_from: ArrayLike,
        *,
        weights: ArrayLike | None = None,
    ) -> "AlertList":
        """Return the list for a fleet to which streams were added, or from which some were removed.

        Row i of the new list is what row `came_from[i]` was here, and a new stream where that is -1. Incidents whose
        streams are all gone end without notice. Raises `Invalid` for rows that there are not, or twice, and
        `InvalidObservation` for what is no row number.
        """
        made = AlertList(keys, self.rules, weights=weights)
        rows = row_numbers(came_from)
        old = rows[rows >= 0]
        unknown = (rows < -1) | (rows >= len(self.groups))
        if len(rows) != len(made.groups) or unknown.any() or len(np.unique(old)) < len(old):
            raise Invalid(f"came_from has {len(rows)} rows", hint=f"name each of {len(self.groups)} rows once, or -1")
        made._incident[rows >= 0], made._quiet[rows >= 0] = self._incident[old], self._quiet[old]
        made._next, made._now = self._next, self._now
        for one in self._known.values():
            left = np.flatnonzero(made._incident == one.id)
            if len(left):
                size = 1 if one.size == 1 else max(made.groups.size_of(one.keys), len(left))
                made._known[one.id] = replace(one, rows=tuple(left.tolist()), size=size)
        return made

    def save(self) -> bytes:
        """Return everything as bytes that `load` takes."""
        label = {
            "rules": asdict(self.rules),
            "names": self.groups.names,
            "values": self.groups.values,
            "known": [asdict(one) for one in self._known.values()],
            "next": self._next,
            "now": self._now,
        }
        packed: dict[str, NDArray[Any]] = {
            "label": np.frombuffer(codec.dumps(label).encode(), np.uint8),
            "codes": self.groups.codes,
            "weights": self.weights,
            "incident": self._incident,
            "quiet": self._quiet,
        }
        return codec.pack_arrays(packed, version=FORMAT)

    @classmethod
    def load(cls, data: bytes) -> "AlertList":
        """Return the list that `save` was called on. Raises `Invalid` when the bytes are not a saved list."""
        version, packed = codec.unpack_arrays(data)
        if version != FORMAT or set(packed) != {"label", "codes", "weights", "incident", "quiet"}:
            raise Invalid(f"not an alert list of format {FORMAT}, but {version} with {sorted(packed)}", hint="save it")
        try:
            return cls._restored(packed)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Invalid(f"not an alert list: {error!r}", hint="the bytes were edited") from None

    @classmethod
    def _restored(cls, packed: Mapping[str, NDArray[Any]]) -> "AlertList":
        label = msgspec.convert(codec.loads(packed["label"].tobytes()), _Label)
        known = [at for one in label.known for at in (one.opened, one.last_alarm, one.snoozed_until)]
        check(packed, [label.now, *known])
        columns = zip(label.names, label.values, packed["codes"], strict=True)
        keys = {name: np.array(values)[codes] for name, values, codes in columns}
        made = cls(keys, label.rules, weights=packed["weights"])
        made._known = {one.id: one for one in label.known}
        made._next, made._now = label.next, label.now
        made._incident[:], made._quiet[:] = packed["incident"], packed["quiet"]
        rows = {one.id: np.flatnonzero(made._incident == one.id).tolist() for one in label.known}
        if sum(map(len, rows.values())) != int((made._incident >= 0).sum()) or any(
            list(one.rows) != rows[one.id] or not rows[one.id] or not 0 < one.id < label.next for one in label.known
        ):
            raise ValueError("its incidents are not those of its streams")
        return made

    def _checked(self, alarm: ArrayLike, evidence: ArrayLike, values: ArrayLike) -> tuple[Bools, Floats, Ints]:
        n = len(self.groups)
        raised, score, count = np.asarray(alarm, np.bool_), np.asarray(evidence, np.float64), np.asarray(values)
        fit = raised.shape == score.shape == (n,) and count.shape in ((), (n,))
        if not fit or count.dtype.kind not in "iu" or (count < 0).any():
            raise InvalidObservation(
                f"alarm {raised.shape}, evidence {score.shape} and values {count.shape} for {n} streams",
                hint="pass one of each a stream, in the order of the keys, and whole counts of 0 or more",
            )
        return raised, score, np.broadcast_to(count, (n,)).astype(np.int64)

    def _recount(self, again: Bools, score: Floats) -> None:
        """Count repeated alarms and keep the peaks."""
        for one in list(self._known.values()):
            rows = list(one.rows)
            alarms = int(again[rows].sum())
            self._known[one.id] = replace(
                one,
                alarms=one.alarms + alarms,
                last_alarm=self._now if alarms else one.last_alarm,
                peak=max([one.peak, *_finite(score[rows])]),
            )

    def _close(self) -> tuple[Incident, ...]:
        """Drop the incidents that no stream is open in any more; `rows` are the last ones it had."""
        closed = []
        for one in list(self._known.values()):
            rows = tuple(row for row in one.rows if self._incident[row] == one.id)
            if not rows:
                closed.append(self._known.pop(one.id))
            elif rows != one.rows:
                self._known[one.id] = replace(one, rows=rows)
        return tuple(closed)

    def _regroup(self, fresh: Ints, score: Floats) -> Changes:
        """Explain all open streams anew; an incident goes on as the group that most of its streams are in."""
        before, old, taken = self._incident.copy(), dict(self._known), set[int]()
        found = self.groups.explain(np.concatenate([np.flatnonzero(before >= 0), fresh]))
        for one in found:
            if one.size > 1:
                taken.add(self._settle(one, before, old, taken, score))
        for one in _steady([one for one in found if one.size == 1], before, old, taken):
            taken.add(self._settle(one, before, old, taken, score))
        merged = {at: int(self._incident[was.rows[0]]) for at, was in old.items() if at not in taken}
        for at, into in merged.items():
            was, now = old[at], self._known[into]
            counted = {"alarms": now.alarms + was.alarms, "peak": max(now.peak, was.peak)}
            self._known[into] = replace(now, opened=min(now.opened, was.opened), **counted)  # type: ignore[arg-type]
            del self._known[at]
        known = self._known.values()
        opened = tuple(one for one in known if one.id not in old)
        regrouped = tuple(one for one in known if one.id in old and one.keys != old[one.id].keys)
        return Changes(opened, regrouped, (), tuple(merged.items()))

    def _settle(
        self, one: Explanation, before: Ints, old: Mapping[int, Incident], taken: set[int], score: Floats
    ) -> int:
        """Make an explanation an incident, an old one if a stream of it is there, and return its id."""
        votes = before[list(one.rows)]
        ids, count = np.unique(votes[votes >= 0], return_counts=True)
        free = [(-int(n), int(at)) for at, n in zip(ids, count, strict=True) if int(at) not in taken]
        news = [row for row in one.rows if before[row] < 0]
        peak = max(_finite(score[news]), default=0.0)
        if free:
            now = self._continued(old[min(free)[1]], one, len(news), peak)
        else:
            place = (self._next, one.keys, one.rows, one.size, one.elsewhere)
            now = Incident(*place, self._now, self._now, len(news), peak)
            self._next += 1
        self._known[now.id] = now
        self._incident[list(one.rows)] = now.id
        return now.id

    def _continued(self, was: Incident, one: Explanation, news: int, peak: float) -> Incident:
        """Return an incident as this group; who acknowledged another group has to look again."""
        same = one.keys == was.keys
        return replace(
            was,
            keys=one.keys,
            rows=one.rows,
            size=one.size,
            elsewhere=one.elsewhere,
            alarms=was.alarms + news,
            last_alarm=self._now if news else was.last_alarm,
            peak=max(was.peak, peak),
            by=was.by if same else "",
            snoozed_until=was.snoozed_until if same else "",
        )

    def _replaced(self, incident: int, **changes: str) -> Incident:
        if incident not in self._known:
            raise NotFound(f"no open incident has id {incident}", hint=f"open are {sorted(self._known)[:10]}")
        self._known[incident] = replace(self._known[incident], **changes)  # type: ignore[arg-type]
        return self._known[incident]


def _steady(
    single: Sequence[Explanation], before: Ints, old: Mapping[int, Incident], taken: set[int]
) -> list[Explanation]:
    """Return single streams, but those of one old group together: a group that shrinks stays one incident."""
    kept: dict[int, list[int]] = {}
    alone = []
    for one in single:
        at = int(before[one.rows[0]])
        if at >= 0 and at not in taken and old[at].size > 1:
            kept.setdefault(at, []).append(one.rows[0])
        else:
            alone.append(one)
    whole = [Explanation(old[at].keys, tuple(rows), old[at].size, old[at].elsewhere) for at, rows in kept.items()]
    return whole + alone


def _finite(score: Floats) -> list[float]:
    return [one for one in score.tolist() if np.isfinite(one)]
