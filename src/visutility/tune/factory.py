"""Which strategy: by name, or chosen by the space, the budget, the workers, the history and the kind of data.

A strategy of another package is found by its entry point in the group `visutility.strategies`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import Any, final

from visutility.core.errors import InvalidSetting
from visutility.tune.problem import Problem
from visutility.tune.space import Choice, Space
from visutility.tune.strategies import STRATEGIES
from visutility.tune.strategy import ONE_VALUE, AbstractStrategy, Past
from visutility.tune.surrogate.memory import STUDIES
from visutility.tune.values import number, plain

GROUP = "visutility.strategies"
AUTO = "auto"
MODALITIES = ("audio", "graph", "image", "other", "tabular", "text", "timeseries", "video")

_FEW = {"image": 2}  # trials that cost minutes each: learn from the second on; elsewhere:
_FEW_ELSEWHERE = 4
_TOO_WIDE = 100  # parameters beyond which steps from the best trial do better than a surrogate
_LONG = 2000  # trials from which on CMA-ES finds as much as a surrogate, at a small part of the cost


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """A strategy, and in one plain sentence why it."""

    strategy: AbstractStrategy
    reason: str


def make_strategy(
    kind: str = AUTO,
    *,
    space: Space,
    budget: int | None = None,
    history: Sequence[Past] = (),
    modality: str | None = None,
    problem: Problem = ONE_VALUE,
    workers: int = 1,
    **settings: Any,
) -> Chosen:
    """Return the strategy of that name with these settings, or with "auto" the one that fits.

    `budget` is the number of trials there will be, None when that is open; `modality` what the model sees, one of
    `MODALITIES`; `workers` how many trials run at a time. Raises `InvalidSetting` for an unknown name or modality, a
    setting the strategy does not have, a budget or workers below 1, or a problem of which the strategy would overlook
    a part.
    """
    budget, workers = plain(budget), plain(workers)
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        raise InvalidSetting(f"budget {budget!r} is not a number of trials", hint="give at least 1, or None")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidSetting(f"workers {workers!r} is not a number of workers", hint="give at least 1")
    if modality is not None and modality not in MODALITIES:
        raise InvalidSetting(f"modality {modality!r:.80} is unknown", hint=f"use one of {list(MODALITIES)}, or None")
    reason = "it was asked for by name"
    given, history = len(history), [past for past in history if next(_usable(past, space), None) is not None]
    if kind == AUTO:
        kind, reason = _choose(space, budget, history, modality, workers, problem)
        if missed := find_strategy(kind).overlooks(problem):
            kind, reason = "bayesian", f"{kind} does not take {' and '.join(missed)} into account"
    cls = find_strategy(kind)
    check_heeds(cls, problem)
    known = sorted(f.name for f in fields(cls) if f.init)
    if not set(settings) <= set(known):
        raise InvalidSetting(
            f"strategy {kind!r} does not take the settings {sorted(set(settings) - set(known))}",
            hint=f"it takes {known}" if known else "it has none",
        )
    if history and not _learns_from_history(cls, problem):
        reason += "; it does not use the history"
    if mute := given - len(history):
        reason += f"; {mute} of {given} earlier studies {'has' if mute == 1 else 'have'} no usable trial in this space"
    return Chosen(cls(**settings), reason)


def _usable(past: Past, space: Space) -> Iterator[float]:
    """The values of an earlier study's trials that have a finite one and a place in this space."""
    for params, value in past.trials:
        found = number(value)
        if found is not None and isinstance(params, Mapping) and space.adopt(params) is not None:
            yield found


def _learns_from_history(cls: type[AbstractStrategy], problem: Problem) -> bool:
    """Whether earlier studies change what a strategy suggests: they tell `bayesian` of one objective."""
    return cls.learns and (cls is not STRATEGIES["bayesian"] or problem.objectives == 1)


def check_heeds(cls: type[AbstractStrategy], problem: Problem) -> None:
    """Raise `InvalidSetting` when suggestions of this strategy would wrongly overlook a part of the problem."""
    if missed := cls.overlooks(problem):
        able = sorted(name for name, one in STRATEGIES.items() if not one.overlooks(problem))
        raise InvalidSetting(
            f"strategy {cls.name!r} does not take {' and '.join(missed)} into account", hint=f"use one of {able}"
        )


def find_strategy(kind: str) -> type[AbstractStrategy]:
    """Return the class of a strategy by name: one of ours, or another package's entry point.

    Raises `InvalidSetting` when nobody has it, or when the entry point is no strategy.
    """
    if kind in STRATEGIES:
        return STRATEGIES[kind]
    found = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in found:
        names = sorted([AUTO, *STRATEGIES, *found])
        raise InvalidSetting(f"strategy {kind!r} is unknown", hint=f"use one of {names}")
    loaded = found[kind].load()
    if not (isinstance(loaded, type) and issubclass(loaded, AbstractStrategy) and loaded.name == kind):
        raise InvalidSetting(
            f"entry point {kind!r} of {found[kind].value!r} is no strategy of that name",
            hint="it must name a subclass of AbstractStrategy whose `name` is the entry point's",
        )
    return loaded


def _choose(
    space: Space, budget: int | None, history: Sequence[Past], modality: str | None, workers: int, problem: Problem
) -> tuple[str, str]:
    """The rules of docs/strategies.md, which `benchmarks.tuning.choice` measures."""
    told = [list(_usable(past, space)) for past in history]
    told = [values for values in told if len(set(values)) > 1][-STUDIES:]  # those that a surrogate learns from
    known = sum(len(values) for values in told)
    few = _FEW.get(modality or "", _FEW_ELSEWHERE)
    if budget is not None and space.size is not None and space.size <= budget:
        return "grid", f"the space has only {space.size} configurations, and {budget} trials can try each of them"
    if space.dim > _TOO_WIDE:
        return "local", f"{space.dim} parameters are too many for a surrogate to tell apart"
    if budget is not None and 1 < budget <= workers and not known:
        return "sobol", f"all {_trials(budget)} run at once, so none can learn from another, and are best spread evenly"
    if budget is not None and budget <= few and not known:
        return "sobol", f"{_trials(budget)} with nothing to learn from before {_are(budget)} best spread evenly"
    if budget is not None and budget >= _LONG and not known:
        return "cmaes", f"{_trials(budget)} are enough to learn the objective's shape over {_kinds(space)}"
    learn = f"{_trials(known)} of {len(told)} earlier stud{'y' if len(told) == 1 else 'ies'} inform the search"
    start = f"{'an open number of trials' if budget is None else _trials(budget)} can learn from one another"
    costly = ", and each trial on images costs enough to choose it with care" if modality == "image" else ""
    return "bayesian", f"{learn if known and problem.objectives == 1 else start} over {_kinds(space)}{costly}"


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _kinds(space: Space) -> str:
    """Return what the space holds, in words: "3 numbers and 2 choices, 1 of them conditional"."""
    choices = sum(isinstance(p, Choice) for p in space.parameters.values())
    numbers = space.dim - choices
    conditional = sum(p.when is not None for p in space.parameters.values())
    parts = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((numbers, "number"), (choices, "choice")) if n]
    return " and ".join(parts) + (f", {conditional} of them conditional" if conditional else "")
