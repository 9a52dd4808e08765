"""What every recipe must do. Run each of `RECIPE_CHECKS` with your recipe's import path and some of its rows.

    @pytest.mark.parametrize("check", RECIPE_CHECKS)
    def test_my_recipe(check):
        check("package.module:recipe", rows)

The rows are labelled, at least 20, and `fit` must be able to learn from half of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from visutility.core.rng import rng
from visutility.data import DataBatch
from visutility.loop.recipe import Recipe, find_recipe
from visutility.registry.types import NewVersion
from visutility.testing._expect import expect
from visutility.tune import Params

Check = Callable[[str, DataBatch], None]


def check_what_it_says_of_itself(path: str, rows: DataBatch) -> None:
    """Its space decodes any point to parameters it then accepts, and its format may be registered."""
    recipe, draw = find_recipe(path), rng(0, "recipe conformance")
    for _ in range(20):
        params = recipe.space.decode(draw.random(recipe.space.dim))
        expect(recipe.space.validate(params) == params, f"{params} is decoded but not allowed")
    NewVersion(
        model="conformance", artifact_sha256="0" * 64, artifact_format=recipe.format, artifact_bytes=0, recipe=path
    )
    expect(len(rows) >= 20, "bring at least 20 rows")


def check_the_objective_is_reported_and_losses_are_one_a_row(path: str, rows: DataBatch) -> None:
    """`evaluate` reports the objective as a finite number, and a loss in [0, 1] for each row in its order."""
    recipe, _, rest, model = _fitted(path, rows)
    evaluation = recipe.evaluate(model, rest).checked(recipe, len(rest))
    back = recipe.evaluate(model, rest.select(range(len(rest))[::-1]))
    expect(bool(np.array_equal(back.losses, evaluation.losses[::-1])), "a row's loss depends on the order of the rows")
    expect(len(recipe.predict(model, rest)) == len(rest), "predict gives other than one prediction a row")


def check_the_artifact_gives_the_same_model(path: str, rows: DataBatch) -> None:
    """What `load` makes of what `save` wrote predicts the same, and the artifact is bytes."""
    recipe, _, rest, model = _fitted(path, rows)
    artifact = recipe.save(model)
    expect(isinstance(artifact, bytes) and len(artifact) > 0, "save returned no bytes")
    again = recipe.predict(recipe.load(artifact), rest)
    expect(bool(np.array_equal(again, recipe.predict(model, rest))), "the loaded model predicts otherwise")


def check_the_same_rows_and_parameters_give_the_same_model(path: str, rows: DataBatch) -> None:
    """Fitting twice gives the same predictions: nothing is drawn from a global generator."""
    recipe, params, rest, model = _fitted(path, rows)
    half = rows.select(range(0, len(rows), 2))
    other = recipe.fit(params, half, _no_report)
    expect(bool(np.array_equal(recipe.predict(other, rest), recipe.predict(model, rest))), "two fits differ")


def check_nothing_is_done_to_the_rows(path: str, rows: DataBatch) -> None:
    """`fit`, `evaluate` and `predict` leave rows and parameters as they were."""
    before = rows.fingerprint()
    recipe, params, rest, model = _fitted(path, rows)
    kept = dict(params)
    recipe.evaluate(model, rest)
    recipe.fit(params, rows, _no_report)
    expect(rows.fingerprint() == before, "the rows were changed")
    expect(params == kept, "the parameters were changed")


RECIPE_CHECKS: tuple[Check, ...] = (
    check_what_it_says_of_itself,
    check_the_objective_is_reported_and_losses_are_one_a_row,
    check_the_artifact_gives_the_same_model,
    check_the_same_rows_and_parameters_give_the_same_model,
    check_nothing_is_done_to_the_rows,
)


def _fitted(path: str, rows: DataBatch) -> tuple[Recipe, Params, DataBatch, Any]:
    """Return the recipe, its parameters at the middle of the space, rows it has not seen, and a model of the others."""
    recipe = find_recipe(path)
    params = recipe.space.decode(np.full(recipe.space.dim, 0.5))
    model = recipe.fit(params, rows.select(range(0, len(rows), 2)), _no_report)
    return recipe, params, rows.select(range(1, len(rows), 2)), model


def _no_report(_step: int, _value: float) -> bool:
    return True
