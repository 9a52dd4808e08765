"""What strategies try before there is anything to learn from: the best of earlier studies, then an even spread."""

import numpy as np

from visutility.tune.space import Params
from visutility.tune.strategies._fresh import Tried, fresh
from visutility.tune.strategies.sobol import sobol_point
from visutility.tune.strategy import State

RECALLED = 3  # configurations of earlier studies that are tried first


def recalled(state: State) -> Params | None:
    """Return the next of the best earlier configurations that is worth trying first; None when they are used up.

    These are the best of the newest earlier study, then that of the one before, and so on, three at most.
    """
    if not state.history or len(state.observed) + len(state.pending) >= RECALLED:
        return None
    tried = Tried(state)
    for past in reversed(state.history[-RECALLED:]):
        for params, _ in sorted(past.trials, key=lambda trial: trial[1])[:1]:
            adopted = state.space.adopt(params)
            if adopted is not None and state.space.encode(adopted)[0] not in tried:
                return adopted
    return None


def spread(state: State, number: int, draw: np.random.Generator) -> Params:
    """Return a point of the Sobol sequence of this seed; another one where a finite space has had it."""
    dim = state.space.dim
    places = [sobol_point(state.seed, dim, number)]
    return fresh(state, lambda: state.space.decode(places.pop() if places else draw.random(dim)))
