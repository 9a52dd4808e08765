"""`visutility studies import`: studies of other tools, as closed studies of ours."""

from pathlib import Path
from typing import Annotated

import typer

from visutility.cli.common import Home, Json, Why, opened
from visutility.cli.show import Show
from visutility.core.errors import MissingExtra


def imported(
    storage: Annotated[str, typer.Argument(help="Optuna's SQLite file, journal file or URL.", show_default=False)],
    why: Why,
    study: Annotated[
        str | None, typer.Option("--study", help="Which study; not needed for one.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Its name here; the same if not given.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model whose later studies learn from it.", show_default=False)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take over an Optuna study and its trials, so that later studies of the model learn from it."""
    try:
        from visutility.interop.optuna_import import read_optuna
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "optuna":
            raise
        raise MissingExtra("Optuna is not installed", hint="pip install 'visutility[optuna]'") from error

    found = read_optuna(storage if "://" in storage else Path(storage), study)
    with opened(home) as project:
        model_id = None if model is None else project.registry.find_model(model).id
        record = found.save(project.store, name or found.name, model_id=model_id, by=project.settings.actor, why=why)
    left_out = [{"trial": number, "why": reason} for number, reason in found.left_out]
    lines = [f"{len(found.trials)} trials taken over as study {record.name}"]
    lines += [f"left out: trial {one['trial']}: {one['why']}" for one in left_out]
    said = {"study": record.name, "id": record.id, "trials": len(found.trials), "left_out": left_out}
    Show(as_json).done("\n".join(lines), said)
