"""What detectors share that sum the products of bets over all starting points: for one row, in plain floats.

Shin, Ramdas & Rinaldo (2024), "E-detectors", NEJSDS 2(2), Definition 2.6.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.state import Floats
from visutility.monitor.verdicts import Level


def levels_of(score: Floats, before: Floats, limit: float, share: float) -> NDArray[np.int8]:
    """ALARM where a score (n,) is at the limit; WARNING where it has just come to `share`, from `before` (n,)."""
    levels = np.zeros(len(score), np.int8)
    levels[(score >= share) & (before < share)] = Level.WARNING
    levels[score >= limit] = Level.ALARM
    return levels


def sums(gain: Floats, start: float, stakes: Iterable[float]) -> list[float]:
    """Return M_t = (M_(t-1) + stake_t) L_t for every t, from M_0 = start; gain (n,) holds L."""
    return [start := (start + stake) * factor for stake, factor in zip(stakes, gain.tolist(), strict=False)]


def follow(best: float, total: float, gain: Floats, values: Floats) -> tuple[float, int | None, float]:
    """Advance the largest product of L over all starting points, which starts anew where it is 1 or less: CUSUM.

    Returns it, where in `gain` (n,) it starts, None where it started before, and the sum of the values (n,) from there
    on, on top of `total`.
    """
    products = [best, *[best := (best if best > 1.0 else 1.0) * factor for factor in gain.tolist()]]
    fresh = np.flatnonzero(np.array(products[:-1]) <= 1.0)
    start = int(fresh[-1]) if len(fresh) else None
    added = np.concatenate(([total if start is None else 0.0], values[start:]))
    return best, start, float(np.add.accumulate(added)[-1])
