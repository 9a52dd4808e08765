"""Charts that fit into a cell of a table."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from visutility.core.errors import InvalidSetting
from visutility.report._draw import inside
from visutility.report.html import Html, State, checked_state, number, text
from visutility.report.parts import Band, Series, checked
from visutility.report.scale import Scale, scale


def sparkline(values: ArrayLike, *, title: str, band: Band | None = None) -> Html:
    """Return a line of 120 x 24 pixels over the position of each value, with its band if any; a NaN is a gap."""
    y = np.asarray(values, np.float64)
    [one] = checked([Series(title, np.arange(len(y)), y)])
    ends: Sequence[float] = () if band is None else (band.low, band.high)
    y_scale = scale([*y[one.good], *ends], round_ends=False)
    last = f", last {number(float(y[one.good][-1]))}" if one.good.any() else ", no data"
    head = f'<svg class="spark" width="120" height="24" role="img" aria-label="{text(title + last)}">'
    if y_scale is None:
        return Html(f"{head}<title>{text(title + last)}</title></svg>")
    bare = Scale(y_scale.low, y_scale.high, (), 1.0)
    drawn = inside([one], [] if band is None else [band], Scale(0.0, max(1.0, len(y) - 1.0), (), 1.0), bare, 2, 20)
    return Html(f"{head}<title>{text(title + last)}</title>{''.join(drawn)}</svg>")


def bar(share: float, *, title: str, state: State | None = None) -> Html:
    """Return a bar filled by a share in [0, 1], 120 pixels wide, with the share as its text. NaN is an empty bar."""
    checked_state(state)
    if not math.isnan(share) and not 0 <= share <= 1:
        raise InvalidSetting(f"share is {share!r}", hint="pass a share from 0 to 1, or NaN")
    filled = "" if math.isnan(share) else f'<rect class="fill" width="{share * 100:.4g}%" height="12"/>'
    said = f"{title}: {number(share)}"
    return Html(
        f'<svg class="bar {state or "plain"}" width="120" height="12" role="img" aria-label="{text(said)}">'
        f'<title>{text(said)}</title><rect class="rest" width="100%" height="12"/>{filled}</svg>'
    )
