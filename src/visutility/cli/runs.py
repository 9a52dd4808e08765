"""`visutility runs`: durable runs, and the worker that drives them."""

from typing import TYPE_CHECKING, Annotated

import typer

from visutility.cli import interrupt
from visutility.cli.common import Home, Json, Limit, Why, opened
from visutility.cli.show import Show, note, when, word

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from visutility.flow import Worker
    from visutility.flow.runs import Run as RunRow

Run = Annotated[str, typer.Argument(help="A run's id.", show_default=False)]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only this model's.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Durable runs, and the worker that drives them.")
    group.command("list")(listed)
    group.command("show")(show)
    group.command("start")(start)
    group.command("cancel")(cancel)
    group.command("answer")(answer)
    group.command("work")(work)
    app.add_typer(group, name="runs")


def listed(model: ModelOption = None, home: Home = None, limit: Limit = 20, as_json: Json = False) -> None:
    """List runs, newest first."""
    from visutility.flow import runs

    with opened(home) as project, project.store.read() as connection:
        model_id = None if model is None else project.registry.find_model(model).id
        found = runs.list_runs(connection, model_id=model_id, limit=limit)
    what = ("waiting_for", "failure", "outcome") if as_json else ("what",)
    Show(as_json).rows(
        ("run", "workflow", "model", "status", *what, "created"),
        [
            (
                one.id,
                one.workflow,
                one.request.get("model"),
                one.status,
                *((one.waiting_for, one.failure, one.outcome) if as_json else (_what(one),)),
                when(one.created_at),
            )
            for one in found
        ],
        empty="no runs yet",
    )


def show(run: Run, home: Home = None, as_json: Json = False) -> None:
    """Show a run and its recorded steps."""
    from visutility.flow import runs

    with opened(home) as project, project.store.read() as connection:
        found = runs.get(connection, run)
        steps = runs.steps(connection, run)
        asked = runs.questions(connection, run)
    out = Show(as_json)
    if as_json:
        out.data({"run": found, "steps": steps, "questions": asked})
        return
    out.fields(
        [
            ("run", found.id),
            ("workflow", found.workflow),
            ("status", found.status),
            ("waits for", found.waiting_for),
            ("outcome", found.outcome),
            ("failure", found.failure),
            ("created", when(found.created_at)),
            ("finished", when(found.finished_at)),
        ]
    )
    out.rows(
        ("step", "attempt", "finished", "result"),
        [(one.key, one.attempt, when(one.finished_at), _short(one.result)) for one in steps],
        empty="no steps yet",
    )
    for one in asked:
        answer = (
            "nobody answered yet" if one.answered_by is None else f"{one.answer}, said {one.answered_by}: {one.why}"
        )
        out.line(f"asked {one.name}: {one.words} ({answer})")


def start(
    model: Annotated[str, typer.Argument(help="The model to retrain.", show_default=False)],
    why: Why,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ask for a retraining by hand: no cooldown, no budget, the same gate."""
    with opened(home) as project:
        run = project.retrain(model, why=why)
    Show(as_json).done(f"run {run} is queued; `visutility runs work` drives it", {"run": run})


def cancel(run: Run, why: Why, home: Home = None, as_json: Json = False) -> None:
    """Ask a run to stop; nothing it registered is touched."""
    from visutility.flow import runs

    with opened(home) as project, project.store.write("cli.cancel") as tx:
        status = runs.cancel(tx, run, by=project.settings.actor, why=why)
        if status == "cancelled":
            project.end_study(tx, run, by=project.settings.actor, why=why)
    said = "is asked to stop; its worker will notice" if status == "running" else f"is {status}"
    Show(as_json).done(f"run {run} {said}", {"run": run, "status": status})


def answer(
    run: Run,
    question: Annotated[str, typer.Argument(help="What the run asks, as `runs show` says.", show_default=False)],
    value: Annotated[str, typer.Argument(help="yes or no.", show_default=False)],
    why: Why,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Answer a run that waits for a person."""
    from visutility.core.errors import Invalid
    from visutility.flow import runs

    if value not in ("yes", "no"):
        raise Invalid(f"the answer is {value!r}", hint="answer yes or no")
    with opened(home) as project, project.store.write("cli.answer") as tx:
        runs.answer(tx, run, question, value, by=project.settings.actor, why=why)
    Show(as_json).done(f"run {run} has its answer; a worker goes on with it", {"run": run, question: value})


def work(
    once: Annotated[bool, typer.Option("--once", help="Stop when no run is due, instead of waiting for more.")] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", min=1, max=65535, help="Serve Prometheus metrics on this loopback port."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Drive due runs in this process until stopped. Any number of these may work on one project."""
    with opened(home) as project:
        if metrics_port is not None:
            _serve_metrics(metrics_port, project.metrics.registry)
        if not once:
            note("driving runs; Ctrl-C stops, and what was begun goes on at the next start")
            project.worker().serve(interrupt.asked)
            interrupt.check()
            return
        driven = _drive(project.worker())
    Show(as_json).done(f"drove {driven} runs", {"driven": driven})


def _drive(worker: "Worker") -> int:
    driven = 0
    while worker.run_once() is not None:
        interrupt.check()
        driven += 1
    return driven


def _serve_metrics(port: int, registry: "CollectorRegistry") -> None:
    from prometheus_client import start_http_server

    from visutility.core.errors import SetupNeeded

    try:
        start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise SetupNeeded(f"port {port} cannot be served: {error.strerror}", hint="choose a free port") from error
    note(f"metrics at http://127.0.0.1:{port}/metrics")


def _what(run: "RunRow") -> str:
    """Say what a run waits for, why it failed, or what came of it."""
    return run.waiting_for or run.failure or word(run.outcome)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
