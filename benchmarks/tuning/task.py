"""A task: a search space and a real model whose loss on held-out data is a function of the configuration alone."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks.tuning.memo import Memo, memo
from visutility.core.rng import rng
from visutility.tune import Space

Params = Mapping[str, Any]
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x to fit, y to fit, x to judge, y to judge
WORST = 10.0  # of 1 - R²: beyond it a model is simply wrong
LEAST_SHARE = 1e-4  # probabilities below it count as it
ROWS: ContextVar[float] = ContextVar("rows", default=1.0)  # share of the rows to fit that there are yet


@dataclass(frozen=True)
class Task:
    """`evaluate(params)` is the loss, lower is better; NaN when the model cannot be fitted so: a failed trial.

    `run` is the model itself. Change `version` with anything that changes a value: kept evaluations are named by it.
    """

    name: str
    space: Space
    run: Callable[[Params], float]
    version: int = 1

    def grown_to(self, share: float) -> "Task":
        """Return the task while only the first `share` of its rows to fit are there; the rows to judge are the same."""

        def run(params: Params) -> float:
            with rows(share):
                return self.run(params)

        return replace(self, name=f"{self.name}@{share:g}", run=run)

    def evaluate(self, params: Params) -> float:
        """Return the loss of a configuration, from the disk where it was kept before."""
        kept = memo()
        key = Memo.key(self.name, self.version, params)
        found = kept.get(key)
        if found is None:
            found = self.fit(params)
            kept.put(key, self.name, found)
        return found

    def fit(self, params: Params) -> float:
        """Return the loss, computed afresh: warnings silenced, an error or a loss that is not finite becomes NaN."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # models that have not converged are part of what is searched
            try:
                value = float(self.run(params))
            except (ValueError, FloatingPointError, np.linalg.LinAlgError):
                return math.nan
        return value if math.isfinite(value) else math.nan


@contextmanager
def rows(share: float) -> Iterator[None]:
    """Let models be fitted to the first `share` of their rows."""
    token = ROWS.set(share)
    try:
        yield
    finally:
        ROWS.reset(token)


def there(data: Data) -> Data:
    """The data with those rows to fit that there are."""
    x, y, u, v = data
    count = round(ROWS.get() * len(y))
    return x[:count], y[:count], u, v


@cache
def table(name: str, fit: int, judge: int) -> Data:
    """A data set that ships inside scikit-learn: standardised columns, `fit` rows to fit and `judge` rows to judge."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return split(np.asarray(x, dtype=np.float64), y, fit, judge, name, regression=name == "diabetes")


@cache
def made(kind: str, fit: int, judge: int, **settings: Any) -> Data:
    """A data set of scikit-learn's generators, always the same one: `made("friedman1", 100, 200, noise=1.0)`."""
    from sklearn import datasets

    x, y = getattr(datasets, f"make_{kind}")(n_samples=fit + judge, random_state=7, **settings)
    return split(x, y, fit, judge, kind, regression=kind.startswith("friedman") or kind == "regression")


def split(x: np.ndarray, y: np.ndarray, fit: int, judge: int, name: str, *, regression: bool) -> Data:
    """Shuffled, standardised by all rows, and cut."""
    order = rng(0, "split", name).permutation(len(y))
    x, y = x[order], y[order]
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    if regression:
        y = (y - y.mean()) / y.std()
    return x[:fit], y[:fit], x[fit : fit + judge], y[fit : fit + judge]


def error(model: Any, data: Data) -> float:
    """Share of rows classified wrongly."""
    x, y, u, v = there(data)
    return float(np.mean(model.fit(x, y).predict(u) != v))


def log_loss(model: Any, data: Data) -> float:
    """Mean of -log of the probability given to the true class."""
    x, y, u, v = there(data)
    given = model.fit(x, y).predict_proba(u)[np.arange(len(v)), np.searchsorted(model.classes_, v)]
    return float(-np.log(np.maximum(given, LEAST_SHARE)).mean())


def unexplained(model: Any, data: Data) -> float:
    """1 - R²: 0 is perfect, 1 no better than the mean."""
    x, y, u, v = there(data)
    predicted = np.ravel(model.fit(x, y).predict(u))
    if not np.isfinite(predicted).all():
        return math.nan
    return min(float(np.mean((v - predicted) ** 2) / np.var(v)), WORST)


def without(params: Params, *names: str) -> dict[str, Any]:
    """The configuration without these parameters."""
    return {name: value for name, value in params.items() if name not in names}


@cache
def with_noise(name: str, fit: int, judge: int, columns: int) -> Data:
    """`table` with columns of pure noise added, so that reducing them pays."""
    x, y, u, v = table(name, fit, judge)
    noise = rng(0, "noise", name).standard_normal((len(x) + len(u), columns))
    return np.hstack([x, noise[: len(x)]]), y, np.hstack([u, noise[len(x) :]]), v
