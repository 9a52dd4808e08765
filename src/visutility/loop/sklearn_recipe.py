"""A scikit-learn classifier as a recipe, in one call.

Images become rows of a feature matrix (flattened, scaled to [0, 1]); artifacts are skops files, loaded against an
allow-list of types, so that no code runs from one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidData, MissingExtra, RecipeFailed, UnsafeFormat
from visutility.data import DataBatch, ParquetSource, Source
from visutility.loop.recipe import Evaluation, Reporter, labelled
from visutility.tune import Params, Space


@final
@dataclass(frozen=True)
class SklearnRecipe:
    """What `sklearn_recipe` returns: a classifier over flattened images. Reports accuracy, F1 (macro) and log loss.

    `allowed` lists the types beyond skops' own trusted ones that an artifact may hold, by full name.
    """

    name: str
    make: Callable[..., Any]
    space: Space
    fresh: Callable[[Path], Source]
    modality: str = "image"
    objective: str = "accuracy"
    direction: str = "maximize"
    format: str = "skops"
    allowed: tuple[str, ...] = field(default=())

    def fit(self, params: Params, train: DataBatch, report: Reporter) -> Any:  # noqa: ARG002  one fit, no steps
        """Return the fitted estimator."""
        return self.make(**params).fit(features(train), labelled(train, "the training part").labels)

    def predict(self, model: Any, data: DataBatch) -> NDArray[Any]:
        """Return one class a row, shape (n,)."""
        return np.asarray(model.predict(features(data)))

    def evaluate(self, model: Any, data: DataBatch) -> Evaluation:
        """Return accuracy, macro F1 and log loss; the loss of a row is 1 where the prediction is wrong, else 0.

        The signal "uncertainty" of a row is 1 - its largest probability.
        """
        truth = labelled(data, "the evaluated part").labels
        x = features(data)
        wrong = np.asarray(model.predict(x)) != truth
        chances = probabilities(model, x)
        metrics = {
            "accuracy": float(1.0 - wrong.mean()),
            "f1": macro_f1(truth, np.asarray(model.predict(x))),
            "loss": log_loss(truth, chances, np.asarray(model.classes_)),
        }
        unsure = np.clip(1.0 - chances.max(axis=1), 0.0, 1.0)
        return Evaluation(metrics, wrong.astype(np.float64), signals={"uncertainty": unsure})

    def save(self, model: Any) -> bytes:
        """Return a skops file."""
        return bytes(_skops().dumps(model))

    def load(self, artifact: bytes) -> Any:
        """Return the estimator. Raises `UnsafeFormat` for a type outside the allow-list."""
        skops = _skops()
        try:
            strange = sorted(set(skops.get_untrusted_types(data=artifact)) - set(self.allowed))
        except Exception as error:
            raise UnsafeFormat(
                f"not a skops file: {error}", hint="register what the recipe's save() returned"
            ) from error
        if strange:
            raise UnsafeFormat(
                f"the artifact holds {strange}", hint="add a type to the recipe's `allowed` once you trust it"
            )
        return skops.loads(artifact, trusted=list(self.allowed))

    def source(self, home: Path) -> Source:
        """Return where fresh labelled rows come from."""
        return self.fresh(home)


def sklearn_recipe(
    name: str,
    make: Callable[..., Any],
    space: Space,
    *,
    source: Callable[[Path], Source] | None = None,
    allowed: tuple[str, ...] = (),
) -> SklearnRecipe:
    """Return a recipe for `make(**params)`, a scikit-learn classifier.

    `source` maps the project's folder to where fresh labelled rows come from; by default Parquet files in its
    sub-folder `labels`. Raises `MissingExtra` without the `sklearn` extra.
    """
    _skops()
    return SklearnRecipe(name, make, space, source or (lambda home: ParquetSource(home / "labels")), allowed=allowed)


def features(data: DataBatch) -> NDArray[np.float32]:
    """Return the images as rows in [0, 1], shape (n, height × width × channels)."""
    images = data.images()
    flat = images.reshape(len(images), -1)
    if images.dtype == np.uint8:
        return flat.astype(np.float32) / 255.0
    if flat.dtype != np.float32:
        raise InvalidData(f"images have type {flat.dtype}", hint="use uint8, or float32 in [0, 1]")
    return flat


def probabilities(model: Any, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return class probabilities, shape (n, classes).

    A model without `predict_proba` gives the softmax of its decision function: it sums to one, but is not calibrated.
    """
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(x), dtype=np.float64)
    if not hasattr(model, "decision_function"):
        raise RecipeFailed(f"{type(model).__name__} has neither predict_proba nor decision_function")
    scores = np.asarray(model.decision_function(x), dtype=np.float64)
    if scores.ndim == 1:
        scores = np.column_stack([-scores, scores])
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def log_loss(truth: NDArray[Any], probability: NDArray[np.float64], classes: NDArray[Any]) -> float:
    """Return −mean log p(true class), in nats; a class the model never saw counts as p = 1e-12."""
    column = np.searchsorted(classes, truth).clip(0, len(classes) - 1)
    known = classes[column] == truth
    chosen = np.where(known, probability[np.arange(len(truth)), column], 0.0)
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def macro_f1(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Return the mean over the classes, in truth or predictions, of 2·tp / (2·tp + fp + fn)."""
    scores = []
    for label in np.union1d(truth, predicted):
        hits = np.sum((truth == label) & (predicted == label))
        scores.append(2 * hits / (np.sum(truth == label) + np.sum(predicted == label)))
    return float(np.mean(scores))


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingExtra("scikit-learn recipes need skops", hint="pip install 'visutility[sklearn]'") from error
    return skops.io
