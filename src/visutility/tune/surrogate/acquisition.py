"""Expected improvement on a log scale, and the search for the configuration where it is greatest.

Ament, Daulton, Eriksson, Balandat and Bakshy, "Unexpected Improvements to Expected Improvement for Bayesian
Optimization" (2023): LogEI is their equation (8), the stable log h their (9). Lower is better: z = (best - mean) / sd.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

from visutility.tune.listing import listing
from visutility.tune.space import Mask, Units
from visutility.tune.surrogate.descent import minimise_rows
from visutility.tune.surrogate.features import Layout

Array = NDArray[np.float64]
Slopes: TypeAlias = Callable[[Array], tuple[Array, Array]]  # of feature rows (m, c): values (m,), gradients (m, c)

LOG_ROOT_2PI: Final = 0.5 * np.log(2.0 * np.pi)
ROOT_HALF_PI: Final = (0.5 * np.pi) ** 0.5
ROOT_HALF: Final = 0.5**0.5
FAR: Final = -100.0

CENTRES: Final = 4  # best observed rows that candidates are drawn around
STEPS: Final = (0.003, 0.3)  # their distance, in widths of the cube, log-uniform
STARTS: Final = 2  # candidates from which a gradient is followed
CLIMB: Final = 10  # evaluations of it
SWEEPS: Final = 3  # rounds of one-parameter changes on the grids
LISTED: Final = 1024  # a space of no more configurations than this is scored whole


def log_h(z: Array) -> tuple[Array, Array]:
    """Return log(φ(z) + z Φ(z)) and its slope Φ(z) / (φ(z) + z Φ(z)), both (m,), for any finite z.

    Equation (9) in three pieces: the plain formula for z > -1; below, φ(z) (1 - |z| Φ(z)/φ(z)) with the Mills ratio
    from `erfcx`; and below -100, where that difference loses digits, its asymptotic series. (The paper changes over at
    -1/√ε, with the leading term alone.)
    """
    value, slope = np.empty_like(z), np.empty_like(z)
    near, far = z > -1.0, z < FAR
    middle = ~(near | far)
    t = z[near]
    below = ndtr(t)
    h = np.exp(-0.5 * t * t - LOG_ROOT_2PI) + t * below
    value[near], slope[near] = np.log(h), below / h
    t = z[middle]
    mills = ROOT_HALF_PI * erfcx(-ROOT_HALF * t)  # Φ(t) / φ(t)
    left = 1.0 + t * mills
    value[middle], slope[middle] = np.log(left) - 0.5 * t * t - LOG_ROOT_2PI, mills / left
    t = np.maximum(z[far], -1e150)  # its square stays finite
    w = 1.0 / (t * t)
    value[far] = np.log1p(-3.0 * w + 15.0 * w * w) - 0.5 * t * t - LOG_ROOT_2PI - 2.0 * np.log(-t)
    slope[far] = -t * (1.0 - w + 3.0 * w * w) / (1.0 - 3.0 * w + 15.0 * w * w)
    return value, slope


def log_ei(mean: Array, sd: Array, best: float) -> Array:
    """Return the log of the expected improvement (m,) below `best`. Equation (8)."""
    return np.asarray(log_h((best - mean) / sd)[0] + np.log(sd))


def log_ei_slopes(mean: Array, sd: Array, best: float) -> tuple[Array, Array, Array]:
    """Return log EI (m,) and its derivatives with respect to mean and standard deviation, both (m,)."""
    z = (best - mean) / sd
    value, slope = log_h(z)
    return value + np.log(sd), -slope / sd, (1.0 - z * slope) / sd


class Surrogate(Protocol):
    """What the search asks of a model: normal predictions at feature rows (m, c)."""

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return means (m,) and standard deviations (m,)."""
        ...

    def gradients(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """Return means and standard deviations (m,), and their gradients (m, c)."""
        ...


class Process(Surrogate, Protocol):
    """A surrogate that also gives its mean alone, which costs less."""

    def mean(self, x: Array) -> Array:
        """Return means (m,)."""
        ...


class Target(Protocol):
    """What `maximise` searches: an acquisition over rows of the unit cube."""

    @property
    def layout(self) -> Layout:
        """The layout of the space."""
        ...

    def score(self, units: Units, mask: Mask) -> Array:
        """Return the acquisition (m,) at snapped rows (m, d) of the cube."""
        ...

    def climb(self, units: Units, mask: Mask, box: Units) -> Units:
        """Return rows (m, d), not yet snapped, after a climb in the box (2, d) along the smooth active columns."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Improvement:
    """log EI of a surrogate below `best`, over rows of the unit cube."""

    model: Surrogate
    best: float
    layout: Layout

    def score(self, units: Units, mask: Mask) -> Array:
        """Return log EI (m,) at snapped rows (m, d) of the cube."""
        mean, sd = self.model.predict(self.layout.features(units, mask))
        return log_ei(mean, sd, self.best)

    def climb(self, units: Units, mask: Mask, box: Units) -> Units:
        """Return rows (m, d), not yet snapped, after a climb in the box (2, d) along the smooth active columns."""
        return climbed(self.slopes, self.layout, units, mask, box)

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Return log EI (m,) and its gradients (m, c) at feature rows (m, c)."""
        mean, sd, mean_slope, sd_slope = self.model.gradients(x)
        value, by_mean, by_sd = log_ei_slopes(mean, sd, self.best)
        return value, by_mean[:, None] * mean_slope + by_sd[:, None] * sd_slope


def climbed(slopes: Slopes, layout: Layout, units: Units, mask: Mask, box: Units) -> Units:
    """Return rows (m, d), not yet snapped, after climbing what has these `slopes` along the smooth active columns.

    Each row climbs on its own, inside the box (2, d), and none ends lower than it started.
    """
    free = mask[:, layout.smooth]
    if not free.any():
        return units
    x = layout.features(units, mask)
    at = layout.smooth_at
    low, high = (box[:, layout.smooth] - layout.smooth_low) / layout.smooth_span

    def loss(places: Array) -> tuple[Array, Array]:
        x[:, at] = np.where(free, places, x[:, at])
        value, slope = slopes(x)
        return -value, -slope[:, at]

    found = minimise_rows(loss, x[:, at], free, low, high, steps=CLIMB)
    moved = units.copy()
    moved[:, layout.smooth] = np.where(free, found * layout.smooth_span + layout.smooth_low, units[:, layout.smooth])
    return moved


def whole(dim: int) -> Units:
    """Return the box (2, d) that is the whole cube: least and greatest places."""
    return np.stack([np.zeros(dim), np.ones(dim)])


def maximise(
    target: Target,
    centres: Units,
    masks: Mask,
    draw: np.random.Generator,
    count: int,
    box: Units | None = None,
) -> Units:
    """Return snapped rows (m, d) of the cube, those of the greatest log EI first. `draw` gives all randomness.

    `centres` (k, d), `masks` (k, d): observed rows, best first. Half of the `count` candidates fill the box (2, d), the
    whole cube where it is left out; half lie around the centres. The best two that differ follow the gradient; then the
    best row changes one grid parameter at a time while that helps. A space of at most 1024 configurations is scored
    whole.
    """
    layout = target.layout
    space = layout.space
    if space.size is not None and space.size <= LISTED:
        rows, active = configurations(layout)
        return rows[np.argsort(-target.score(rows, active), kind="stable")]
    fill = _fill(centres, masks)
    low, high = box = whole(space.dim) if box is None else box
    spread = low + (high - low) * latin(draw, count // 2, space.dim)
    near = _around(layout, np.where(masks, centres, fill)[:CENTRES], draw, count - count // 2).clip(low, high)
    rows, active = space.snap(np.concatenate([spread, near]))
    scores = target.score(rows, active)
    order = np.argsort(-scores, kind="stable")
    picks = _apart(rows[order], STARTS)
    climbed, climbed_active = space.snap(target.climb(rows[order][picks], active[order][picks], box))
    rows, active = np.concatenate([rows, climbed]), np.concatenate([active, climbed_active])
    scores = np.concatenate([scores, target.score(climbed, climbed_active)])
    for _ in range(SWEEPS):
        top = int(np.argmax(scores))
        around = layout.neighbours(rows[top], active[top], fill)
        if not len(around):
            break
        around, around_active = space.snap(around)
        rows, active = np.concatenate([rows, around]), np.concatenate([active, around_active])
        scores = np.concatenate([scores, target.score(around, around_active)])
        if int(np.argmax(scores)) == top:
            break
    return rows[np.argsort(-scores, kind="stable")]


def latin(draw: np.random.Generator, count: int, dim: int) -> Units:
    """Return `count` points (count, dim), each in [0, 1), one in each of `count` slices of every column.

    McKay, Beckman and Conover (1979): a Latin hypercube.
    """
    places = np.argsort(draw.random((count, dim)), axis=0)
    return np.asarray((places + draw.random((count, dim))) / count)


@lru_cache(maxsize=32)
def configurations(layout: Layout) -> tuple[Units, Mask]:
    """Return every configuration of a finite space as rows (m, d) of the cube, and what is active; read-only."""
    every = listing(layout.space)
    encoded = [layout.space.encode(every.nth(index)) for index in range(every.size)]
    rows, active = np.array([unit for unit, _ in encoded]), np.array([mask for _, mask in encoded])
    rows.flags.writeable = active.flags.writeable = False
    return rows, active


def _fill(centres: Units, masks: Mask) -> Units:
    """The place (d,) of each column in the best centre where it is active; ½ where it is in none."""
    first = masks.argmax(axis=0)
    return np.where(masks.any(axis=0), centres[first, np.arange(centres.shape[1])], 0.5)


def _around(layout: Layout, centres: Units, draw: np.random.Generator, count: int) -> Units:
    """Rows (count, d) near the centres (k, d) in turn: some columns, at least one, moved; unordered options redrawn."""
    dim = centres.shape[1]
    rows = centres[np.arange(count) % len(centres)]
    share = np.where(draw.random(count) < 0.5, 0.5, 1.0 / dim)[:, None]
    moved = draw.random((count, dim)) < share
    moved[np.arange(count), draw.integers(dim, size=count)] = True
    low, high = np.log(STEPS)
    step = np.exp(low + (high - low) * draw.random((count, 1)))
    shift = np.maximum(step, layout.cell) * draw.standard_normal((count, dim))
    place = np.abs(rows + shift)  # reflected at 0, then at 1
    place = np.where(place > 1.0, np.maximum(2.0 - place, 0.0), place)
    place = np.where(layout.unordered, draw.random((count, dim)), place)
    return np.where(moved, place, rows)


def _apart(rows: Units, count: int) -> list[int]:
    """Indices of the first rows (m, d) that lie at least a tenth of the cube's width from each other."""
    picks = [0]
    for index in range(1, min(len(rows), 64)):
        if len(picks) == count:
            break
        if np.abs(rows[picks] - rows[index]).max(axis=1).min() >= 0.1:
            picks.append(index)
    return picks
