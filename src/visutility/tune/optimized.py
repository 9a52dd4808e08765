"""The loop that most users want: ask, evaluate, tell; the same for a study in memory and a durable one."""

from collections.abc import Callable
from typing import Protocol

from visutility.core.errors import StudyClosed
from visutility.tune.options import Options
from visutility.tune.space import Params
from visutility.tune.trial import Failure, Result, Trial


class Asked(Protocol):
    """What is needed of a study."""

    options: Options

    def ask(self) -> Trial:
        """Return the next trial."""

    def tell(self, trial: Trial | int, result: Result) -> Trial:
        """End a trial."""

    @property
    def best(self) -> Trial:
        """The best trial."""

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials no other one is better than."""


def optimized(study: Asked, objective: Callable[[Params], Result], n: int) -> Trial:
    """Ask, call `objective(params)` and tell, `n` times or until the study closes; return the best trial.

    An exception ends its trial as failed and comes through. With several objectives: the first of `front`.
    """
    for _ in range(n):
        try:
            trial = study.ask()
        except StudyClosed:
            break
        try:
            study.tell(trial, objective(dict(trial.params)))
        except BaseException as error:
            study.tell(trial, Failure(f"{type(error).__name__}: {error}"))
            raise
    return study.best if len(study.options.objectives) == 1 else study.front[0]
