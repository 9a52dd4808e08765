"""`visutility alarms`: what to look at, what people did and said about it, and how often the monitor was wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visutility.cli.common import Home, Json, Limit, Why, opened
from visutility.cli.show import Show, note, short, when
from visutility.cli.times import lasting, time_of
from visutility.core.errors import Invalid

if TYPE_CHECKING:
    from visutility.loop.handling import Handled
    from visutility.loop.incidents import AlarmIncident, StoredAlarm


def _words(text: str) -> str:
    if text == "" or text.strip():
        return text
    raise Invalid(f"the note {text!r} is blank", hint="say something, or leave --note out")


_NAME = 20  # characters of a name in a table

Model = Annotated[str | None, typer.Argument(help="A model's name; all models without it.", show_default=False)]
Which = Annotated[str, typer.Argument(help="An incident's number, or the id of one alarm.", show_default=False)]
Note = Annotated[str, typer.Option("--note", help="What there is to say; it goes into the audit log.", callback=_words)]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Alarms as incidents, what people said of them, and the own rate.")
    group.command("list")(listed)
    group.command("show")(show)
    group.command("acknowledge")(acknowledge)
    group.command("snooze")(snooze)
    group.command("reopen")(reopen)
    group.command("judge")(judge)
    group.command("rate")(rate)
    app.add_typer(group, name="alarms")


def listed(
    model: Model = None,
    every: Annotated[bool, typer.Option("--all", help="Snoozed and closed incidents too, after the others.")] = False,
    home: Home = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List incidents: alarms that belong together. What waits for somebody comes first."""
    with opened(home) as project:
        if model is not None:
            project.registry.find_model(model)
        known = project.alarms.incidents(model)
    found = [one for one in known if every or one.standing in ("open", "acknowledged")]
    out = Show(as_json)
    if as_json:
        out.data([_incident(one) for one in found[:limit]])
        return
    out.rows(
        ("id", "since", "state", "what", "alarms", "followed by", "judged"),
        [
            (
                one.id,
                when(one.opened),
                _state(one),
                one.what,
                len(one.alarms),
                one.followed.short,
                one.judged or "not yet",
            )
            for one in found[:limit]
        ],
        empty=_nothing(known),
    )
    if (further := len(found) - limit) > 0:
        note(f"and {further:,} more; --limit shows more")
    if len(found) < len(known):
        left = [one.standing for one in known if one not in found]
        counts = [f"{left.count(one):,} {one}" for one in ("snoozed", "closed") if one in left]
        note(f"{', '.join(counts)}; `visutility alarms list --all` lists them")


def show(which: Which, home: Home = None, limit: Limit = 20, as_json: Json = False) -> None:
    """Show an incident: its alarms with their evidence, what followed, and what people said."""
    with opened(home) as project:
        found = project.alarms.incident(which)
    out = Show(as_json)
    if as_json:
        out.data({**_incident(found), "alarms": [_alarm(one) for one in found.alarms]})
        return
    out.fields(
        [
            ("incident", found.id),
            ("what", found.what),
            *([("watches", found.streams)] if len(found.streams) > 1 else []),
            ("since", when(found.opened)),
            ("last alarm", when(found.last_alarm)),
            ("state", f"{found.standing}{_ended(found)}"),
            *_handled(found),
            ("followed by", found.followed.outcome),
            ("judged", found.judged or "not yet"),
        ]
    )
    for done in (found.acknowledged, found.snoozed):
        if done is not None and done.note:
            out.prose(f"  {done.by}: {done.note}", indent="  ")
    newest = list(found.alarms)[-limit:]
    for one in newest:
        out.line()
        out.line(f"alarm {one.id}  {when(one.at):%Y-%m-%d %H:%M:%S} UTC  value {one.position}")
        if len(found.streams) > 1:
            out.line(f"  {one.model}:{one.version} {one.metric} by {one.detector}")
        for text in (one.words, one.outcome, _said(one)):
            if text:
                out.prose(f"  {text}", indent="  ")
    if len(newest) < len(found.alarms):
        out.line()
        out.line(f"the newest {len(newest)} of {len(found.alarms):,} alarms; --limit shows more")


def acknowledge(
    which: Which,
    by: Annotated[
        str | None, typer.Option("--by", help="Who looks after it; you without it.", show_default=False)
    ] = None,
    note: Note = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say who looks after an incident: it goes behind those that nobody looks after, until it gets news."""
    with opened(home) as project:
        found = project.alarms.acknowledge(which, by=by, note=note)
    who = "" if found.acknowledged is None else found.acknowledged.by
    _tell(found, f"{who} looks after it", as_json)


def snooze(
    which: Which,
    until: Annotated[
        str | None, typer.Option("--until", help="A time, such as 2026-01-31T08:00Z.", show_default=False)
    ] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", help="How long, such as 2h, 30m or 1d12h.", show_default=False)
    ] = None,
    note: Note = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Leave an incident out of the list until a time, or until it gets news."""
    if (until is None) == (lasts is None):
        what = "neither --until nor --for" if until is None else "--until and --for"
        raise Invalid(f"{what} is given", hint="say --until TIME, or --for DURATION")
    time = lasting("--for", lasts) if lasts is not None else time_of("--until", until or "")
    with opened(home) as project:
        found = project.alarms.snooze(which, time, note=note)
    _tell(found, _state(found), as_json)


def reopen(which: Which, note: Note = "", home: Home = None, as_json: Json = False) -> None:
    """Take back that an incident was acknowledged or snoozed."""
    with opened(home) as project:
        found = project.alarms.reopen(which, note=note)
    _tell(found, _state(found), as_json)


def judge(
    which: Which,
    judgement: Annotated[str, typer.Argument(help="true or false.", show_default=False, metavar="true|false")],
    why: Why,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say whether the alarms of an incident, or one alarm, were true or false. The last word counts."""
    with opened(home) as project:
        made = project.alarms.judge(which, judgement, why=why)
    many = f"{len(made.alarms)} alarm{'s' if len(made.alarms) != 1 else ''}"
    news = "as said before" if not made.changed else f"{made.changed} changed"
    Show(as_json).done(
        f"{many} judged {judgement}, {news}", {"judgement": judgement, "alarms": made.alarms, "changed": made.changed}
    )


def rate(home: Home = None, as_json: Json = False) -> None:
    """Show the false-alarm rate that was promised beside the one that was measured."""
    with opened(home) as project:
        found = project.alarms.rates()
    out = Show(as_json)
    if as_json:
        out.data([one.to_json() for one in found])
        return
    if not found:
        out.line("nothing that promises a rate is watched yet")
    for at, one in enumerate(found):
        if at:
            out.line()
        who = f"{one.watches:,} watches" if one.watches != 1 else "1 watch"
        says = "promise" if one.watches != 1 else "promises"
        out.prose(f"{who} by {one.detector} {says} at most one false alarm in {one.arl:,.0f} values.", indent="  ")
        out.prose(f"  {one.report.summary}", indent="  ")
        more = []
        if one.confirmed:
            more.append(f"{one.confirmed} right by what the gate measured, nobody said otherwise")
        if one.repeated:
            more.append(f"{one.repeated} further alarms of streams that had changed are not counted")
        if more:
            out.prose(f"  {'; '.join(more)}.", indent="  ")
        if one.report.open:
            out.line("  `visutility alarms judge ID true|false --why TEXT` says what nobody said yet")


def _tell(one: "AlarmIncident", words: str, as_json: bool) -> None:
    Show(as_json).done(f"incident {one.id}: {words}", _incident(one))


def _state(one: "AlarmIncident") -> str:
    """Say how it stands in few words, for a table."""
    if one.snoozed is not None:
        return f"snoozed until {when(one.snoozed.until):%Y-%m-%d %H:%M} UTC"
    return one.standing if one.closed or one.acknowledged is None else f"with {short(one.acknowledged.by, _NAME)}"


def _ended(one: "AlarmIncident") -> str:
    return f" {when(one.closed):%Y-%m-%d %H:%M:%S} UTC: {one.ended}" if one.closed else ""


def _nothing(known: "Sequence[AlarmIncident]") -> str:
    if any(one.standing == "snoozed" for one in known):
        return "all that is open is snoozed"
    return "nothing is open" if known else "no alarms yet"


def _handled(one: "AlarmIncident") -> list[tuple[str, object]]:
    """Return the fields that say what people did with it."""
    rows: list[tuple[str, object]] = []
    if one.acknowledged is not None:
        rows.append(("with", f"{one.acknowledged.by}, since {when(one.acknowledged.at):%Y-%m-%d %H:%M:%S} UTC"))
    if one.snoozed is not None:
        rows.append(("snoozed", f"until {when(one.snoozed.until):%Y-%m-%d %H:%M:%S} UTC by {one.snoozed.by}"))
    return rows


def _done(one: "Handled | None") -> dict[str, Any] | None:
    if one is None:
        return None
    return {"by": one.by, "at": when(one.at), "note": one.note, **({"until": when(one.until)} if one.until else {})}


def _incident(one: "AlarmIncident") -> dict[str, Any]:
    told = one.followed
    return {
        "id": one.id,
        "what": one.what,
        "watches": list(one.streams),
        "model": one.model,
        "open": not one.closed,
        "state": one.standing,
        "acknowledged": _done(one.acknowledged),
        "snoozed": _done(one.snoozed),
        "since": when(one.opened),
        "last_alarm": when(one.last_alarm),
        "closed": when(one.closed or None),
        "ended": one.ended or None,
        "alarms": len(one.alarms),
        "peak": one.peak,
        "outcome": told.outcome,
        "followed": told.followed,
        "judged": {**one.said, "nothing": len(one.alarms) - sum(one.said.values())},
    }


def _alarm(one: "StoredAlarm") -> dict[str, Any]:
    names = ("id", "model", "version", "metric", "detector", "position", "score", "limit", "evidence", "promise")
    said = {name: getattr(one, name) for name in names}
    return {
        **said,
        "at": when(one.at),
        "words": one.words,
        "outcome": one.outcome,
        "followed": one.followed,
        "judged": one.judged,
    }


def _said(one: "StoredAlarm") -> str:
    if one.judged is None:
        return ""
    return f"judged {one.judged.judgement} by {one.judged.by}: {one.judged.why}"
