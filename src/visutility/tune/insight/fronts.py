"""Several objectives at once: every feasible trial, and which of them no other one beats."""

from dataclasses import dataclass
from typing import final

import numpy as np

from visutility.core.errors import InvalidSetting
from visutility.tune import pareto
from visutility.tune.insight.evidence import Array, HasTrials, Indices, value_of
from visutility.tune.space import Mask
from visutility.tune.trial import sign


@final
@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """The feasible trials: `values` (n, m) of m objectives in the study's directions, `best` (n,) the unbeaten."""

    objectives: tuple[str, ...]
    numbers: Indices
    values: Array
    best: Mask


def front(study: HasTrials) -> Front:
    """Return the Pareto front of a study of two objectives or more. Raises `InvalidSetting` for fewer. O(n k m)."""
    known = dict(study.options.objectives)
    if len(known) < 2:
        raise InvalidSetting(f"a front of {list(known)}", hint="a study of one objective has its `best`")
    rows = [(t.number, [value_of(t, name, study.options) for name in known]) for t in study.trials if t.feasible]
    whole = [(number, values) for number, values in rows if None not in values]
    values = np.array([row for _, row in whole], dtype=np.float64).reshape(-1, len(known))
    best = np.zeros(len(values), dtype=bool)
    best[pareto.front(values * np.array([sign(direction) for direction in known.values()]))] = True
    return Front(tuple(known), np.array([number for number, _ in whole], dtype=np.intp), values, best)
