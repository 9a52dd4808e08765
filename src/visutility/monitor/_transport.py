"""What the softmax scores of unlabelled data say once their labels are taken as a known mixture of classes.

Lu et al. (2023), "Characterizing out-of-distribution error via optimal transport", arXiv:2305.15640: the least cost of
carrying the scores to one-hot labels in the reference's proportions estimates the error. Saerens, Latinne &
Decaestecker (2002) fit other proportions by EM: how much of the change of the scores these explain tells a shift of
the classes, where transport is wrong, from a shift of the images, where it is right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visutility.core.rng import rng
from visutility.monitor.state import Floats, Ints

_SMOOTHING = (3e-2, 1e-2, 3e-3, 1e-3)  # of the dual, coarse to fine
_CELLS = 1_000_000  # scores that the transport looks at, at most; more rows are drawn
_ROWS = 2_000  # but never fewer rows than this
_RUNNER_UP = 32  # classes up to which the runner-up is looked at; above, confidence in fifths
_BITS = 0.001  # added to every count: a cell never seen with a class is not impossible
_PASSES = 300


def transport_gain(scores: Floats, shares: Floats, seed: int = 0) -> float:
    """Return the largest mean of scores[i, y_i], shape (n, k), over labels y of which a share `shares[j]` are j.

    One minus this is the cost of optimal transport from the scores to one-hot labels of these shares (k,), with half
    the L1 distance (which is the L-infinity distance there). Solved by its dual in k prices,
    min over v of mean_i max_j (scores[i, j] - v_j) + shares . v, smoothed by soft maxima and made finer in four
    steps; the value is the unsmoothed dual's, which is never below the optimum and above it by about 1e-4.
    O(n k) a step. Above 1,000,000 scores a sample of the rows stands for all.
    """
    from scipy.optimize import minimize  # takes a fifth of a second to import

    n, k = scores.shape
    most = max(_CELLS // k, _ROWS)
    if n > most:
        scores = scores[rng(seed, "transport").choice(n, most, replace=False)]
    prices = np.zeros(k)
    for smoothing in _SMOOTHING:

        def dual(v: Floats, smoothing: float = smoothing) -> tuple[float, Floats]:
            scaled = (scores - v) / smoothing
            largest = scaled.max(1, keepdims=True)
            weights = np.exp(scaled - largest)
            total = weights.sum(1, keepdims=True)
            value = smoothing * float((np.log(total) + largest).mean()) + float(shares @ v)
            return value, shares - (weights / total).mean(0)

        options = {"maxiter": 100, "ftol": 1e-8, "gtol": 1e-5}
        prices = minimize(dual, prices, jac=True, method="L-BFGS-B", options=options).x
    return float((scores - prices).max(1).mean() + shares @ prices)


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """How the reference's scores fall into cells, class by class."""

    shares: Floats  # (k,) of the reference's labels
    cells: Floats  # (k, c) share of each class's rows in each cell
    edges: Floats  # (b,) of the confidence
    rows: int


def learn_mixture(scores: Floats, labels: Ints) -> Mixture:
    """Return the cells of the reference: (label said, runner-up, confident or not), or (label said, fifth)."""
    k = scores.shape[1]
    cut = [0.6] if k <= _RUNNER_UP else [0.2, 0.4, 0.6, 0.8]
    edges = np.quantile(scores.max(1), cut)
    at = _cells(scores, edges)
    counts = np.full((k, _size(k, edges)), _BITS)
    np.add.at(counts, (labels, at), 1.0)
    shares = np.bincount(labels, minlength=k) / len(labels)
    return Mixture(shares, counts / counts.sum(1, keepdims=True), edges, len(labels))


def unexplained(mixture: Mixture, scores: Floats) -> float:
    """Return the part of the change of the cells, in [0, 1], that no other proportions of the classes explain.

    Total variation beyond what sampling alone gives, after the fit over before it. 0 where there is no change.
    """
    n = len(scores)
    now = np.bincount(_cells(scores, mixture.edges), minlength=mixture.cells.shape[1]) / n
    seen = now > 0.0
    inside = np.ascontiguousarray(mixture.cells[:, seen])
    shares = np.full(len(mixture.shares), 1.0 / len(mixture.shares))
    for _ in range(_PASSES):
        before = shares
        shares = shares * (inside @ (now[seen] / (shares @ inside)))
        shares /= shares.sum()
        if float(np.abs(shares - before).max()) < 1e-7:
            break
    fitted = shares @ mixture.cells
    noise = sampling_distance(fitted, mixture.rows, n)
    change = 0.5 * float(np.abs(now - mixture.shares @ mixture.cells).sum())
    rest = 0.5 * float(np.abs(now - fitted).sum())
    if change <= 1.02 * noise:
        return 0.0
    return min(max((rest - noise) / (change - noise), 0.0), 1.0)


def label_distance(reference: Floats, current: Floats) -> float:
    """Return the total variation between the labels said, (n, k) and (m, k), beyond what sampling alone gives."""
    k = reference.shape[1]
    before, after = (np.bincount(scores.argmax(1), minlength=k) / len(scores) for scores in (reference, current))
    moved = 0.5 * float(np.abs(before - after).sum())
    return max(moved - sampling_distance(before, len(reference), len(current)), 0.0)


def sampling_distance(shares: Floats, n: int, m: int) -> float:
    """Return the mean total variation between samples of n and m rows that have the same shares."""
    return 0.5 * float(np.sqrt(2.0 / np.pi * shares * (1.0 - shares) * (1.0 / n + 1.0 / m)).sum())


def _cells(scores: Floats, edges: Floats) -> NDArray[np.intp]:
    k = scores.shape[1]
    rows = np.arange(len(scores))
    said = scores.argmax(1)
    best = scores[rows, said]
    part = np.searchsorted(edges, best, side="left")
    if k <= _RUNNER_UP:
        rest = scores.copy()
        rest[rows, said] = -1.0
        said = said * k + rest.argmax(1)
    return np.asarray(said * (len(edges) + 1) + part, np.intp)


def _size(k: int, edges: Floats) -> int:
    return (k * k if k <= _RUNNER_UP else k) * (len(edges) + 1)
