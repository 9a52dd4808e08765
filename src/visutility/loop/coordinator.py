"""The online form of tuning: measured configurations come in on one queue, the next go out on another."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

from visutility.core.clock import Clock
from visutility.core.errors import (
    Closed,
    Conflict,
    Invalid,
    InvalidObservation,
    InvalidSetting,
    MissingMetric,
    NotFound,
    QueueFull,
    StudyClosed,
    VisuTilityError,
)
from visutility.loop.channel import Channel
from visutility.loop.metrics import Metrics
from visutility.tune import Failure, Params, Trial

BEAT_SECONDS = 0.25


class OnlineStudy(Protocol):
    """What the coordinator needs of a study."""

    def ask(self) -> Trial:
        """Hand out a trial."""

    def tell(self, trial: Trial | int, outcome: float | Mapping[str, float] | Failure) -> Trial:
        """Take a trial's outcome."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What goes out: a trial's number, which must come back with its metrics, and its active parameters."""

    trial: int
    params: Params


@dataclass(frozen=True, slots=True)
class Measured:
    """What comes in: a configuration and what it did, metrics by name or a failure."""

    configuration: Configuration
    outcome: float | Mapping[str, float] | Failure


TrialObserver = Callable[[Trial], None]


@final
class TuningCoordinator:
    """Feeds metrics to a study and hands out new configurations, in a thread of its own.

    `measured` and `configurations` are bounded: a slow consumer makes the coordinator wait, and a full `measured`
    makes producers wait. At the start `width` configurations go out; each measurement is told to the study, the
    observers hear of it, and the next configuration follows. When `measured` is closed, everything accepted is told
    before the thread ends and closes `configurations`. A measurement the study refuses (unknown trial, missing
    objective, told twice) goes to `on_refused`; one without a usable value also fails
    its trial. The coordinator goes on.
    """

    def __init__(
        self,
        study: OnlineStudy,
        *,
        name: str,
        metrics: Metrics,
        clock: Clock,
        width: int = 1,
        size: int = 16,
        trials: int | None = None,
        observers: Sequence[TrialObserver] = (),
        on_refused: Callable[[Measured, VisuTilityError], None] | None = None,
    ) -> None:
        if not 1 <= width <= size:
            raise InvalidSetting(f"width is {width} with queues of {size}", hint="use 1 <= width <= size")
        if trials is not None and trials < 1:
            raise InvalidSetting(f"trials is {trials}", hint="use 1 or more, or None for no limit")
        self.measured: Channel[Measured] = Channel(size)
        self.configurations: Channel[Configuration] = Channel(size)
        self.refused: list[tuple[Measured, VisuTilityError]] = []
        self.error: BaseException | None = None
        self._study = study
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self._width = width
        self._left = trials
        self._out = 0
        self._observers = list(observers)
        self._on_refused = on_refused or (lambda measured, error: self.refused.append((measured, error)))
        self._thread = threading.Thread(target=self._work, name=f"coordinator-{name}", daemon=True)

    def start(self) -> "TuningCoordinator":
        """Start the thread and return self."""
        self._thread.start()
        return self

    def stop(self, timeout: float | None = None) -> None:
        """Close the input, wait until all accepted measurements are told, and raise what ended the thread, if any."""
        self.measured.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"coordinator {self._name} did not stop within {timeout} s")
        if self.error is not None:
            raise self.error

    def __enter__(self) -> "TuningCoordinator":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _work(self) -> None:
        try:
            for _ in range(self._width):
                self._hand_out()
            self._close_when_done()
            while (measured := self._next()) is not None:
                self._take(measured)
                self._close_when_done()
        except BaseException as error:  # noqa: BLE001  kept for stop(), which raises it in the caller's thread
            self.error = error
        finally:
            self.measured.close()
            self.configurations.close()

    def _next(self) -> Measured | None:
        """Return the next measurement, beating while there is none; None once the input is closed and empty."""
        while True:
            self._beat()
            try:
                return self.measured.get(timeout=BEAT_SECONDS)
            except TimeoutError:
                continue
            except Closed:
                return None

    def _take(self, measured: Measured) -> None:
        try:
            told = self._study.tell(measured.configuration.trial, measured.outcome)
        except (MissingMetric, InvalidObservation) as error:  # the trial is open, and has no usable value
            self._on_refused(measured, error)
            told = self._study.tell(measured.configuration.trial, Failure(str(error)))
        except (Invalid, Conflict, NotFound) as error:
            self._on_refused(measured, error)
            return
        self._out -= 1
        self._metrics.trials.labels(told.state).inc()
        for observer in self._observers:
            try:
                observer(told)
            except Exception:  # noqa: BLE001  an observer is foreign code; it is counted and must not stop the study
                self._metrics.observer_errors.labels(getattr(observer, "__name__", type(observer).__name__)).inc()
        if not self.measured.closed:
            self._hand_out()

    def _hand_out(self) -> None:
        """Ask for a trial and put it out, waiting while the queue is full unless the input is closed meanwhile."""
        if self._left == 0:
            return
        try:
            trial = self._study.ask()
        except StudyClosed:
            self._left = 0
            return
        if self._left is not None:
            self._left -= 1
        self._out += 1
        while not self.measured.closed:
            self._beat()
            try:
                self.configurations.put(Configuration(trial.number, trial.params), timeout=BEAT_SECONDS)
                return
            except QueueFull:
                continue
            except Closed:
                break
        self._left = 0  # nobody takes it: the trial stays pending, and a resumed study hands it out again

    def _close_when_done(self) -> None:
        """Close both queues once no configuration is out and none will follow."""
        if self._left == 0:
            self.configurations.close()
            if self._out == 0:
                self.measured.close()

    def _beat(self) -> None:
        self._metrics.heartbeat.labels(self._name).set(self._clock.now().timestamp())
        self._metrics.queue_depth.labels(self._name, "measured").set(len(self.measured))
        self._metrics.queue_depth.labels(self._name, "configurations").set(len(self.configurations))
