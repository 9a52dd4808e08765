"""`visutility events`: what the serving layer sent, and what the monitor made of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from visutility.cli.common import Home, Json, Limit, opened
from visutility.cli.show import Show, when


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="What the serving layer sent, and what the monitor made of it.")
    group.command("list")(listed)
    group.command("send")(send)
    app.add_typer(group, name="events")


def listed(
    model: Annotated[str, typer.Argument(help="A model's name.", show_default=False)],
    alarms: Annotated[bool, typer.Option("--alarms", help="Verdicts and what followed, instead of values.")] = False,
    home: Home = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List a model's metric events, or its alarms, newest first."""
    from visutility.loop.reports import happenings

    with opened(home) as project, project.store.read() as connection:
        project.registry.find_model(model)
        found = happenings(connection, model, alarms=alarms, limit=limit)
    Show(as_json).rows(
        ("at", "kind", "metric", "version", "position", "count", "what"),
        [(when(one.at), one.kind, one.metric, one.version, one.position, one.count, one.text) for one in found],
        empty=f"nothing yet for {model}",
    )


def send(
    file: Annotated[
        Path, typer.Argument(help="A file of MetricsEvents, one JSON object a line; - for standard input.")
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Send metrics events, all or none; events that were sent before change nothing."""
    import msgspec

    from visutility.core.errors import InvalidData
    from visutility.core.wire import MetricsEvent

    text = sys.stdin.buffer.read() if str(file) == "-" else _read(file)
    events = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            events.append(msgspec.json.decode(line, type=MetricsEvent))
        except msgspec.DecodeError as error:
            raise InvalidData(f"line {number} of {file}: {error}", hint="send one MetricsEvent a line") from error
    with opened(home) as project:
        receipts = project.monitor.ingest(*events)
    new = sum(not one.duplicate for one in receipts)
    alarms = [alarm for one in receipts for alarm in one.verdicts]
    Show(as_json).done(
        f"accepted {new} events, {len(receipts) - new} were known; {len(alarms)} verdicts",
        {"accepted": new, "duplicates": len(receipts) - new, "verdicts": alarms},
    )


def _read(file: Path) -> bytes:
    from visutility.core.errors import NotFound

    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {file}: {error.strerror}", hint="name a file you can read") from error
