"""What a project wrote down about its models and runs, for code that wants to read it."""

from typing import final

from visutility.core.errors import NotFound
from visutility.data import DataBatch
from visutility.flow import Run, runs
from visutility.loop.policy import Policy
from visutility.loop.reports import GateReport, gate_reports
from visutility.loop.snapshot import snapshot_of
from visutility.loop.trigger import OPEN, load_policy
from visutility.loop.watches import Watched, active_watches
from visutility.registry import Version, models, studies
from visutility.store.blobs import Blobs
from visutility.store.engine import Store
from visutility.tune import Params


@final
class Records:
    """Reads alone; `Project.records` is one."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    def rows(self, version: Version, part: str) -> DataBatch:
        """Return the rows of a version's snapshot: "train", "tune", "gate" or "old". Raises `NotFound` without."""
        with self._store.read() as connection:
            snapshot = snapshot_of(connection, version.id)
        parts = {} if snapshot is None else snapshot.parts
        if part not in parts:
            raise NotFound(
                f"{version.model}:{version.number} has no {part!r} rows",
                hint=f"it has {sorted(parts) or 'no snapshot'}",
            )
        return DataBatch.from_ipc(self._blobs.path(parts[part].sha256))

    def trials(self, version: Version) -> list[tuple[Params, float]]:
        """Return the completed trials of the study a version came from: (params, value), in order of telling."""
        if version.study_id is None:
            return []
        with self._store.read() as connection:
            study = studies.load(connection, version.study_id)
        ended = (study.trials[number] for number in study.told)
        return [(trial.params, trial.value) for trial in ended if trial.value is not None]

    def policy(self, model: str) -> Policy | None:
        """Return the model's policy, or None where nobody set one: then it is not to be watched."""
        with self._store.read() as connection:
            stored = load_policy(connection, models.find(connection, model).id)
        return None if stored is None else stored[0]

    def watches(self, model: str) -> list[Watched]:
        """Return what watches the model now, and what it learnt from its reference window."""
        with self._store.read() as connection:
            return active_watches(connection, models.find(connection, model).id)

    def gate_reports(self, model: str) -> list[GateReport]:
        """Return the newest gate reports of a model, newest first."""
        with self._store.read() as connection:
            return gate_reports(connection, model)

    def run(self, run_id: str) -> Run:
        """Return a run. Raises `RunNotFound`."""
        with self._store.read() as connection:
            return runs.get(connection, run_id)

    def open_runs(self, model: str) -> list[Run]:
        """Return the runs of a model that are not over: queued, running or waiting."""
        with self._store.read() as connection:
            model_id = models.find(connection, model).id
            return runs.list_runs(connection, model_id=model_id, status=OPEN)
