"""What may be reported of a trial under way."""

import math
from collections.abc import Mapping

from visutility.core.errors import InvalidObservation
from visutility.tune.trial import as_number
from visutility.tune.values import plain


def check_report(step: object, value: object, kept: Mapping[int, float]) -> bool:
    """Return whether a report is new and finite; `kept` has those of the trial so far, by step, rising.

    Raises `InvalidObservation` for a step that is no whole number, negative, beyond 63 bits, or new and below the last.
    """
    step = plain(step)
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise InvalidObservation(f"step {step!r} is not a whole number of at least 0", hint="count steps from 0")
    if step >= 2**63:
        raise InvalidObservation(f"step {step!r:.80} is too large to be kept", hint="use at most 63 bits")
    number = as_number(value, "reported value")
    if step in kept:
        return False
    if kept and step < max(kept):
        raise InvalidObservation(f"step {step} is below the last one reported", hint="report steps in order")
    return math.isfinite(number)
