"""A project's alarms for people: incidents, what somebody did with them and said of them, and the measured rate.

Incidents are made anew from the stored rows each time (`loop.incidents`); a judgement is a row and an audit event, and
what was done with an incident is an audit event alone (`loop.handling`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import final

from sqlalchemy import insert

from visutility.core.codec import to_text, to_time
from visutility.core.errors import Conflict, Invalid, NotFound
from visutility.loop import handling
from visutility.loop.alarm_rates import PromisedRate, measured_rates
from visutility.loop.alarm_rows import History, quiet_turns, read_judgements
from visutility.loop.handling import Handled
from visutility.loop.incidents import QUIET, AlarmIncident, Incidents, StoredAlarm, replay
from visutility.store import audit
from visutility.store.blobs import Blobs
from visutility.store.engine import Store, Tx
from visutility.store.schema import alarm_judgement

_COVERS = 500  # rows that one audit event covers at most
_MAX_BY = 200  # characters, as for the actor of the settings


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
        return tuple(one for one in self._replayed().found if model is None or model == one.model)

    def incident(self, which: int | str) -> AlarmIncident:
        """Return an incident by its number, or by the id of one of its alarms. Raises `NotFound` and `Invalid`."""
        return _find(self._replayed(), which)

    def acknowledge(self, which: int | str, *, by: str | None = None, note: str = "") -> AlarmIncident:
        """Note who looks after an open incident (None: whoever calls): it goes behind those that nobody looks after.

        That holds until it gets news: another watch alarms in it, or another incident becomes part of it. Saying the
        same again changes nothing. Raises `NotFound`, `Invalid` for blank words, a `by` of more than 200 characters or
        one that cannot be printed, and `Conflict` once it is closed.
        """
        who = self._actor if by is None else _named(by, "looks after it")
        return self._handle(which, "acknowledged", note, by=who)

    def snooze(self, which: int | str, until: datetime | timedelta, *, note: str = "") -> AlarmIncident:
        """Leave an open incident out of the list until a time, or for a while, or until it gets news.

        It is the clock's time, or that of what happened last where the clock was set back. Raises what `acknowledge`
        does, and `Invalid` for a time that has passed or has no zone.
        """
        return self._handle(which, "snoozed", note, until=to_text(self._later(until)))

    def reopen(self, which: int | str, *, note: str = "") -> AlarmIncident:
        """Take back that an open incident was acknowledged or snoozed. Raises what `acknowledge` does."""
        return self._handle(which, "reopened", note)

    def judge(self, which: int | str, judgement: str, *, why: str, by: str | None = None) -> Judgement:
        """Say that the alarms of an incident (its number), or one alarm (its id), were "true" or "false".

        The last word counts; the words before stay in the audit log. Saying the same again changes nothing.
        Raises `NotFound`, and `Invalid` for another judgement, one without a reason or a `by` as in `acknowledge`.
        """
        if judgement not in ("true", "false"):
            raise Invalid(f"the judgement is {judgement!r}", hint="say true or false")
        if not isinstance(why, str) or not why.strip():
            what = "blank" if isinstance(why, str) else "no text"
            raise Invalid(f"the reason {why!r} is {what}", hint="say what was found: it goes into the audit log")
        who = self._actor if by is None else _named(by, "judged")
        found = self.incident(which)  # before writers have to wait
        about = [one for one in found.alarms if _number(which) is not None or one.id == which]
        with self._store.write("alarms.judge") as tx:
            changed = _judge(tx, about, judgement, by=who, why=why)
        return Judgement(judgement, tuple(one.id for one in about), changed)

    def rates(self) -> list[PromisedRate]:
        """Return the false-alarm rate of each promise, measured by what was said of the alarms.

        Watches of one detector with one `arl` share a promise; those that promise no rate are left out.
        """
        with self._store.read() as connection:
            return measured_rates(connection, self._blobs, History.read(connection))

    def _replayed(self) -> Incidents:
        with self._store.read() as connection:
            return replay(connection, History.read(connection), to_text(self._store.clock.now()))

    def _now(self) -> datetime:
        """Return the time at which a snooze is over or not: the clock's, or of what happened last if that is later."""
        with self._store.read() as connection:
            history = History.read(connection)
            turns = [*history.turns, *history.handled, *quiet_turns(connection, history, QUIET)]
        return to_time(max([to_text(self._store.clock.now()), *(one.at for one in turns)]))

    def _later(self, until: datetime | timedelta) -> datetime:
        if not isinstance(until, (datetime, timedelta)):
            raise Invalid(f"until is {until!r}", hint="give a time with a zone, or how long as a timedelta")
        now = self._now()
        try:
            time = now + until if isinstance(until, timedelta) else until
            passed = to_text(time) <= to_text(now)
        except OverflowError:
            raise Invalid(f"until is {until!r}, and no calendar goes that far", hint="judge it instead") from None
        if passed:
            what = f"until is {time:%Y-%m-%d %H:%M:%S %Z}, and it is {now:%Y-%m-%d %H:%M:%S %Z}"
            raise Invalid(what, hint="give a time to come")
        return time

    def _handle(
        self, which: int | str, way: handling.Way, note: str, *, by: str | None = None, until: str = ""
    ) -> AlarmIncident:
        if note != "" and (not isinstance(note, str) or not note.strip()):
            raise Invalid(f"the note is {note!r}", hint="say something, or leave it out")
        found = self.incident(which)  # before writers have to wait
        if found.closed:
            raise Conflict(
                f"incident {found.id} is closed: {found.ended}", hint="`visutility alarms judge` says what it was"
            )
        done = Handled(way, by or self._actor, to_text(self._store.clock.now()), note, until)
        if not _says_more(found, done):
            return found
        first = found.alarms[0]
        with self._store.write(f"alarms.{way}") as tx:
            done = replace(done, at=tx.now())
            before = {"acknowledged": found.acknowledged, "snoozed": found.snoozed}
            handling.write(
                tx, f"{first.model}/{first.metric}", first.id, done, actor=self._actor, incident=found.id, before=before
            )
        if way == "reopened":
            return replace(found, acknowledged=None, snoozed=None)
        return replace(found, acknowledged=done) if way == "acknowledged" else replace(found, snoozed=done)


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


def _says_more(found: AlarmIncident, done: Handled) -> bool:
    """Whether what is done now is not what was done last."""
    if done.way == "reopened":
        return (found.acknowledged, found.snoozed) != (None, None)
    last = found.acknowledged if done.way == "acknowledged" else found.snoozed
    return last is None or replace(last, at=done.at) != done


def _named(by: str, what: str) -> str:
    if not isinstance(by, str) or not by.strip() or len(by) > _MAX_BY or not by.isprintable():
        rule = f"say who {what} in 1 to {_MAX_BY} printable characters, or leave it out"
        raise Invalid(f"by is {by!r:.80}", hint=rule)
    return by


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
