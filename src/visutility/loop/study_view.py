"""A study as its page and its export see it, whether it lives in memory or in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, final

from sqlalchemy import Connection

from visutility.core.errors import TrialNotFound
from visutility.registry import studies
from visutility.registry.study_times import study_times
from visutility.tune.drive import Study
from visutility.tune.options import Options
from visutility.tune.outlook import Outlook
from visutility.tune.space import Space
from visutility.tune.standing import outlook_of
from visutility.tune.strategy import Observation, State
from visutility.tune.trial import COMPLETE, FAILED, PRUNED, Trial

AHEAD: Final = 10  # trials that the page looks ahead

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


def outlook_of_view(view: StudyView, trials: int = AHEAD) -> Outlook | None:
    """Return what the next `trials` would be expected to gain; None for several objectives, and for too few trials."""
    if len(view.options.objectives) > 1:
        return None
    ended = [trial for trial in view.trials if trial.state in (COMPLETE, FAILED, PRUNED)]
    observed = tuple(Observation(t.number, dict(t.params), *view.options.observed(t)) for t in ended)
    state = State(view.space, 0, observed, problem=view.options.problem)
    try:
        return outlook_of(state, view.trials, view.options, trials, None, None)
    except TrialNotFound:
        return None


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
