"""How often a score is right, learnt from labelled scores."""

from dataclasses import dataclass

import numpy as np

from visutility.monitor.state import Bools, Floats, Ints

_LEAST = 1e-12  # a probability of 0 is taken as this


@dataclass(frozen=True, slots=True, eq=False)
class Rising:
    """A rising function through the points (at, value), both (c,), straight in between and flat outside."""

    at: Floats
    value: Floats

    def __call__(self, scores: Floats) -> Floats:
        """Return the function's values at scores (n,)."""
        return np.interp(scores, self.at, self.value)


def isotonic(scores: Floats, happened: Bools) -> Rising:
    """Return the rising function of the score, (n,) both, with the least squared error: pool adjacent violators.

    Zadrozny & Elkan (2002). Its mean over the scores it was learnt from is exactly the share of what happened.
    """
    at, which, count = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(which.ravel(), happened.astype(np.float64)) / count
    values: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for mean, weight in zip(means.tolist(), count.tolist(), strict=True):
        value, mass, size = mean, float(weight), 1
        while values and values[-1] >= value:
            last, heavy = values.pop(), weights.pop()
            value = (last * heavy + value * mass) / (heavy + mass)
            mass, size = mass + heavy, size + sizes.pop()
        values.append(value)
        weights.append(mass)
        sizes.append(size)
    return Rising(at, np.repeat(values, sizes))


def sharpness(scores: Floats, labels: Ints) -> float:
    """Return the temperature in [0.05, 1] at which softmax scores (n, k) have the least log loss; 1: as they are.

    Guo et al. (2017). Only sharpened, never softened: of scores that claim too much the change alone is used, and that
    is larger where they claim more.
    """
    from scipy.optimize import minimize_scalar  # takes a fifth of a second to import

    logs = np.log(np.maximum(scores, _LEAST))
    logs -= logs.max(1, keepdims=True)
    right = logs[np.arange(len(labels)), labels]

    def loss(log_t: float) -> float:
        t = float(np.exp(log_t))
        return float((np.log(np.exp(logs / t).sum(1)) - right / t).mean())

    return min(float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), 1.0), method="bounded").x)), 1.0)


def tempered(scores: Floats, temperature: float) -> Floats:
    """Return softmax scores (n, k) at a temperature; below 1 they claim more. At 1 the very same."""
    if temperature == 1.0:
        return scores
    logs = np.log(np.maximum(scores, _LEAST)) / temperature
    odds = np.exp(logs - logs.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))
