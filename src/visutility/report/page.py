"""One report: a file of its own that needs nothing else, not even a network."""

import base64
import errno
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, final

from visutility.core.errors import DiskFull, Invalid, ReadOnly
from visutility.report.html import STATES, Html, State, chip, text

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent


@final
@dataclass(frozen=True, slots=True)
class Section:
    """A heading, a sentence or two, and what follows: figures, tables, paragraphs (plain text is one paragraph)."""

    heading: str
    lead: str = ""
    parts: Sequence[str] = ()


@final
@dataclass(frozen=True, slots=True)
class Page:
    """A report. `verdict` is one sentence that stands alone; `chart` the one that matters; then the sections.

    `word` says the state more closely than its usual word does; `made` when and from what the page was made.
    """

    title: str
    verdict: str
    state: State
    sections: Sequence[Section] = ()
    chart: str = ""
    word: str | None = None
    made: str = ""

    def html(self) -> str:
        """Return the page as one HTML document without scripts, links or other files. Equal pages have equal text."""
        style = (_HERE / "style.css").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        return _template().render(
            page=self,
            verdict=chip(self.state, self.word),
            mark=STATES[self.state][0],
            blocks=[(section, [_block(part) for part in section.parts]) for section in self.sections],
            chart=_block(self.chart) if self.chart else "",
            clean=lambda value: Html(text(value)),
            style=Html(style),
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'none'",
        )

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, and return its path. Raises `DiskFull`, `ReadOnly` or `Invalid`."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            try:
                partial.write_text(self.html(), "utf-8")
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"no space for {path}", hint="free some space; nothing was half-written") from None
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise ReadOnly(f"{path} cannot be written", hint="choose a folder this user may write to") from None
            raise Invalid(
                f"{path} cannot be written: {os.strerror(error.errno or 0)}", hint="choose another path"
            ) from None
        return path


def columns(*parts: str) -> Html:
    """Return parts side by side where the page is wide enough, else one below the other."""
    return Html(f'<div class="columns">{"".join(f"<div>{_block(part)}</div>" for part in parts)}</div>')


def folded(summary: str, *parts: str) -> Html:
    """Return parts that a reader opens by their summary: the numbers behind a chart."""
    return Html(f"<details><summary>{text(summary)}</summary>{''.join(_block(part) for part in parts)}</details>")


def _block(part: str) -> Html:
    return part if isinstance(part, Html) else Html(f"<p>{text(part)}</p>")


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((_HERE / "page.html").read_text("utf-8"))
