"""The demo: the whole loop on real scans, through public functions alone.

    tune and train v1 -> promote -> serve -> the camera turns -> alarm -> durable retrain run -> gate -> v2 -> control

Time is simulated (a minute between looks at the camera), so the same seed tells the same story; `seconds` is the real
time it took.
"""

from dataclasses import replace
from typing import Protocol, final

import msgspec
import numpy as np

from visutility.core.clock import SimulatedClock, SystemClock
from visutility.core.errors import RecipeFailed
from visutility.core.settings import Settings
from visutility.core.wire import MetricsEvent
from visutility.data import DataBatch, ParquetSource
from visutility.demo.home import ACTOR, own_home
from visutility.demo.recipe import LABELS
from visutility.demo.result import Told
from visutility.demo.world import World
from visutility.loop import Alarm, GateRules, Policy, Project, Watch, find_recipe
from visutility.tune import Trial

MODEL = "digits"
RECIPE = "visutility.demo.recipe:digits"
TICK = 10  # images served, and checked by a person, at a time
LABELLED = 90  # images labelled a tick once a run asks for them
CALM = 95  # positions served between the promotion and the control
CONTROL = 80  # positions of the control, at least

POLICY = Policy(
    watches=(Watch(metric="error", detector="e-detector", settings={"arl": 1e6}),),
    trials=12,
    gate=GateRules(worse_by=0.1),
)


class Teller(Protocol):
    """Who tells the story: a terminal, a pipe, or nobody."""

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""

    def say(self, text: str) -> None:
        """Tell a line."""

    def trial(self, done: int, of: int, best: float) -> None:
        """Show how a study gets on."""

    def served(self, done: int, of: int, accuracy: float) -> None:
        """Show how the stream gets on; `accuracy` is that of the newest 30 images."""


@final
class Demo:
    """One run of the demo in `home`, a folder of its own. The arguments after `teller` are for tests that vary it."""

    def __init__(
        self,
        seed: int,
        settings: Settings,
        teller: Teller,
        *,
        drift: bool = True,
        drift_start: int | None = None,
        recipe: str = RECIPE,
    ) -> None:
        self.world = World(seed, drift=drift, drift_start=drift_start)
        self.told = Told(seed, self.world.drift_start)
        self._settings = replace(settings, actor=ACTOR)
        self._teller = teller
        self._recipe = recipe
        self._policy = msgspec.structs.replace(POLICY, seed=seed)
        self._waiting = ""

    def run(self) -> Told:
        """Tell the story once. Raises `AlreadyExists` when the folder holds a project that is not a demo's."""
        clock = SystemClock()
        start = clock.elapsed()
        with own_home(self._settings), Project.create(settings=self._settings, clock=SimulatedClock()) as project:
            project.on_trial = self._on_trial
            project.monitor.subscribe(self)
            self._first_version(project)
            self._serve(project)
            self._look_back(project)
            self.told.champion = project.champion(MODEL) or 0
        self.told.seconds = clock.elapsed() - start
        return self.told

    def notify(self, alarm: Alarm) -> None:
        """Hear of an alarm, as any observer of the monitor does."""
        if alarm.level != "alarm":
            return
        self.told.alarms.append(alarm.position)
        if len(self.told.alarms) == 1:
            self.told.alarm_words = alarm.promise
            arl = self._policy.watches[0].settings["arl"]
            self._teller.say(
                f"ALARM at image {alarm.position}: the evidence that errors rose is {alarm.score:.3g}, the limit "
                f"{alarm.limit:.3g}. Promised: at least {arl:,.0f} images on average between false alarms."
            )

    def _first_version(self, project: Project) -> None:
        tell = self._teller
        tell.chapter("A first version")
        rows = self.world.first_rows()
        trials = self._policy.trials
        tell.say(f"{len(rows)} labelled scans; {trials} trials of an SVM's C and gamma, then the best is trained.")
        run = project.train(MODEL, self._recipe, rows, policy=self._policy, why="the demo's first training")
        project.work()
        self._must_be_done(project, run)
        project.promote(MODEL, 1, expected=None, why="the first version of the demo")
        version, model = project.load(f"{MODEL}@champion")
        self.told.first_trials = project.records.trials(version)
        reference = self.world.reference_rows()
        errors = find_recipe(self._recipe).evaluate(model, reference).losses
        project.watch(MODEL, self._policy, recipe=self._recipe, reference=errors)
        self.told.reference = project.records.watches(MODEL)[0].learnt
        settings = ", ".join(f"{name} {value:.4g}" for name, value in version.params.items())
        tell.say(
            f"{MODEL}:1 registered and promoted ({settings}). On {len(reference)} reference scans it is right "
            f"{1 - errors.mean():.1%} of the time: that is what the monitor takes as normal."
        )

    def _must_be_done(self, project: Project, run: str) -> None:
        found = project.records.run(run)
        if found.status != "done":
            raise RecipeFailed(f"run {run} is {found.status}: {found.failure}", hint="`visutility doctor` may say more")

    def _serve(self, project: Project) -> None:
        tell, world, told = self._teller, self.world, self.told
        tell.chapter("In service")
        tell.say(
            "Every image is checked by a person. At some moment the camera starts to turn; nobody tells the monitor."
        )
        version, model = project.load(f"{MODEL}@champion")
        recipe = find_recipe(version.recipe)
        for position in range(0, world.length, TICK):
            project.clock.sleep(60)
            self._begin_control(position)
            if project.champion(MODEL) != version.number:
                version, model = project.load(f"{MODEL}@champion")
            seen = world.stream(position, TICK)
            wrong = recipe.predict(model, seen.batch) != seen.batch.labels
            told.correct += (~wrong).tolist()
            told.served_by += [version.number] * len(wrong)
            self._keep_images(position, seen.batch)
            project.monitor.ingest(
                MetricsEvent(
                    id=f"tick-{position}",
                    model=MODEL,
                    version=version.number,
                    metric="error",
                    values=wrong.astype(float).tolist(),
                    at=project.clock.now(),
                    prediction_ids=seen.batch.ids,
                )
            )
            tell.served(len(told.correct), world.length, told.accuracy(max(0, len(told.correct) - 30), None) or 0.0)
            self._tend_runs(project, position + len(wrong))

    def _begin_control(self, position: int) -> None:
        """Add JPEG compression once the model has served in peace for a while, or the stream nears its end."""
        told, world = self.told, self.world
        if told.control_start is not None:
            return
        calm = told.promotion is not None and position >= told.promotion + CALM
        if calm or position >= world.length - CONTROL:
            told.control_start = world.control_start = position
            self._teller.chapter("The control")
            self._teller.say(
                f"From image {position} on the camera also compresses mildly (JPEG). That is no reason to retrain, "
                "and nothing may be promoted."
            )

    def _tend_runs(self, project: Project, position: int) -> None:
        """Label images if a run waits for labels; drive what is due; notice a promotion."""
        before = project.champion(MODEL)
        for run in project.records.open_runs(MODEL):
            if run.waiting_for and "labels" in run.waiting_for:
                labelled = self.world.label(position, LABELLED, project.clock.now())
                if labelled is not None:
                    ParquetSource(self._settings.home / LABELS).append(labelled)
        project.work()
        for run in project.records.open_runs(MODEL):
            if run.waiting_for and run.waiting_for != self._waiting:
                self._waiting = run.waiting_for
                self._teller.say(f"The retrain run waits for {run.waiting_for}.")
        after = project.champion(MODEL)
        if after == before:
            return
        if self.told.control_start is not None:
            self.told.control_promotions += 1
        if self.told.promotion is None:
            self.told.promotion = position
            self._teller.say(f"PROMOTED {MODEL}:{after} after image {position}: the gate passed it.")

    def _look_back(self, project: Project) -> None:
        """Read from the registry what the retraining did, and measure what the re-tuning added to it."""
        told = self.told
        reports = project.records.gate_reports(MODEL)
        if not reports:
            return
        report = reports[0]
        told.gate = report.evidence
        if report.answer != "pass":
            told.refused = report.reason
            self._teller.say(f"The gate said {report.answer}, so nothing was promoted: {report.reason}.")
        challenger = project.registry.get(f"{MODEL}:{report.challenger}")
        champion = project.registry.get(f"{MODEL}:{report.champion}")
        told.retune_trials = project.records.trials(challenger)
        recipe = find_recipe(self._recipe)
        rows = DataBatch.concat([project.records.rows(challenger, "train"), project.records.rows(challenger, "tune")])
        same = recipe.fit(dict(champion.params), rows, lambda _step, _value: True)
        told.old_settings = recipe.evaluate(same, project.records.rows(challenger, "gate")).metrics["accuracy"]

    def _keep_images(self, position: int, batch: DataBatch) -> None:
        images = np.asarray(batch.images(), dtype=np.float32)
        if position == 0:
            self.told.images["before"] = images
        severe = self.world.severity(position) >= self.world.severity(self.world.length)
        if severe and self.world.drift_start is not None and "after" not in self.told.images:
            self.told.images["after"] = images

    def _on_trial(self, trial: Trial, done: int, of: int, best: float | None) -> None:
        del trial
        self._teller.trial(done, of, float("nan") if best is None else best)
