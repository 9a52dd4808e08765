"""`visutility audit`: the log of who did what, when and why, and whether it is whole."""

from typing import Annotated

import typer

from visutility.cli.common import Home, Json, Limit, opened
from visutility.cli.show import Show, when


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Who did what, when and why; and whether the log is whole.")
    group.command("verify")(verify)
    group.command("log")(log)
    group.command("head")(head)
    app.add_typer(group, name="audit")


def verify(
    head: Annotated[
        str | None,
        typer.Option("--head", help="SEQ:HASH that `audit head` printed earlier and you kept.", show_default=False),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check every row of the log, every row it covers, and every artifact an alias points at."""
    from visutility.core.errors import AuditBroken
    from visutility.store import audit

    with opened(home) as project:
        with project.store.read() as connection:
            findings = list(audit.verify(connection, anchor=_anchor(head)))
            seq = audit.head(connection).seq
        findings += project.registry.check_artifacts()
    show = Show(as_json)
    if as_json:
        show.data({"whole": not findings, "events": seq, "findings": findings})
    for one in findings:
        show.say(f"{one.where}: {one.problem}")
    if findings:
        raise AuditBroken(
            f"{len(findings)} {'finding' if len(findings) == 1 else 'findings'} in a log of {seq} events",
            hint="keep the files as they are, and compare with a backup",
        )
    show.say(f"whole: {seq} events, every covered row and every served artifact as it was written")


def log(
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only what happened to this.", show_default=False)
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only events of this kind.", show_default=False)] = None,
    home: Home = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List audit events, newest first."""
    from visutility.store import audit

    with opened(home) as project, project.store.read() as connection:
        found = audit.events(connection, subject=subject, kind=kind, limit=limit, newest_first=True)
    Show(as_json).rows(
        ("seq", "at", "by", "kind", "subject", "why"),
        [(one.seq, when(one.at), one.by, one.kind, one.subject, one.why) for one in found],
        empty="nothing happened yet",
    )


def head(home: Home = None, as_json: Json = False) -> None:
    """Print the log's head: kept elsewhere, it lets `audit verify --head` find a log that was rewritten whole."""
    from visutility.store import audit

    with opened(home) as project, project.store.read() as connection:
        found = audit.head(connection)
    Show(as_json).done(f"{found.seq}:{found.hash}", {"seq": found.seq, "hash": found.hash})


def _anchor(text: str | None) -> tuple[int, str] | None:
    from visutility.core.errors import Invalid

    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(digest) != 64:
        raise Invalid(f"head {text!r} is not SEQ:HASH", hint="pass what `visutility audit head` printed")
    return int(seq), digest
