"""Recipes: ours pass the conformance suite, careless ones do not, and the metrics are scikit-learn's own."""

import numpy as np
import pytest
import tiny
from sklearn import metrics as reference
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from visutility.core.errors import InvalidData, RecipeFailed
from visutility.core.rng import rng
from visutility.data import DataBatch
from visutility.loop.recipe import Evaluation
from visutility.loop.sklearn_recipe import features, log_loss, macro_f1, probabilities, sklearn_recipe
from visutility.testing.recipes import RECIPE_CHECKS
from visutility.tune import Float, Space


def digits(count):
    images, labels = load_digits(return_X_y=True)
    images = (images[:count].reshape(-1, 8, 8) / 16).astype(np.float32)
    return DataBatch.from_arrays([f"d{n}" for n in range(count)], images, labels=labels[:count].astype(np.int64))


CASES = {"tiny:recipe": lambda: tiny.rows(5, 0, 60), "visutility.demo.recipe:digits": lambda: digits(200)}


@pytest.mark.parametrize("check", RECIPE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", CASES)
def test_ours_pass(check, path):
    check(path, CASES[path]())


class Careless(tiny.Tiny):
    """Breaks each promise a little."""

    def fit(self, params, train, report):
        model = super().fit(params, train, report)
        order = np.random.default_rng().permutation(len(model["y"]))  # no seed, on purpose
        return {**model, "y": model["y"][order]}

    def save(self, model):
        return super().save({**model, "y": 0 * model["y"]})

    def evaluate(self, model, data):
        evaluation = super().evaluate(model, data)
        evaluation.losses[:] = np.linspace(0, 1, len(data))
        return evaluation


careless = Careless()


@pytest.mark.parametrize("check", RECIPE_CHECKS[1:4], ids=lambda check: check.__name__)
def test_a_careless_recipe_fails(check):
    with pytest.raises(AssertionError):
        check("test_recipes_careless:careless", tiny.rows(5, 0, 60))


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The careless recipe is found by import path, as any recipe is."""
    import sys
    from types import ModuleType

    module = ModuleType("test_recipes_careless")
    module.careless = careless
    monkeypatch.setitem(sys.modules, "test_recipes_careless", module)


def test_the_metrics_are_those_of_scikit_learn():
    rows = digits(400)
    x, y = features(rows), rows.labels
    recipe = sklearn_recipe("lr", lambda: LogisticRegression(max_iter=200), Space({"x": Float(0, 1)}))
    model = LogisticRegression(max_iter=200).fit(x[:200], y[:200])
    whole = recipe.evaluate(model, rows.select(range(200, 400)))
    found = whole.metrics
    assert whole.signals["uncertainty"] == pytest.approx(1.0 - model.predict_proba(x[200:]).max(axis=1), abs=1e-6)
    assert whole.checked(recipe, 200) is whole
    guessed = model.predict(x[200:])
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y[200:], guessed))
    assert found["f1"] == pytest.approx(reference.f1_score(y[200:], guessed, average="macro"))
    assert found["loss"] == pytest.approx(reference.log_loss(y[200:], model.predict_proba(x[200:])), rel=1e-5)


@pytest.mark.parametrize("values", [np.zeros(3), np.full(2, 1.5), np.array([0.1, np.nan])])
def test_a_signal_that_is_no_share_a_row_is_refused_by_name(values):
    recipe = sklearn_recipe("lr", LogisticRegression, Space({"x": Float(0, 1)}))
    with pytest.raises(RecipeFailed, match="returned uncertainty of shape"):
        Evaluation({"accuracy": 0.5}, np.zeros(2), signals={"uncertainty": values}).checked(recipe, 2)


@pytest.mark.parametrize("values", [[0.5, 0.5], None, np.array(["0", "1"]), np.array([0.5, None])])
def test_losses_and_signals_that_are_no_array_of_numbers_are_refused_by_name(values):
    recipe = sklearn_recipe("lr", LogisticRegression, Space({"x": Float(0, 1)}))
    with pytest.raises(RecipeFailed, match="returned losses that are no array of numbers"):
        Evaluation({"accuracy": 0.5}, values).checked(recipe, 2)
    with pytest.raises(RecipeFailed, match="returned uncertainty that are no array of numbers"):
        Evaluation({"accuracy": 0.5}, np.zeros(2), signals={"uncertainty": values}).checked(recipe, 2)


def test_slices_that_are_no_arrays_are_refused():
    recipe = sklearn_recipe("lr", LogisticRegression, Space({"x": Float(0, 1)}))
    with pytest.raises(RecipeFailed, match=r"slices .'night'. of recipe 'lr' are not masks"):
        Evaluation({"accuracy": 0.5}, np.zeros(2), {"night": [True, False]}).checked(recipe, 2)


@pytest.mark.parametrize("name", ["losses", "error"])
@pytest.mark.parametrize("values", [np.zeros(2), np.full(5, 9.0)])
def test_a_signal_named_as_the_loss_of_a_row_is_refused(name, values):
    recipe = sklearn_recipe("lr", LogisticRegression, Space({"x": Float(0, 1)}))
    with pytest.raises(RecipeFailed, match=f"signal named '{name}', which means the loss of a row. .* of its own"):
        Evaluation({"accuracy": 0.5}, np.zeros(2), signals={name: values}).checked(recipe, 2)


def test_macro_f1_counts_classes_that_only_one_side_has():
    truth, guessed = np.array([0, 0, 1, 1]), np.array([0, 2, 2, 1])
    assert macro_f1(truth, guessed) == pytest.approx(reference.f1_score(truth, guessed, average="macro"))


def test_a_class_the_model_never_saw_costs_the_most_and_breaks_nothing():
    probability = np.array([[0.5, 0.5], [0.5, 0.5]])
    seen, unseen = log_loss(np.array([0, 1]), probability, np.array([0, 1])), -np.log(1e-12)
    assert seen == pytest.approx(np.log(2))
    assert log_loss(np.array([5, 5]), probability, np.array([0, 1])) == pytest.approx(unseen)
    assert log_loss(np.array([1, 5]), probability, np.array([0, 1])) == pytest.approx((np.log(2) + unseen) / 2)


@pytest.mark.parametrize("classes", [2, 10])
def test_without_predict_proba_the_softmax_sums_to_one_and_agrees_with_the_decision(classes):
    rows = digits(300)
    keep = rows.labels < classes
    x, y = features(rows)[keep], rows.labels[keep]
    model = SVC().fit(x, y)
    found = probabilities(model, x)
    assert found.shape == (len(x), classes)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(x)))
    decided = model.decision_function(x)
    decided = np.column_stack([-decided, decided]) if decided.ndim == 1 else decided
    assert np.array_equal(found.argmax(axis=1), decided.argmax(axis=1))


def test_bytes_and_floats_give_the_same_features():
    images = rng(0, "features").integers(0, 256, (5, 4, 4), np.uint8)
    ids = [str(n) for n in range(5)]
    as_float = DataBatch.from_arrays(ids, images.astype(np.float32) / 255)
    assert np.allclose(features(DataBatch.from_arrays(ids, images)), features(as_float))


def test_rows_without_a_label_cannot_be_trained_on():
    rows = DataBatch.from_arrays(["a", "b"], np.zeros((2, 8, 8), np.float32))
    recipe = sklearn_recipe("svm", SVC, Space({"C": Float(0.1, 10)}))
    with pytest.raises(InvalidData, match="without a label"):
        recipe.fit({"C": 1.0}, rows, lambda step, value: None)
