"""Models re-tuned as their data change: 24 tasks whose training sets grow, and models on images under growing drift.

A growing task is one of the quality benchmark's, with ever more of its training rows. A drifting sequence is a data set
(digits, Fashion-MNIST), a kind of model and a way of changing; its steps 0 to 4 are the same model on data that moved
further. Every value is what a real model, trained at that step, makes of held-out rows: log loss or error, lower is
better. Values are kept on disk by their content, since training is what a run of the benchmark costs.
"""

import gzip
import json
import math
import os
import sqlite3
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from benchmarks.tuning.task import Task
from benchmarks.tuning.tasks import DEV, REPORTED
from visutility.core.codec import dumps
from visutility.core.rng import rng
from visutility.data.corruptions import corrupt
from visutility.tune import Choice, Equals, Float, Int, Params, Space

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / "build" / "bench-cache"
FASHION: Final = Path(os.environ.get("FASHION_MNIST", ROOT.parent / "shared" / "data" / "fashion-mnist"))
SHARES: Final = (0.4, 0.55, 0.75, 1.0)  # of the training rows of a growing task, at each step
GROWTH: Final = (100, 135, 180, 245, 330)  # rows trained on at each step, the former ones among them
DRIFTS: Final = {"noise": "gaussian-noise", "rotation": "rotation", "contrast": "contrast"}
SEVERITY: Final = 0.6  # more of it at each step
TRAIN, TEST = 220, 700

Data = tuple[Any, Any, Any, Any]  # rows and labels to train on, rows and labels to test on
Judge = Callable[[Any, Data], float]  # of a model that is not fitted yet


@cache
def images(name: str) -> tuple[Any, Any]:
    """Images (n, h, w) in [0, 1] and their labels (n,)."""
    if name == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        return (found.images / 16.0).astype(np.float32), found.target
    with gzip.open(FASHION / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.astype(np.float32) / 255.0, labels


def have(name: str) -> bool:
    """Whether the data set is on this machine."""
    return name != "fashion" or (FASHION / "t10k-images-idx3-ubyte.gz").is_file()


@cache
def window(name: str, change: str, step: int) -> Data:
    """The data of a step: where they drift, new rows that changed further; else more rows of the same to train on."""
    x, y = images(name)
    grows = change == "growth"
    train = GROWTH[step] if grows else TRAIN
    rows = rng(0 if grows else step, "window", name, change).permutation(len(y))
    rows = np.concatenate([rows[TEST : TEST + train], rows[:TEST]])
    x, y = x[rows], y[rows]
    if not grows:
        x = corrupt(x, DRIFTS[change], SEVERITY * step, seed=step)
    if name == "fashion":  # 28 x 28 in blocks of 4 x 4
        x = x.reshape(len(x), 7, 4, 7, 4).mean(axis=(2, 4))
    flat = np.asarray(x.reshape(len(x), -1), dtype=np.float64)
    flat = (flat - flat[:train].mean(0)) / np.maximum(flat[:train].std(0), 0.05)
    return flat[:train], y[:train], flat[train : train + TEST], y[train : train + TEST]


def log_loss(model: Any, data: Data) -> float:
    x, y, u, v = data
    p = model.fit(x, y).predict_proba(u)
    at = np.searchsorted(model.classes_, v).clip(0, len(model.classes_) - 1)
    return float(-np.log(np.maximum(p[np.arange(len(v)), at], 1e-4)).mean())


def error(model: Any, data: Data) -> float:
    x, y, u, v = data
    return float(1.0 - model.fit(x, y).score(u, v))


def svm(p: Params, data: Data) -> float:
    from sklearn.svm import SVC

    return error(SVC(max_iter=2000, **p), data)


def linear(p: Params, data: Data, judge: Judge = log_loss) -> float:
    from sklearn.linear_model import SGDClassifier

    return judge(SGDClassifier(loss="log_loss", random_state=0, tol=None, **p), data)


def network(p: Params, data: Data, judge: Judge = log_loss) -> float:
    from sklearn.neural_network import MLPClassifier

    return judge(MLPClassifier(max_iter=8, random_state=0, **p), data)


def forest(p: Params, data: Data, judge: Judge = log_loss) -> float:
    from sklearn.ensemble import ExtraTreesClassifier

    return judge(ExtraTreesClassifier(8, random_state=0, **p), data)


def bounded(run: Callable[[Params, Data], float], params: Params, data: Data) -> float:
    """The loss, 10 at most: what a model has that cannot be trained."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = run(params, data)
        except ValueError:  # training diverged
            value = 10.0
    return min(value, 10.0) if np.isfinite(value) else 10.0


_CURVED: Final = Equals("kernel", "rbf", "poly", "sigmoid")
MODELS: Final[dict[str, tuple[Space, Callable[[Params, Data], float]]]] = {
    "svm": (
        Space(
            {
                "kernel": Choice(["linear", "rbf", "poly", "sigmoid"]),
                "C": Float(1e-3, 1e3, log=True),
                "gamma": Float(1e-5, 1e1, log=True, when=_CURVED),
                "degree": Int(2, 5, when=Equals("kernel", "poly")),
                "coef0": Float(-1.0, 1.0, when=Equals("kernel", "poly", "sigmoid")),
            }
        ),
        svm,
    ),
    "linear": (
        Space(
            {
                "penalty": Choice(["l1", "l2", "elasticnet"]),
                "alpha": Float(1e-6, 1e1, log=True),
                "l1_ratio": Float(0.0, 1.0, when=Equals("penalty", "elasticnet")),
                "learning_rate": Choice(["constant", "optimal", "invscaling"]),
                "eta0": Float(1e-5, 1e1, log=True, when=Equals("learning_rate", "constant", "invscaling")),
                "max_iter": Int(2, 20, log=True),
                "average": Choice([False, True]),
            }
        ),
        linear,
    ),
    "network": (
        Space(
            {
                "hidden_layer_sizes": Int(4, 64, log=True),
                "activation": Choice(["relu", "tanh", "logistic"]),
                "solver": Choice(["adam", "sgd"]),
                "alpha": Float(1e-6, 1e1, log=True),
                "learning_rate_init": Float(1e-4, 1.0, log=True),
                "momentum": Float(0.0, 0.99, when=Equals("solver", "sgd")),
                "batch_size": Choice([16, 32, 64, 128], ordered=True),
            }
        ),
        network,
    ),
    "forest": (
        Space(
            {
                "max_depth": Int(1, 20),
                "max_features": Float(0.02, 1.0, log=True),
                "min_samples_leaf": Int(1, 20, log=True),
                "criterion": Choice(["gini", "entropy"]),
                "bootstrap": Choice([False, True]),
                "max_samples": Float(0.1, 1.0, when=Equals("bootstrap", True)),
            }
        ),
        forest,
    ),
}


@final
@dataclass(frozen=True, slots=True)
class Sequence:
    """A model on data that change from step to step. `choose`: constants may be chosen on it."""

    data: str
    model: str
    change: str
    choose: bool
    space: Space = field(repr=False)

    @property
    def name(self) -> str:
        """Data, model and change."""
        return f"{self.data}-{self.model}-{self.change}"

    def value(self, params: Params, step: int) -> float:
        """What the model makes of the data at this step, lower is better."""
        return float(remembered([self.name, step, params], lambda: self._evaluate(params, step)))

    def _evaluate(self, params: Params, step: int) -> float:
        return bounded(MODELS[self.model][1], params, window(self.data, self.change, step))


@final
@dataclass(frozen=True, slots=True)
class Growing:
    """One of the quality benchmark's tasks (`tasks`) while its training set grows, the judged rows being the same."""

    task: Task = field(repr=False)
    choose: bool

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.task.space

    @property
    def name(self) -> str:
        """The task and how it changes."""
        return f"{self.task.name}-grows"

    def value(self, params: Params, step: int) -> float:
        """The loss once the rows of this step are there, lower is better; a model that cannot be fitted has 10."""
        value = self.task.grown_to(SHARES[step]).evaluate(params)
        return min(value, 10.0) if math.isfinite(value) else 10.0


def growing() -> list[Growing]:
    """All 24 tasks of the quality benchmark, in the same halves."""
    return [Growing(task, choose=True) for task in DEV] + [Growing(task, choose=False) for task in REPORTED]


def drifting() -> list[Sequence]:
    """All sequences whose data are here: two data sets, four models, three ways of changing. Every other one may be
    used to choose constants; each half has every data set, model and change."""
    changes = {"digits": ("rotation", "noise", "growth"), "fashion": ("contrast", "noise", "growth")}
    return [
        Sequence(data, model, change, (i + j + k) % 2 == 0, MODELS[model][0])
        for i, data in enumerate(changes)
        if have(data)
        for j, model in enumerate(MODELS)
        for k, change in enumerate(changes[data])
    ]


def _version() -> str:
    import sklearn

    return f"2 {np.__version__} {sklearn.__version__}"


VERSION: Final = _version()


@cache
def _database() -> sqlite3.Connection:
    CACHE.mkdir(parents=True, exist_ok=True)
    found = sqlite3.connect(CACHE / "retune.sqlite", timeout=60, isolation_level=None)
    found.execute("PRAGMA journal_mode=WAL")
    found.execute("PRAGMA synchronous=OFF")
    found.execute("CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, text TEXT) WITHOUT ROWID")
    return found


def remembered(key: Any, make: Callable[[], Any]) -> Any:
    """Return `make()`, plain data, kept on disk under a key of plain data."""
    digest = sha256(dumps([VERSION, key]).encode()).digest()
    found = _database().execute("SELECT text FROM kept WHERE key = ?", (digest,)).fetchone()
    if found is not None:
        return json.loads(found[0])
    value = make()
    _database().execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (digest, json.dumps(value)))
    return value
