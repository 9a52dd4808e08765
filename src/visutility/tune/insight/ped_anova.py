"""PED-ANOVA: which parameters tell the best trials from the others.

Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
(IJCAI 2023). Let b be 1 for the best trials and 0 for the others. The mean of b at a value x of one parameter is
γ p(x)/q(x): γ the share of the best, p and q the densities of the parameter among the best and among all (Bayes). Its
variance over q is the parameter's main effect in a functional ANOVA of b (their theorem 1):

    v = γ² ∫ (p(x)/q(x) - 1)² q(x) dx,

γ² times the Pearson divergence of p from q. As q is the density of the trials that were made, v is about the region
that was searched, their "local" importance.

**Conditional parameters** take part where they are active: the variance within that region, times its share of the
trials. Whether a parameter is active at all is its parent's doing, and is counted there. This is the within-regime
variance of Baba, Ozaki and Watanabe, "Conditional PED-ANOVA" (2026).

**How many are the best.** The answer depends on that share, and where a strategy came closer and closer to the best, a
small share of best trials differs from the others by what the strategy happened to try last. So unless one is given, v
is the mean over nine shares, .1 to .9: up to a factor the Cramér-von Mises index of Gamboa, Klein and Lagnoux,
"Sensitivity analysis based on Cramér-von Mises distance" (2018).

**Chance.** A few best trials never spread exactly like the others, so that the divergence of a parameter without any
effect is above 0. We take off what it would be on average if the best were drawn at random. For densities that are
means of one kernel K a trial, of a given width, that is exact (sampling without replacement): at each x, for k best of
m trials, E(p - q)² = Var K · (m - k) / (k (m - 1)). What is left is below 0 for about every second parameter without
effect.
"""

import math
from typing import Final

import numpy as np

from visutility.tune.insight.evidence import Array, Evidence, Indices
from visutility.tune.space import Choice, Mask, Parameter, Units

SHARES: Final = tuple(tenths / 10 for tenths in range(1, 10))
CELLS: Final = 64  # of the axis on which densities are compared
FINE: Final = 512  # steps in which more trials than this are taken together
COUNTED: Final = 16  # a grid of at most so many values is compared value by value, without smoothing


def ped_anova(seen: Evidence, *, top: float | None = None, chance: bool = True) -> Array:
    """Return the main effect (d,) of each parameter on being among the best `top` of the trials; None: see above.

    `chance` takes off what a parameter without effect would have; then effects may be slightly negative. All 0 where
    every trial is among the best. O(n d).
    """
    found = np.zeros(seen.space.dim)
    shares = SHARES if top is None else (top,)
    for share in shares:
        best = seen.best(share)
        for at, parameter in enumerate(seen.space.parameters.values()):
            active = seen.masks[:, at]
            found[at] += effect(parameter, seen.units[active, at], best[active], len(best), chance=chance)
    return np.asarray(found / len(shares))


def effect(parameter: Parameter, places: Units, best: Mask, trials: int, *, chance: bool) -> float:
    """Return v for one parameter from its places in the cube (m,) where it is active, and which of them are best."""
    m, k = len(places), int(best.sum())
    if parameter.count == 1 or m < 2 or k in (0, m):
        return 0.0
    kernels, of_best, of_all = _kernels(parameter, places, best)
    among_best, among_all = of_best @ kernels, of_all @ kernels
    there = among_all > 0.0
    squares = (among_best - among_all)[there] ** 2
    if chance:
        variance = of_all @ kernels**2 - among_all**2
        squares -= variance[there] * (m - k) / (k * (m - 1))
    return m / trials * (k / m) ** 2 * float(np.sum(squares / among_all[there]))


def _kernels(parameter: Parameter, places: Units, best: Mask) -> tuple[Array, Array, Array]:
    """Return what trials at b places add to a density over c cells (b, c), rows of sum 1, and how the best and all
    trials spread over these places (b,), (b,), each of sum 1.

    Few values: each is a place and a cell. Others: a normal kernel, cut off at the ends of the range, whose width is
    Scott's for the best; many trials are taken together in fine steps first.
    """
    count = parameter.count
    if count is not None and (count <= COUNTED or (isinstance(parameter, Choice) and not parameter.ordered)):
        at, which = np.unique(places, return_inverse=True)
        return np.eye(len(at)), *_spread(which, best, len(at))
    at, which = places, np.arange(len(places))
    if len(places) > FINE:
        at, which = (np.arange(FINE) + 0.5) / FINE, np.minimum((places * FINE).astype(np.intp), FINE - 1)
    middles = (np.arange(CELLS) + 0.5) / CELLS
    off = (middles - at[:, None]) / _width(places[best])
    masses = np.exp(-0.5 * np.minimum(off * off, 1e3)) + 1e-300
    return masses / masses.sum(axis=1, keepdims=True), *_spread(which, best, len(at))


def _spread(which: Indices, best: Mask, places: int) -> tuple[Array, Array]:
    """Shares of the best and of all trials at each place."""
    return (
        np.bincount(which[best], minlength=places) / best.sum(),
        np.bincount(which, minlength=places) / len(which),
    )


def _width(places: Units) -> float:
    """Scott's rule with the smaller of two spreads (Silverman 1986, 3.30), at least half a cell."""
    low, high = np.quantile(places, [0.25, 0.75])
    spreads = [spread for spread in (float(places.std()), float(high - low) / 1.34) if spread > 0.0]
    narrowest = min(spreads, default=0.0)
    return max(1.059 * narrowest * math.pow(len(places), -0.2), 0.5 / CELLS)
