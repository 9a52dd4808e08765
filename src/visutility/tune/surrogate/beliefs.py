"""User priors on good values: in the first trials, and as a weight on the acquisition that fades.

Hvarfner, Stoll, Souza, Lindauer, Hutter and Nardi, "πBO: Augmenting Acquisition Functions with User Beliefs for
Bayesian Optimization" (2022): the acquisition times π(x)^(β/n), their equation (6), on a log scale. So that a wrong
belief costs little, π is mixed with the uniform density, and its weight goes where the values speak against it. Each
parameter's log π is shifted to average 0 under the belief itself: a configuration in which the parameter is inactive
neither wins nor loses.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from visutility.tune.priors import Beliefs, Likely, shares
from visutility.tune.space import Choice, Mask, Space, Units
from visutility.tune.surrogate.features import Layout

Array: TypeAlias = NDArray[np.float64]

STRENGTH: Final = 1.0  # β
UNIFORM: Final = 0.1  # share of the uniform density in π
FEW: Final = 4  # values before they can speak against a belief
ROOT_2PI: Final = (2.0 * np.pi) ** 0.5
CELLS: Final = 1024  # of the sum that shifts log π


@final
@dataclass(frozen=True, slots=True)
class Bell:
    """A belief about a column of the cube: normal about a centre, cut off at 0 and 1."""

    column: int
    feature: int  # -1 when the parameter has no feature column
    low: float
    span: float
    centre: float
    spread: float
    mass: float  # of the normal within [0, 1]
    shift: float  # the average of log π under the belief

    def density(self, place: Array) -> Array:
        """Return π (m,) at places of the cube."""
        z = (place - self.centre) / self.spread
        return np.asarray(UNIFORM + (1.0 - UNIFORM) * np.exp(-0.5 * z * z) / (ROOT_2PI * self.spread * self.mass))

    def log(self, place: Array) -> tuple[Array, Array]:
        """Return log π less its average, and its slope along the cube, both (m,)."""
        density = self.density(place)
        pull = (self.centre - place) / self.spread**2
        return np.log(density) - self.shift, (density - UNIFORM) / density * pull

    def drawn(self, place: Array) -> Array:
        """Return the places that uniform ones stand for: quantiles of the belief."""
        low = ndtr(-self.centre / self.spread)
        found = self.centre + self.spread * ndtri(np.clip(low + place * self.mass, 1e-12, 1.0 - 1e-12))
        return np.asarray(np.clip(found, 0.0, 1.0))


@final
@dataclass(frozen=True, slots=True)
class Table:
    """A belief about the options of an unordered choice."""

    column: int
    chances: tuple[float, ...]

    def log(self, place: Array) -> Array:
        """Return log π less its average (m,) at places of the cube."""
        chances = np.array(self.chances)
        logs = np.log(UNIFORM + (1.0 - UNIFORM) * chances * len(chances))
        cell = np.minimum((place * len(chances)).astype(np.intp), len(chances) - 1)
        return np.asarray(logs[cell] - chances @ logs)

    def drawn(self, place: Array) -> Array:
        """Return the places that uniform ones stand for."""
        upto = np.cumsum(self.chances)
        cell = np.minimum(np.searchsorted(upto, place * upto[-1], side="right"), len(upto) - 1)
        return np.asarray((cell + 0.5) / len(upto))


@final
@dataclass(frozen=True, slots=True)
class Believed:
    """What is believed of the columns of a cube. Make one with `believed`."""

    bells: tuple[Bell, ...]
    tables: tuple[Table, ...]

    def drawn(self, units: Units) -> Units:
        """Return rows (m, d) of which uniform ones are the quantiles under the beliefs."""
        moved = units.copy()
        for bell in self.bells:
            moved[:, bell.column] = bell.drawn(units[:, bell.column])
        for table in self.tables:
            moved[:, table.column] = table.drawn(units[:, table.column])
        return moved

    def mode(self, unit: Units) -> Units:
        """Return a row (d,) with the believed columns at the most believed places."""
        moved = unit.copy()
        for bell in self.bells:
            moved[bell.column] = bell.centre
        for table in self.tables:
            moved[table.column] = (int(np.argmax(table.chances)) + 0.5) / len(table.chances)
        return moved


@lru_cache(maxsize=64)
def believed(space: Space, priors: Beliefs, plan: Layout) -> Believed:
    """Return the beliefs about a space's columns, kept for those used last."""
    bells, tables = [], []
    for name, belief in priors:
        column = space.names.index(name)
        parameter = space.parameters[name]
        if isinstance(belief, Likely):
            if isinstance(parameter, Choice):
                tables.append(Table(column, tuple(shares(belief, parameter.options))))
            continue
        centre = parameter.to_unit(belief.value)
        mass = float(ndtr((1.0 - centre) / belief.spread) - ndtr(-centre / belief.spread))
        at = np.flatnonzero(plan.numeric == column)
        feature, low, span = (-1, 0.0, 1.0)
        if len(at):
            feature, low, span = int(plan.numeric_at[at[0]]), float(plan.low[at[0]]), float(plan.span[at[0]])
        bell = Bell(column, feature, low, span, centre, belief.spread, mass, 0.0)
        places = bell.drawn((np.arange(CELLS) + 0.5) / CELLS)
        shift = float(np.log(bell.density(places)).mean())
        bells.append(Bell(column, feature, low, span, centre, belief.spread, mass, shift))
    return Believed(tuple(bells), tuple(tables))


def borne_out(logs: Array, values: Array) -> float:
    """Return how far values (n,), lower is better, bear out beliefs with these log π (n,): 1, or down to 0 against.

    Twice the one-sided probability of a rank correlation at most as good, by its normal approximation.
    """
    if len(values) < FEW or np.ptp(logs) == 0.0 or np.ptp(values) == 0.0:
        return 1.0
    ranks = [np.argsort(np.argsort(one, kind="stable"), kind="stable") for one in (logs, -values)]
    correlation = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return min(1.0, 2.0 * float(ndtr(correlation * (len(values) - 1) ** 0.5)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """(β/n) log π, to be added to an acquisition on a log scale; `plan` says where the columns are in x."""

    beliefs: Believed
    plan: Layout
    power: float  # β/n

    def slopes(self, x: Array, mask: Mask) -> tuple[Array, Array]:
        """Return the weight (m,) and its gradients (m, c)."""
        value, slope = np.zeros(len(x)), np.zeros_like(x)
        for bell in self.beliefs.bells:
            if bell.feature < 0:
                continue
            logs, rise = bell.log(x[:, bell.feature] * bell.span + bell.low)
            value += np.where(mask[:, bell.column], logs, 0.0)
            slope[:, bell.feature] += np.where(mask[:, bell.column], rise * bell.span, 0.0)
        for table in self.beliefs.tables:
            value += np.where(mask[:, table.column], table.log(self._places(x, table)), 0.0)
        return self.power * value, self.power * slope

    def _places(self, x: Array, table: Table) -> Array:
        """The places of an unordered choice, read off its feature columns."""
        for column, options, first in self.plan.choices:
            if column == table.column:
                return np.asarray((x[:, first : first + options].argmax(axis=1) + 0.5) / options)
        at = np.flatnonzero(self.plan.numeric == table.column)
        if not len(at):
            return np.full(len(x), 0.5)
        return np.asarray(x[:, self.plan.numeric_at[at[0]]] * self.plan.span[at[0]] + self.plan.low[at[0]])
