"""Our detectors as River drift detectors. Needs the `river` extra.

detector = RiverDetector("page_hinkley", arl=1e5)
"""

import math
from typing import Any, Literal, final

from visutility.core.errors import InvalidObservation, InvalidSetting, MissingExtra
from visutility.monitor import AbstractDetector, Level, Verdict, make_detector

try:
    from river.base import DriftAndWarningDetector
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "river":
        raise
    raise MissingExtra("River is not installed", hint="pip install 'visutility[river]'") from error


@final
class RiverDetector(DriftAndWarningDetector):
    """A drift detector of River's that is one of ours: wherever River takes one, and cloned and pickled as its own are.

    `kind` is a name that `make_detector` knows and `settings` go to it. `direction` is which way is worse: "rise"
    (errors, the default), "fall", or "both", which watches with two detectors: false alarms come twice as often then.
    With `reference`, a tuple of values, the stream is compared with these; without, it learns from its first values.

    `drift_detected` is true after the update with an alarm, `warning_detected` after those whose score is as high as at
    a warning since. `verdict` is the last one that was not OK. The
    detector arms itself again after an alarm. Takes a value at a time, as River does: a fleet takes them a hundred
    times faster. River tells its drift detectors no times: what goes by the clock is refused (`InvalidSetting`).
    Raises what `make_detector` and `init` raise, and `InvalidObservation` for what is no finite number.

    >>> detector = RiverDetector("page_hinkley", arl=1e4)
    >>> for x in [0, 0, 0, 0, 1] * 100 + [1, 1, 0] * 20:
    ...     detector.update(x)
    ...     if detector.drift_detected:
    ...         print(detector.verdict.position)
    ...         break
    519
    """

    def __init__(
        self,
        kind: str = "auto",
        direction: Literal["rise", "fall", "both"] = "rise",
        reference: tuple[float, ...] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.direction = direction
        self.reference = reference
        self.settings = settings
        ways = ("rise", "fall") if direction == "both" else (direction,)
        self._detectors: list[AbstractDetector[Any]] = [make_detector(kind, direction=way, **settings) for way in ways]
        if any(one.clocked for one in self._detectors):
            raise InvalidSetting(
                f"{kind} goes by the clock with these settings, and River's drift detectors are told no times",
                hint="give seasonal a period in values, or use a Fleet and update(values, ids, at=...)",
            )
        self._states = [one.init(1 if reference is None else [reference]) for one in self._detectors]
        self._warned = [math.inf for _ in ways]  # the least score of each at a warning since its last alarm
        self._verdict: Verdict | None = None

    @property
    def _tags(self) -> set[str]:
        """None: River's checks ask for it, and its own drift detectors lack it."""
        return set()

    @classmethod
    def _unit_test_skips(cls) -> set[str]:
        """None: River's `check_estimator` asks for it, and its own drift detectors lack it."""
        return set()

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict that was not OK, with its evidence; None before the first."""
        return self._verdict

    @property
    def scores(self) -> tuple[float, ...]:
        """The score of each detector: one, or those of "rise" and "fall". NaN where there is none yet."""
        return tuple(float(one.scores(state)[0]) for one, state in zip(self._detectors, self._states, strict=True))

    def update(self, x: float) -> None:
        """Take one value: a number or a boolean."""
        try:
            value = float(x)
        except (TypeError, ValueError):
            raise InvalidObservation(f"{x!r:.80} is not a number", hint="pass one number at a time") from None
        drift = warning = False
        for at, (one, state) in enumerate(zip(self._detectors, self._states, strict=True)):
            found = one.advance(state, [value])
            for verdict in found:
                self._verdict = verdict
                drift = drift or verdict.level is Level.ALARM
                self._warned[at] = math.inf if verdict.level is Level.ALARM else min(self._warned[at], verdict.score)
            warning = warning or float(found.evidence[0]) >= self._warned[at]
        self._drift_detected = drift
        self._warning_detected = warning and not drift

    def __getstate__(self) -> dict[str, Any]:
        """Return what to pickle: states as the detectors save them."""
        saved = [one.save(state) for one, state in zip(self._detectors, self._states, strict=True)]
        return vars(self) | {"_states": saved}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Go on exactly where it was pickled."""
        vars(self).update(kept)
        self._states = [one.load(data) for one, data in zip(self._detectors, kept["_states"], strict=True)]
