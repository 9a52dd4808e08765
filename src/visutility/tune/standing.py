"""How a study stands: its best trial, its front and the volume that it dominates, and what is still to be gained."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import Invalid, InvalidSetting, TrialNotFound
from visutility.tune.options import Options
from visutility.tune.outlook import Enough, Outlook, checked_gain
from visutility.tune.pareto import front, hypervolume
from visutility.tune.search import best_of, feasible_of
from visutility.tune.strategy import State
from visutility.tune.surrogate.stop import outlook
from visutility.tune.trial import COMPLETE, Trial, as_number, sign

Array: TypeAlias = NDArray[np.float64]


def best_with(trials: Iterable[Trial], options: Options) -> Trial:
    """Return `best_of` the trials; raises `Invalid` when there are several objectives."""
    if len(options.objectives) > 1:
        names = [name for name, _ in options.objectives]
        raise Invalid(f"no single trial is the best of {names}", hint="read `front`: the trials no other one beats")
    return best_of(trials, options.direction)


def front_of(trials: Iterable[Trial], options: Options) -> list[Trial]:
    """Return the feasible trials that no other one dominates, by number. Raises `TrialNotFound` when there is none."""
    found = feasible_of(trials)
    return [found[place] for place in front(_points(found, options))]


def volume_of(trials: Iterable[Trial], options: Options, reference: Mapping[str, float]) -> float:
    """Return the volume that the feasible trials dominate, bounded by the reference in each objective's direction.

    0 where no trial is feasible. Raises `InvalidSetting` for a reference that lacks an objective.
    """
    if not isinstance(reference, Mapping) or any(name not in reference for name, _ in options.objectives):
        names = [name for name, _ in options.objectives]
        raise InvalidSetting(
            f"reference {reference!r:.80} does not give each of {names}", hint=f"give {{{names[0]!r}: …}}"
        )
    bound = [
        sign(direction) * as_number(reference[name], f"reference {name!r}") for name, direction in options.objectives
    ]
    try:
        found = feasible_of(trials)
    except TrialNotFound:
        return 0.0
    return hypervolume(_points(found, options), bound)


def outlook_of(
    state: State, trials: Iterable[Trial], options: Options, ahead: int, gain: float | None, cost: str | None
) -> Outlook:
    """Return what the next `ahead` trials are expected to gain; raises as `Study.outlook`."""
    rule = Enough(gain, trials=ahead)  # checks both
    if len(options.objectives) > 1:
        raise InvalidSetting(
            f"the outlook of {len(options.objectives)} objectives", hint="it speaks of one: compare `hypervolume`"
        )
    costs = [1.0]
    if cost is not None:
        costs = [trial.metrics[cost] for trial in trials if trial.state == COMPLETE and cost in trial.metrics]
        if not costs:
            raise TrialNotFound(f"no complete trial told the metric {cost!r}", hint="tell it beside the objective")
    found = outlook(state, rule.trials, checked_gain(rule.gain), sum(costs) / len(costs), cost or "trials")
    if found is None:
        raise TrialNotFound("too few trials to look ahead", hint="four that hold the constraints have to be told first")
    return found


def _points(trials: list[Trial], options: Options) -> Array:
    """The objectives (n, m) of complete trials, lower is better."""
    seen = [options.observed(trial) for trial in trials]
    return np.array([(value, *others) for value, others, _ in seen], dtype=np.float64)
