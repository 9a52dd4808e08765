"""Acquisitions that are sums of terms on a log scale: what is gained, whether it is allowed, what is believed.

Every term is a function of feature rows x (m, c); what is believed also depends on which columns are active.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Mask, Units
from visutility.tune.surrogate.acquisition import Surrogate, climbed, log_ei, log_ei_slopes
from visutility.tune.surrogate.beliefs import Weight
from visutility.tune.surrogate.features import Layout

Array: TypeAlias = NDArray[np.float64]


class Term(Protocol):
    """One summand of an acquisition."""

    def score(self, x: Array) -> Array:
        """Return its values (m,)."""
        ...

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return its values (m,) and their gradients (m, c) along the feature columns."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Gain:
    """The log of the expected improvement of a surrogate below `best`."""

    model: Surrogate
    best: float

    def score(self, x: Array) -> Array:
        """Return log EI (m,)."""
        return log_ei(*self.model.predict(x), self.best)

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return log EI (m,) and its gradients (m, c)."""
        mean, sd, mean_slope, sd_slope = self.model.gradients(x)
        value, by_mean, by_sd = log_ei_slopes(mean, sd, self.best)
        return value, by_mean[:, None] * mean_slope + by_sd[:, None] * sd_slope


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """The sum of terms, over rows of the unit cube: what `acquisition.maximise` searches."""

    terms: tuple[Term, ...]
    layout: Layout
    weight: Weight | None = None

    def score(self, units: Units, mask: Mask) -> Array:
        """Return the sum (m,) at snapped rows (m, d) of the cube."""
        x = self.layout.features(units, mask)
        total = self.terms[0].score(x)
        for term in self.terms[1:]:
            total = total + term.score(x)
        return total if self.weight is None else total + self.weight.slopes(x, mask)[0]

    def climb(self, units: Units, mask: Mask, box: Units) -> Units:
        """Return rows (m, d), not yet snapped, after a climb in the box (2, d) along the smooth active columns."""

        def slopes(x: Array) -> tuple[Array, Array]:
            value, slope = self.terms[0].slopes(x)
            for term in self.terms[1:]:
                more, rise = term.slopes(x)
                value, slope = value + more, slope + rise
            if self.weight is not None:
                more, rise = self.weight.slopes(x, mask)
                value, slope = value + more, slope + rise
            return value, slope

        return climbed(slopes, self.layout, units, mask, box)
