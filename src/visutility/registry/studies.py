"""Durable studies: searches kept as rows, so that they outlive the process and inform the next one.

A study's configuration never changes after it was created: the strategy and its settings, the seed, what is enqueued,
and which ends of which earlier studies it learns from are fixed in its row, so every process rebuilds the same study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack, final

from sqlalchemy import Connection, select

from visutility.core import codec
from visutility.core.errors import AlreadyExists, Invalid, InvalidSetting
from visutility.core.ids import checked_name
from visutility.registry import _study_rows as rows
from visutility.registry._durable_study import DurableStudy, close, close_of_run
from visutility.registry._study_rows import OPEN, StudyRecord, checked_why
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import study
from visutility.tune.constraints import Constraint
from visutility.tune.factory import make_strategy
from visutility.tune.fidelity import AbstractStopping
from visutility.tune.history import Earlier, as_history
from visutility.tune.options import Options, options_of
from visutility.tune.outlook import Enough
from visutility.tune.priors import Belief
from visutility.tune.search import past_of
from visutility.tune.space import Space
from visutility.tune.standing import best_with, front_of
from visutility.tune.strategy import AbstractStrategy, Past
from visutility.tune.trial import Trial
from visutility.tune.values import plain

__all__ = [
    "DurableStudy",
    "LoadedStudy",
    "StudyRecord",
    "close",
    "close_of_run",
    "create",
    "earlier",
    "find",
    "list_studies",
    "load",
]

EARLIER = 8  # studies of the same model that a new one learns from
MAX_LISTED = 1000


class Purpose(TypedDict, total=False):
    """What `create` takes of what `tune.Study` takes, besides objective and direction."""

    constraints: Mapping[str, Constraint] | None
    deterministic: bool
    noise: float | None
    priors: Mapping[str, Belief] | None
    stopping: str | AbstractStopping | None
    stop_when: Enough | None


@final
@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study and its trials as they were when read. `told` has the numbers of ended trials in the order they ended."""

    record: StudyRecord
    trials: tuple[Trial, ...]
    told: tuple[int, ...]

    @property
    def best(self) -> Trial:
        """The feasible trial with the best value, the earliest of equals.

        Raises `TrialNotFound` when there is none, and `Invalid` with several objectives: read `front` then.
        """
        return best_with(self.trials, self.record.options)

    @property
    def front(self) -> tuple[Trial, ...]:
        """The feasible trials that no other one is better than in one objective and as good in all, by number.

        Raises `TrialNotFound` when there is none, as `best` does.
        """
        return tuple(front_of(self.trials, self.record.options))

    def past(self) -> Past:
        """Return the feasible trials as an earlier study, oldest first, lower is better."""
        ended = (self.trials[number] for number in self.told)
        return past_of(self.record.name, self.record.space, self.record.direction, ended)


def create(
    tx: Tx,
    *,
    name: str,
    space: Space,
    objective: str = "value",
    direction: str | Mapping[str, str] = "minimize",
    model_id: str | None = None,
    run_id: str | None = None,
    strategy: str | AbstractStrategy = "auto",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    budget: int | None = None,
    modality: str | None = None,
    workers: int = 1,
    enqueue: Sequence[Mapping[str, Any]] = (),
    history: Sequence[Earlier] = (),
    earlier_studies: int = EARLIER,
    imported_from: str | None = None,
    by: str,
    why: str,
    **purpose: Unpack[Purpose],
) -> StudyRecord:
    """Create an open study; the change and its audit event commit together.

    All that it shares with `tune.Study` means what it means there. `enqueue` is asked first, in order. It learns from
    `history` and from the newest `earlier_studies` of the model, as they stand now. `imported_from` names the program
    that chose the trials, where that was another one. Raises `InvalidName`, `InvalidSetting`, `InvalidParameter` for an
    enqueued configuration outside the space, `AlreadyExists`, and `Invalid` for a blank reason.
    """
    options = options_of(direction, objective, space=space, **purpose)
    seed, budget, workers = plain(seed), plain(budget), plain(workers)
    _check(tx, name, options, seed, why)
    given = as_history(history, space, options.direction)
    from_model = rows.earlier_of_model(tx.connection, model_id, earlier_studies) if model_id is not None else []
    pasts = (*given, *(rows.read_past(tx.connection, study_id, told) for study_id, told in from_model))
    warm: dict[str, Any] = {
        "enqueued": [space.validate(params) for params in enqueue],
        "earlier": [[study_id, told] for study_id, told in from_model],
        "given": [past.to_json() for past in given],
    }
    chosen = _strategy(strategy, settings or {}, space, budget, pasts, modality, workers, options)
    if imported_from is not None:
        warm["imported_from"] = imported_from
        chosen["strategy_reason"] = f"its trials were imported from {imported_from}"
    row = {"id": tx.new_id(), "name": name, "model_id": model_id, "run_id": run_id, "seed": seed, "budget": budget}
    row |= {**_purpose(space, options), **chosen, "warm_start": codec.dumps(warm)}
    row |= {"status": OPEN, "trials": 0, "created_at": tx.now(), "closed_at": None}
    tx.execute(rows.insert_study, row)
    after = {key: row[key] for key in ("id", "model_id", "run_id", "strategy", "strategy_reason", "seed", "budget")}
    audit.append(tx, "study.created", name, by=by, why=why, after=after, covers=[("study", (row["id"],))])
    return rows.read_study(tx.connection, str(row["id"]))


def find(connection: Connection, ref: str) -> StudyRecord:
    """Return the study with this id or name. Raises `StudyNotFound`."""
    return rows.read_study(connection, ref)


def load(connection: Connection, ref: str) -> LoadedStudy:
    """Return the study with this id or name and all its trials. Raises `StudyNotFound`."""
    record = rows.read_study(connection, ref)
    trials, told = rows.read_trials(rows.reading(connection), rows.Of(record.id, record.space, record.options))
    return LoadedStudy(record, tuple(trials), tuple(told))


def earlier(connection: Connection, model_id: str, limit: int = EARLIER) -> list[Past]:
    """Return the newest `limit` studies of a model that have complete trials, oldest first, lower is better."""
    found = rows.earlier_of_model(connection, model_id, limit)
    return [rows.read_past(connection, study_id, told) for study_id, told in found]


def list_studies(
    connection: Connection, *, model_id: str | None = None, after: str | None = None, limit: int = 50
) -> list[StudyRecord]:
    """Return at most `limit` studies, newest first, those older than the study with id `after`.

    Raises `Invalid` for a limit outside 1 to 1000.
    """
    if not 1 <= limit <= MAX_LISTED:
        raise Invalid(f"limit is {limit}", hint=f"choose 1 to {MAX_LISTED} and page with `after`")
    query = rows.every_study.order_by(study.c.id.desc()).limit(limit)
    if model_id is not None:
        query = query.where(study.c.model_id == model_id)
    if after is not None:
        query = query.where(study.c.id < after)
    return [rows.decoded(row) for row in connection.execute(query)]


def _check(tx: Tx, name: str, options: Options, seed: object, why: str) -> None:
    checked_name(name, "study")
    checked_why(why)
    if len(options.objective) > 64:
        raise InvalidSetting(f"objective {options.objective!r} has more than 64 characters", hint="shorten its name")
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise InvalidSetting(f"seed {seed!r} is not a whole number of 64 bits", hint="pass an int")
    if tx.execute(select(study.c.id).where(study.c.name == name)).first() is not None:
        raise AlreadyExists(f"study {name!r} exists already", hint="open it, or choose another name")


def _purpose(space: Space, options: Options) -> dict[str, Any]:
    """The columns that say what a study is after."""
    return {
        "space": codec.dumps(space.to_json()),
        "objective": options.objective,
        "direction": options.direction,
        "options": codec.dumps(options.to_json()),
    }


def _strategy(
    strategy: str | AbstractStrategy,
    settings: Mapping[str, Any],
    space: Space,
    budget: int | None,
    history: Sequence[Past],
    modality: str | None,
    workers: int,
    options: Options,
) -> dict[str, Any]:
    """The columns that say how a study searches."""
    kind, given = (strategy.name, strategy.settings) if isinstance(strategy, AbstractStrategy) else (strategy, settings)
    chosen = make_strategy(
        kind,
        space=space,
        budget=budget,
        history=history,
        modality=modality,
        problem=options.problem,
        workers=workers,
        **given,
    )
    return {
        "strategy": chosen.strategy.name,
        "strategy_settings": codec.dumps(chosen.strategy.settings),
        "strategy_reason": "it was given" if isinstance(strategy, AbstractStrategy) else chosen.reason,
    }
