"""Classifiers re-tuned as labelled rows arrive, by the share of about a thousand held-out rows they get wrong.

The other two families of `retune` have some two hundred rows to train on, and losses that differ in their last digits:
there the best of fifty trials is much of it luck. Here the rows are hundreds to two thousand, half as many again at
each of four steps, of images (digits, Fashion-MNIST) or of made-up classes; the held-out ones are the same throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final, final

import numpy as np

from benchmarks.tuning.retune_tasks import (
    MODELS,
    Data,
    bounded,
    error,
    forest,
    have,
    images,
    linear,
    network,
    remembered,
)
from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Params, Space

STEPS: Final = {"fashion": (600, 900, 1350, 2000), "made": (600, 900, 1350, 2000), "digits": (270, 400, 600, 900)}
JUDGED: Final = {"fashion": 1000, "made": 1000, "digits": 897}


@cache
def rows(name: str) -> tuple[Any, Any]:
    """All rows of a data set (n, columns) and their labels (n,), in an order of our own."""
    if name == "made":
        from sklearn.datasets import make_classification

        x, y = make_classification(5000, 20, n_informative=10, n_redundant=4, n_classes=6, flip_y=0.05, random_state=7)
    else:
        x, y = images(name)
        if name == "fashion":  # 28 x 28 in blocks of 4 x 4
            x = x.reshape(len(x), 7, 4, 7, 4).mean(axis=(2, 4))
        x = x.reshape(len(x), -1)
    order = rng(0, "arrivals", name).permutation(len(y))
    return np.asarray(x, dtype=np.float64)[order], y[order]


@cache
def arrived(name: str, step: int) -> Data:
    """The data of a step, standardised by the rows there are to train on."""
    x, y = rows(name)
    judged, end = JUDGED[name], JUDGED[name] + STEPS[name][step]
    centre, spread = x[judged:end].mean(0), np.maximum(x[judged:end].std(0), 0.05)
    x = (x - centre) / spread
    return x[judged:end], y[judged:end], x[:judged], y[:judged]


def neighbours(p: Params, data: Data) -> float:
    """Nearest neighbours after a reduction."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    own = {name: value for name, value in p.items() if name not in ("components", "whiten")}
    count = max(1, round(p["components"] * data[0].shape[1]))
    reduce = PCA(count, whiten=p["whiten"], random_state=0)
    return error(make_pipeline(reduce, KNeighborsClassifier(**own)), data)


def features(p: Params, data: Data) -> float:
    """Ridge regression of the classes on kernel features."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline

    own = {name: value for name, value in p.items() if name != "alpha"}
    return error(make_pipeline(Nystroem(random_state=0, **own), RidgeClassifier(p["alpha"])), data)


MODELS_OF_LABELS: Final[dict[str, tuple[Space, Callable[[Params, Data], float]]]] = {
    "svm": MODELS["svm"],
    "linear": (MODELS["linear"][0], partial(linear, judge=error)),
    "network": (MODELS["network"][0], partial(network, judge=error)),
    "forest": (MODELS["forest"][0], partial(forest, judge=error)),
    "nearest": (
        Space(
            {
                "components": Float(0.05, 1.0, log=True),
                "whiten": Choice([False, True]),
                "n_neighbors": Int(1, 50, log=True),
                "weights": Choice(["uniform", "distance"]),
                "metric": Choice(["minkowski", "cosine"]),
                "p": Choice([1, 2], when=Equals("metric", "minkowski")),
            }
        ),
        neighbours,
    ),
    "features": (
        Space(
            {
                "kernel": Choice(["rbf", "laplacian", "polynomial", "sigmoid"]),
                "gamma": Float(1e-5, 1e1, log=True),
                "degree": Int(2, 5, when=Equals("kernel", "polynomial")),
                "coef0": Float(-1.0, 1.0, when=Equals("kernel", "polynomial", "sigmoid")),
                "n_components": Int(20, 200, log=True),
                "alpha": Float(1e-4, 1e3, log=True),
            }
        ),
        features,
    ),
}


@final
@dataclass(frozen=True, slots=True)
class Arriving:
    """A model on a data set whose rows arrive. `choose`: constants may be chosen on it."""

    data: str
    model: str
    choose: bool
    space: Space = field(repr=False)

    @property
    def name(self) -> str:
        """Data, model and how they change."""
        return f"{self.data}-{self.model}-labels"

    def value(self, params: Params, step: int) -> float:
        """What the model makes of the judged rows, trained on the rows of this step; lower is better."""
        run = MODELS_OF_LABELS[self.model][1]
        return float(remembered([self.name, step, params], lambda: bounded(run, params, arrived(self.data, step))))


def arriving() -> list[Arriving]:
    """All sequences whose data are here: three data sets, six models. Every other one may be used to choose
    constants; each half has every data set and every model."""
    return [
        Arriving(data, model, (i + j) % 2 == 0, MODELS_OF_LABELS[model][0])
        for i, data in enumerate(STEPS)
        if have(data)
        for j, model in enumerate(MODELS_OF_LABELS)
    ]
