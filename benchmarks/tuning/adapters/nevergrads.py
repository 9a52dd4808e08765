"""Nevergrad's NGOpt. Conditions are its own: a choice among dictionaries, each branch with its own copy."""

import logging
import warnings
from typing import Any

from benchmarks.tuning.adapters.common import Ask, Tell, Worst, children, grid, is_parent, unnested
from visutility.tune import Choice, Float, Params, Space


def nevergrad_ngopt(space: Space, seed: int, budget: int) -> tuple[Ask, Tell]:
    """NGOpt, which picks an algorithm by space and budget."""
    import nevergrad as ng
    import numpy as np

    logging.getLogger("nevergrad").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="nevergrad")
    warnings.filterwarnings("ignore", module="cma")
    top = ng.p.Dict(**{n: node(ng.p, space, n) for n, p in space.parameters.items() if p.when is None})
    top.random_state = np.random.RandomState(seed)
    optimizer = ng.optimizers.NGOpt(parametrization=top, budget=budget)
    worst = Worst()

    def ask() -> tuple[Any, Params]:
        candidate = optimizer.ask()
        return candidate, unnested(space, candidate.value)

    def tell(candidate: Any, loss: float) -> None:
        told = worst.of(loss)
        if told is not None:
            optimizer.tell(candidate, told)

    return ask, tell


def node(kinds: Any, space: Space, name: str) -> Any:
    """One parameter with those below it."""
    p: Any = space.parameters[name]
    if isinstance(p, Choice) or is_parent(space, name):
        branches = []
        for value in grid(p):
            below = {other: node(kinds, space, other) for other in children(space, name, value)}
            branches.append(kinds.Dict(value=value, **below) if below else value)
        ordered = not isinstance(p, Choice) or p.ordered
        return kinds.TransitionChoice(branches) if ordered else kinds.Choice(branches)
    made = kinds.Log(lower=p.low, upper=p.high) if p.log else kinds.Scalar(lower=p.low, upper=p.high)
    return made if isinstance(p, Float) else made.set_integer_casting()
