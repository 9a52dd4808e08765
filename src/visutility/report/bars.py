"""Level bars: a share for each name, by one measure or by several side by side."""

import math
from collections.abc import Sequence
from typing import Final

from visutility.core.errors import InvalidSetting
from visutility.report.axis import cut
from visutility.report.html import Html, text

BAR: Final = 10  # pixels
NAME: Final = 30  # characters that fit beside the numbers on a phone
MOST: Final = 3  # measures that can be told apart


def bar_chart(
    rows: Sequence[tuple[str, Sequence[float]]],
    measures: Sequence[str],
    *,
    title: str,
    note: str = "",
    looks: Sequence[int] = (0, 1, 2),
) -> Html:
    """Return a figure of shares in [0, 1]: a name, and a bar for each measure; NaN is no bar.

    `looks` of the measures: 0 strong, 1 weak, 2 grey.

    Raises `InvalidSetting` for a share outside, another number of shares than measures, and more than three measures.
    """
    if not 1 <= len(measures) <= MOST:
        raise InvalidSetting(f"{len(measures)} measures side by side", hint=f"show 1 to {MOST}")
    height = 28 + (BAR + 3) * len(measures)
    parts, said = [], []
    for at, (name, shares) in enumerate(rows):
        if len(shares) != len(measures) or any(not math.isnan(one) and not 0.0 <= one <= 1.0 for one in shares):
            raise InvalidSetting(
                f"row {name!r} has shares {shares!r}", hint=f"give {len(measures)} from 0 to 1, or NaN"
            )
        top = height * at
        numbers = " · ".join(percentage(one) for one in shares)
        said.append(f"{name}: {', '.join(map(percentage, shares))}.")
        parts.append(f'<text x="0" y="{top + 14}"><title>{text(name)}</title>{text(cut(name, NAME))}</text>')
        parts.append(f'<text x="100%" y="{top + 14}" class="tick end">{text(numbers)}</text>')
        for below, share in enumerate(shares):
            y = top + 20 + (BAR + 3) * below
            parts.append(f'<rect class="rest" width="100%" height="{BAR}" y="{y}"/>')
            if not math.isnan(share):
                parts.append(f'<rect class="share{looks[below]}" width="{share * 100:.4g}%" height="{BAR}" y="{y}"/>')
    legend = "".join(
        f'<li><svg width="28" height="14" aria-hidden="true"><rect class="share{looks[at]}" y="2" width="28" '
        f'height="{BAR}"/></svg> {text(measure)}</li>'
        for at, measure in enumerate(measures)
    )
    told = f"<p>{text(note)}</p>" if note else ""
    chart = (
        f'<svg class="bars" width="100%" height="{height * len(rows) or 1}" role="img" aria-label="{text(title)}">'
        f"<title>{text(title)}</title><desc>{text(' '.join(said))}</desc>{''.join(parts)}</svg>"
    )
    return Html(f'<figure><figcaption>{text(title)}</figcaption>{told}{chart}<ul class="legend">{legend}</ul></figure>')


def percentage(share: float) -> str:
    """Return a share as people read it: "41 %", "0.4 %", a dash for NaN."""
    if math.isnan(share):
        return "–"
    hundredths = share * 100
    return "0 %" if hundredths < 0.05 else f"{hundredths:.{0 if hundredths >= 9.95 else 1}f} %"
