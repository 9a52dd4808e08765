"""`visutility init` and `visutility doctor`."""

import typer

from visutility.cli.common import Home, Json
from visutility.cli.show import Show


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("doctor")(doctor)


def init(home: Home = None, as_json: Json = False) -> None:
    """Make a project in this folder, or upgrade the one that is there. Nothing is ever overwritten."""
    from visutility.loop import Project

    with Project.create(home) as project:
        where = project.settings
        Show(as_json).done(
            f"project ready in {where.home}",
            {"home": str(where.home), "database": where.database, "actor": where.actor},
        )


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Check the installation, the folder, the database and every artifact that an alias points at."""
    from visutility.loop.doctor import examine

    checks = examine(home)
    show = Show(as_json)
    show.rows(
        ("check", "state", "found"),
        [(one.name, "ok" if one.good else "WRONG", one.found) for one in checks],
        empty="nothing to check",
    )
    bad = [one for one in checks if not one.good]
    if bad:
        raise typer.Exit(bad[0].exit_code)
