"""A trial, and what may be told about it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeAlias, final

from visutility.core.errors import InvalidObservation, InvalidSetting, MissingMetric, TrialNotFound
from visutility.tune.space import Params
from visutility.tune.values import plain

ENQUEUED = "enqueued"
PENDING, COMPLETE, FAILED, PRUNED = "pending", "complete", "failed", "pruned"
PAUSED = "paused"


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

    `origin` is "enqueued" or the strategy's name; `state` is "pending", "paused", "complete", "failed" or "pruned";
    `reports` are (step, value) in order of step. With several objectives `value` is the first one's, and `metrics` has
    them all.
    `excess` says by how much each constrained metric of a complete trial breaks its bound (not at all at 0 and below).
    """

    number: int
    params: Params
    origin: str
    state: str = PENDING
    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    reports: tuple[tuple[int, float], ...] = ()
    excess: Mapping[str, float] = field(default_factory=dict)

    @property
    def resume_from(self) -> int | None:
        """The last step reported, None before the first: where a trial that was paused goes on."""
        return self.reports[-1][0] if self.reports else None

    @property
    def feasible(self) -> bool:
        """Whether the trial is complete and breaks no constraint."""
        return self.state == COMPLETE and all(one <= 0.0 for one in self.excess.values())

    def ended(self, outcome: "Outcome") -> "Trial":
        """Return this trial with its end."""
        o = outcome
        return Trial(
            self.number, self.params, self.origin, o.state, o.value, o.metrics, o.failure, self.reports, o.excess
        )

    def copied(self) -> "Trial":
        """Return an equal trial whose parameters and metrics the caller may change."""
        t = self
        params, metrics, excess = dict(t.params), dict(t.metrics), dict(t.excess)
        return Trial(t.number, params, t.origin, t.state, t.value, metrics, t.failure, t.reports, excess)

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
            "excess": dict(self.excess),
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
    excess: Mapping[str, float] = field(default_factory=dict)


def judge(result: Result, objective: str, also: Sequence[str] = ()) -> Outcome:
    """Return what a told result means.

    A mapping gives the objective by name, and other metrics to keep (those not finite are left out). `also` names
    metrics that the study needs as well: further objectives, and those it constrains. Where one of them or the
    objective is not finite, the trial failed. Raises `MissingMetric` when one is lacking, `InvalidObservation` for what
    is no number.
    """
    if isinstance(result, Failure):
        return Outcome(FAILED, failure=result.reason)
    if not isinstance(result, Mapping):
        number = as_number(result, "value")
        if also:
            raise MissingMetric(
                f"the number {result!r} alone lacks {list(also)}",
                hint=f"tell metrics: {{{objective!r}: {number:g}, …}}",
            )
        if not math.isfinite(number):
            return Outcome(FAILED, failure=f"{objective} is {number}")
        return Outcome(COMPLETE, number)
    if objective not in result:
        raise MissingMetric(
            f"metrics {sorted(map(str, result))} lack the objective {objective!r}",
            hint=f"report {objective!r}, or tell a Failure with the reason",
        )
    if lacking := [name for name in also if name not in result]:
        raise MissingMetric(
            f"metrics {sorted(map(str, result))} lack {lacking}, which the study needs",
            hint=f"report {lacking[0]!r} too, or tell a Failure with the reason",
        )
    told = {checked_metric(name): as_number(value, f"metric {name!r}") for name, value in result.items()}
    metrics = {name: number for name, number in told.items() if math.isfinite(number)}
    for name in (objective, *also):
        if name not in metrics:
            return Outcome(FAILED, metrics=metrics, failure=f"{name} is {told[name]}")
    return Outcome(COMPLETE, metrics[objective], metrics)


def number_of(trial: object) -> int:
    """Return the number of a trial, given by itself; raise `TrialNotFound` for what is neither."""
    number = plain(trial.number if isinstance(trial, Trial) else trial)
    if isinstance(number, bool) or not isinstance(number, int):
        raise TrialNotFound(
            f"{trial!r:.80} is a {type(trial).__name__}, neither a trial nor its number",
            hint="give the Trial that `ask` returned, or its number as an int: tell(trial, value)",
        )
    return number


def check_same(asked: Trial, given: Trial) -> None:
    """Raise `TrialNotFound` where the parameters of a trial are not those it was asked with."""
    wrong = next(
        (name for name, value in given.params.items() if not _equal(asked.params.get(name, value), value)), None
    )
    if wrong is not None:
        raise TrialNotFound(
            f"trial {asked.number} was asked with {wrong}={asked.params[wrong]!r}, not {given.params[wrong]!r:.80}: "
            "it is of another study, or its params were changed",
            hint="tell the study that asked for it; a configuration of your own is asked for with `enqueue(params)`",
        )


def _equal(asked: Any, given: Any) -> bool:
    """Whether a setting is the one asked for; an array of them is not."""
    if asked is given:
        return True
    same = plain(asked == given)
    return isinstance(same, bool) and same


def as_number(value: object, what: str) -> float:
    """Return a real number as a float, NaN and infinities included; raise `InvalidObservation` for anything else."""
    if type(value) is float:
        return value
    given = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else plain(value)
    if isinstance(given, bool) or not isinstance(given, Real):
        raise InvalidObservation(f"{what} {value!r:.80} is not a number", hint="tell a number, metrics or a Failure")
    try:
        return float(given)
    except OverflowError:
        raise InvalidObservation(f"{what} is beyond what a float holds", hint="tell a smaller number") from None


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
