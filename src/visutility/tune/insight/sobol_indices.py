"""Sobol' indices of the surrogate's mean: how much of what the model says varies with each parameter.

Sobol', "Global sensitivity indices for nonlinear mathematical models" (2001); estimators of Jansen (1999) as in
Saltelli et al., "Variance based sensitivity analysis of model output" (2010), table 2 (c) and (f). With A and B two
independent designs of n rows, and A with its column i from B called A_i:

    first order  S_i  = 1 - E[(f(B) - f(A_i))²] / 2 Var f       what is expected to vanish if i alone were fixed
    total        ST_i =     E[(f(A) - f(A_i))²] / 2 Var f       what is expected to stay if all but i were fixed

The columns are those of the unit cube, which are independent whatever the conditions of the space: a parameter that is
inactive changes nothing there, so that conditions need no special case. f is the mean of the bent values, so that one
diverged trial is not all of the variance.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from visutility.core.rng import rng
from visutility.tune.insight.evidence import Array
from visutility.tune.insight.model import Model
from visutility.tune.strategies._digital import sobol_points

ROWS: Final = 1024
PREDICTIONS: Final = 2**16  # about so many at most: fewer rows where there are many parameters


@final
@dataclass(frozen=True, slots=True, eq=False)
class Indices:
    """Sobol' indices of each parameter (d,); total - first is the part in interactions."""

    first: Array
    total: Array


def sobol_indices(model: Model, *, rows: int | None = None) -> Indices:
    """Return the indices of a model's mean over the whole space, from `rows` (d + 2) predictions, `rows` a power of 2.

    All 0 where the mean is the same everywhere.
    """
    dim = model.seen.space.dim
    if rows is None:
        rows = min(ROWS, 2 ** max(6, int(np.log2(PREDICTIONS / (dim + 2)))))
    both = sobol_points(2 * dim, lambda: rng(0, "insight", "sobol"), 0, rows)
    a, b = both[:, :dim], both[:, dim:]
    at_a, at_b = model.mean(a), model.mean(b)
    variance = float(np.var(np.concatenate([at_a, at_b])))
    first, total = np.zeros(dim), np.zeros(dim)
    if variance <= 1e-18:
        return Indices(first, total)
    for column, parameter in enumerate(model.seen.space.parameters.values()):
        if parameter.count == 1:
            continue
        mixed = a.copy()
        mixed[:, column] = b[:, column]
        at_mixed = model.mean(mixed)
        first[column] = max(0.0, 1.0 - float(np.mean((at_b - at_mixed) ** 2)) / (2.0 * variance))
        total[column] = float(np.mean((at_a - at_mixed) ** 2)) / (2.0 * variance)
    return Indices(first, total)
