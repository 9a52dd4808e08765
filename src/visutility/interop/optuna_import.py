"""Optuna's studies, read from its SQLite and journal files, as studies of ours. Needs the `optuna` extra.

found = read_optuna("sqlite:///tuning.db", "resnet")
study = Study(found.space, found.direction, history=[found.past()])
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from visutility.core.errors import AlreadyExists, Invalid, StudyNotFound
from visutility.interop._optuna_space import Known, Sightings
from visutility.registry import studies
from visutility.registry.studies import DurableStudy, StudyRecord
from visutility.store.engine import Store
from visutility.tune.search import past_of
from visutility.tune.space import Space
from visutility.tune.strategy import Past
from visutility.tune.trial import COMPLETE, FAILED, PRUNED, Failure, Trial

_SQLITE: Final = b"SQLite format 3\x00"
_OPTUNA_STATES: Final = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}


@final
@dataclass(frozen=True, slots=True)
class Imported:
    """An Optuna study of one objective. `trials` are its ended ones, numbered from 0 in the order they ended.

    `space` spans every range that any trial had; conditions are learnt from which trials have which parameters.
    Trials that lack a parameter no condition explains are in `left_out`, by Optuna's number, with the reason.
    """

    name: str
    direction: str
    space: Space
    trials: tuple[Trial, ...]
    left_out: tuple[tuple[int, str], ...]

    def past(self) -> Past:
        """Return the complete trials as an earlier study, oldest first, lower is better."""
        return past_of(self.name, self.space, self.direction, self.trials)

    def save(self, store: Store, name: str, *, model_id: str | None = None, by: str, why: str) -> StudyRecord:
        """Write the study and its trials as a closed durable study; later studies of the model learn from it.

        An import that was cut short goes on. Raises `AlreadyExists` when another study has the name.
        """
        configurations = tuple(trial.params for trial in self.trials)
        try:
            study = DurableStudy(store, name)
        except StudyNotFound:
            study = self._created(store, name, model_id, by, why)
        if study.record.closed_at is not None or study.record.enqueued != configurations:
            raise AlreadyExists(f"study {name!r} exists already", hint="choose another name")
        begun = study.trials
        told = {trial.number for trial in begun if trial.state != "pending"}
        for trial in self.trials:
            if trial.number in told:
                continue
            with store.write("study.import_trial") as tx:
                if trial.number >= len(begun):
                    study.ask(tx=tx)
                for step, value in trial.reports:
                    study.report(trial.number, step, value, tx=tx)
                if trial.state == PRUNED:
                    study.prune(trial.number, tx=tx)
                else:
                    study.tell(trial.number, _result(trial), tx=tx)
        return study.close(by=by, why=why)

    def _created(self, store: Store, name: str, model_id: str | None, by: str, why: str) -> DurableStudy:
        with store.write("study.import") as tx:
            studies.create(
                tx,
                name=name,
                space=self.space,
                objective="value",
                direction=self.direction,
                model_id=model_id,
                strategy="random",
                budget=max(1, len(self.trials)),
                enqueue=[trial.params for trial in self.trials],
                earlier_studies=0,
                imported_from="Optuna",
                by=by,
                why=why,
            )
        return DurableStudy(store, name)


def optuna_studies(storage: str | Path) -> list[str]:
    """Return the names of the studies in a storage: a URL, an SQLite file, or a journal file.

    Raises `Invalid` for a file that is neither, `StudyNotFound` for one that is not there.
    """
    with _opened(storage) as opened:
        return sorted(optuna.get_all_study_names(storage=opened))


def read_optuna(storage: str | Path, name: str | None = None) -> Imported:
    """Return one study of a storage: a URL, an SQLite file, or a journal file; `name` may be left out of one study.

    Trials under way are left out. Raises `StudyNotFound`, and `Invalid` for a file that is neither, a study of several
    objectives, and one that has no parameters.
    """
    with _opened(storage) as opened:
        names = sorted(optuna.get_all_study_names(storage=opened))
        if name is None and len(names) == 1:
            name = names[0]
        if name is None or name not in names:
            raise StudyNotFound(f"there is no study {name!r} in {str(storage)!r}", hint=f"it holds {names[:20]}")
        study = optuna.load_study(study_name=name, storage=opened)
        if len(study.directions) != 1:
            raise Invalid(f"study {name!r} has {len(study.directions)} objectives", hint="import studies of one")
        return _imported(name, study.directions[0], study.get_trials(deepcopy=False))


def _imported(name: str, direction: StudyDirection, trials: Sequence[FrozenTrial]) -> Imported:
    ended = sorted((t for t in trials if t.state in _OPTUNA_STATES), key=lambda t: (t.datetime_complete, t.number))
    sightings = Sightings()
    for one in ended:
        if one.state != TrialState.FAIL:  # it may have failed before it asked for all it needs
            sightings.see(one.params, one.distributions)
    for key in sightings.distributions:
        sightings.distributions[key] = _widest([t.distributions[key] for t in ended if key in t.distributions])
    known = sightings.space()
    if known is None:
        raise Invalid(f"study {name!r} has no parameters in its {len(ended)} ended trials", hint="import another")
    taken: list[Trial] = []
    left_out: list[tuple[int, str]] = []
    for one in ended:
        try:
            taken.append(_trial(len(taken), one, known))
        except ValueError as error:
            left_out.append((one.number, str(error)))
    flipped = "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
    return Imported(name, flipped, known.space, tuple(taken), tuple(left_out))


def _trial(number: int, given: FrozenTrial, known: Known) -> Trial:
    shared = {name: value for name, value in given.params.items() if name in known.distributions}
    params = known.space.validate(known.options.labels(shared))
    reports = tuple(sorted((s, v) for s, v in given.intermediate_values.items() if s >= 0 and math.isfinite(v)))
    state = _OPTUNA_STATES[given.state]
    value = given.value if state == COMPLETE else None
    failure = "it failed in Optuna" if state == FAILED else None
    if value is not None and not math.isfinite(value):
        state, value, failure = FAILED, None, f"value is {value}"
    return Trial(number, params, "enqueued", state, value, {}, failure, reports)


def _every_choice(seen: Sequence[BaseDistribution]) -> CategoricalDistribution:
    """A choice among the options of all; tuples come back from a storage as lists, which nothing can hash."""
    found: dict[str, Any] = {repr(choice): choice for one in seen for choice in one.choices}  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that such options are for this process alone
        return CategoricalDistribution(list(found.values()))


def _result(trial: Trial) -> float | Failure:
    return Failure(trial.failure or "it failed in Optuna") if trial.value is None else trial.value


def _widest(seen: Sequence[BaseDistribution]) -> BaseDistribution:
    """One distribution that holds what any of these does, of the newest one's kind; steps that differ are dropped."""
    newest = seen[-1]
    alike = [one for one in seen if type(one) is type(newest)]
    if isinstance(newest, CategoricalDistribution):
        return _every_choice(alike)
    low = min(one.low for one in alike)  # type: ignore[attr-defined]
    high = max(one.high for one in alike)  # type: ignore[attr-defined]
    log = all(one.log for one in alike)  # type: ignore[attr-defined]
    steps = {(one.step, one.low) for one in alike}  # type: ignore[attr-defined]
    step = next(iter(steps))[0] if len(steps) == 1 else None
    if isinstance(newest, IntDistribution):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


@contextmanager
def _opened(storage: str | Path) -> Iterator[optuna.storages.BaseStorage]:
    """Open a storage, and close its connections, which Optuna leaves open."""
    opened = _storage(storage)
    try:
        yield opened
    finally:
        if isinstance(opened, optuna.storages.RDBStorage):
            opened.remove_session()
            opened.engine.dispose()


def _storage(storage: str | Path) -> optuna.storages.BaseStorage:
    text = str(storage)
    if "://" in text:
        return optuna.storages.RDBStorage(text)
    path = Path(storage)
    if not path.is_file():
        raise StudyNotFound(f"there is no file {text!r}", hint="give a URL, an SQLite file, or a journal file")
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head == _SQLITE:
        return optuna.storages.RDBStorage(f"sqlite:///{path}")
    if head[:1] != b"{":
        raise Invalid(f"{text!r} is no study file", hint="Optuna writes SQLite databases and journals of JSON lines")
    return optuna.storages.JournalStorage(JournalFileBackend(text))
