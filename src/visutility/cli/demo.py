"""`visutility demo`: the whole loop on real images, told while it happens."""

import json
import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from visutility.cli import interrupt, outputs
from visutility.cli.common import Home
from visutility.cli.show import Show, note

if TYPE_CHECKING:
    from visutility.demo import Told

NOT_RECOVERED = 9


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another shuffle of the scans and drift.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write what was measured to this file.", show_default=False)
    ] = None,
    html: Annotated[Path, typer.Option("--html", help="Where the report goes.")] = Path("visutility-demo.html"),
    home: Home = None,
) -> None:
    """Watch a vision model decay, be noticed, be retrained and come back. Under a minute, nothing to set up."""
    from visutility.core.errors import Invalid
    from visutility.core.settings import Settings
    from visutility.demo import Demo, write_report

    outputs.checked("--html", html)
    if json_file is not None and outputs.checked("--json", json_file).resolve() == html.resolve():
        raise Invalid(f"--json and --html both name {html}", hint="name two files")
    settings = Settings.load(home=home)
    settings = replace(settings, database=f"sqlite:///{settings.home / 'visutility.db'}")
    with _Voice() as voice:
        told = Demo(seed, settings, voice).run()
    write_report(told, html)
    if json_file is not None:
        outputs.write(json_file, json.dumps(told.to_json(), indent=2) + "\n")
    _table(told)
    show = Show(as_json=False)
    show.line(f"Report: {html}")
    where = "" if home is None else f" --home {shlex.quote(str(home))}"
    command = _command()
    show.line(f"The project is yours to look at: {command} why digits@champion{where}")
    show.line(f"                                 {command} audit verify{where}")
    if not told.recovered:
        note("error: the model was not brought back; the report and `visutility runs list` say what happened")
        raise typer.Exit(NOT_RECOVERED)


def _command() -> str:
    """Return how this shell can call us: by name, or by the path we were called by."""
    started = Path(sys.argv[0])
    if started.name != "visutility" or shutil.which("visutility"):
        return "visutility"
    return shlex.quote(os.path.relpath(started))


def _table(told: "Told") -> None:
    """End with what was measured, and with what it means."""
    from visutility.demo import in_words, rows

    data = told.to_json()
    show = Show(as_json=False)
    show.line()
    cells = [(what, f"{value:.3f}", on) for what, value, on in rows(told)]
    show.rows(("model", "accuracy", "measured on"), cells, empty="nothing was measured")
    for line in in_words(told):
        show.prose(line)
    show.line(f"{data['served']} images served in {data['seconds']:.1f} s, seed {data['seed']}.")


class _Voice:
    """Tells the story: with progress bars on a terminal, in plain lines elsewhere."""

    def __init__(self) -> None:
        self._show = Show(as_json=False)
        self._progress: Any = None
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> "_Voice":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._end()
        self._show.line(f"\n== {title} ==")

    def say(self, text: str) -> None:
        """Tell a line, above the progress bar if there is one."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            self._show.prose(text)

    def trial(self, done: int, of: int, best: float) -> None:
        """Show how a study gets on; in a pipe, its end alone."""
        interrupt.check()
        if self._show.terminal:
            self._bar("tuning", done, of, f"best accuracy {best:.3f}")
        elif done == of:
            self._show.line(f"tuned: {of} trials, best accuracy {best:.3f} on rows held out for tuning")

    def served(self, done: int, of: int, accuracy: float) -> None:
        """Show how the stream gets on; in a pipe, every 60 images."""
        interrupt.check()
        if self._show.terminal:
            self._bar("serving", done, of, f"accuracy of the last 30: {accuracy:.2f}")
        elif done % 60 == 0:
            self._show.line(f"{done:4d} images served, accuracy of the last 30: {accuracy:.2f}")

    def _bar(self, what: str, done: int, of: int, text: str) -> None:
        if self._what != what:
            self._end()
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
            )
            self._progress = Progress(*columns)
            self._progress.start()
            self._what, self._task = what, self._progress.add_task(what, total=of, text=text)
        self._progress.update(self._task, completed=done, text=text)

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._what = None, ""
