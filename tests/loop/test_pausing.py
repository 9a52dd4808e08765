"""Trials that a stopping rule stops, in real worker processes: killed and pruned, or paused and taken up again."""

import textwrap

import pytest
from prometheus_client import CollectorRegistry

from visutility.execute import Limits, LocalExecutor
from visutility.loop.metrics import Metrics
from visutility.loop.tuning import TrialRunner
from visutility.tune import Asha, Float, Space, Study

TRAINING = textwrap.dedent(
    """
    import time
    from pathlib import Path

    EPOCHS = 9

    def run(recipe, params, log, checkpoint=None, *, report):
        kept = None if checkpoint is None else Path(checkpoint) / "epoch"
        start = int(kept.read_text()) if kept is not None and kept.exists() else 0
        for epoch in range(start + 1, EPOCHS + 1):
            with open(log, "a") as file:
                file.write(f"{params['x']} {epoch}\\n")
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                half = kept.with_suffix(".half")
                half.write_text(str(epoch))
                half.rename(kept)
            report(epoch, float("nan") if params["x"] == 0.05 and epoch == 3 else params["x"] + 1 / epoch)
            if epoch in (1, 3) and params["x"] > 0:
                time.sleep(0.3)  # the rule needs a moment to say no
        return {"value": params["x"] + 1 / EPOCHS}
    """
)


@pytest.fixture
def training(tmp_path, monkeypatch):
    (tmp_path / "a_training_run.py").write_text(TRAINING)
    monkeypatch.syspath_prepend(tmp_path)
    import a_training_run

    return a_training_run


def ran(study, training, tmp_path, trials, checkpoints=None):
    log = tmp_path / "log"
    with LocalExecutor(workers=1) as executor:
        runner = TrialRunner(
            executor, Metrics(CollectorRegistry()), training.run, (str(log),), Limits(60.0), "r", None, checkpoints
        )
        runner.run(study, trials, 1, lambda: None)
    return [line.split() for line in log.read_text().splitlines()]


@pytest.mark.slow
def test_a_trial_that_should_not_go_on_is_killed_and_pruned(training, tmp_path):
    study = Study(Space({"x": Float(0, 1)}), strategy="random", stopping=Asha(first=1), budget=3)
    for x in (0.1, 0.5, 0.9):
        study.enqueue({"x": x})
    epochs = ran(study, training, tmp_path, 3)
    assert [trial.state for trial in study.trials] == ["complete", "pruned", "pruned"]
    assert epochs.count(["0.1", "9"]) == 1
    assert ["0.5", "9"] not in epochs
    assert ["0.9", "9"] not in epochs


@pytest.mark.slow
def test_a_paused_trial_goes_on_from_its_checkpoint(training, tmp_path):
    study = Study(Space({"x": Float(0, 1)}), strategy="random", stopping=Asha(first=1, promote=True), budget=4)
    for x in (0.4, 0.2, 0.3, 0.6):
        study.enqueue({"x": x})
    epochs = ran(study, training, tmp_path, 4, tmp_path / "checkpoints")
    assert [trial.state for trial in study.trials] == ["paused", "complete", "paused", "paused"]
    assert study.best.params == {"x": 0.2}
    best = [int(epoch) for x, epoch in epochs if x == "0.2"]
    assert best == sorted(best)  # nothing was trained twice
    assert sorted(set(best)) == list(range(1, 10))
    assert next(step for step, _ in study.best.reports) == 1
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
def test_a_trial_that_diverges_is_failed_and_not_taken_up_again(training, tmp_path):
    study = Study(Space({"x": Float(0, 1)}), strategy="random", stopping=Asha(first=1, promote=True), budget=3)
    for x in (0.4, 0.05, 0.3):
        study.enqueue({"x": x})
    epochs = ran(study, training, tmp_path, 3, tmp_path / "checkpoints")
    diverged = study.trials[1]
    assert (diverged.state, diverged.failure) == ("failed", "it reported nan at step 3")
    assert epochs.count(["0.05", "3"]) == 1
