"""benchmarks/monitoring/tolerance.py answers alarms as the Monitor of a project does, and counts them as it says."""

import numpy as np
import pytest
from benchmarks.monitoring import tolerance
from benchmarks.monitoring.tolerance import EVENT, Answer, Count, answers, answers_of_a_project, watch_by

from visutility.core.rng import rng


def rises(*parts):
    """A reference window and the values after it: so many of each mean, and how narrowly they lie about it."""
    draw = rng(0, "benchmark", "tolerance").beta
    reference, *values = (draw(narrow * mean, narrow * (1.0 - mean), count) for count, mean, narrow in parts)
    return reference, np.concatenate(values)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["auto", "glr"])
@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        ([(400, 0.2, 180), (200, 0.2, 180), (300, 0.22, 180)], {"refuse"}),
        ([(400, 0.2, 40), (200, 0.2, 40), (300, 0.3, 40)], {"wait", "run"}),
        ([(60, 0.2, 40), (200, 0.2, 40), (600, 0.24, 40)], {"wait", "refuse"}),  # the last look decides
    ],
)
def test_a_project_gives_the_same_answers_in_the_same_events(detector, parts, kinds):
    reference, values = rises(*parts)
    found = list(answers(watch_by(detector), reference, values))
    assert {one.kind for one in found} >= kinds
    assert list(answers_of_a_project(watch_by(detector), reference, values)) == found


def test_a_project_that_answers_otherwise_is_told_and_fails_the_benchmark(monkeypatch, capsys):
    reference, values = rises((100, 0.1, 4), (100, 0.5, 4))
    one = tolerance.Stream(reference, values, 100)
    monkeypatch.setattr(tolerance, "stream", lambda cell, number: one)
    monkeypatch.setattr(tolerance, "table", lambda cells, orders: [])
    monkeypatch.setattr(tolerance, "answers_of_a_project", answers)
    assert tolerance.main(["--quick"]) == 0
    late = [Answer(found.sent + EVENT, found.alarm, found.kind) for found in answers(watch_by("glr"), *one[:2])]
    monkeypatch.setattr(tolerance, "answers_of_a_project", lambda *_: late)
    assert tolerance.main(["--quick"]) == 1
    assert f"{late}, not " in capsys.readouterr().out


def test_alarms_and_runs_among_the_clean_images_are_counted_apart():
    count = Count()
    for found in (
        [],
        [Answer(90, 85, "refuse")],
        [Answer(100, 99, "run")],
        [Answer(90, 85, "wait"), Answer(110, 85, "run")],
        [Answer(110, 100, "wait"), Answer(160, 100, "run")],
        [Answer(200, 199, "run")],
    ):
        count.add(found, 100)
    assert (count.early, count.early_runs) == (3, 1)
    assert (count.alarmed, count.after, count.at_once) == (2, [10, 60, 100], 1)
    assert str(count) == "2, 3 after 60"
    assert str(Count()) == "0, 0"
