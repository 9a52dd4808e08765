"""A trial, and what may be told about it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypeAlias, final

from visutility.core.errors import InvalidObservation, InvalidSetting, MissingMetric
from visutility.tune.space import Params
from visutility.tune.values import plain

ENQUEUED = "enqueued"
PENDING, COMPLETE, FAILED, PRUNED = "pending", "complete", "failed", "pruned"


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """Told instead of a value: the trial has none, and `reason` says why."""

    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not self.reason:
            raise InvalidObservation(f"failure reason {self.reason!r} is not a text", hint="say why the trial failed")


Result: TypeAlias = float | Mapping[str, float] | Failure


@final
@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation of a configuration. Values are in the study's own direction.

    `origin` is "enqueued" or the strategy's name; `state` is "pending", "complete", "failed" or "pruned"; `reports`
    are (step, value) in order of step.
    """

    number: int
    params: Params
    origin: str
    state: str = PENDING
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    reports: tuple[tuple[int, float], ...] = ()

    def ended(self, outcome: "Outcome") -> "Trial":
        """Return this trial with its end."""
        o = outcome
        return replace(self, state=o.state, value=o.value, metrics=o.metrics, failure=o.failure)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return {
            "number": self.number,
            "params": self.params,
            "origin": self.origin,
            "state": self.state,
            "value": self.value,
            "metrics": dict(self.metrics),
            "failure": self.failure,
            "reports": [list(report) for report in self.reports],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Trial":
        """Return the trial that `to_json` wrote."""
        reports = tuple((int(step), float(value)) for step, value in data["reports"])
        return Trial(**{**data, "params": dict(data["params"]), "reports": reports})


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: "complete" with a finite value, "failed" with a reason, or "pruned"."""

    state: str
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


def judge(result: Result, objective: str) -> Outcome:
    """Return what a told result means.

    A mapping gives the objective by name, and other metrics to keep (those not finite are left out). A value that is
    not finite is a failed trial. Raises `MissingMetric` when the mapping lacks the objective, `InvalidObservation` for
    what is no number.
    """
    if isinstance(result, Failure):
        return Outcome(FAILED, failure=result.reason)
    metrics: dict[str, float] = {}
    if isinstance(result, Mapping):
        if objective not in result:
            raise MissingMetric(
                f"metrics {sorted(map(str, result))} lack the objective {objective!r}",
                hint=f"report {objective!r}, or tell a Failure with the reason",
            )
        metrics = {checked_metric(name): as_number(value, f"metric {name!r}") for name, value in result.items()}
        value = metrics[objective]
        metrics = {name: number for name, number in metrics.items() if math.isfinite(number)}
    else:
        value = as_number(result, "value")
    if not math.isfinite(value):
        return Outcome(FAILED, metrics=metrics, failure=f"{objective} is {value}")
    return Outcome(COMPLETE, value, metrics)


def as_number(value: object, what: str) -> float:
    """Return a real number as a float, NaN and infinities included; raise `InvalidObservation` for anything else."""
    given = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else plain(value)
    if isinstance(given, bool) or not isinstance(given, Real):
        raise InvalidObservation(f"{what} {value!r} is not a number", hint="tell a number, metrics or a Failure")
    return float(given)


def checked_metric(name: object) -> str:
    """Return the name of a metric; raise `InvalidObservation` when it is not a text."""
    if not isinstance(name, str) or not name:
        raise InvalidObservation(f"metric name {name!r} is not a text", hint="name it")
    return name


def sign(direction: str) -> float:
    """Return what turns a value of this direction into "lower is better": 1 or -1."""
    if direction not in ("minimize", "maximize"):
        raise InvalidSetting(f"direction {direction!r} is unknown", hint="use 'minimize' or 'maximize'")
    return 1.0 if direction == "minimize" else -1.0
