"""Our own strategies through `Study`, and the two controls that have to lose."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from benchmarks.tuning.adapters.common import Ask, Start, Tell
from visutility.core.rng import rng
from visutility.tune import Params, Space, Study
from visutility.tune.factory import make_strategy
from visutility.tune.strategy import AbstractStrategy, State


def asking(study: Study) -> tuple[Ask, Tell]:
    """Ask and tell of a study."""

    def ask() -> tuple[Any, Params]:
        trial = study.ask()
        return trial, trial.params

    return ask, study.tell


def ours(strategy: str) -> Start:
    """One of our strategies by name, the budget given."""
    return lambda space, seed, budget: asking(Study(space, strategy=strategy, seed=seed, budget=budget))


def random_control(space: Space, seed: int, budget: int) -> tuple[Ask, Tell]:
    """Random search under another name."""
    return asking(Study(space, strategy="random", seed=1_000_000 + seed, budget=budget))


def shuffled_control(space: Space, seed: int, budget: int) -> tuple[Ask, Tell]:
    """The strategy that "auto" picks, made to learn from values that belong to other trials."""
    inner = make_strategy("auto", space=space, budget=budget).strategy
    return asking(Study(space, strategy=Shuffled(inner), seed=2_000_000 + seed, budget=budget))


@final
@dataclass(frozen=True, slots=True)
class Shuffled(AbstractStrategy):
    """`inner` with the values seen permuted among the trials that have one, the same way for the same trial number."""

    inner: AbstractStrategy
    name: ClassVar[str] = "shuffled"

    def suggest(self, state: State, number: int) -> Params:
        """Return what `inner` suggests when values and configurations do not belong together."""
        at = [i for i, seen in enumerate(state.observed) if seen.value is not None]
        order = rng(state.seed, self.name, number).permutation(len(at))
        observed = list(state.observed)
        for i, j in zip(at, order, strict=True):
            observed[i] = replace(state.observed[i], value=state.observed[at[int(j)]].value)
        told = State(state.space, state.seed, tuple(observed), state.pending, state.history, state.problem)
        return self.inner.suggest(told, number)
