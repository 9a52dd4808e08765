"""The command tree, and the one place that turns errors into messages and exit codes.

Command modules import nothing heavy when they are loaded: what a command needs is imported when it runs.
"""

import json
import os
import sys

import typer
from typer.exceptions import TyperException

from visutility.cli import audit, demo, events, interrupt, models, project, runs, studies
from visutility.core.errors import VisuTilityError

app = typer.Typer(
    name="visutility",
    help="Tune, train, register, watch, retrain, gate, promote, roll back: a vision model's whole life.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
demo.add(app)
project.add(app)
models.add(app)
studies.add(app)
runs.add(app)
events.add(app)
audit.add(app)

STOPPED = 130


def run(argv: list[str]) -> int:
    """Run one command. Returns 0, or what `docs/errors.md` says of the error."""
    try:
        with interrupt.heard():
            return int(app(argv, standalone_mode=False) or 0)
    except VisuTilityError as error:
        _tell(error, as_json="--json" in argv and argv[0] != "demo")
        return error.exit_code
    except TyperException as error:
        sys.stderr.write(f"error: {error.format_message()}\nnext:  visutility --help lists every command\n")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("stopped; what was committed stays, nothing is half-done\n")
        return STOPPED
    except BrokenPipeError:  # the reader of a pipe went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _tell(error: VisuTilityError, *, as_json: bool) -> None:
    if as_json:
        told = {"error": type(error).__name__, "problem": error.problem, "next": error.hint}
        sys.stderr.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"error: {error.problem}\n")
    if error.hint:
        sys.stderr.write(f"next:  {error.hint}\n")
