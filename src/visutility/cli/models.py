"""`visutility models`, `versions`, `promote`, `rollback` and `why`: the registry's nouns and verbs."""

from typing import TYPE_CHECKING, Annotated

import typer

from visutility.cli.common import Home, Json, Limit, Why, opened
from visutility.cli.show import Show, note, when

if TYPE_CHECKING:
    from visutility.loop import Project

Model = Annotated[str, typer.Argument(help="A model's name.", show_default=False)]
Reference = Annotated[
    str, typer.Argument(help="NAME@ALIAS, NAME:NUMBER, or NAME for its champion.", show_default=False)
]
Expected = Annotated[
    int | None,
    typer.Option(
        "--expected", help="The version you saw as champion; refused if it moved since.", show_default="the present one"
    ),
]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("models")(models)
    app.command("versions")(versions)
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    app.command("why")(why)


def models(home: Home = None, limit: Limit = 50, as_json: Json = False) -> None:
    """List the models, what serves, and how many versions there are."""
    with opened(home) as project:
        rows = [
            (one.name, one.task, one.champion, one.versions, when(one.created_at))
            for one in project.registry.models(limit=limit)
        ]
    Show(as_json).rows(
        ("model", "task", "champion", "versions", "created"), rows, empty="no models yet; `visutility demo` makes one"
    )


def versions(model: Model, home: Home = None, limit: Limit = 20, as_json: Json = False) -> None:
    """List a model's versions, newest first."""
    with opened(home) as project:
        found = project.registry.versions(model, limit=limit)
        holders = project.registry.aliases(model)
    rows = [
        (
            one.number,
            [name for name, number in sorted(holders.items()) if number == one.number],
            one.metrics,
            one.params,
            one.run_id,
            when(one.created_at),
        )
        for one in found
    ]
    Show(as_json).rows(
        ("version", "aliases", "metrics", "parameters", "run", "created"), rows, empty=f"{model} has no versions yet"
    )


def promote(
    version: Annotated[str, typer.Argument(help="NAME:NUMBER, or NAME@ALIAS.", show_default=False)],
    why: Why,
    expected: Expected = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion: what serves from now on."""
    from visutility.core.errors import Invalid

    if ":" not in version and "@" not in version:  # elsewhere a bare name is its champion
        raise Invalid(
            f"{version!r} does not say which version",
            hint=f"write NAME:NUMBER; `visutility versions {version}` lists them",
        )
    with opened(home) as project:
        wanted = project.registry.get(version)
        seen = project.champion(wanted.model) if expected is None else expected
        project.promote(wanted.model, wanted.number, expected=seen, why=why)
        lost = _unwatched(project, wanted.model, wanted.number)
    Show(as_json).done(
        f"{wanted.model}@champion is version {wanted.number} now, it was {seen or 'none'}",
        {"model": wanted.model, "champion": wanted.number, "before": seen},
    )
    if lost:
        _tell_unwatched(wanted.model, wanted.number)


def rollback(model: Model, why: Why, expected: Expected = None, home: Home = None, as_json: Json = False) -> None:
    """Make the champion before this one champion again."""
    with opened(home) as project:
        before = project.champion(model) if expected is None else expected
        now = project.rollback(model, why=why, expected=before)
        lost = _unwatched(project, model, now.number)
    Show(as_json).done(
        f"{model}@champion is version {now.number} again, it was {before}",
        {"model": model, "champion": now.number, "before": before},
    )
    if lost:
        _tell_unwatched(model, now.number)


def _unwatched(project: "Project", model: str, number: int) -> bool:
    """Whether this version should be watched, and is not."""
    watched = {one.version for one in project.records.watches(model)}
    return number not in watched and project.records.policy(model) is not None


def _tell_unwatched(model: str, number: int) -> None:
    note(f"nobody watches {model}:{number}: `visutility audit log` says why, `Project.watch` watches it")


def why(reference: Reference, home: Home = None, as_json: Json = False) -> None:
    """Explain why a version is what it is: from the first bad values to its promotion."""
    from visutility.core.errors import Damaged

    with opened(home) as project:
        links = project.registry.why(reference)
    show = Show(as_json)
    if as_json:
        show.data(links)
    width = max(len(link.kind) for link in links)
    for at, link in enumerate([] if as_json else links):
        lead = f"{'└> ' if at else '   '}{link.kind:<{width}}  "
        show.prose(f"{lead}{link.title}", indent=" " * len(lead))
        show.line(f"{' ' * len(lead)}{link.id}")
        if link.problem:
            show.line(f"{' ' * len(lead)}PROBLEM: {link.problem}")
    if problems := [link for link in links if link.problem]:
        raise Damaged(
            f"{len(problems)} links of {reference} are missing or lie; the first: {problems[0].kind} {problems[0].id}",
            hint="run `visutility audit verify`",
        )
