"""Mean, spread and skewness of a stream, kept as sums that grow by a value at a time."""

import numpy as np

from visutility.monitor.state import Floats


def sums_of(window: Floats) -> Floats:
    """Return the count n and the sums of d, d^2 and d^3, shape (4,), with d = value - the first one: (n,) values.

    A distance, so that a large mean costs no digits. Added in order: what the values would have given one by one.
    """
    d = window - window[0]
    square = d * d
    return np.array([float(len(window)), *(np.add.accumulate(part)[-1] for part in (d, square, square * d))])


def moments(sums: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return count, mean of d, standard deviation and skewness of sums (4, r); 0 where the values do not vary."""
    count, mean = sums[0], sums[1] / sums[0]
    spread = np.maximum(sums[2] / count - mean * mean, 0.0)
    sd = np.sqrt(spread * (count / np.maximum(count - 1.0, 1.0)))
    third = sums[3] / count - 3.0 * mean * (sums[2] / count) + 2.0 * mean * mean * mean
    skew = np.divide(third, spread * np.sqrt(spread), out=np.zeros_like(third), where=spread > 0.0)
    return count, mean, sd, skew
