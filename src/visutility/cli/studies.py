"""`visutility studies`: what was tuned, and what came of it."""

from typing import Annotated

import typer

from visutility.cli.common import Home, Json, Limit, opened
from visutility.cli.show import Show, when

Name = Annotated[str, typer.Argument(help="A study's name or id.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="What was tuned, and what came of it.")
    group.command("list")(listed)
    group.command("show")(show)
    app.add_typer(group, name="studies")


def listed(
    model: Annotated[str | None, typer.Option("--model", help="Only this model's.", show_default=False)] = None,
    home: Home = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List studies, newest first."""
    from visutility.registry import studies

    with opened(home) as project, project.store.read() as connection:
        model_id = None if model is None else project.registry.find_model(model).id
        found = studies.list_studies(connection, model_id=model_id, limit=limit)
    rows = [
        (one.name, one.strategy, f"{one.objective}, {one.direction}", one.budget, one.status, when(one.created_at))
        for one in found
    ]
    Show(as_json).rows(("study", "strategy", "objective", "budget", "status", "created"), rows, empty="no studies yet")


def show(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Show a study's trials, and why its strategy was chosen."""
    from visutility.registry import studies

    with opened(home) as project, project.store.read() as connection:
        study = studies.load(connection, name)
    out = Show(as_json)
    if as_json:
        out.data(study)
        return
    out.fields(
        [
            ("study", study.record.name),
            ("strategy", study.record.strategy),
            ("why", study.record.reason),
            ("objective", f"{study.record.objective}, {study.record.direction}"),
            ("status", study.record.status),
        ]
    )
    out.rows(
        ("trial", "origin", "state", "value", "parameters", "failure"),
        [(t.number, t.origin, t.state, t.value, t.params, t.failure) for t in study.trials],
        empty="no trials yet",
    )
