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
from visutility.monitor import make_detector
from visutility.tune.factory import find_strategy

MODES = {
    "suggest": "tell people, start nothing",
    "ask": "retrain, then wait for a person before promoting",
    "promote": "retrain and promote what the gate passes",
}


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the model under one detector. `metric` is in [0, 1] and larger is worse."""

    metric: str = "error"
    detector: str = "e-detector"
    settings: dict[str, Any] = field(default_factory=lambda: {"arl": 1e6})


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
    """What the policy looks at, besides the alarm: all read in the alarm's own transaction."""

    now: datetime
    active_run: str | None
    last_trigger: datetime | None
    runs_in_period: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about an alarm: `kind` is "run", "suggest" or "refuse"; `reason` is for people."""

    kind: str
    reason: str


def decide(policy: Policy, seen: Situation) -> Decision:
    """Return what an alarm leads to under this policy."""
    if seen.active_run is not None:
        return Decision("refuse", f"run {seen.active_run} is already at work on this model")
    if seen.last_trigger is not None:
        ready = seen.last_trigger + timedelta(seconds=policy.cooldown)
        if seen.now < ready:
            return Decision("refuse", f"cooling down until {ready:%Y-%m-%d %H:%M:%S} UTC")
    if seen.runs_in_period >= policy.budget_runs:
        days = policy.budget_period / 86_400
        return Decision("refuse", f"the budget of {policy.budget_runs} runs in {days:g} days is spent")
    if policy.mode == "suggest":
        return Decision("suggest", "the policy only suggests: a person decides whether to retrain")
    return Decision("run", f"an alarm, no run at work, no cooldown, {seen.runs_in_period} runs in the budget period")


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
