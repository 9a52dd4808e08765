"""A study as plain data, and back. Format 1."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from visutility.core.errors import Invalid
from visutility.tune.factory import find_strategy
from visutility.tune.rungs import MedianStopping
from visutility.tune.search import Search
from visutility.tune.space import Space
from visutility.tune.strategy import AbstractStrategy, Past
from visutility.tune.trial import ENQUEUED, PENDING, Trial

FORMAT = 1


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """What a snapshot holds."""

    search: Search
    objective: str
    reason: str
    trials: tuple[Trial, ...]
    told: tuple[int, ...]


def write_snapshot(
    search: Search, objective: str, reason: str, trials: Sequence[Trial], told: Sequence[int]
) -> dict[str, Any]:
    """Return plain data that `read_snapshot` reads: the configuration, every trial, and the order of telling."""
    state = search.state
    return {
        "format": FORMAT,
        "space": state.space.to_json(),
        "direction": search.direction,
        "objective": objective,
        "seed": state.seed,
        "budget": search.budget,
        "stopping": None if search.stopping is None else asdict(search.stopping),
        "strategy": search.strategy.name,
        "settings": search.strategy.settings,
        "reason": reason,
        "history": [past.to_json() for past in state.history],
        "enqueued": [t.params for t in trials if t.origin == ENQUEUED] + [dict(params) for params in search.queue],
        "trials": [trial.to_json() for trial in trials],
        "told": list(told),
    }


def read_snapshot(data: Mapping[str, Any], strategy: AbstractStrategy | None = None) -> Stored:
    """Return the study that `write_snapshot` wrote, every trial replayed. Raises `Invalid` for anything else."""
    found = data.get("format") if isinstance(data, Mapping) else None
    if found != FORMAT:
        raise Invalid(f"a study snapshot of format {found!r} cannot be read", hint=f"this release reads {FORMAT}")
    try:
        return _read(data, strategy)
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"not a whole study snapshot: {error!r}", hint="it was cut or edited") from None


def _read(data: Mapping[str, Any], strategy: AbstractStrategy | None) -> Stored:
    made = strategy or find_strategy(data["strategy"])(**data["settings"])
    history = [Past.from_json(past) for past in data["history"]]
    trials = tuple(Trial.from_json(trial) for trial in data["trials"])
    told = tuple(data["told"])
    if [t.number for t in trials] != list(range(len(trials))) or sorted(told) != [
        t.number for t in trials if t.state != PENDING
    ]:
        raise Invalid("a study snapshot with missing trials", hint="it was cut or edited")
    stopping = data["stopping"]
    fresh = Search(
        made,
        made.init(Space.from_json(data["space"]), data["seed"], history),
        data["direction"],
        data["budget"],
        None if stopping is None else MedianStopping(**stopping),
        tuple(dict(params) for params in data["enqueued"]),
    )
    return Stored(fresh.resumed(trials, told), data["objective"], data["reason"], trials, told)
