"""The demo's recipe: a support vector machine on the digits that ship with scikit-learn.

`digits` is what a user would write. `careless` is the same until it retrains, and then shuffles its training labels:
for the tests that want to see the gate refuse a retraining that went wrong.
"""

from pathlib import Path
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.data import DataBatch, ParquetSource
from visutility.loop.recipe import Reporter
from visutility.loop.sklearn_recipe import SklearnRecipe, features, sklearn_recipe
from visutility.tune import Float, Params, Space

SPACE = Space({"C": Float(0.1, 1000.0, log=True), "gamma": Float(1e-3, 1.0, log=True)})
LABELS = "labels"


def labels(home: Path) -> ParquetSource:
    """Return where the demo's people put the images they labelled."""
    return ParquetSource(home / LABELS)


def make_svm(C: float, gamma: float) -> Any:
    """Return an unfitted support vector machine with a radial kernel."""
    from sklearn.svm import SVC

    return SVC(C=C, gamma=gamma)


def digits() -> SklearnRecipe:
    """Return the recipe of the demo."""
    return sklearn_recipe("digits-svm", make_svm, SPACE, source=labels)


class Careless:
    """The digits recipe, with a mistake: once there are freshly labelled rows, it trains on shuffled labels."""

    def __init__(self) -> None:
        self._sound = digits()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)

    def fit(self, params: Params, train: DataBatch, report: Reporter) -> Any:
        """Return a sound estimator of the first rows, and of fresh ones (they have a time) a broken one."""
        if "time" not in train.record_batch.schema.names:
            return self._sound.fit(params, train, report)
        order = rng(0, "careless").permutation(len(train))
        settings: dict[str, Any] = params
        return make_svm(**settings).fit(features(train), np.asarray(train.labels)[order])


def careless() -> Careless:
    """Return a recipe whose retraining goes wrong."""
    return Careless()
