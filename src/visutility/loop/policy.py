"""What makes a model retrain: pure functions from what was seen to what is done, with the reason in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from msgspec import field
from numpy.typing import NDArray

from visutility.core.errors import Invalid, InvalidSetting
from visutility.monitor import Harm, HarmKind, make_detector
from visutility.monitor.risk import checked_losses
from visutility.monitor.stats import mean_upper
from visutility.tune.factory import find_strategy

MODES = {
    "suggest": "tell people, start nothing",
    "ask": "retrain, then wait for a person before promoting",
    "promote": "retrain and promote what the gate passes",
}


HARM_LEVEL = 0.05  # the chance that a bound on a rise is wrong, half for the reference, half for the values since
AT_WORK = "is already at work on this model"  # how the reason ends where one run is why no other begins
LOOKS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # the numbers of values that a rise is measured on


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the model under one detector. `metric` is in [0, 1] and larger is worse.

    `tolerance` is the rise of the metric's mean over its reference window that is not worth a retrain, in the metric's
    units. None: every alarm counts. For 1 - the largest softmax score that rise is the drop of the mean confidence,
    which estimates the drop of the accuracy (difference of confidences, Guillory et al. 2021).
    """

    metric: str = "error"
    detector: str = "e-detector"
    settings: dict[str, Any] = field(default_factory=lambda: {"arl": 1e6})
    tolerance: float | None = None

    def __post_init__(self) -> None:
        """Raise `InvalidSetting` for a tolerance that is no share, or one on a metric that gets worse by falling."""
        if self.tolerance is None:
            return
        number = isinstance(self.tolerance, int | float) and not isinstance(self.tolerance, bool)
        if not number or not 0.0 <= self.tolerance <= 1.0:
            raise InvalidSetting(
                f"tolerance is {self.tolerance!r}, not in [0, 1]",
                hint="give the rise that you can live with, such as 0.05; None: every alarm counts",
            )
        if self.settings.get("direction", "rise") != "rise":
            raise InvalidSetting(
                f"{self.metric} has a tolerance and the direction {self.settings['direction']!r}",
                hint="a tolerance is a rise: watch 1 - the metric instead",
            )


class GateRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a challenger must show. `alpha` bounds the chance of each wrong answer, however often it is asked.

    On fresh rows the challenger must lose less than the champion by more than `better_by` (a mean loss); on old rows
    and on every slice of at least `slice_rows` rows it must not lose more by `worse_by` or more.
    """

    alpha: float = 0.05
    better_by: float = 0.0
    worse_by: float = 0.1
    slice_rows: int = 100

    def __post_init__(self) -> None:
        """Raise `InvalidSetting` for a rule nothing can satisfy."""
        _within("alpha", self.alpha, 0.0, 0.5)
        _within("better_by", self.better_by, -1.0, 1.0)
        _within("worse_by", self.worse_by, 0.0, 1.0)
        if self.slice_rows < 1:
            raise InvalidSetting(f"slice_rows is {self.slice_rows}", hint="use 1 or more")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When and how one model retrains itself. Times in seconds, rows and trials in counts."""

    watches: tuple[Watch, ...] = field(default_factory=lambda: (Watch(),))
    mode: str = "promote"
    cooldown: float = 3600.0
    budget_runs: int = 10
    budget_period: float = 7 * 86_400.0
    trials: int = 12
    parallel: int = 2
    strategy: str = "auto"
    trial_seconds: float = 600.0
    trial_memory_mb: int | None = None
    train_rows: int = 300
    gate_rows: int = 150
    replay_rows: int = 10_000
    settle_rows: int = 30
    wait_seconds: float = 5.0
    seed: int = 0
    gate: GateRules = field(default_factory=GateRules)

    def __post_init__(self) -> None:
        """Raise `InvalidSetting` for settings that cannot work, with the value and the range."""
        if self.mode not in MODES:
            raise InvalidSetting(f"mode is {self.mode!r}", hint=f"choose one of {sorted(MODES)}")
        if not self.watches:
            raise InvalidSetting("the policy watches nothing", hint="give it at least one Watch")
        metrics = sorted({watch.metric for watch in self.watches})
        if len(metrics) > 1:
            raise InvalidSetting(
                f"the policy watches {metrics}",
                hint="watch one metric, by several detectors if you like: they share a reference",
            )
        if self.trial_memory_mb is not None and self.trial_memory_mb < 1:
            raise InvalidSetting(f"trial_memory_mb is {self.trial_memory_mb}", hint="use 1 or more, or None")
        for name in ("budget_runs", "trials", "parallel", "train_rows", "gate_rows"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{name} is {getattr(self, name)}", hint="use 1 or more")
        for name in ("cooldown", "replay_rows", "settle_rows"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidSetting(f"{name} is {getattr(self, name)}", hint="use 0 or more")
        for name in ("budget_period", "trial_seconds", "wait_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidSetting(f"{name} is {getattr(self, name)}", hint="use a finite number above 0")


def read_policy(settings: object) -> Policy:
    """Return the policy of plain data. Raises `Invalid` naming the field that does not fit."""
    try:
        return msgspec.convert(settings, Policy)
    except msgspec.ValidationError as error:
        raise Invalid(f"not a policy: {error}", hint="docs/loop.md lists every field") from error


def checked(policy: Policy) -> Policy:
    """Return the policy if it can work: types, strategy and detectors known, enough gate rows to learn a limit from.

    Raises `Invalid` or `InvalidSetting`.
    """
    sound = read_policy(msgspec.to_builtins(policy))
    if sound.strategy != "auto":
        find_strategy(sound.strategy)
    for one in sound.watches:
        least = make_detector(one.detector, **one.settings).smallest_reference
        if sound.gate_rows < least:
            raise InvalidSetting(
                f"gate_rows is {sound.gate_rows}",
                hint=f"{one.detector} learns a new version's limits from at least {least}",
            )
    return sound


@dataclass(frozen=True, slots=True)
class Situation:
    """What the policy looks at, besides the alarm: all read in the alarm's own transaction.

    `harm` is what the change means, where the alarm's watch has a tolerance.
    """

    now: datetime
    active_run: str | None
    last_trigger: datetime | None
    runs_in_period: int
    harm: Harm | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about an alarm: `kind` is "run", "suggest", "refuse" or "wait"; `reason` is for people.

    "wait" is no answer yet: the alarm is decided by the values to come.
    """

    kind: str
    reason: str


def decide(policy: Policy, seen: Situation) -> Decision:
    """Return what an alarm leads to under this policy."""
    found = "an alarm" if seen.harm is None else f"{seen.harm.kind.value}: {seen.harm.words}"
    if seen.harm is not None and not seen.harm.starts_retrain:
        return Decision("wait" if seen.harm.kind is HarmKind.UNKNOWN else "refuse", found)
    if seen.active_run is not None:
        return Decision("refuse", f"run {seen.active_run} {AT_WORK}")
    if seen.last_trigger is not None:
        ready = seen.last_trigger + timedelta(seconds=policy.cooldown)
        if seen.now < ready:
            return Decision("refuse", f"cooling down until {ready:%Y-%m-%d %H:%M:%S} UTC")
    if seen.runs_in_period >= policy.budget_runs:
        days = policy.budget_period / 86_400
        return Decision("refuse", f"the budget of {policy.budget_runs} runs in {days:g} days is spent")
    if policy.mode == "suggest":
        return Decision("suggest", f"{found}; the policy only suggests: a person decides whether to retrain")
    return Decision("run", f"{found}, no run at work, no cooldown, {seen.runs_in_period} runs in the budget period")


class Normal(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference window says of the mean of the metric: itself, and bounds on that of what it is drawn from."""

    rows: int
    mean: float
    mean_low: float
    mean_high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Normal":
        """Return it for a reference window, shape (n,). Raises `InvalidObservation` for values not in [0, 1]."""
        low, high = _bounds(checked_losses(values, "the reference window"), HARM_LEVEL / 2.0)
        return cls(rows=len(values), mean=float(values.mean()), mean_low=low, mean_high=high)

    @property
    def patience(self) -> int:
        """Values after an alarm by which it is decided: four times the reference's, then twice as precise as it is."""
        return next((look for look in LOOKS if look >= 4 * self.rows), LOOKS[-1])


def looks(normal: Normal, before: int, now: int) -> bool:
    """Return whether to look again at a stream that had `before` values since an alarm and has `now`."""
    return any(before < look <= now for look in LOOKS if look <= normal.patience)


def weigh_alarm(metric: str, values: NDArray[np.float64], normal: Normal, tolerance: float) -> Harm:
    """Return what an alarm means, as far as the values up to it, oldest first, leave no doubt.

    Nobody knows since when they are worse, so the last 16, 32, 64, ... are each compared with the reference. A stretch
    that made an alarm is worse than what follows, by luck: so only what is beyond doubt is said of it. Probable harm:
    the lower bound of a rise is above the tolerance. Benign: the upper bound of the rise that is surest is not.
    """
    sizes = [look for look in LOOKS if look < len(values)] + [len(values)]
    rises = [_rise(values[-size:], normal) for size in sizes]
    surest = int(np.argmax([low for _, low, _ in rises]))
    return _judged(metric, rises[surest], f"the last {sizes[surest]} values", tolerance)


def weigh_since(metric: str, values: NDArray[np.float64], normal: Normal, tolerance: float, *, last: bool) -> Harm:
    """Return what an alarm means by the values after it: by bounds or, with `last`, by their mean.

    No choice was made among these values, so that their mean is not too high by luck.
    """
    return _judged(metric, _rise(values, normal), f"{len(values)} values since the alarm", tolerance, last=last)


def _judged(metric: str, rise: tuple[float, float, float], where: str, tolerance: float, *, last: bool = False) -> Harm:
    mean, low, high = rise
    words = f"{metric} {'rose' if mean > 0.0 else 'fell'} by {abs(mean):.3f} [{low:.3f}, {high:.3f}] over {where}"
    if low > tolerance or (last and mean > tolerance):
        return Harm(HarmKind.PROBABLE, f"{words}, beyond the tolerance of {tolerance:g}", tolerance, True)
    if high <= tolerance or last:
        return Harm(HarmKind.BENIGN, f"{words}, within the tolerance of {tolerance:g}", tolerance, True)
    return Harm(HarmKind.UNKNOWN, f"{words}, with the tolerance of {tolerance:g} inside", tolerance, True)


def _rise(values: NDArray[np.float64], normal: Normal) -> tuple[float, float, float]:
    """Return how much the mean of some values is above the reference's, and bounds on it; one value at least."""
    seen = np.clip(values, 0.0, 1.0)
    low, high = _bounds(seen, HARM_LEVEL / 2.0 / len(LOOKS))
    return float(seen.mean()) - normal.mean, low - normal.mean_high, high - normal.mean_low


def _bounds(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return bounds on the mean that values in [0, 1] are drawn from, each wrong with a chance of at most `level`."""
    return 1.0 - mean_upper(1.0 - values, level), mean_upper(values, level)


def settled(values: Sequence[float] | NDArray[np.float64], rows: int) -> bool:
    """Return whether the values since the alarm look as if the change is over.

    True when the last `rows` values and the `rows` before them have means that differ by no more than two standard
    errors of that difference, and no more than a quarter of the distance that would fill [0, 1]. A model trained
    while the change goes on is trained for a world that is gone; a wrong "not yet" costs only waiting.
    """
    if rows == 0:
        return True
    seen = np.asarray(values, dtype=np.float64)
    if seen.size < 2 * rows:
        return False
    late, early = seen[-rows:], seen[-2 * rows : -rows]
    gap = abs(float(late.mean() - early.mean()))
    error = math.sqrt((float(late.var()) + float(early.var())) / rows)
    return gap <= min(2 * error, 0.25) or gap == 0.0


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise InvalidSetting(f"{name} is {value!r}", hint=f"use a number between {low:g} and {high:g}")
