"""What a change means: nothing, benign, probable harm, confirmed harm, broken data, or not known yet.

A pure function joins what the monitor knows: did the data change, how much accuracy is estimated to be lost, what do
the labels say, is the data whole. The line between change and harm is that of Podkopaev & Ramdas (2022): a risk above
the reference's by more than a tolerance. `docs/harm.md` has the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import Any, final

import numpy as np

from visutility.core.errors import InvalidSetting
from visutility.monitor.estimate import Estimate
from visutility.monitor.risk import Risk

_FEW = 30  # rows below which an estimate says nothing


class HarmKind(StrEnum):
    """What a change means. The value is the words for it."""

    FINE = "fine"
    BENIGN = "data changed (benign)"
    PROBABLE = "probable harm"
    CONFIRMED = "confirmed harm"
    BROKEN = "data broken"
    UNKNOWN = "not enough data yet"


@final
@dataclass(frozen=True, slots=True)
class Harm:
    """The verdict on a window: its kind, one sentence that explains it, and the numbers it rests on."""

    kind: HarmKind
    words: str
    tolerance: float
    drift: bool | None
    estimate: Estimate | None = None
    risk: Risk | None = None
    broken: tuple[str, ...] = ()

    @property
    def starts_retrain(self) -> bool:
        """Whether a policy may start a retraining on it: on harm alone, never on a benign change or broken data."""
        return self.kind in (HarmKind.PROBABLE, HarmKind.CONFIRMED)

    @property
    def quarantines(self) -> bool:
        """Whether the data must be kept out of training: on broken data."""
        return self.kind is HarmKind.BROKEN

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        risk: dict[str, Any] | None = None
        if self.risk is not None:
            risk = {"seen": self.risk.seen, "mean": self.risk.mean, "low": self.risk.low, "high": self.risk.high}
            risk["mean"] = self.risk.mean if self.risk.seen else None
        return {
            "kind": self.kind.value,
            "words": self.words,
            "tolerance": self.tolerance,
            "drift": self.drift,
            "starts_retrain": self.starts_retrain,
            "estimate": None if self.estimate is None else self.estimate.to_json(),
            "risk": risk,
            "broken": list(self.broken),
        }


def judge_harm(
    drift: bool | np.bool_ | float | None,
    estimate: Estimate | None = None,
    risk: Risk | None = None,
    broken: Sequence[str] = (),
    *,
    tolerance: float = 0.05,
    level: float = 0.05,
) -> Harm:
    """Return what a change means, from whatever is known; every argument may be missing.

    `drift`: a detector's alarm (bool) or a test's p-value, which is compared with `level`. `estimate`: of the current
    window, labels missing. `risk`: of the labels that came for the same window, see `RiskTracker`; its own tolerance
    decides. `broken`: names of failed quality checks (a camera that sends black images); they win over everything,
    because neither a test nor an estimate means anything on broken data. `tolerance`: how much worse the metric may
    get, in its units. Labels that established harm win over an estimate; labels that bound the risk below the
    threshold win over an estimate of harm; an estimate speaks where labels are silent. Probable harm asks for an
    estimated loss above the tolerance and an interval that excludes "no loss". Pure: reads no clock and keeps nothing.
    Raises `InvalidSetting` for a level, p-value or tolerance outside [0, 1]; only a tolerance of an estimated mean
    absolute error, which has a unit, may be above 1.
    """
    with_unit = estimate is not None and estimate.metric == "mae"
    for name, value, most in (("tolerance", tolerance, math.inf if with_unit else 1.0), ("level", level, 1.0)):
        if not _is_from_0(value, most):
            words = "a number from 0 on" if most > 1.0 else "in [0, 1]"
            raise InvalidSetting(f"{name} {value!r} is not {words}", hint="give a number, such as 0.05")
    changed = _changed(drift, level)
    failed = (broken,) if isinstance(broken, str) else tuple(broken)
    kind, words = _kind(changed, estimate, risk, failed, tolerance)
    return Harm(kind, words, tolerance, changed, estimate, risk, failed)


def _changed(drift: bool | np.bool_ | float | None, level: float) -> bool | None:
    if drift is None:
        return None
    given: Any = drift
    if isinstance(given, np.ndarray) and given.ndim == 0:
        given = given.item()
    if isinstance(given, (bool, np.bool_)):  # the second is what `verdicts.alarm` holds
        return bool(given)
    if not _is_from_0(given, 1.0):
        raise InvalidSetting(f"drift {drift!r} is no p-value", hint="give a bool, or a p-value in [0, 1]")
    return bool(given <= level)


def _is_from_0(value: Any, most: float) -> bool:
    return isinstance(value, Real) and bool(0.0 <= float(value) <= most)


def _kind(
    changed: bool | None, estimate: Estimate | None, risk: Risk | None, broken: tuple[str, ...], tolerance: float
) -> tuple[HarmKind, str]:
    if broken:
        return (
            HarmKind.BROKEN,
            f"The data is broken ({', '.join(broken)}): nothing is learnt from it, nothing judged by it.",
        )
    if risk is not None and risk.harmful:
        return HarmKind.CONFIRMED, (
            f"Labels confirm harm since label {risk.since}: the mean loss is {risk.mean:.3f} over {risk.seen} labels, "
            f"above {risk.threshold:.3f}, the reference's bound plus the tolerance."
        )
    quiet = HarmKind.BENIGN if changed else HarmKind.FINE
    change = {True: "The data changed", False: "No change was found", None: "No test for change was made"}[changed]
    if risk is not None and risk.harmless:
        return quiet, (
            f"{change}; {risk.seen} labels bound the mean loss by {risk.high:.3f}, not above {risk.threshold:.3f}."
        )
    if estimate is not None and estimate.rows[1] >= _FEW:
        return _by_estimate(estimate, tolerance, quiet, change)
    if changed is False:
        return HarmKind.FINE, f"{change}; labels and estimates are still missing."
    return HarmKind.UNKNOWN, f"{change}; there are not enough labels or scores to say whether it does harm."


def _by_estimate(estimate: Estimate, tolerance: float, quiet: HarmKind, change: str) -> tuple[HarmKind, str]:
    worse, name = estimate.worse, estimate.metric
    loss = (
        f"{name} is estimated at {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] without labels, "
        f"{abs(worse):.3f} {'worse' if worse > 0.0 else 'better'} than the reference's {estimate.reference:.3f}"
    )
    if worse <= tolerance:
        return quiet, f"{change}; {loss}: within the tolerance of {tolerance:g}."
    if estimate.worse_low > 0.0:
        return HarmKind.PROBABLE, f"{change}; {loss}: beyond the tolerance of {tolerance:g}. No labels confirm it yet."
    return (
        HarmKind.UNKNOWN,
        f"{change}; {loss}: beyond the tolerance of {tolerance:g}, but no loss at all is possible too.",
    )
