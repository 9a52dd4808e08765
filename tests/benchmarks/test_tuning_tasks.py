"""The tasks of benchmarks/tuning: the split, determinism, and evaluations kept on disk."""

import itertools
import math

import numpy as np
import pytest
from benchmarks.tuning.memo import Memo
from benchmarks.tuning.retune_arrivals import MODELS_OF_LABELS, STEPS, arrived, arriving
from benchmarks.tuning.retune_tasks import bounded
from benchmarks.tuning.task import Task, error, table
from benchmarks.tuning.tasks import DEV, REPORTED, TASKS

from visutility.core.rng import rng
from visutility.tune import Choice, Float, Space


def test_twelve_to_choose_on_and_twelve_others():
    assert len(DEV) == len(REPORTED) == 12
    assert len(TASKS) == 24


@pytest.mark.parametrize("half", [DEV, REPORTED])
def test_each_half_is_mixed_and_conditional(half):
    for task in half:
        kinds = {type(p) for p in task.space.parameters.values()}
        assert Choice in kinds, task.name
        assert len(kinds) >= 2, task.name
        assert any(p.when is not None for p in task.space.parameters.values()), task.name


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_configuration_always_has_the_same_loss(name):
    task = TASKS[name]
    draw = rng(0, name)
    losses = []
    for _ in range(3):
        params = task.space.decode(draw.random(task.space.dim))
        losses.append(task.fit(params))
        assert task.fit(dict(reversed(params.items()))) == pytest.approx(losses[-1], rel=0, abs=0, nan_ok=True)
    assert len(set(losses)) > 1, losses


def test_an_evaluation_is_kept_on_disk_and_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VISUTILITY_BENCH_CACHE", str(tmp_path))
    calls = []

    def run(params):
        calls.append(params)
        if params["x"] > 0.5:
            raise ValueError("cannot be fitted")
        return params["x"]

    task = Task("kept", Space({"x": Float(0, 1)}), run)
    assert task.evaluate({"x": 0.25}) == task.evaluate({"x": 0.25}) == 0.25
    assert math.isnan(task.evaluate({"x": 0.75}))
    assert math.isnan(task.evaluate({"x": 0.75}))
    assert len(calls) == 2
    again = Memo(tmp_path / "evaluations.sqlite")
    assert again.get(Memo.key("kept", 1, {"x": 0.25})) == 0.25
    assert math.isnan(again.get(Memo.key("kept", 1, {"x": 0.75})) or 0.0)
    assert again.get(Memo.key("kept", 2, {"x": 0.25})) is None
    again.close()


def test_a_growing_task_fits_its_first_rows_and_judges_the_same():
    """The model is told apart from one of all rows by what it was fitted to, and the rows to judge stay."""
    fitted, judged = [], []

    class Model:
        def fit(self, x, y):
            fitted.append(len(x))
            return self

        def predict(self, x):
            judged.append(len(x))
            return np.zeros(len(x))

    task = Task("counts", Space({"x": Float(0.0, 1.0)}), lambda _: error(Model(), table("digits", 200, 300)))
    for share in (0.4, 0.75, 1.0):
        task.grown_to(share).fit({"x": 0.5})
    task.fit({"x": 0.5})
    assert fitted == [80, 150, 200, 200]
    assert judged == [300] * 4
    assert task.grown_to(0.4).name == "counts@0.4"


@pytest.mark.parametrize("name", ["digits", "made"])
def test_rows_arrive_and_the_judged_ones_stay(name):
    steps = [arrived(name, step) for step in range(4)]
    assert [len(x) for x, *_ in steps] == list(STEPS[name])
    for (x, y, u, v), (more_x, more_y, more_u, more_v) in itertools.pairwise(steps):
        assert (more_y[: len(y)] == y).all()
        assert (more_v == v).all()
        assert np.corrcoef(more_x[: len(x)].ravel(), x.ravel())[0, 1] > 0.9  # the same rows, standardised anew
        assert np.corrcoef(more_u.ravel(), u.ravel())[0, 1] > 0.9
        assert not np.isclose(x[:, None, :8], u[None, :, :8]).all(axis=2).all(axis=1).any()


def test_every_model_of_labels_is_in_both_halves():
    every = arriving()
    for choose in (True, False):
        assert {each.model for each in every if each.choose == choose} == set(MODELS_OF_LABELS)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS_OF_LABELS)
def test_a_model_of_labels_always_has_the_same_error(model):
    space, run = MODELS_OF_LABELS[model]
    draw = rng(0, "labels", model)
    found = []
    for params in (space.decode(draw.random(space.dim)) for _ in range(3)):
        found.append(bounded(run, params, arrived("digits", 0)))
        assert bounded(run, dict(reversed(params.items())), arrived("digits", 0)) == found[-1]
        assert 0.0 < found[-1] <= 1.0
    assert len(set(found)) > 1
