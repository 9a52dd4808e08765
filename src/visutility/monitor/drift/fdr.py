"""Many tests at once: q-values, and one p-value that no test has anything to tell."""

import numpy as np
from numpy.typing import ArrayLike

from visutility.monitor.state import Floats


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return the q-value of each p-value, shape (m,): the least false discovery rate at which it is flagged.

    q_(i) = min over j >= i of m p_(j) / j, in rising order of p; flagging q <= level keeps the expected share of
    wrong flags at most level times the share of true nulls where the tests are independent or positively dependent.
    Benjamini & Hochberg (1995); Benjamini & Yekutieli (2001), theorem 1.2.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def simes(p_values: ArrayLike) -> float:
    """Return the p-value of "none of these changed": min over i of m p_(i) / i, which is the least q-value.

    Exact for independent tests, conservative for positively dependent ones. Simes (1986). 1 for no test at all.
    """
    q = benjamini_hochberg(p_values)
    return float(q.min()) if len(q) else 1.0
