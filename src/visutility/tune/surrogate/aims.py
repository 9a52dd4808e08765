"""What the next trial should be good for, where that is more than one value: constraints, beliefs, objectives."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.tune.strategy import State
from visutility.tune.surrogate.acquisition import Process
from visutility.tune.surrogate.beliefs import STRENGTH, Weight, believed, borne_out
from visutility.tune.surrogate.feasible import Feasible, constraint_terms, feasible_rows
from visutility.tune.surrogate.features import Layout
from visutility.tune.surrogate.gp import Posterior
from visutility.tune.surrogate.model import Seen
from visutility.tune.surrogate.multi import BEHIND, several_gain
from visutility.tune.surrogate.terms import Gain, Sum, Term

Array: TypeAlias = NDArray[np.float64]

LIKELY: Final = 0.5  # a pending trial counts as feasible when that is at least so probable


def one_value(
    state: State, plan: Layout, seen: Seen, process: Process, means: Array, less: float, points: int
) -> tuple[Sum, Array]:
    """Return the acquisition of one objective under the constraints and beliefs of `state.problem`.

    `process` has the `means` (n,) at the completed trials; `less` is what an improvement must be at least. The best
    value to improve on is that of the feasible trials; where there is none, the worst value of all, so that finding a
    feasible one comes first. Also returns what orders the completed trials as places to search around.
    """
    feasible = feasible_rows(state, seen)
    constraints = constraint_terms(state, plan, seen, points)
    best = float(means[feasible].min()) if feasible.any() else float(means.max())
    if feasible.any() and len(seen.pending):
        holds = _log_chance(constraints, seen.pending) >= np.log(LIKELY)
        best = min(best, *process.mean(seen.pending)[holds].tolist(), best)
    terms: tuple[Term, ...] = (Gain(process, best - less), *constraints)
    return Sum(terms, plan, weight_of(state, plan, seen)), np.where(feasible, means, means + BEHIND)


def several_values(
    state: State, plan: Layout, seen: Seen, models: list[Posterior], number: int, points: int
) -> tuple[Sum, Array]:
    """Return the acquisition of several objectives, constraints and beliefs included, and what orders the trials.

    `models` are the objectives' processes.
    """
    gain, behind = several_gain(state, seen, models, number)
    terms: tuple[Term, ...] = (gain, *constraint_terms(state, plan, seen, points))
    return Sum(terms, plan, weight_of(state, plan, seen)), behind


def weight_of(state: State, plan: Layout, seen: Seen) -> Weight | None:
    """Return the weight of the user's beliefs after so many trials; None when there are none."""
    if not state.problem.priors:
        return None
    beliefs = believed(state.space, state.problem.priors, plan)
    power = STRENGTH / max(len(state.observed) + len(state.pending), 1)
    logs, _ = Weight(beliefs, plan, 1.0).slopes(seen.x, state.masks[seen.at])
    return Weight(beliefs, plan, power * borne_out(logs, seen.values))


def _log_chance(constraints: list[Feasible], x: Array) -> Array:
    """The log of the probability (m,) that every constraint holds."""
    return np.asarray(np.sum([one.score(x) for one in constraints], axis=0) if constraints else np.zeros(len(x)))
