"""`visutility studies`: what was tuned, what came of it, and what matters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visutility.cli import outputs
from visutility.cli.common import Home, Json, Limit, opened
from visutility.cli.show import Show, when
from visutility.cli.study_import import imported

if TYPE_CHECKING:
    from visutility.registry.studies import StudyRecord

Name = Annotated[str, typer.Argument(help="A study's name or id.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="What was tuned, what came of it, and what matters.")
    group.command("list")(listed)
    group.command("show")(show)
    group.command("importance")(importance)
    group.command("export")(export)
    group.command("import")(imported)
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
        (one.name, _strategy(one), f"{one.objective}, {one.direction}", one.budget, _status(one), when(one.created_at))
        for one in found
    ]
    Show(as_json).rows(("study", "strategy", "objective", "budget", "status", "created"), rows, empty="no studies yet")


def _strategy(one: "StudyRecord") -> str:
    return one.strategy if one.imported_from is None else f"imported from {one.imported_from}"


def _status(one: "StudyRecord") -> str:
    return "budget spent" if one.status == "open" and one.spent else one.status


def show(
    name: Name,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page with its charts to this file instead.", show_default=False),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show a study's trials, and why its strategy was chosen; with --html as a page: what matters, what is expected."""
    from visutility.registry import studies

    if html is not None:
        _page(name, outputs.checked("--html", html), home, as_json)
        return
    with opened(home) as project, project.store.read() as connection:
        study = studies.load(connection, name)
    out = Show(as_json)
    if as_json:
        out.data(study)
        return
    objectives = "; ".join(f"{objective}, {direction}" for objective, direction in study.record.options.objectives)
    out.fields(
        [
            ("study", study.record.name),
            ("strategy", _strategy(study.record)),
            ("why", study.record.reason),
            ("objective", objectives),
            ("status", _status(study.record)),
        ]
    )
    out.rows(
        ("trial", "origin", "state", "value", "parameters", "failure"),
        [(t.number, t.origin, t.state, t.value, t.params, t.failure) for t in study.trials],
        empty="no trials yet",
    )


def _page(name: str, path: Path, home: Path | None, as_json: bool) -> None:
    from visutility.loop.study_page import read_view, study_page

    with opened(home) as project, project.store.read() as connection:
        view = read_view(connection, name)
        made = f"Made from the project in {project.settings.home}, {project.clock.now():%Y-%m-%d %H:%M} UTC."
    page = study_page(view, made=made)
    page.write(path)
    Show(as_json).done(
        f"{page.verdict}\nReport: {path}", {"study": view.name, "verdict": page.verdict, "report": str(path)}
    )


def importance(
    name: Name,
    objective: Annotated[
        str | None, typer.Option("--objective", help="One of several objectives.", show_default=False)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show how much each parameter matters, by two methods; shares add up to 1."""
    from visutility.loop.study_page import read_view
    from visutility.tune.insight import METHODS
    from visutility.tune.insight import importance as measured

    with opened(home) as project, project.store.read() as connection:
        view = read_view(connection, name)
    found = {method: measured(view, method, objective=objective) for method in METHODS}
    out = Show(as_json)
    if as_json:
        out.data({"study": view.name, "methods": found})
        return
    for method, said in found.items():
        if said.unknown:
            out.line(f"{method}: nothing can be said: {said.unknown}")
    rows = [(one, found["gp"].shares[one], found["ped-anova"].shares[one]) for one in found["gp"].shares]
    out.rows(("parameter", "gp", "ped-anova"), rows, empty="no parameters")
    if (skill := found["gp"].skill) is not None:
        out.line(f"the model behind gp foretells {max(skill, 0.0):.0%} of the variance of trials it did not see")


def export(
    name: Name,
    to: Annotated[
        Path,
        typer.Option("--to", help="The file; its ending says the kind: .arrow, .parquet or .csv.", show_default=False),
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a study's trials to a file, one row a trial: parameters, values, metrics, times, reports."""
    from visutility.loop.study_export import export_bytes, kind_of
    from visutility.loop.study_page import read_view

    kind = kind_of(outputs.checked("--to", to))
    with opened(home) as project, project.store.read() as connection:
        view = read_view(connection, name)
    outputs.write(to, export_bytes(view, kind))
    Show(as_json).done(
        f"{len(view.trials)} trials of {view.name} written to {to}",
        {"study": view.name, "trials": len(view.trials), "file": str(to)},
    )
