"""Mean, spread and skewness of a stream, kept as sums that grow by a value at a time."""

import numpy as np

from visutility.monitor.state import MANY, Floats, agree

LARGEST = 1e90  # of values whose sums of cubes stay finite
_SMALL = 1e-300  # cubes of spreads below it have no digits
_ROUNDED = 1e-3  # of a sum of many values, what rounding may have taken away
_TINY = 1e-280  # and of one of tiny values


def sums_of(window: Floats) -> Floats:
    """Return the count n and the sums of d, d^2 and d^3, shape (4,), with d = value - the first one: (n,) values.

    A distance, so that a large mean costs no digits. Added in order: what the values would have given one by one.
    """
    d = window - window[0]
    square = d * d
    return np.array([float(len(window)), *(np.add.accumulate(part)[-1] for part in (d, square, square * d))])


def moments(sums: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return count, mean of d, standard deviation and skewness of sums (4, r); 0 where the values do not vary,
    skewness also where they vary by less than 1e-100.
    """
    count, mean = sums[0], sums[1] / sums[0]
    spread = np.maximum(sums[2] / count - mean * mean, 0.0)
    sd = np.sqrt(spread * (count / np.maximum(count - 1.0, 1.0)))
    third = sums[3] / count - 3.0 * mean * (sums[2] / count) + 2.0 * mean * mean * mean
    cubed = spread * np.sqrt(spread)
    skew = np.divide(third, cubed, out=np.zeros_like(third), where=cubed > _SMALL)
    return count, mean, sd, skew


def tame(low: float | None, high: float | None) -> bool:
    """Return whether values of this range are such that no sum of theirs overflows."""
    return low is not None and high is not None and -LARGEST <= low <= high <= LARGEST


def check_sums(count: Floats, sums: Floats) -> None:
    """Raise `Invalid` where no values have these sums of d, d^2 and d^3 (3, r), by their size and by Cauchy-Schwarz.

    `count` (r,) is how many they are, or more. For `tame` values.
    """
    d, square, cube = sums
    most, more = 2.0 * LARGEST, 1.0 + _ROUNDED
    agree((count >= 0.0) & (count <= MANY), "sums of no number of values")
    sizes = (np.abs(d) <= most * MANY) & (square >= 0.0) & (square <= most**2 * MANY) & (np.abs(cube) <= most**3 * MANY)
    agree(sizes, "sums that no values have")
    agree(d * d <= more * count * square + _TINY, "a sum of squares that no values have")
    agree(np.abs(cube) <= more * square * np.sqrt(square) + _TINY, "a sum of cubes that no values have")
