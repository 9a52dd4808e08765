"""A study as its page and its export see it, whether it lives in memory or in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import final

from sqlalchemy import Connection

from visutility.registry import studies
from visutility.registry.study_times import study_times
from visutility.tune.drive import Study
from visutility.tune.options import Options
from visutility.tune.space import Space
from visutility.tune.trial import Trial

Times = tuple[datetime, datetime | None]  # asked, and told or not yet


@final
@dataclass(frozen=True, slots=True)
class StudyView:
    """A study and its trials as they were when read. `times` are by trial number; a study in memory has none."""

    name: str
    space: Space
    options: Options
    trials: Sequence[Trial]
    strategy: str
    reason: str
    budget: int | None = None
    closed: bool = False
    times: Mapping[int, Times] = field(default_factory=dict)


def view_of(study: Study, name: str = "study") -> StudyView:
    """Return a study in memory under a name for its page."""
    trials = study.trials
    closed = study.budget is not None and len(trials) >= study.budget
    return StudyView(name, study.space, study.options, trials, study.strategy_name, study.reason, study.budget, closed)


def read_view(connection: Connection, ref: str) -> StudyView:
    """Return the study with this id or name, as it is now. Raises `StudyNotFound`."""
    loaded = studies.load(connection, ref)
    record = loaded.record
    return StudyView(
        record.name,
        record.space,
        record.options,
        loaded.trials,
        record.strategy,
        record.reason,
        record.budget,
        record.closed_at is not None,
        study_times(connection, record.id),
    )
