"""Text that is safe in a page, numbers as people read them, and the five states."""

import html
import math
import re
from typing import Literal, final

from visutility.core.errors import InvalidSetting

State = Literal["ok", "watch", "alarm", "working", "person"]
STATES: dict[State, tuple[str, str]] = {  # state -> (mark, word): colour alone never says it
    "ok": ("●", "in its band"),
    "watch": ("◇", "watch"),
    "alarm": ("▲", "alarm"),
    "working": ("▬", "the loop is working"),
    "person": ("✋", "needs a person"),
}
_UNPRINTABLE = re.compile(  # what no XML has, and what would turn the words around it
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


@final
class Html(str):
    """Markup that this package made: everything foreign in it is escaped. Jinja2 puts it into a page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the markup itself: it needs no further escaping."""
        return str(self)


def text(value: object) -> str:
    """Return a value as text for a page or an attribute, escaped whatever it is."""
    return html.escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def content(value: object) -> str:
    """Return `Html` as it is, anything else as text: for the places where markup may stand."""
    return value if isinstance(value, Html) else text(value)


def number(value: float | None) -> str:
    """Return a number as people read it: counts exactly, others to 3 significant digits, none as a dash."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e6):
        return f"{int(value):,}".replace("-", "−")
    if 1e-3 <= abs(value) < 1e6:
        digits = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
        return f"{float(f'{value:.3g}'):,.{digits}f}".replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def checked_state(state: str | None) -> State | None:
    """Return the state if it is one of `STATES`, or None. Raises `InvalidSetting`."""
    if state is not None and state not in STATES:
        raise InvalidSetting(f"state {state!r} is unknown", hint=f"choose one of {', '.join(STATES)}")
    return state


def chip(state: State, word: str | None = None) -> Html:
    """Return a state's mark and word in its colour; `word` says it more closely ("promoted", "alarm at 812")."""
    checked_state(state)
    mark, usual = STATES[state]
    said = usual if word is None else word
    return Html(f'<span class="state {state}"><span aria-hidden="true">{mark}</span> {text(said)}</span>')
