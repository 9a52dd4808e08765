"""The coordinator: every accepted measurement is told, back-pressure holds, and it always stops."""

import threading
from datetime import UTC, datetime

import pytest

from visutility.core.clock import SimulatedClock
from visutility.core.errors import Closed, InvalidSetting, QueueFull, TrialClosed
from visutility.loop.channel import Channel
from visutility.loop.coordinator import Configuration, Measured, TuningCoordinator
from visutility.loop.metrics import Metrics
from visutility.tune import Failure, Float, Space, Study

SPACE = Space({"x": Float(-1.0, 1.0)})
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def coordinator(study, **settings):
    return TuningCoordinator(study, name="s", metrics=settings.pop("metrics", Metrics()),
                             clock=SimulatedClock(NOW), **settings)  # fmt: skip


def serve(tuner, objective):
    """Measure every configuration until there are no more; return how many."""
    count = 0
    for configuration in tuner.configurations:
        count += 1
        tuner.measured.put(Measured(configuration, objective(configuration.params)))
    return count


def test_it_hands_out_as_many_configurations_as_asked_and_finds_the_minimum():
    study = Study(SPACE, strategy="random", seed=1)
    with coordinator(study, width=2, trials=40) as tuner:
        assert serve(tuner, lambda params: {"value": params["x"] ** 2}) == 40
    assert len(study.history) == 40
    assert study.best.value < 0.01


def test_closing_the_input_tells_everything_that_was_accepted():
    study = Study(SPACE, strategy="random", seed=1)
    tuner = coordinator(study, width=3).start()
    for _ in range(3):
        tuner.measured.put(Measured(tuner.configurations.get(timeout=5), 1.0))
    tuner.stop(timeout=10)
    assert len(study.history) == 3
    assert tuner.configurations.closed


def test_a_consumer_that_never_comes_does_not_keep_it_from_stopping():
    study = Study(SPACE, strategy="random", seed=1)
    tuner = coordinator(study, width=2, size=2).start()
    held = tuner.configurations.get(timeout=5)
    tuner.measured.put(Measured(held, 1.0))
    tuner.stop(timeout=10)
    assert [trial.state for trial in study.trials].count("complete") == 1


def test_failures_are_told_and_refused_measurements_are_reported_not_lost():
    study = Study(SPACE, strategy="random", seed=1)
    with coordinator(study, trials=3) as tuner:
        first = tuner.configurations.get(timeout=5)
        tuner.measured.put(Measured(first, Failure("the camera was off")))
        second = tuner.configurations.get(timeout=5)
        tuner.measured.put(Measured(first, 1.0))  # told already
        tuner.measured.put(Measured(Configuration(99, {}), 1.0))  # never asked
        tuner.measured.put(Measured(second, 0.5))
        third = tuner.configurations.get(timeout=5)
        tuner.measured.put(Measured(third, 0.25))
    assert study.trials[0].state == "failed"
    assert [type(error).__name__ for _, error in tuner.refused] == [TrialClosed.__name__, "TrialNotFound"]
    assert study.best.value == 0.25


def test_a_measurement_without_the_objective_fails_its_trial_and_the_next_goes_out():
    study = Study(SPACE, strategy="random", seed=1, objective="accuracy")
    with coordinator(study, trials=2) as tuner:
        tuner.measured.put(Measured(tuner.configurations.get(timeout=5), {"f1": 0.5}))
        tuner.measured.put(Measured(tuner.configurations.get(timeout=5), {"accuracy": 0.5}))
    assert [trial.state for trial in study.trials] == ["failed", "complete"]
    assert [type(error).__name__ for _, error in tuner.refused] == ["MissingMetric"]


def test_observers_hear_of_every_trial_and_one_that_raises_stops_nobody():
    heard, metrics = [], Metrics()

    def bad(trial):
        raise RuntimeError("no")

    study = Study(SPACE, strategy="random", seed=1)
    with coordinator(study, trials=4, metrics=metrics, observers=[bad, lambda trial: heard.append(trial.number)]) as t:
        serve(t, lambda params: params["x"])
    assert heard == [0, 1, 2, 3]
    text = metrics.exposition().decode()
    assert 'visutility_observer_errors_total{observer="bad"} 4.0' in text
    beat = metrics.registry.get_sample_value("visutility_coordinator_heartbeat_timestamp_seconds", {"study": "s"})
    assert beat == NOW.timestamp()
    assert 'visutility_trials_total{state="complete"} 4.0' in text


def test_an_error_of_the_study_itself_comes_out_of_stop():
    class Broken:
        def ask(self):
            raise RuntimeError("the database went away")

    tuner = coordinator(Broken()).start()
    with pytest.raises(RuntimeError, match="went away"):
        tuner.stop(timeout=10)
    assert tuner.measured.closed


@pytest.mark.parametrize("wrong", [{"width": 0}, {"width": 5, "size": 4}, {"trials": 0}])
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(InvalidSetting):
        coordinator(Study(SPACE), **wrong)


def test_a_full_channel_pushes_back_and_a_closed_one_gives_what_it_took():
    channel = Channel(2)
    channel.put("a")
    channel.put("b")
    with pytest.raises(QueueFull, match="2 items"):
        channel.put("c", timeout=0)
    channel.close()
    with pytest.raises(Closed):
        channel.put("d")
    assert list(channel) == ["a", "b"]
    with pytest.raises(Closed):
        channel.get()


def test_many_producers_and_consumers_lose_and_repeat_nothing():
    channel, got, lock = Channel(3), [], threading.Lock()

    def consume():
        for item in channel:
            with lock:
                got.append(item)

    consumers = [threading.Thread(target=consume) for _ in range(3)]
    producers = [threading.Thread(target=lambda k=k: [channel.put((k, n)) for n in range(200)]) for k in range(4)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join(10)
    channel.close()
    for thread in consumers:
        thread.join(10)
    assert sorted(got) == [(k, n) for k in range(4) for n in range(200)]
