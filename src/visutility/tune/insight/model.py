"""A Gaussian process of a study's trials, for looking at: its mean anywhere in the space, and how far to believe it.

The surrogate of `bayesian` (`tune.surrogate`): values bent to a normal shape, Matérn 5/2, one length scale a parameter,
noise learnt. It sees at most `points` trials: the better half of that many, the others evenly over the study.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from visutility.core.rng import rng
from visutility.tune.insight.evidence import Array, Evidence
from visutility.tune.one_thread import one_thread
from visutility.tune.space import Mask, Units
from visutility.tune.surrogate.features import Layout, layout
from visutility.tune.surrogate.gp import Hyper, Posterior, Prior, condition, fit
from visutility.tune.surrogate.warp import warped

POINTS: Final = 300
FOLDS: Final = 5
BLOCK: Final = 4096  # rows predicted at a time


@final
@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The process of one objective. `skill` is the share of the (bent) values' variance that it foretells for trials
    that it does not see, by cross-validation: 1 is perfect, 0 or less no better than their mean.
    """

    seen: Evidence
    rows: int  # how many trials it was made from
    skill: float
    _plan: Layout
    _process: Posterior
    _bent: Array  # losses as the process sees them, ascending
    _losses: Array  # and as they are

    def mean(self, units: Units) -> Array:
        """Return the mean (m,) at places (m, d) of the cube, on the scale of the bent losses: lower is better."""
        found = [self._process.mean(self._features(units[at : at + BLOCK])) for at in range(0, len(units), BLOCK)]
        return np.concatenate(found) if found else np.zeros(0)

    def values(self, bent: Array) -> Array:
        """Return what bent losses of any shape are as values of the objective, between the least and greatest seen."""
        losses = np.interp(bent, self._bent, self._losses)
        return np.asarray(-losses if self.seen.direction == "maximize" else losses)

    def _features(self, units: Units) -> Array:
        return self._plan.features(*self._plan.space.snap(units))


@one_thread
def model_of(seen: Evidence, *, points: int = POINTS) -> Model | None:
    """Return the process of these trials; None for fewer than four, all of one value, or a space without choice.

    Costs some twenty times `points`³ operations.
    """
    plan = layout(seen.space)
    if len(seen.values) < 4 or seen.constant or not plan.parameters:
        return None
    kept = seen.thinned(points)
    losses = seen.losses[kept]
    x, y = plan.features(seen.units[kept], seen.masks[kept]), warped(losses)
    prior = Prior()
    hyper = fit(x, y, plan.groups, prior, (prior.mode(plan.parameters),))
    order = np.argsort(losses, kind="stable")
    process = condition(hyper, x, y, plan.groups)
    return Model(seen, len(kept), _skill(hyper, plan, x, y), plan, process, y[order], losses[order])


def _skill(hyper: Hyper, plan: Layout, x: Array, y: Array) -> float:
    """Share of variance foretold over five folds, the hyper-parameters kept."""
    fold = rng(0, "insight", "folds").permutation(len(y)) % FOLDS
    off = np.empty(len(y))
    for at in range(FOLDS):
        out: Mask = fold == at
        if out.any():
            inner = condition(hyper, x[~out], y[~out], plan.groups)
            off[out] = y[out] - inner.mean(x[out])
    spread = float(np.var(y))
    return 1.0 - float(np.mean(off * off)) / spread if spread else 0.0
