"""What a command prints: tables and progress on a terminal, plain lines in a pipe, one JSON document with `--json`."""

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, final

import msgspec

from visutility.core.codec import to_time


@final
@dataclass(frozen=True, slots=True)
class Show:
    """Where a command's answer goes. `as_json` prints data alone; nothing else reaches standard output then."""

    as_json: bool

    @property
    def terminal(self) -> bool:
        """Whether a person watches."""
        return not self.as_json and sys.stdout.isatty()

    def rows(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
        """Print a table; `empty` says what to do when there is none. In JSON: a list of objects."""
        found = [list(row) for row in rows]
        if self.as_json:
            self.data([dict(zip(columns, row, strict=True)) for row in found])
        elif not found:
            self.line(empty)
        elif self.terminal:
            self._table(columns, found)
        else:
            for row in found:
                self.line("\t".join(word(cell) for cell in row))

    def fields(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Print one thing, a field a line. In JSON: an object."""
        if self.as_json:
            self.data({name.replace(" ", "_"): value for name, value in pairs})
            return
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            self.line(f"{name:<{width}}  {word(value)}")

    def data(self, value: object) -> None:
        """Print a value as JSON."""
        sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def line(self, text: str = "") -> None:
        """Print a line, which nobody's words can make a terminal obey."""
        sys.stdout.write(_visible(text) + "\n")

    def prose(self, text: str, *, indent: str = "") -> None:
        """Print a sentence: between words where a terminal ends, on one line in a pipe. `indent` is for later lines."""
        text = _visible(word(text))
        width = shutil.get_terminal_size().columns if self.terminal else 0
        lines = textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False) if width > 40 else [text]
        for line in lines or [""]:
            self.line(line)

    def say(self, text: str) -> None:
        """Print a line for people; nothing in JSON."""
        if not self.as_json:
            self.line(text)

    def done(self, text: str, value: object) -> None:
        """Say what was done; in JSON: the value."""
        if self.as_json:
            self.data(value)
        else:
            self.line(text)

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for at, column in enumerate(columns):
            numeric = all(isinstance(row[at], (int, float)) for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_escaped(_visible(word(cell))) for cell in row))
        Console().print(table)


def note(text: str) -> None:
    """Print a line for people to standard error, where it never mixes with data."""
    sys.stderr.write(text + "\n")


def when(at: str | datetime | None) -> datetime | None:
    """Return a time, or a stored one, as one that `Show` prints: readable in a table, ISO 8601 in UTC in JSON."""
    return to_time(at) if isinstance(at, str) else at


def plain(value: object) -> Any:
    """Return a value as plain JSON data."""
    return msgspec.to_builtins(value, enc_hook=_hook)


def _hook(value: object) -> object:
    data: Callable[[], object] | None = getattr(value, "to_json", None)
    if callable(data):
        return data()
    item: Callable[[], object] | None = getattr(value, "item", None)
    if callable(item):
        return item()
    return str(value)


def word(value: object) -> str:
    """Return a value as people read it, on one line; a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, dict):
        return ", ".join(f"{key}={word(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(word(inner) for inner in value) or "-"
    return str(value).replace("\t", " ").replace("\n", " ")


def short(text: str, most: int) -> str:
    """Return a text of at most so many characters: what is longer is cut, and ends in an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


_HIDDEN: Final = {at: f"\\x{at:02x}" for at in (*range(0x20), *range(0x7F, 0xA0)) if chr(at) not in "\t\n"}


def _visible(text: str) -> str:
    """Return a text whose control characters are spelt, as in Python; tabs and line ends stay."""
    return text.translate(_HIDDEN)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
