"""Everything of a study apart from its space, strategy, seed and history, as one value that can be stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, final

from visutility.core.errors import InvalidSetting
from visutility.tune import constraints as bounds
from visutility.tune import priors as beliefs
from visutility.tune.constraints import Constraint, as_constraints
from visutility.tune.fidelity import AUTO, AbstractStopping, MedianStopping, make_stopping, stopping_from_json
from visutility.tune.outlook import Enough
from visutility.tune.priors import Belief, Beliefs, as_priors
from visutility.tune.problem import Problem
from visutility.tune.space import Space
from visutility.tune.trial import COMPLETE, PRUNED, Outcome, Result, Trial, judge, sign
from visutility.tune.values import number

MEDIAN: Final = MedianStopping()  # what every study had before there was a choice


@final
@dataclass(frozen=True, slots=True)
class Options:
    """What a study is after, what is known of it beforehand, and when its trials stop. Make one with `options_of`.

    `objectives` are (metric, direction) pairs, at least one; the first gives a trial's `value`. A study in memory, its
    snapshot and its row in the database share this.
    """

    objectives: tuple[tuple[str, str], ...] = (("value", "minimize"),)
    constraints: tuple[tuple[str, Constraint], ...] = ()
    deterministic: bool = False
    noise: float | None = None
    stopping: AbstractStopping | None = MEDIAN
    priors: Beliefs = ()
    stop_when: Enough | None = None

    @property
    def objective(self) -> str:
        """The metric that a trial's `value` is: the first objective."""
        return self.objectives[0][0]

    @property
    def direction(self) -> str:
        """The direction of the first objective."""
        return self.objectives[0][1]

    @property
    def problem(self) -> Problem:
        """What strategies are told of this."""
        return Problem(len(self.objectives), len(self.constraints), self.deterministic, self.noise, self.priors)

    def judge(self, result: Result) -> Outcome:
        """Return what a told result means; raises as `trial.judge`.

        With several objectives or with constraints, each of their metrics is needed.
        """
        if not self.constraints and len(self.objectives) == 1:
            return judge(result, self.objective)
        needed = dict.fromkeys([*(name for name, _ in self.objectives[1:]), *(name for name, _ in self.constraints)])
        outcome = judge(result, self.objective, tuple(name for name in needed if name != self.objective))
        return replace(outcome, excess=self._excess(outcome.value, outcome.metrics))

    def completed(self, trial: Trial) -> Trial:
        """Return a trial that was read from somewhere with its `excess`, which follows from its metrics."""
        if trial.state != COMPLETE or not self.constraints:
            return trial
        return replace(trial, excess=self._excess(trial.value, trial.metrics))

    def observed(self, ended: Trial) -> tuple[float | None, tuple[float, ...], tuple[float, ...]]:
        """Return what a strategy is told: value, further objectives, excess of each constraint; lower is better.

        A failed trial has none of them. The last report of a pruned trial stands in for its value where there is one
        objective; what it would have done for the constraints is not known.
        """
        if ended.state == PRUNED and ended.reports and len(self.objectives) == 1:
            return sign(self.direction) * ended.reports[-1][1], (), ()
        if ended.state != COMPLETE or ended.value is None:
            return None, (), ()
        others = tuple(sign(direction) * ended.metrics[name] for name, direction in self.objectives[1:])
        excess = self._excess(ended.value, ended.metrics)
        return sign(self.direction) * ended.value, others, tuple(excess.values())

    def _excess(self, value: float | None, metrics: Mapping[str, float]) -> dict[str, float]:
        if value is None or not self.constraints:
            return {}
        known = {**metrics, self.objective: value}
        return {name: one.excess(known[name]) for name, one in self.constraints}

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return {
            "objectives": [list(pair) for pair in self.objectives],
            "constraints": [[name, bounds.to_json(one)] for name, one in self.constraints],
            "deterministic": self.deterministic,
            "noise": self.noise,
            "stopping": None if self.stopping is None else self.stopping.to_json(),
            "priors": [[name, beliefs.to_json(one)] for name, one in self.priors],
            "stop_when": None if self.stop_when is None else asdict(self.stop_when),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Options":
        """Return the options that `to_json` wrote; what an older release did not know has its default."""
        default = USUAL
        return Options(
            tuple((name, direction) for name, direction in data["objectives"]),
            tuple((name, bounds.from_json(one)) for name, one in data.get("constraints", ())),
            data.get("deterministic", default.deterministic),
            data.get("noise", default.noise),
            stopping_from_json(data["stopping"]) if "stopping" in data else default.stopping,
            tuple((name, beliefs.from_json(one)) for name, one in data.get("priors", ())),
            None if data.get("stop_when") is None else Enough(**data["stop_when"]),
        )


USUAL: Final = Options()


def options_of(
    direction: str | Mapping[str, str] = "minimize",
    objective: str = "value",
    *,
    constraints: Mapping[str, Constraint] | None = None,
    deterministic: bool = False,
    noise: float | None = None,
    stopping: str | AbstractStopping | None = AUTO,
    priors: Mapping[str, Belief] | None = None,
    stop_when: Enough | None = None,
    space: Space | None = None,
) -> Options:
    """Return the options a user means, checked; `space` is needed with `priors`.

    Raises `InvalidSetting`, or `InvalidParameter` for a prior outside the space, naming the value and the rule.
    """
    objectives = _objectives(direction, objective)
    if not isinstance(deterministic, bool):
        raise InvalidSetting(f"deterministic is {deterministic!r}", hint="say True or False")
    return Options(
        objectives,
        as_constraints(constraints),
        deterministic,
        _noise(noise, deterministic, objectives),
        make_stopping(stopping),
        as_priors(priors, space),
        _stop_rule(stop_when, objectives),
    )


def _objectives(direction: str | Mapping[str, str], objective: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(objective, str) or not objective:
        raise InvalidSetting(f"objective {objective!r} is not a text", hint="name the metric")
    if not isinstance(direction, Mapping):
        sign(direction)
        return ((objective, direction),)
    if objective != "value":
        raise InvalidSetting(
            f"objective {objective!r} beside the directions {dict(direction)!r:.80}",
            hint="leave `objective` out: the directions name the metrics",
        )
    if not direction:
        raise InvalidSetting("direction {} names no metric", hint="write {'accuracy': 'maximize'}")
    for name, one in direction.items():
        if not isinstance(name, str) or not name:
            raise InvalidSetting(f"direction names the metric {name!r}, not a text", hint="name the metric")
        sign(one)
    return tuple(direction.items())


def _noise(noise: object, deterministic: bool, objectives: Sequence[object]) -> float | None:
    if noise is None:
        return None
    given = number(noise)
    if given is None or given < 0:
        raise InvalidSetting(
            f"noise {noise!r} is not a standard deviation", hint="give a number of at least 0, or None to learn it"
        )
    if deterministic and given > 0:
        raise InvalidSetting(f"noise {noise!r} of a deterministic objective", hint="leave one of the two out")
    if len(objectives) > 1:
        raise InvalidSetting(
            f"noise {noise!r} with {len(objectives)} objectives", hint="leave it out: it is learnt for each"
        )
    return given


def _stop_rule(rule: object, objectives: Sequence[object]) -> Enough | None:
    if rule is not None and not isinstance(rule, Enough):
        raise InvalidSetting(
            f"stop_when {rule!r:.80} is no rule", hint="use Enough(gain=…) or None: go on to the budget"
        )
    if rule is not None and len(objectives) > 1:
        raise InvalidSetting(
            f"stop_when with {len(objectives)} objectives", hint="it speaks of one objective: set a budget instead"
        )
    return rule
