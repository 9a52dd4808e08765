"""The command tree, and the one place that turns errors into messages and exit codes.

Command modules import nothing heavy when they are loaded: what a command needs is imported when it runs.
"""

import json
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from visutility.cli import alarms, audit, demo, drift, events, interrupt, models, project, runs, studies
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
drift.add(app)
project.add(app)
models.add(app)
studies.add(app)
runs.add(app)
events.add(app)
alarms.add(app)
audit.add(app)

NAME = "visutility"
STOPPED = 130


def _version(asked: bool) -> None:
    if asked:
        from visutility import __version__

        sys.stdout.write(f"{NAME} {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version


def run(argv: list[str]) -> int:
    """Run one command. Returns 0, or what `docs/errors.md` says of the error.

    That the reader of a pipe went away, as `head` does, is no error: what is left to say is dropped.
    """
    code = _answered(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop()
    return code


def _answered(argv: list[str]) -> int:
    as_json = "--json" in argv and argv[0] != "demo"  # there it takes a file
    try:
        with interrupt.heard():
            code = int(app(argv, prog_name=NAME, standalone_mode=False) or 0)
            if code == STOPPED:  # what typer makes of a KeyboardInterrupt
                interrupt.check()
            return code
    except VisuTilityError as error:
        _tell(type(error).__name__, error.problem, error.hint, as_json=as_json)
        return error.exit_code
    except TyperException as error:
        _misused(error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("stopped; what was committed stays, nothing is half-done\n")
        return interrupt.exit_code()
    except BrokenPipeError:
        _drop()
        return 0
    except SystemExit as stop:  # what typer makes of a BrokenPipeError
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        _drop()
        return 0


def _drop() -> None:
    """Let standard output lead nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misused(error: TyperException, *, as_json: bool) -> None:
    """Tell what was wrong with the words themselves: a command or option that does not exist, or lacks its value."""
    context = getattr(error, "ctx", None)
    path = NAME if context is None else context.command_path
    group = context is None or hasattr(context.command, "commands")
    hint = f"`{path} --help` lists {'its commands' if group else 'its arguments and options'}"
    problem = error.format_message()
    if problem.startswith("Usage:"):  # a group without a command
        if not as_json:
            sys.stderr.write(problem + "\n")
            return
        problem = f"`{path}` needs a command"
    _tell("UsageError", problem, hint, as_json=as_json)


def _tell(kind: str, problem: str, hint: str, *, as_json: bool) -> None:
    if as_json:
        told = {"error": kind, "problem": problem, "next": hint}
        sys.stderr.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"error: {problem}\n")
    if hint:
        sys.stderr.write(f"next:  {hint}\n")
