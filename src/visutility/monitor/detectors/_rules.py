"""The constants of the dependence-aware detector, and what follows from its settings."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from visutility.core.errors import InvalidSetting

TILTS = (0.08, 0.17, 0.38, 0.85, 2.0)  # how far each bet raises the predicted rate, in standard deviations of one value
SHARES = (0.08, 0.32, 0.26, 0.24, 0.1)  # of each bet in the stake
DROPS = (0.08, 0.17, 0.36, 1.0)  # how far the bets on a fall lower it; the last outruns the jumping rates
DROP_SHARE = 1.0 / 3.0  # of each of these in theirs
PATIENCE = 100.0  # a fall counts at that many times the limit of a rise: it asks for nobody
SHIFT = 1  # the bet that tells since when
TOP = 0.98  # a rate is not raised above that
BOTTOM = 0.125  # nor lowered below that share of itself
STRONG = 0.3  # lag-1 autocorrelation from which on a stream that its last value explains gets a larger stake
MORE = 6.0  # how much larger: that many times the weight of the last-value model, on top
GROWN = 6.0  # the stake grows over that many times `learning`
LATER = 9.0  # and what is on top over that many
SPANS = (16.0, 64.0)  # of the averages that what is left of dependence is measured against
SURE = 3.0  # standard errors that a measured inflation must exceed 1 by to count
MEMORY = 1.0 - 1.0 / 4096.0  # of what is measured
DUE = 64.0  # values between measurements
CLASSES = 8.0  # classes of inflation to a unit
MOST = 63  # the last class
YOUNGEST, OLDEST = 16.0, 4096.0  # ages from and up to which, at each power of 2, halves are compared after an alarm
HALVES = frozenset(2.0**power for power in range(4, 13))
WORSE = 2.0  # times the errors of the second half that the first must hold to be taken for the end of an outage
SEEN = 8.0  # and errors by which it must hold more


class Rules(NamedTuple):
    """The settings, and what follows from them."""

    arl: float
    learning: int
    warn: float  # the score of a warning
    fall: float  # what the bets on a fall have to win
    grown: float  # values until the stake has grown
    later: float  # and until what is on top has
    calm: tuple[float, ...]  # the stake's factor by class of inflation


@lru_cache(maxsize=64)
def rules(arl: float, learning: int, warning: float) -> Rules:
    """Check the settings and return what follows; `InvalidSetting` for one out of its range.

    A sum whose variance is phi times what was thought exceeds a limit as often as a right one exceeds limit^(1/phi):
    a stake of arl^(1 - phi) puts the limit where it should be.
    """
    if not 1.0 < arl <= 1e15:
        raise InvalidSetting(f"arl {arl!r} is not in (1, 1e15]", hint="give the mean run length in values")
    if not 20 <= learning <= 1_000_000:
        raise InvalidSetting(f"learning {learning!r} is not in [20, 1000000]", hint="it is a number of values")
    if not 0.0 < warning <= 1.0:
        raise InvalidSetting(f"warning {warning!r} is not in (0, 1]", hint="a share of arl; 1 for none")
    calm = tuple(max(arl ** (-at / CLASSES), 1e-100) for at in range(MOST + 1))
    return Rules(arl, learning, warning * arl, PATIENCE * arl, GROWN * learning, LATER * learning, calm)


def halved(age: float, ones: float, half: float) -> tuple[bool, float]:
    """Return whether what was learnt began with the end of an outage, and what to remember for twice that age.

    `half` is the number of ones at half the age, -1 where nobody asks.
    """
    if age not in HALVES or half < 0.0:
        return False, half
    over = age > YOUNGEST and half >= WORSE * (ones - half) and half - (ones - half) >= SEEN
    return over, -1.0 if age == OLDEST else ones


def inflation_class(crosses: Sequence[float], power: float, count: float) -> int:
    """Return the class of the variance inflation that products with averages show, the largest that is sure.

    2 span cross / power estimates twice the sum of the autocorrelations, the far ones damped; its variance on
    independent errors is 4 / (w (2 - w) count), w = 1 / span.
    """
    found = 0
    for span, cross in zip(SPANS, crosses, strict=True):
        excess, weight = 2.0 * span * cross / power if power > 0.0 else 0.0, 1.0 / span
        if excess > 0.0 and excess * excess * weight * (2.0 - weight) * count > 4.0 * SURE * SURE:
            found = max(found, min(int(excess * CLASSES) + 1, MOST))
    return found
