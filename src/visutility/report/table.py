"""Tables with a caption, scopes and numbers that line up."""

from collections.abc import Sequence

from visutility.core.errors import InvalidSetting
from visutility.report.html import Html, content, number, text

Cell = str | int | float | bool | None


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Html:
    """Return a table whose first column names its rows. Cells are text, numbers, None (a dash), or `Html`.

    A number shows 3 significant digits and keeps the whole value as its title. A wide table scrolls inside its own
    frame. Raises `InvalidSetting` for a row with another number of cells than there are columns.
    """
    wrong = next((row for row in rows if len(row) != len(columns)), None)
    if wrong is not None:
        raise InvalidSetting(f"row {tuple(wrong)!r} has {len(wrong)} cells", hint=f"there are {len(columns)} columns")
    numeric = [bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_aligned(right)}>{text(name)}</th>' for name, right in zip(columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, first=at == 0, right=numeric[at]) for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    none = f'<tr><td colspan="{len(columns)}">none</td></tr>'
    return Html(
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body or none}</tbody></table></div>"
    )


def _is_number(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, (int, float)) and not isinstance(cell, bool))


def _cell(cell: Cell, *, first: bool, right: bool) -> str:
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    if isinstance(cell, bool):
        cell = "yes" if cell else "no"
    if cell is None or isinstance(cell, (int, float)):
        shown = number(cell)
        whole = f' title="{cell}"' if isinstance(cell, float) and shown != str(cell) else ""
        return f"<{tag}{scope}{_aligned(right)}{whole}>{shown}</{tag}>"
    return f"<{tag}{scope}{_aligned(right)}>{content(cell)}</{tag}>"


def _aligned(right: bool) -> str:
    return ' class="number"' if right else ""
