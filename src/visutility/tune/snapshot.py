"""A study as plain data, and back. Writes format 2; reads 1, which had one objective and no constraints, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from visutility.core.errors import Invalid
from visutility.tune.factory import find_strategy
from visutility.tune.options import Options
from visutility.tune.search import Search
from visutility.tune.space import Space
from visutility.tune.strategy import AbstractStrategy, Past
from visutility.tune.trial import ENQUEUED, PAUSED, PENDING, Trial

FORMAT = 2
READS = (1, FORMAT)


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """What a snapshot holds."""

    search: Search
    reason: str
    trials: tuple[Trial, ...]
    told: tuple[int, ...]


def write_snapshot(search: Search, reason: str, trials: Sequence[Trial], told: Sequence[int]) -> dict[str, Any]:
    """Return plain data that `read_snapshot` reads: the configuration, every trial, and the order of telling."""
    state = search.state
    return {
        "format": FORMAT,
        "space": state.space.to_json(),
        "options": search.options.to_json(),
        "seed": state.seed,
        "budget": search.budget,
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
    if isinstance(found, bool) or found not in READS:
        raise Invalid(f"a study snapshot of format {found!r} cannot be read", hint=f"this release reads {READS}")
    try:
        return _read(data if found == FORMAT else _from_1(data), strategy)
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"not a whole study snapshot: {error!r}", hint="it was cut or edited") from None


def _read(data: Mapping[str, Any], strategy: AbstractStrategy | None) -> Stored:
    made = strategy or find_strategy(data["strategy"])(**data["settings"])
    history = [Past.from_json(past) for past in data["history"]]
    trials = tuple(Trial.from_json(trial) for trial in data["trials"])
    told = tuple(data["told"])
    if [t.number for t in trials] != list(range(len(trials))) or sorted(told) != [
        t.number for t in trials if t.state not in (PENDING, PAUSED)
    ]:
        raise Invalid("a study snapshot with missing trials", hint="it was cut or edited")
    options = Options.from_json(data["options"])
    fresh = Search(
        made,
        made.init(Space.from_json(data["space"]), data["seed"], history, options.problem),
        options,
        data["budget"],
        tuple(dict(params) for params in data["enqueued"]),
    )
    return Stored(fresh.resumed(trials, told), data["reason"], trials, told)


def _from_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """A snapshot of format 1 as one of format 2."""
    rule = data["stopping"]
    options = {
        "objectives": [[data["objective"], data["direction"]]],
        "stopping": None if rule is None else {"kind": "median", **rule},
    }
    return {**data, "options": options}
