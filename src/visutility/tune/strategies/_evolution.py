"""The search distribution of CMA-ES with margin: a normal one over numbers, a categorical one over unordered choices.

Equations (n) are those of Hansen, "The CMA Evolution Strategy: A Tutorial" (2016). The margin, which keeps every value
of a grid within reach, is section 4 of Hamano, Saito, Nomura and Shirakawa, "CMA-ES with Margin" (2022). The odds of
unordered choices are those of Hamano, Saito, Nomura, Uchida and Shirakawa, "CatCMA" (2024), whose steps adapt as in
Akimoto and others, "Adaptive Stochastic Natural Gradient Method for One-Shot Neural Architecture Search" (2019).
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from visutility.tune.space import Choice, Space, Units

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

DIAGONAL: Final = 60  # with more numbers than this only variances are learnt (Ros and Hansen, sep-CMA-ES, 2008)
STEADY: Final = 1.5  # α of Akimoto and others, section 3.3
FAVOURITE: Final = 0.73  # an option's greatest probability where there is one unordered choice (Hamano 2024)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which columns of a space's cube are numbers, and which unordered choices. Make one with `plan`."""

    space: Space
    numbers: Indices  # (k,) columns
    edges: tuple[Array | None, ...]  # (k) inner borders of a grid's cells, None for a continuum
    cells: Array  # (k,) widths of their widest cells, 0 for a continuum
    choices: tuple[tuple[int, int], ...]  # (column, options) of unordered choices
    exact: bool  # whether a configuration gives its place in the cube away: no grids, no conditions


@lru_cache(maxsize=64)
def plan(space: Space) -> Plan:
    """Return the plan of a space, kept for the spaces used last. Parameters of one value are in neither group."""
    numbers: list[int] = []
    edges: list[Array | None] = []
    cells: list[float] = []
    choices: list[tuple[int, int]] = []
    for column, parameter in enumerate(space.parameters.values()):
        count = parameter.count
        if count == 1:
            continue
        if isinstance(parameter, Choice) and not parameter.ordered:
            choices.append((column, parameter.count))
            continue
        numbers.append(column)
        if count is None or count > _LISTED:
            edges.append(None)
            cells.append(0.0)
        else:
            places = np.array([parameter.to_unit(parameter.nth(index)) for index in range(count)])
            borders = np.asarray((places[1:] + places[:-1]) / 2.0)
            edges.append(borders)
            cells.append(float(np.diff(borders, prepend=0.0, append=1.0).max()))
    conditional = any(parameter.when is not None for parameter in space.parameters.values())
    gridless = all(borders is None for borders in edges)
    columns = np.array(numbers, dtype=np.intp)
    return Plan(space, columns, tuple(edges), np.array(cells), tuple(choices), gridless and not conditional)


_LISTED: Final = 4096  # a finer grid is a continuum, rounded


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Weights and learning rates for k numbers and a population: (49) to (58) and table 1."""

    weights: Array  # (λ,) the positive ones sum to 1
    mass: float  # μ_eff, (8)
    sigma: float  # c_σ
    damp: float  # d_σ
    path: float  # c_c
    one: float  # c_1
    rank: float  # c_μ
    norm: float  # expected length of a standard normal vector


@lru_cache(maxsize=256)
def rates(k: int, population: int) -> Rates:
    """Return the rates for k >= 1 numbers, diagonal ones beyond `DIAGONAL`."""
    raw = math.log((population + 1) / 2) - np.log(np.arange(1, population + 1))
    good, bad = raw[: population // 2], raw[population // 2 :]
    mass = float(good.sum() ** 2 / (good**2).sum())
    lost = float(bad.sum() ** 2 / (bad**2).sum())
    faster = (k + 2.0) / 3.0 if k > DIAGONAL else 1.0
    one = min(0.5, faster * 2.0 / ((k + 1.3) ** 2 + mass))
    rank = min(1.0 - one, faster * 2.0 * (0.25 + mass + 1.0 / mass - 2.0) / ((k + 2.0) ** 2 + mass))
    least = min(1.0 + one / rank, 1.0 + 2.0 * lost / (mass + 2.0), (1.0 - one - rank) / (k * rank))
    weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), least * raw / np.abs(raw[raw < 0]).sum())
    sigma = (mass + 2.0) / (k + mass + 5.0)
    return Rates(
        weights=weights,
        mass=mass,
        sigma=sigma,
        damp=1.0 + 2.0 * max(0.0, math.sqrt((mass - 1.0) / (k + 1.0)) - 1.0) + sigma,
        path=(4.0 + mass / k) / (k + 4.0 + 2.0 * mass / k),
        one=one,
        rank=rank,
        norm=math.sqrt(k) * (1.0 - 1.0 / (4.0 * k) + 1.0 / (21.0 * k * k)),
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The distribution of one generation, at places v = mean + sigma * stretch * y with y of covariance C."""

    population: int
    mean: Array  # (k,)
    sigma: float
    stretch: Array  # (k,) the diagonal A of the margin
    cov: Array  # (k, k)
    basis: Array  # (k, k) eigenvectors of C
    axes: Array  # (k,) square roots of its eigenvalues
    towards: Array  # (k,) p_σ
    along: Array  # (k,) p_c
    odds: tuple[Array, ...]  # probabilities of the options of each unordered choice
    drift: Array  # (Σ options,) the smoothed direction of the odds
    trust: float  # and how much of it is real: γ
    stride: float  # Δ: the odds take steps of length 1 / Δ
    generation: int = 0

    def places(self, z: Array) -> Array:
        """Return places (n, k) for standard normal rows (n, k), not yet clipped."""
        return np.asarray(self.mean + self.sigma * self.stretch * ((z * self.axes) @ self.basis.T))

    def spreads(self) -> Array:
        """Return the standard deviation (k,) of each number."""
        return np.asarray(self.sigma * self.stretch * np.sqrt(np.diag(self.cov)))


def first(layout: Plan, mean: Units, sigma: float, population: int) -> Shape:
    """Return a fresh distribution around places (d,) of the cube."""
    k = len(layout.numbers)
    odds = tuple(np.full(options, 1.0 / options) for _, options in layout.choices)
    return Shape(
        population=population,
        mean=np.array(mean[layout.numbers]),
        sigma=sigma,
        stretch=np.ones(k),
        cov=np.eye(k),
        basis=np.eye(k),
        axes=np.ones(k),
        towards=np.zeros(k),
        along=np.zeros(k),
        odds=odds,
        drift=np.zeros(sum(map(len, odds))),
        trust=0.0,
        stride=1.0,
    )


def stepped(shape: Shape, layout: Plan, places: Array, picks: Indices, weights: Array) -> Shape:
    """Return the distribution after a generation, best first: places (λ, k), options picked (λ, c), -1 for inactive.

    `weights` (λ,) are those of `rates`, changed where trials failed.
    """
    after = replace(shape, generation=shape.generation + 1)
    if len(shape.mean):
        after = _with_margin(_moved(after, places, weights), layout)
    return _with_odds(after, picks, weights) if shape.odds else after


def _moved(shape: Shape, places: Array, weights: Array) -> Shape:
    k = len(shape.mean)
    rate = rates(k, shape.population)
    y = (places - shape.mean) / (shape.sigma * shape.stretch)
    white = (y @ shape.basis) / shape.axes  # its rows have the length of C^(-1/2) y
    length = np.linalg.norm(white, axis=1)
    limit = math.sqrt(k) + 2.0 * k / (k + 2.0)  # Hansen, "Injecting external solutions into CMA-ES" (2011), (4)
    shrink = np.minimum(1.0, limit / np.maximum(length, 1e-300))
    y, white, length = y * shrink[:, None], white * shrink[:, None], length * shrink
    positive = np.maximum(weights, 0.0)
    mean = shape.mean + shape.sigma * shape.stretch * (positive @ y)  # (42)
    towards = (1.0 - rate.sigma) * shape.towards + math.sqrt(rate.sigma * (2.0 - rate.sigma) * rate.mass) * (
        shape.basis @ (positive @ white)
    )  # (43)
    speed = float(np.linalg.norm(towards))
    sigma = shape.sigma * math.exp(min(1.0, rate.sigma / rate.damp * (speed / rate.norm - 1.0)))  # (44)
    settled = math.sqrt(1.0 - (1.0 - rate.sigma) ** (2 * shape.generation))
    calm = speed / settled < (1.4 + 2.0 / (k + 1.0)) * rate.norm  # h_σ
    along = (1.0 - rate.path) * shape.along + calm * math.sqrt(rate.path * (2.0 - rate.path) * rate.mass) * (
        positive @ y
    )  # (45)
    scaled = np.where(weights >= 0.0, weights, weights * k / np.maximum(length, 1e-12) ** 2)  # (46)
    lost = 0.0 if calm else rate.path * (2.0 - rate.path)
    cov = (1.0 + rate.one * lost - rate.one - rate.rank * weights.sum()) * shape.cov  # (47)
    cov = cov + rate.one * np.outer(along, along) + rate.rank * ((y.T * scaled) @ y)
    basis, axes, cov = _axes(cov)
    return replace(shape, mean=mean, sigma=sigma, cov=cov, basis=basis, axes=axes, towards=towards, along=along)


def _axes(cov: Array) -> tuple[Array, Array, Array]:
    """Return eigenvectors, square roots of the eigenvalues, and the covariance made symmetric and positive."""
    k = len(cov)
    if k > DIAGONAL:
        variances = np.maximum(np.diag(cov), 1e-20)
        return np.eye(k), np.sqrt(variances), np.diag(variances)
    cov = (cov + cov.T) / 2.0
    values, basis = np.linalg.eigh(cov)
    least = max(float(values[-1]), 1e-20) * 1e-14
    if values[0] < least:
        values = np.maximum(values, least)
        cov = (basis * values) @ basis.T
    return basis, np.sqrt(values), cov


def _with_margin(shape: Shape, layout: Plan) -> Shape:
    """Correct mean and stretch so that no grid loses its neighbouring values (Hamano 2022, section 4.2 and 4.3)."""
    if all(borders is None for borders in layout.edges):
        return replace(shape, mean=shape.mean.clip(0.0, 1.0))
    from scipy.special import ndtr, ndtri

    share = 1.0 / (len(shape.mean) * shape.population)  # α
    mean, stretch = shape.mean.clip(0.0, 1.0), shape.stretch.copy()
    spreads = shape.spreads()
    for at, borders in enumerate(layout.edges):
        if borders is None:
            continue
        cell = int(np.searchsorted(borders, mean[at], side="right"))
        if cell in (0, len(borders)):  # an end of the range: one border matters
            border = borders[0] if cell == 0 else borders[-1]
            reach = float(-ndtri(share)) * spreads[at]
            away = mean[at] - border
            mean[at] = border + math.copysign(min(abs(away), reach), away if away else 1.0)
            continue
        low, high = borders[cell - 1], borders[cell]
        below = float(ndtr((low - mean[at]) / spreads[at]))
        above = float(ndtr((mean[at] - high) / spreads[at]))
        within = 1.0 - below - above
        least = share / 2.0
        if below >= least and above >= least:
            continue
        below, above = max(below, least), max(above, least)
        surplus = (1.0 - below - above - within) / (below + above + within - 3.0 * least)
        below, above = below + surplus * (below - least), above + surplus * (above - least)
        down, up = float(-ndtri(min(below, 0.5 - 1e-9))), float(-ndtri(min(above, 0.5 - 1e-9)))
        wide = (high - low) / (down + up)
        mean[at] = (low * up + high * down) / (down + up)
        stretch[at] *= wide / spreads[at]
    return replace(shape, mean=mean, stretch=stretch)


def _with_odds(shape: Shape, picks: Indices, weights: Array) -> Shape:
    """Move the odds of the options along the natural gradient (CatCMA, section 3.2), each option kept possible."""
    gradients = []
    for at, odds in enumerate(shape.odds):
        active = picks[:, at] >= 0
        hits = (picks[:, at, None] == np.arange(len(odds))) & active[:, None]
        positive = np.maximum(weights, 0.0) * active
        gradients.append(positive @ hits - positive.sum() * odds)
    gradient, flat = np.concatenate(gradients), np.concatenate(shape.odds)
    length = float(np.sqrt((gradient**2 / flat).sum()))
    if length < 1e-12:
        return shape
    step = 1.0 / shape.stride
    rate = min(1.0, step / math.sqrt(max(1, len(flat) - len(shape.odds))))
    drift = (1.0 - rate) * shape.drift + math.sqrt(rate * (2.0 - rate)) * gradient / np.sqrt(flat) / length
    trust = (1.0 - rate) ** 2 * shape.trust + rate * (2.0 - rate)
    stride = shape.stride * math.exp(rate * (trust - float(drift @ drift) / STEADY))
    moved = np.split(flat + step * gradient / length, np.cumsum([len(odds) for odds in shape.odds])[:-1])
    least = 1.0 - FAVOURITE ** (1.0 / len(moved))
    kept = tuple(_floored(one, least / (len(one) - 1)) for one in moved)
    return replace(shape, odds=kept, drift=drift, trust=trust, stride=max(1.0, stride))


def _floored(odds: Array, least: float) -> Array:
    """Return probabilities of at least `least` each that sum to 1."""
    raised = np.maximum(odds, least)
    over = raised - least
    room = 1.0 - least * len(odds)
    return np.asarray(least + over * (room / over.sum())) if over.sum() > 0.0 else np.full(len(odds), 1.0 / len(odds))
