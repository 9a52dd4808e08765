"""A project: one database, one artifact folder, and everything that works on them, joined."""

from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from visutility.core.clock import Clock, SystemClock
from visutility.core.errors import AliasMoved, AliasNotFound, Invalid, ModelNotFound, VersionNotFound
from visutility.core.settings import Settings
from visutility.data import DataBatch
from visutility.execute import Call, Executor, Limits, LocalExecutor, run_call
from visutility.flow import Worker, runs
from visutility.loop.alarms import Alarms
from visutility.loop.metrics import Metrics
from visutility.loop.policy import Decision, Policy, checked
from visutility.loop.recipe import find_recipe
from visutility.loop.records import Records
from visutility.loop.retrain import TRAIN, WORKFLOWS
from visutility.loop.services import Services
from visutility.loop.snapshot import snapshot_of
from visutility.loop.trigger import AutoRetrainer, load_policy, pull, refuse_if_busy, store_policy
from visutility.loop.tuning import TrialListener, checkpoints_of
from visutility.loop.watch import Monitor
from visutility.loop.watches import is_watched, leave_unwatched, resume_watches, start_watches, window_of
from visutility.loop.work import of_rows, run_evaluation
from visutility.registry import CHAMPION, Registry, Version, aliases, models, queries, studies
from visutility.store import audit
from visutility.store.blobs import Blobs
from visutility.store.engine import Store, Tx
from visutility.store.migrate import upgrade


@final
class Project:
    """The product's front door. `Project.create` once, `Project.open` ever after; close it, or use `with`.

    Any number of processes may have the same project open. Nothing runs by itself: `work()` drives the durable runs
    in this process, `visutility runs work` in one of its own.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, executor: Executor | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.store = Store(settings.database, self.clock)
        self.blobs = Blobs(settings.blobs)
        self.registry = Registry(self.store, self.blobs)
        self.records = Records(self.store, self.blobs)
        self.alarms = Alarms(self.store, self.blobs, settings.actor)
        self.metrics = Metrics()
        self.metrics.read_champions(self._champions)
        self.monitor = Monitor(self.store, self.metrics)
        self.monitor.subscribe(AutoRetrainer(self.metrics))
        self.on_trial: TrialListener | None = None
        self._executor = executor

    @classmethod
    def create(
        cls,
        home: str | Path | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        executor: Executor | None = None,
    ) -> "Project":
        """Make the folder and database, or upgrade those that exist, and open them. Nothing is ever overwritten."""
        project = cls(settings or Settings.load(home=home), clock=clock, executor=executor)
        upgrade(project.store)
        project.blobs.prepare()
        return project

    @classmethod
    def open(
        cls,
        home: str | Path | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        executor: Executor | None = None,
    ) -> "Project":
        """Open a project. Raises `NoProject`, `DatabaseTooNew`, `DatabaseDamaged` or `SetupNeeded`."""
        project = cls(settings or Settings.load(home=home), clock=clock, executor=executor)
        project.store.check()
        return project

    def close(self) -> None:
        """Stop the workers and close the database."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        self.store.close()

    def __enter__(self) -> "Project":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- models ------------------------------------------------------------------------------------------------------

    def train(
        self,
        model: str,
        recipe: str,
        data: DataBatch,
        *,
        policy: Policy | None = None,
        task: str = "classification",
        why: str = "first training",
    ) -> str:
        """Start the durable run that tunes and trains a version from these rows. Returns the run's id.

        A model that does not exist yet is created. Raises `Conflict` while another run is at work on the model.
        """
        rows = self.blobs.put(data.to_ipc())
        with self.store.write("project.train") as tx:
            try:
                model_id = models.find(tx.connection, model).id
            except ModelNotFound:
                model_id = models.create_model(tx, model, task, by=self.settings.actor, why=why).id
            refuse_if_busy(tx, model_id, model)
            request = {
                "model": model,
                "recipe": recipe,
                "data": rows,
                "policy": msgspec.to_builtins(checked(policy or Policy())),
            }
            key = f"{TRAIN}/{tx.new_id()}"
            return runs.start(tx, TRAIN, request, key=key, model_id=model_id, by=self.settings.actor)

    def retrain(self, model: str, *, why: str) -> str:
        """Start a retrain run because a person asks for it; cooldown and budget do not apply. Returns the run's id."""
        with self.store.write("project.retrain") as tx:
            model_id = models.find(tx.connection, model).id
            refuse_if_busy(tx, model_id, model)
            stored = load_policy(tx.connection, model_id)
            if stored is None:
                raise Invalid(f"{model} has no policy", hint="set one with Project.watch first")
            _, run_id = pull(
                tx,
                Decision("run", why),
                model_id=model_id,
                model=model,
                policy=stored[0],
                recipe=stored[1],
                alarm=None,
                by=self.settings.actor,
            )
        if run_id is None:
            raise Invalid("a decision to run started no run", hint="report this")
        return run_id

    def watch(
        self,
        model: str,
        policy: Policy,
        *,
        recipe: str | None = None,
        reference: NDArray[np.float64] | Sequence[float] | None = None,
        why: str = "watched from now on",
    ) -> Version:
        """Set the model's policy and watch its champion against a reference window.

        `reference` is the watched metric under normal conditions, shape (n,), each in [0, 1], of rows the champion was
        not trained on; by default the metric on the gate rows of the champion's snapshot: its own losses, or the
        signal of that name that its recipe gives. Returns the champion.
        """
        sound = checked(policy)
        version = self.registry.get(f"{model}@champion")
        if recipe is not None:
            find_recipe(recipe)
        window = self._reference(version, sound) if reference is None else np.asarray(reference, dtype=np.float64)
        with self.store.write("project.watch") as tx:
            self._still_champion(tx, version)
            store_policy(
                tx,
                model_id=version.model_id,
                model=model,
                policy=sound,
                recipe=recipe or version.recipe,
                by=self.settings.actor,
                why=why,
            )
            self._start(tx, version, sound, window, why, given=reference is not None)
        return version

    def promote(self, model: str, number: int, *, expected: int | None, why: str) -> Version:
        """Make a version the champion, if `expected` still is (None: there is none yet). Raises `AliasMoved`.

        Its bytes must be there and have their hash. A model with a policy is watched on the new version: as it was
        watched before, or against its losses on its own gate rows. Where it has neither, nothing is watched any more,
        and the audit log says why (`watch.missing`).
        """
        with self.store.write("project.promote") as tx:
            aliases.promote(tx, model, number, expected=expected, by=self.settings.actor, why=why)
            version = queries.get(tx.connection, f"{model}:{number}")
            self._serve(tx, version, "promote", why)
        self._watch_again(version, why)
        return version

    def rollback(self, model: str, *, why: str, expected: int | None = None) -> Version:
        """Make the champion before this one champion again, and watch it as `promote` does. Raises `AliasMoved`."""
        with self.store.write("project.rollback") as tx:
            move = aliases.rollback(tx, model, by=self.settings.actor, why=why, expected=expected)
            version = queries.get(tx.connection, f"{model}:{move.number}")
            self._serve(tx, version, "rollback", why)
        self._watch_again(version, why)
        return version

    def load(self, reference: str) -> tuple[Version, Any]:
        """Return a version and its model, loaded by its recipe from bytes whose hash was checked."""
        version = self.registry.get(reference)
        return version, find_recipe(version.recipe).load(self.registry.load_artifact(version))

    def champion(self, model: str) -> int | None:
        """Return the number of the version that serves, or None. One SQL statement."""
        try:
            return self.registry.get(f"{model}@champion").number
        except (AliasNotFound, VersionNotFound):
            return None

    # -- runs --------------------------------------------------------------------------------------------------------

    def worker(self) -> Worker:
        """Return a worker for this project's durable runs; it starts the executor's processes on first use."""
        services = Services(
            self.store, self.blobs, self.registry, self.executor, self.metrics, self.settings.home, self.on_trial
        )
        return Worker(self.store, WORKFLOWS, services, on_driven=self._driven, on_broken=self._broken)

    def work(self) -> int:
        """Drive runs in this process until none is due. Returns how often one was driven."""
        return self.worker().run_until_idle()

    def _driven(self, run_id: str) -> None:
        run = self.records.run(run_id)
        if run.ended:
            self.metrics.runs.labels(run.workflow, run.status).inc()

    def end_study(self, tx: Tx, run_id: str, *, by: str, why: str) -> None:
        """Close the study that a run opened, if it is open; once that is committed, its checkpoints are removed."""
        closed = studies.close_of_run(tx, run_id, by=by, why=why)
        if closed is not None:
            kept = checkpoints_of(self.settings.home, closed)
            tx.after_commit(lambda: rmtree(kept, ignore_errors=True))

    def _broken(self, tx: Tx, run_id: str, why: str) -> None:
        self.end_study(tx, run_id, by="worker", why=f"its run ended: {why}"[: audit.MAX_WHY])

    @property
    def executor(self) -> Executor:
        """The executor of trials and trainings: local processes, unless another was passed in."""
        if self._executor is None:
            self._executor = LocalExecutor(self.settings.workers)
        return self._executor

    def _start(
        self,
        tx: Tx,
        version: Version,
        policy: Policy,
        window: NDArray[np.float64] | None,
        why: str,
        *,
        given: bool = False,
    ) -> None:
        start_watches(
            tx,
            model_id=version.model_id,
            name=version.model,
            version=version.number,
            watches=policy.watches,
            reference=window,
            by=self.settings.actor,
            why=why,
            given=given,
        )

    def _reference(self, version: Version, policy: Policy, *, again: bool = False) -> NDArray[np.float64] | None:
        with self.store.read() as connection:
            snapshot = snapshot_of(connection, version.id)
        if snapshot is None:
            raise Invalid(
                f"{version.model}:{version.number} was registered without a data snapshot",
                hint="pass `reference`: the watched metric on rows it was not trained on",
            )
        where = (version.recipe, version.artifact_sha256, str(self.blobs.root), snapshot.path(self.blobs, "gate"))
        limits = Limits(seconds=Policy().trial_seconds)
        result = run_call(self.executor, Call.of(run_evaluation, *where), limits).result()
        found, metric = msgspec.convert(result, dict[str, Any]), policy.watches[0].metric
        with self.store.read() as connection:
            window = window_of(connection, version.id, metric, found) if again else of_rows(found, metric)
        return None if window is None else np.asarray(window, dtype=np.float64)

    def _champions(self) -> dict[str, int]:
        found = self.registry.models(limit=1000)
        return {model.name: model.champion for model in found if model.champion is not None}

    def _serve(self, tx: Tx, version: Version, kind: str, why: str) -> None:
        """Check the bytes that are to serve, and watch the version as it was watched before, if it was."""
        self.blobs.get(version.artifact_sha256)
        stored = load_policy(tx.connection, version.model_id)
        if stored is not None:
            by, model = self.settings.actor, version.model
            resume_watches(
                tx,
                model_id=version.model_id,
                name=model,
                version=version.number,
                watches=stored[0].watches,
                by=by,
                why=why,
            )
        tx.after_commit(lambda: self.metrics.moves.labels(version.model, kind).inc())

    def _watch_again(self, version: Version, why: str) -> None:
        """Watch a champion nobody watches, against its losses on its gate rows; where it has none, watch nothing."""
        with self.store.read() as connection:
            stored = load_policy(connection, version.model_id)
            if stored is None or is_watched(connection, version.model_id, version.number):
                return
        window, unknown = None, ""
        try:
            window = self._reference(version, stored[0], again=True)
        except Invalid as error:
            unknown = str(error)[: audit.MAX_WHY]
        with self.store.write("project.watch") as tx:
            self._still_champion(tx, version)
            if is_watched(tx.connection, version.model_id, version.number):  # somebody was faster
                return
            if unknown:
                leave_unwatched(tx, version.model_id, version.ref, by=self.settings.actor, why=unknown)
            else:
                self._start(tx, version, stored[0], window, why)

    def _still_champion(self, tx: Tx, version: Version) -> None:
        now = aliases.find_alias(tx, version.model, CHAMPION)
        if now.version_id != version.id:
            raise AliasMoved(
                f"{version.model}@champion is version {now.number}, not {version.number}",
                hint="look at it and call again",
            )
