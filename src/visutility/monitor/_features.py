"""What a corruption score is made of: features of a model's outputs, each bent at knots, and a regression on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import numpy as np
from scipy import special

from visutility.monitor.drift.harmful import entropy
from visutility.monitor.state import Floats

OutputKind = Literal["softmax", "embedding"]
KNOTS = 6  # of each feature's piecewise linear function: quantiles on clean outputs
_ABSENT = 1e-12  # a probability below this counts as this
_FIRST = 3  # of the largest probabilities, each by itself
_WIDE = 32  # single columns, and directions of most variance, at most
_NEVER = 1e100  # the spread of what never varies: it says nothing
_LEAST, _FAR = 1e-9, 1e3  # the least spread of what varies, for a mean of 0; and spreads beyond which all is one
_DIGITS = 9  # of the logarithm of the odds
_RIDGE, _FREE = 1e-3, 1e-9  # on the weights, and on the constant
_ROUNDS, _CLOSE = 50, 1e-6  # of Newton's method at most, and the gain of the loss at which it ends
_PIECE = 4096  # rows at once


@final
@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of outputs (n, k), f of them; each is scaled and bent at its knots: w functions with the constant.

    Of softmax vectors: the logarithms of the three largest probabilities, the entropy, the directions of most variance
    of the logits, and every class by itself where there are few. Of embeddings: the directions, and every value.
    """

    kind: OutputKind
    centre: Floats  # (k,)
    directions: Floats  # (k, d)
    mean: Floats  # (f,)
    spread: Floats  # (f,)
    knots: Floats  # (6, f)

    @classmethod
    def fit(cls, clean: Floats, kind: OutputKind) -> "Features":
        """Choose directions, scales and knots by clean outputs, (n, k)."""
        base = _logits(clean) if kind == "softmax" else clean
        centre = base.mean(0)
        directions = np.linalg.svd(base - centre, full_matrices=False)[2][:_WIDE].T.copy()
        columns = _columns(clean, kind, centre, directions)
        mean, spread = columns.mean(0), columns.std(0)
        spread[spread < _LEAST * (1.0 + np.abs(mean))] = _NEVER
        shares = np.linspace(0.0, 1.0, KNOTS + 2)[1:-1]
        return cls(kind, centre, directions, mean, spread, np.quantile((columns - mean) / spread, shares, axis=0))

    @property
    def width(self) -> int:
        """Return w."""
        return 1 + len(self.mean) * (1 + KNOTS)

    def checked(self) -> "Features":
        """Return self if `fit` may have made it; raise `ValueError`."""
        k, f = len(self.centre), len(self.mean)
        shapes = {
            "centre": (k,),
            "directions": (k, min(_WIDE, *self.directions.shape)),
            "mean": (f,),
            "spread": (f,),
            "knots": (KNOTS, f),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.float64 or array.shape != shape or not (np.abs(array) <= _NEVER).all():
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        if k == 0 or not (self.spread >= _LEAST).all():
            raise ValueError(f"{k} columns, and spreads from {self.spread.min(initial=1.0):g} on")
        if self.columns(np.full((1, k), 1.0 / k)).shape[1] != f:
            raise ValueError(f"{f} features of {k} columns")
        return self

    def columns(self, outputs: Floats) -> Floats:
        """Return the features of outputs (n, k) before they are scaled, (n, f)."""
        return _columns(outputs, self.kind, self.centre, self.directions)

    def basis(self, columns: Floats) -> Floats:
        """Return 1, the scaled features and what each is above its knots, (n, w), of features (n, f)."""
        scaled = np.clip((columns - self.mean) / self.spread, -_FAR, _FAR)
        above = [np.maximum(scaled - knot, 0.0) for knot in self.knots]
        return np.hstack([np.ones((len(scaled), 1)), scaled, *above])

    def odds(self, outputs: Floats, weights: Floats) -> Floats:
        """Return the logarithm of the odds of each row, (n,): some thousands at a time.

        Rounded, because sums of products differ in their last bits with the number of rows: equal outputs have equal
        odds, however they come.
        """
        pieces = [
            self.basis(self.columns(outputs[at : at + _PIECE])) @ weights for at in range(0, len(outputs), _PIECE)
        ]
        return np.concatenate([np.zeros(0), *pieces]).round(_DIGITS)


class Part(NamedTuple):
    """Features (n, f) of outputs that are clean (0) or corrupted (1), and the weight of a row."""

    columns: Floats
    target: float
    weight: float


def regress(features: Features, parts: Sequence[Part]) -> Floats:
    """Return the weights (w,) of least log loss and ridge: by Newton's method, its steps halved while too long."""
    weights, ridge = np.zeros(features.width), np.full(features.width, _RIDGE)
    ridge[0] = _FREE
    loss = _loss(features, parts, weights, ridge)
    for _ in range(_ROUNDS):
        slope, bend = ridge * weights, np.diag(ridge)
        for basis, target, weight in _blocks(features, parts):
            chance = special.expit(basis @ weights)
            slope = slope + weight * (basis.T @ (chance - target))
            bend = bend + (basis * (weight * chance * (1.0 - chance))[:, None]).T @ basis
        step, size = np.linalg.solve(bend, slope), 1.0
        found = _loss(features, parts, weights - step, ridge)
        while found > loss and size > _CLOSE:
            size /= 2.0
            found = _loss(features, parts, weights - size * step, ridge)
        gain = loss - found
        if gain > 0.0:
            weights, loss = weights - size * step, found
        if gain < _CLOSE:
            break
    return weights


def _loss(features: Features, parts: Sequence[Part], weights: Floats, ridge: Floats) -> float:
    total = float(ridge @ (weights * weights)) / 2.0
    for basis, target, weight in _blocks(features, parts):
        odds = basis @ weights
        total += weight * float(np.logaddexp(0.0, -odds if target else odds).sum())
    return total


def _blocks(features: Features, parts: Sequence[Part]) -> Iterator[tuple[Floats, float, float]]:
    for columns, target, weight in parts:
        for at in range(0, len(columns), _PIECE):
            yield features.basis(columns[at : at + _PIECE]), target, weight


def _columns(outputs: Floats, kind: OutputKind, centre: Floats, directions: Floats) -> Floats:
    """Return the features before they are scaled, (n, f)."""
    few = outputs.shape[1] <= _WIDE
    if kind == "embedding":
        turned = (outputs - centre) @ directions
        return np.hstack([turned, outputs]) if few else turned
    logs = np.log(np.maximum(outputs, _ABSENT))
    first = -np.sort(-logs, axis=1)[:, :_FIRST]
    parts = [first, entropy(outputs)[:, None], (_logits(outputs) - centre) @ directions]
    return np.hstack([*parts, logs] if few else parts)


def _logits(softmax: Floats) -> Floats:
    """Return the logarithms less each row's mean: the logits, but for a constant a row."""
    logs = np.log(np.maximum(softmax, _ABSENT))
    return np.asarray(logs - logs.mean(1, keepdims=True), np.float64)
