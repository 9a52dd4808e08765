"""Options that every command shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from visutility.core.errors import Invalid

if TYPE_CHECKING:
    from visutility.loop import Project


def _reason(text: str) -> str:
    if not text.strip():
        raise Invalid(f"the reason {text!r} is blank", hint="say why with --why TEXT: it goes into the audit log")
    return text


Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The project's folder. Default: VISUTILITY_HOME, or ./.visutility.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.", show_default=False)]
Why = Annotated[
    str, typer.Option("--why", help="The reason; it goes into the audit log.", show_default=False, callback=_reason)
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most this many rows, newest first.")]


@contextmanager
def opened(home: Path | None) -> Iterator["Project"]:
    """Open the project of that folder for one command."""
    from visutility.loop import Project

    with Project.open(home) as project:
        yield project
