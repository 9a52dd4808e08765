"""A child process that prints what a strategy suggests: `python -m visutility.testing._suggest` reads a request."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from visutility.core.codec import dumps, loads
from visutility.tune import AbstractStrategy, Params, Space, State


def sphere(space: Space, params: Params) -> float:
    """Return the squared distance from a place off the middle of the cube, over the active columns."""
    unit, mask = space.encode(params)
    return float((((unit - 0.3) * mask) ** 2).sum())


def follow(
    strategy: AbstractStrategy, state: State, trials: int, told: Callable[[float], float | None] = float
) -> tuple[State, list[Params]]:
    """Return the state and the suggestions after so many more trials, one at a time, told `told(sphere)` each."""
    suggested: list[Params] = []
    for _ in range(trials):
        number = len(state.observed) + len(state.pending)
        params = strategy.suggest(state, number)
        suggested.append(params)
        state = strategy.asked(state, number, params)
        state = strategy.observe(state, number, params, told(sphere(state.space, params)))
    return state, suggested


def answer(request: dict[str, Any]) -> list[list[Params]]:
    """Return the suggestions in each space, for {module, name, settings, spaces, seed, trials}."""
    strategy = getattr(import_module(request["module"]), request["name"])(**request["settings"])
    starts = [strategy.init(Space.from_json(space), request["seed"]) for space in request["spaces"]]
    return [follow(strategy, start, request["trials"])[1] for start in starts]


if __name__ == "__main__":
    sys.stdout.write(dumps(answer(loads(sys.stdin.read()))))
