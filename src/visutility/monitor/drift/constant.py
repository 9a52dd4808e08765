"""One exact test of the features that never vary in a reference window: whitening has no scale for them.

Without a change the windows are one sample, cut at random. A feature that has one value but for k of all m + n rows
then has all those k in the current window with probability C(n, k) / C(m + n, k). Which features are constant is seen
in the reference itself, so the test counts all features, not the constant ones alone (Bonferroni). Rows that differ in
any constant feature must not be counted together: of many features that are seldom not 0, those that never are in the
reference are so by selection, and rows that differ somewhere are many without a change.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.monitor.state import Bools, Floats

DIFFERS = 1e-6  # of the constant's size: what is nearer is rounding


@final
@dataclass(frozen=True, slots=True)
class Constants:
    """The features that are constant in a reference window of m rows, out of `width`."""

    rows: int
    width: int
    at: NDArray[np.int64]  # (c,) indices
    values: Floats  # (c,)
    far: Floats  # (c,), from where on a value differs

    @classmethod
    def fit(cls, features: Floats, varies: Bools) -> "Constants":
        """Learn from features (m, p), of which `varies` (p,) says which are not constant."""
        rows, width = features.shape
        at = np.flatnonzero(~varies)
        values = features[0, at]
        return cls(rows, width, at, values, DIFFERS * np.abs(values))

    def differing(self, features: Floats) -> Bools:
        """Return which of the constant features differ, (n, c), in features (n, p)."""
        return np.asarray(np.abs(features[:, self.at] - self.values) > self.far, np.bool_)

    def test(self, differing: Bools) -> tuple[float, int]:
        """Return the p-value, all features counted, and the rows that differ in the feature where most do."""
        n, most = len(differing), int(differing.sum(0).max(initial=0))
        if not most:
            return 1.0, 0
        k, whole = float(most), float(self.rows + n)
        chance = special.gammaln(n + 1.0) - special.gammaln(n - k + 1.0)  # log C(n, k) / C(m + n, k)
        chance -= special.gammaln(whole + 1.0) - special.gammaln(whole - k + 1.0)
        return min(1.0, self.width * float(np.exp(chance))), most
