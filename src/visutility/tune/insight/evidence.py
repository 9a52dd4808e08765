"""A study's trials as arrays: what everything in this package looks at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting
from visutility.tune.options import Options
from visutility.tune.space import Mask, Space, Units
from visutility.tune.trial import COMPLETE, Trial, sign

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

LEAST: Final = 8  # the best trials are at least so many, or half of all


class HasTrials(Protocol):
    """A study, in memory or read from a database."""

    @property
    def space(self) -> Space:
        """What was searched."""

    @property
    def options(self) -> Options:
        """Its objectives, with their directions, and its constraints."""

    @property
    def trials(self) -> Sequence[Trial]:
        """Every trial, by number."""


@final
@dataclass(frozen=True, slots=True)
class Findings:
    """A study as plain values, for one that keeps these three elsewhere."""

    space: Space
    options: Options
    trials: Sequence[Trial]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The complete trials of a study and their values of one objective, n rows by trial number."""

    space: Space
    objective: str
    direction: str
    numbers: Indices  # (n,) of the trials
    units: Units  # (n, d) `Space.encode` of their configurations
    masks: Mask  # (n, d) which parameters are active
    values: Array  # (n,) in the study's own direction

    @property
    def losses(self) -> Array:
        """The values as lower-is-better ones (n,)."""
        return sign(self.direction) * self.values

    @property
    def constant(self) -> bool:
        """Whether there is nothing to compare: fewer than two trials, or all of the same value."""
        return len(self.values) < 2 or bool(np.ptp(self.values) == 0.0)

    def column(self, name: str) -> int:
        """Return the column of a parameter. Raises `InvalidSetting` for an unknown one."""
        if name not in self.space.names:
            raise InvalidSetting(f"parameter {name!r} is unknown", hint=f"the space has {list(self.space.names)}")
        return self.space.names.index(name)

    def best(self, share: float, least: int = LEAST) -> Mask:
        """Return which trials (n,) are the best `share`, at least `least` or half of all; equals are in together."""
        if not 0.0 < share < 1.0:
            raise InvalidSetting(f"a share of {share!r} of the trials", hint="give one between 0 and 1")
        if not len(self.values):
            return np.zeros(0, dtype=bool)
        count = max(math.ceil(share * len(self.values)), min(least, len(self.values) // 2), 1)
        losses = self.losses
        return np.asarray(losses <= np.partition(losses, count - 1)[count - 1])

    def thinned(self, most: int) -> Indices:
        """Return at most `most` rows, ascending: the better half of that many, the others evenly over the trials."""
        n = len(self.values)
        if n <= most:
            return np.arange(n)
        best, rest = np.split(np.argsort(self.losses, kind="stable"), [most // 2])
        spread = np.sort(rest)[np.linspace(0, len(rest) - 1, most - most // 2).round().astype(np.intp)]
        return np.sort(np.concatenate([best, spread]))


def evidence(study: HasTrials, objective: str | None = None) -> Evidence:
    """Return the complete trials with a value of `objective` (None: the first, or only one). O(n d).

    Trials that break a constraint are in: they too say what the objective depends on. Raises `InvalidSetting` for an
    objective that the study has not.
    """
    known = dict(study.options.objectives)
    name = study.options.objective if objective is None else objective
    if name not in known:
        raise InvalidSetting(f"objective {name!r} is unknown", hint=f"the study has {sorted(known)}")
    valued = [(trial, value_of(trial, name, study.options)) for trial in study.trials]
    kept = [(trial, value) for trial, value in valued if value is not None]
    places = [study.space.encode(trial.params) for trial, _ in kept]
    dim = study.space.dim
    return Evidence(
        study.space,
        name,
        known[name],
        np.array([trial.number for trial, _ in kept], dtype=np.intp),
        np.array([unit for unit, _ in places], dtype=np.float64).reshape(-1, dim),
        np.array([mask for _, mask in places], dtype=bool).reshape(-1, dim),
        np.array([value for _, value in kept], dtype=np.float64),
    )


def value_of(trial: Trial, objective: str, options: Options) -> float | None:
    """Return a complete trial's value of an objective; None when it has none."""
    if trial.state != COMPLETE:
        return None
    found = trial.value if objective == options.objective else trial.metrics.get(objective)
    return None if found is None or not math.isfinite(found) else float(found)
