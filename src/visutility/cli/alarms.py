"""`visutility alarms`: what to look at, what people said of it, and how often the monitor was wrong."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from visutility.cli.common import Home, Json, Limit, Why, opened
from visutility.cli.show import Show, note, when

if TYPE_CHECKING:
    from visutility.loop.incidents import AlarmIncident, StoredAlarm

Model = Annotated[str | None, typer.Argument(help="A model's name; all models without it.", show_default=False)]
Which = Annotated[str, typer.Argument(help="An incident's number, or the id of one alarm.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Alarms as incidents, what people said of them, and the own rate.")
    group.command("list")(listed)
    group.command("show")(show)
    group.command("judge")(judge)
    group.command("rate")(rate)
    app.add_typer(group, name="alarms")


def listed(
    model: Model = None,
    closed: Annotated[bool, typer.Option("--all", help="Closed incidents too, after the open ones.")] = False,
    home: Home = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List incidents: alarms that belong together. What waits for somebody comes first."""
    with opened(home) as project:
        if model is not None:
            project.registry.find_model(model)
        every = project.alarms.incidents(model)
    found = [one for one in every if closed or not one.closed]
    out = Show(as_json)
    if as_json:
        out.data([_incident(one) for one in found[:limit]])
        return
    out.rows(
        ("id", "since", *(["state"] if closed else []), "what", "alarms", "followed by", "judged"),
        [
            (
                one.id,
                when(one.opened),
                *(["closed" if one.closed else "open"] if closed else []),
                one.what,
                len(one.alarms),
                one.followed.short,
                one.judged or "not yet",
            )
            for one in found[:limit]
        ],
        empty="nothing is open" if every else "no alarms yet",
    )
    if (hidden := len(found) - limit) > 0:
        note(f"and {hidden:,} more; --limit shows more")
    if resting := len(every) - len(found):
        note(f"{resting:,} closed; `visutility alarms list --all` lists them")


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
            (
                "state",
                "open" if not found.closed else f"closed {when(found.closed):%Y-%m-%d %H:%M:%S} UTC: {found.ended}",
            ),
            ("followed by", found.followed.outcome),
            ("judged", found.judged or "not yet"),
        ]
    )
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


def _incident(one: "AlarmIncident") -> dict[str, Any]:
    told = one.followed
    return {
        "id": one.id,
        "what": one.what,
        "watches": list(one.streams),
        "model": one.model,
        "open": not one.closed,
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
