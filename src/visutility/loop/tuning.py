"""Running the trials of a durable study in an executor, the same way every time.

Trials go out in rounds of `parallel` and are told in the order of their numbers, so that the suggestions do not depend
on which worker happened to finish first. A trial that hangs, dies, raises or eats memory is a failed trial with its
reason, and the study goes on. On resume, trials that were asked and never told are evaluated first.

A trial that its study's stopping rule says should not go on is killed, and pruned; or paused, where the recipe keeps
checkpoints: then it may be asked for again, and goes on from its own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Protocol

from visutility.core.errors import StudyClosed, TrialClosed, TrialFailed
from visutility.execute import Call, Executor, Finished, Handle, Limits, Outcome, Report
from visutility.loop.metrics import Metrics
from visutility.tune import Failure, Trial


class TrialStudy(Protocol):
    """What is needed of a study: `tune.Study` and `registry.DurableStudy` both have it."""

    @property
    def trials(self) -> Sequence[Trial]:
        """Return all trials so far."""

    @property
    def best(self) -> Trial:
        """Return the best completed trial."""

    budget: int | None

    def ask_batch(self, n: int) -> list[Trial]:
        """Hand out n trials."""

    def tell(self, trial: Trial | int, outcome: float | Mapping[str, float] | Failure) -> Trial:
        """Take a trial's outcome."""

    def report(self, trial: Trial | int, step: int, value: float) -> bool:
        """Take an intermediate value; False asks to prune the trial."""

    def prune(self, trial: Trial | int) -> Trial:
        """End a trial early."""

    def pause(self, trial: Trial | int) -> Trial:
        """End the work on a trial for now."""


def checkpoints_of(home: Path, study_id: str) -> Path:
    """Return the folder in which the trials of a study keep what they need to go on."""
    return home / "checkpoints" / study_id


TrialListener = Callable[[Trial, int, int, float | None], None]  # trial, how many are done, of how many, best value


@dataclass(frozen=True, slots=True)
class TrialRunner:
    """Evaluates trials with `function(recipe, params, *args, report=...)` in the executor's workers."""

    executor: Executor
    metrics: Metrics
    function: Callable[..., Mapping[str, float]]
    args: tuple[object, ...]
    limits: Limits
    recipe: str
    listener: TrialListener | None = None
    checkpoints: Path | None = None  # a folder, in which each trial gets one of its own; None: what stops is pruned

    def run(self, study: TrialStudy, trials: int, parallel: int, check: Callable[[], None]) -> None:
        """Bring the study to that many trials, and remove their checkpoints.

        `check` is called between events and may raise to stop.
        Raises `TrialFailed` when every trial failed, with the reason of the last.
        """
        while True:
            check()
            waiting = [trial for trial in study.trials if trial.state == "pending"][:parallel]
            left = trials - len(study.trials)
            room = min(parallel - len(waiting), left if left > 0 else self._coming_back(study, trials))
            if room > 0:
                with suppress(StudyClosed):  # nothing is left to try
                    waiting += study.ask_batch(room)
            if not waiting:
                break
            self._round(study, waiting, check, trials)
        if self.checkpoints is not None:
            rmtree(self.checkpoints, ignore_errors=True)
        done = study.trials
        if done and not any(trial.state == "complete" for trial in done):
            raise TrialFailed(
                f"all {len(done)} trials failed; the last: {done[-1].failure}", hint="mend the recipe, then retry"
            )

    def _coming_back(self, study: TrialStudy, trials: int) -> int:
        """How many paused trials might go on, now that no new ones may be asked for."""
        if self.checkpoints is None or study.budget is None or study.budget > trials:
            return 0
        return sum(trial.state == "paused" for trial in study.trials)

    def _round(self, study: TrialStudy, waiting: Sequence[Trial], check: Callable[[], None], of: int) -> None:
        """Evaluate these trials side by side; tell them in the order of their numbers."""
        running = {self._submit(trial): trial for trial in waiting}
        outcomes: dict[int, Outcome | None] = {}
        diverged: dict[int, str] = {}
        try:
            while len(outcomes) < len(running):
                check()
                for event in self.executor.poll(timeout=1.0):
                    trial = running.get(event.handle)
                    if trial is None or trial.number in outcomes:
                        continue
                    if isinstance(event, Report):
                        if not study.report(trial, event.step, event.value):
                            outcomes[trial.number] = None
                            self.executor.cancel(event.handle)
                            if not math.isfinite(event.value):  # it will not come back from there
                                diverged[trial.number] = f"it reported {event.value} at step {event.step}"
                    elif isinstance(event, Finished):
                        outcomes[trial.number] = event.outcome
        except BaseException:
            for handle, trial in running.items():
                if trial.number not in outcomes:
                    self.executor.cancel(handle)
            raise
        for trial in sorted(waiting, key=lambda one: one.number):
            told = self._tell(study, trial, outcomes[trial.number], diverged.get(trial.number))
            if told is not None and self.listener is not None:
                ended = [one.state for one in study.trials if one.state not in ("pending", "paused")]
                best = study.best.value if "complete" in ended else None
                self.listener(told, len(ended), of, best)

    def _submit(self, trial: Trial) -> Handle:
        own = {} if self.checkpoints is None else {"checkpoint": str(self.checkpoints / str(trial.number))}
        return self.executor.submit(Call.of(self.function, self.recipe, trial.params, *self.args, **own), self.limits)

    def _tell(self, study: TrialStudy, trial: Trial, outcome: Outcome | None, diverged: str | None) -> Trial | None:
        try:
            if diverged is not None:
                told = study.tell(trial, Failure(diverged))
            elif outcome is None and self.checkpoints is not None:
                study.pause(trial)
                return None
            elif outcome is None:
                told = study.prune(trial)
            elif outcome.kind == "value":
                told = study.tell(trial, outcome.value)
            else:
                told = study.tell(trial, Failure(f"{outcome.kind}: {outcome.reason}"))
        except TrialClosed:  # another worker, since fenced or about to be, told it first
            return None
        self.metrics.trials.labels(told.state).inc()
        if outcome is not None:
            self.metrics.trial_seconds.observe(outcome.seconds)
        return told
