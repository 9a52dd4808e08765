"""A recipe: everything about one kind of model that only its owner knows.

A recipe is named by its import path, `package.module:attribute`, so that a worker process finds it without any code
travelling. The attribute is a recipe, or a function without arguments that returns one.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidData, MissingMetric, RecipeFailed, RecipeNotFound
from visutility.data import DataBatch, Source
from visutility.tune import Params, Space
from visutility.tune.factory import MODALITIES

Reporter = Callable[[int, float], object]
OF_LOSSES = ("error", "losses")  # what the loop calls the loss of a row: no signal has these names


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model did on some rows.

    `metrics` are finite numbers by name, the recipe's objective among them. `losses` has shape (n,), one number in
    [0, 1] for each row in the batch's order, larger is worse: what the gate pairs and the monitor watches.
    `slices` are named masks of shape (n,). `signals` are other numbers of the same kind, one a row each, by the name of
    the metric that a policy may watch instead of the loss, such as "uncertainty": they are its reference window. None
    is called "error" or "losses", the loop's own names for the loss of a row.
    """

    metrics: Mapping[str, float]
    losses: NDArray[np.float64]
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    signals: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def checked(self, recipe: "Recipe", rows: int) -> "Evaluation":
        """Return self if a recipe may return this for that many rows; raise `MissingMetric` or `RecipeFailed`."""
        if recipe.objective not in self.metrics:
            raise MissingMetric(
                f"recipe {recipe.name!r} reported {sorted(self.metrics)} but not its objective {recipe.objective!r}",
                hint="return it from evaluate()",
            )
        bad = {name: value for name, value in self.metrics.items() if not np.isfinite(value)}
        if bad:
            raise RecipeFailed(f"recipe {recipe.name!r} reported {bad}", hint="metrics are finite numbers")
        if taken := sorted(set(OF_LOSSES) & set(self.signals)):
            raise RecipeFailed(
                f"recipe {recipe.name!r} returned a signal named {taken[0]!r}, which means the loss of a row",
                hint="give the signal a name of its own, such as 'uncertainty'",
            )
        for name, each in {**self.signals, "losses": self.losses}.items():
            if not isinstance(each, np.ndarray) or each.dtype.kind not in "biuf":
                raise RecipeFailed(
                    f"recipe {recipe.name!r} returned {name} that are no array of numbers but {each!r:.80}",
                    hint="return a NumPy array, one number in [0, 1] a row, larger is worse",
                )
            if each.shape != (rows,) or not np.all((each >= 0) & (each <= 1)):
                raise RecipeFailed(
                    f"recipe {recipe.name!r} returned {name} of shape {each.shape} for {rows} rows",
                    hint="return one number in [0, 1] a row, larger is worse",
                )
        wrong = [name for name, mask in self.slices.items() if not _is_mask(mask, rows)]
        if wrong:
            raise RecipeFailed(f"slices {wrong} of recipe {recipe.name!r} are not masks", hint="one bool a row")
        return self


def _is_mask(mask: object, rows: int) -> bool:
    return isinstance(mask, np.ndarray) and mask.shape == (rows,) and mask.dtype == np.bool_


@runtime_checkable
class Recipe(Protocol):
    """What a user writes; see `visutility.loop.sklearn_recipe` for one made in one call.

    `format` names what `save` writes, for example "skops" or "npz"; the registry refuses formats that can run code.
    """

    name: str
    modality: str
    objective: str
    direction: str
    format: str

    @property
    def space(self) -> Space:
        """Return the search space of `fit`'s parameters."""

    def fit(self, params: Params, train: DataBatch, report: Reporter) -> Any:
        """Return a trained model; `report(step, value)` may tell how it goes.

        A recipe that can go on with a fit that was killed takes a fourth argument, `checkpoint: Path | None = None`:
        a folder of the trial's own. It saves there, by writing a file and renaming it, before each report.
        """

    def evaluate(self, model: Any, data: DataBatch) -> Evaluation:
        """Return what the model does on labelled rows it has not seen."""

    def predict(self, model: Any, data: DataBatch) -> NDArray[Any]:
        """Return one prediction a row, shape (n, ...)."""

    def save(self, model: Any) -> bytes:
        """Return the artifact, in a format from which no code runs."""

    def load(self, artifact: bytes) -> Any:
        """Return the model of an artifact."""

    def source(self, home: Path) -> Source:
        """Return where fresh labelled rows come from; `home` is the project's folder."""


def find_recipe(path: str) -> Recipe:
    """Return the recipe an import path names. Raises `RecipeNotFound`, or `RecipeFailed` if its module raises."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise RecipeNotFound(f"recipe {path!r} is no import path", hint="write it as package.module:attribute")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise RecipeNotFound(
            f"recipe {path!r}: {error}", hint="run where the module can be imported, or set PYTHONPATH"
        ) from error
    except Exception as error:
        raise RecipeFailed(f"importing {module_name!r} raised {type(error).__name__}: {error}") from error
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise RecipeNotFound(f"{module_name!r} has no {attribute!r}", hint=f"it has {_public(module)}")
        found = getattr(found, part)
    if not isinstance(found, Recipe) and callable(found):
        found = found()
    if not isinstance(found, Recipe):
        missing = sorted(name for name in _MEMBERS if not hasattr(found, name))
        raise RecipeFailed(f"{path!r} is a {type(found).__name__} without {missing}", hint="a recipe has all of them")
    if found.direction not in ("minimize", "maximize"):
        raise RecipeFailed(f"recipe {path!r} has direction {found.direction!r}", hint="use 'minimize' or 'maximize'")
    if found.modality not in MODALITIES:
        raise RecipeFailed(f"recipe {path!r} has modality {found.modality!r}", hint=f"use one of {list(MODALITIES)}")
    return found


def labelled(data: DataBatch, what: str) -> DataBatch:
    """Return the batch if every row has a label; raise `InvalidData` otherwise."""
    if not data.labelled.all():
        raise InvalidData(f"{what} has rows without a label", hint="a recipe trains and is judged on labelled rows")
    return data


_MEMBERS = ("name", "modality", "objective", "direction", "format", "space", "fit", "evaluate", "predict", "save",
            "load", "source")  # fmt: skip


def _public(module: object) -> list[str]:
    return sorted(name for name in vars(module) if not name.startswith("_"))
