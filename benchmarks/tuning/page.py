"""Puts printed tables into a page of the documentation, between two comments that name them."""

from collections.abc import Iterable
from pathlib import Path


def write(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`. Raises ValueError when the page lacks them."""
    text = page.read_text("utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin.strip()} … {end}")
    page.write_text("".join([before, begin, "\n".join(lines), "\n", end, after]), "utf-8")
