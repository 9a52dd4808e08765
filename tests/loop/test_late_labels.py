"""Late labels in the loop: the error of each prediction reaches the monitor exactly once, whatever crashes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import late
import numpy as np
import pytest
from scenario import EVENT_AT, MODEL, settings, watched
from sqlalchemy import select

from visutility.core import crash
from visutility.core.clock import SimulatedClock
from visutility.core.codec import loads, unpack_floats
from visutility.core.errors import (
    Conflict,
    DatabaseBusy,
    DiskFull,
    Invalid,
    InvalidObservation,
    LabelContradicted,
    NotFound,
)
from visutility.loop import LateLabels, Project
from visutility.monitor import LabelJoin
from visutility.store.schema import metric_chunk, watch
from visutility.store.single import SingleFile

POINTS = ("late-labels:before", "late-labels:after", "monitor.ingest:before", "monitor.ingest:after")


@pytest.fixture
def project(tmp_path):
    with watched(tmp_path / "home") as project:
        yield project


@pytest.fixture
def path(tmp_path):
    return tmp_path / "late" / "version-1"


def errors_in(project):
    """Every error that the monitor was shown, by prediction; fails where one was shown twice."""
    with project.store.read() as connection:
        rows = connection.execute(select(metric_chunk).order_by(metric_chunk.c.first_position)).mappings().all()
        seen = connection.execute(select(watch.c.position)).scalar_one()
    names = [name for row in rows for name in loads(row["prediction_ids"])]
    values = np.concatenate([np.zeros(0), *(unpack_floats(row["values"]) for row in rows)]).tolist()
    assert len(names) == len(set(names)) == len(values) == seen
    return dict(zip(names, values, strict=True))


# -- exactly once ------------------------------------------------------------------------------------------------------


def test_labels_late_twice_and_contradicting_are_one_error_each(project, tmp_path):
    late.deliver(tmp_path, project, 0)
    expected = late.deliveries(0)[1]
    assert errors_in(project) == expected
    assert 40 < len(expected) < late.ROWS  # some never get one
    with late.opened(project, tmp_path / "late") as after:
        counts = after.join.counts
        assert (counts.joined, counts.duplicates > 5, counts.contradictions > 5, counts.held > 0) == (
            len(expected),
            True,
            True,
            True,
        )


class Killed(BaseException):
    """As if the process had died."""


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_loses_no_error_and_repeats_none(tmp_path, monkeypatch, point):
    passed = []

    def dies(name):
        passed.append(name)
        if name == point and passed.count(name) % 3 == 0:  # again and again
            raise Killed

    watched(tmp_path).close()
    monkeypatch.setattr(crash, "point", dies)
    deaths = 0
    while True:
        with Project.open(settings=settings(tmp_path), clock=SimulatedClock(EVENT_AT)) as project:
            try:
                late.deliver(tmp_path, project, 1)
                break
            except Killed:
                deaths += 1
    assert deaths > 5
    with Project.open(settings=settings(tmp_path)) as project:
        assert errors_in(project) == late.deliveries(1)[1]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 7])
def test_a_killed_process_loses_no_error_and_repeats_none(tmp_path, point, nth):
    watched(tmp_path).close()
    start = [sys.executable, str(Path(late.__file__)), str(tmp_path)]
    assert subprocess.run([*start, "--crash", point, str(nth)], check=False).returncode == -signal.SIGKILL
    assert subprocess.run(start, check=False).returncode == 0
    with Project.open(settings=settings(tmp_path)) as project:
        assert errors_in(project) == late.deliveries(0)[1]


def busy(*_):
    raise DatabaseBusy("somebody else writes", hint="later")


def test_what_could_not_be_sent_is_sent_when_the_file_is_opened_again(project, path, monkeypatch):
    first = LateLabels(project, path, model=MODEL, version=1)
    first.predict(["a", "b"], [1, 1], at=[1.0, 2.0])
    with monkeypatch.context() as broken:
        broken.setattr(project.monitor, "ingest", busy)
        with pytest.raises(DatabaseBusy):
            first.label(["a", "b"], [1, 0])
    first.close()
    assert errors_in(project) == {}
    with LateLabels(project, path, model=MODEL, version=1) as again:
        assert errors_in(project) == {"a": 0.0, "b": 1.0}
        assert again.send() == []
        assert again.label(["a", "b"], [1, 0]) == []


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_label_that_contradicts_is_refused_and_nothing_of_its_batch_is_taken(project, path):
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.predict([1, 2, 3], [0, 0, 0], at=[1.0, 2.0, 3.0])
        labels.label([1], [1])
        with pytest.raises(LabelContradicted, match=r"the label of 1 was 1\.0, now 0\.0"):
            labels.label([2, 1], [1, 0])
        assert errors_in(project) == {"1": 1.0}
        labels.label([2], [1])
        assert errors_in(project) == {"1": 1.0, "2": 1.0}


def test_an_old_copy_that_was_put_back_loses_nothing_silently(project, path):
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.predict(["a", "b", "c"], [0, 0, 0], at=[1.0, 2.0, 3.0])
        shutil.copy(path, path.with_name("copy"))
        labels.label(["a"], [1])
    path.with_name("copy").replace(path)
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.label(["a"], [1])  # the same label again: known
        assert errors_in(project) == {"a": 1.0}
    with LateLabels(project, path.with_name("other"), model=MODEL, version=1) as labels:
        labels.predict(["d", "e"], [0, 0], at=[1.0, 2.0])
        shutil.copy(path.with_name("other"), path.with_name("copy"))
        labels.label(["d"], [1])
    path.with_name("copy").replace(path.with_name("other"))
    labels = LateLabels(project, path.with_name("other"), model=MODEL, version=1)
    with labels, pytest.raises(Conflict, match="errors of other predictions were sent as") as refused:
        labels.label(["e"], [1])
    assert "old copy" in refused.value.hint
    with pytest.raises(Conflict, match="errors of other predictions"):  # and it stays refused
        LateLabels(project, path.with_name("other"), model=MODEL, version=1)


def test_once_closed_no_call_waits_for_a_turn(project, path):
    """As in a child that was forked while another thread had its turn: there nobody ends it."""
    labels = LateLabels(project, path, model=MODEL, version=1)
    labels.close()
    with ThreadPoolExecutor(1) as holder, ThreadPoolExecutor(1) as caller:
        holder.submit(labels._turn.acquire).result()
        try:
            for call in (lambda: labels.predict([1], [0]), lambda: labels.label([1], [1]), labels.send):
                with pytest.raises(Conflict, match="is closed"):
                    caller.submit(call).result(timeout=20)
        finally:
            holder.submit(labels._turn.release).result()


def test_one_process_at_a_time(project, path):
    with LateLabels(project, path, model=MODEL, version=1) as first:
        with pytest.raises(Conflict, match="is open elsewhere"):
            LateLabels(project, path, model=MODEL, version=1)
        first.predict([1], [0], at=[1.0])
    with pytest.raises(Conflict, match="is closed"):
        first.label([1], [1])
    with LateLabels(project, path, model=MODEL, version=1) as second:
        second.label([1], [1])
    assert errors_in(project) == {"1": 1.0}


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"model": "nobody"}, NotFound, "no model is named 'nobody'"),
        ({"version": 7}, NotFound, "no version 7"),
        ({"metric": "Not A Name"}, Invalid, "metric name"),
        ({"version": 2}, Invalid, "is of .*1, 'error'.*not of .*2, 'error'"),
        ({"metric": "loss"}, Invalid, "'loss'"),
    ],
)
def test_a_file_is_of_one_metric_of_one_version(project, path, more, error, said):
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.predict([1], [0], at=[1.0])
    with pytest.raises(error, match=said):
        LateLabels(project, path, **{"model": MODEL, "version": 1, **more})
    LateLabels(project, path, model=MODEL, version=1).close()  # and it was not left locked


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb"])
def test_ids_that_no_event_can_carry_are_refused_before_they_are_taken(project, path, name):
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        with pytest.raises(InvalidObservation, match="1 to 128 printable"):
            labels.predict(np.array(["fine", name]), [0, 0], at=[1.0, 2.0])
        assert len(labels.join) == 0


@pytest.mark.parametrize("bytes_", [b"", b"nothing", LabelJoin().save()])
def test_other_bytes_are_no_late_labels(project, path, bytes_):
    path.parent.mkdir()
    path.write_bytes(bytes_)
    with pytest.raises(Invalid):
        LateLabels(project, path, model=MODEL, version=1)
    assert path.read_bytes() == bytes_


def test_many_errors_at_once_are_several_events(project, path, monkeypatch):
    monkeypatch.setattr("visutility.loop.late_labels.MAX_VALUES", 4)
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.label(np.arange(10), np.ones(10))
        receipts = labels.predict(np.arange(10), np.arange(10) % 2, at=np.arange(10.0))
    assert [one.position for one in receipts] == [0, 4, 8]
    assert errors_in(project) == {str(at): float(at % 2 == 0) for at in range(10)}


def test_what_the_disk_had_no_room_for_is_written_before_it_is_sent(project, path, monkeypatch):
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.predict(["a", "b"], [0, 0], at=[1.0, 2.0])
        with monkeypatch.context() as broken:
            broken.setattr(SingleFile, "write", full)
            with pytest.raises(DiskFull):
                labels.label(["a"], [1])
            with pytest.raises(DiskFull):
                labels.send()
            assert errors_in(project) == {}
        shutil.copy(path, path.with_name("copy"))
        labels.send()
        assert errors_in(project) == {"a": 1.0}
    assert path.read_bytes() != path.with_name("copy").read_bytes()
    with LateLabels(project, path, model=MODEL, version=1) as again:
        again.label(["b", "a"], [1, 1])  # cut otherwise
    assert errors_in(project) == {"a": 1.0, "b": 1.0}


FULL = """
import json, resource, sys
from pathlib import Path
import numpy as np
from scenario import MODEL, settings
from visutility.core.errors import DiskFull
from visutility.loop import LateLabels, Project

path, said = Path(sys.argv[2]), []
rows = 5_000
many = [f"image {at}" for at in range(rows)], np.zeros(rows)
with (
    Project.open(settings=settings(Path(sys.argv[1]))) as project,
    LateLabels(project, path, model=MODEL, version=1) as labels,
):
    labels.predict(["a", "b"], [0, 0], at=[1.0, 2.0])
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # signals of it are ignored
    for call in (
        lambda: labels.predict(*many, at=np.arange(3.0, rows + 3.0)),
        lambda: labels.label(["a", "image 7"], [1, 0]),
        lambda: labels.send(),
    ):
        try:
            call()
        except DiskFull as error:
            said.append([str(error), path.read_bytes() == before, sorted(one.name for one in path.parent.iterdir())])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    seen = project.records.watches(MODEL)[0].seen
    labels.label(["a", "image 7"], [1, 0])
print(json.dumps([said, seen]))
"""


@pytest.mark.slow
def test_a_join_that_grows_too_large_for_the_disk_leaves_what_was_there(tmp_path, path):
    watched(tmp_path / "home").close()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", FULL, str(tmp_path / "home"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    refused, seen = json.loads(done.stdout)
    assert [one[1:] for one in refused] == [[True, [path.name, f"{path.name}.lock"]]] * 3
    assert all(f"no space left for {path}" in message for message, *_ in refused)
    assert seen == 0  # nothing is sent that is not on the disk
    with Project.open(settings=settings(tmp_path / "home")) as project:
        assert errors_in(project) == {"a": 1.0, "image 7": 0.0}
        with LateLabels(project, path, model=MODEL, version=1) as labels:
            assert len(labels.join) == 5_002


def full(*_):
    raise DiskFull("no room", hint="make some")


def test_threads_take_turns(project, path):
    names = [f"image {at}" for at in range(240)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # without turns no run of ten passed
    try:
        with LateLabels(project, path, model=MODEL, version=1) as labels, ThreadPoolExecutor(4) as threads:
            labels.predict(names, np.zeros(240), at=np.arange(240.0))
            sent = threads.map(lambda at: labels.label(names[at : at + 3], [1, 1, 1]), range(0, 240, 3))
            assert sum(len(one) for one in sent) == 80
    finally:
        sys.setswitchinterval(before)
    assert errors_in(project) == dict.fromkeys(names, 1.0)


def test_a_call_that_is_interrupted_while_it_joins_leaves_what_is_on_the_disk(project, path, monkeypatch):
    labels = LateLabels(project, path, model=MODEL, version=1)
    labels.predict(["a", "b", "c"], [0, 0, 0], at=[1.0, 2.0, 3.0])
    with monkeypatch.context() as pressed:
        loss, calls = LabelJoin._loss, []

        def interrupted(join, said, label):
            calls.append(said)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return loss(join, said, label)

        pressed.setattr(LabelJoin, "_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            labels.label(["a", "b"], [1, 1])
    with pytest.raises(Conflict, match="is closed"):
        labels.label(["a", "b"], [1, 1])
    with LateLabels(project, path, model=MODEL, version=1) as again:
        again.label(["a", "b"], [1, 1])
        with pytest.raises(TypeError):
            again.label(None, [1])
        again.label(["c"], [1])  # a call that took nothing closes nothing
    assert errors_in(project) == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_of_an_old_copy_nothing_is_shown_twice_before_it_is_refused(project, path, monkeypatch):
    monkeypatch.setattr("visutility.loop.late_labels.MAX_VALUES", 2)
    with LateLabels(project, path, model=MODEL, version=1) as labels:
        labels.predict(["a", "b", "c", "d"], [0] * 4, at=np.arange(4.0))
        shutil.copy(path, path.with_name("copy"))
        labels.label(["c", "d"], [1, 1])
    path.with_name("copy").replace(path)
    labels = LateLabels(project, path, model=MODEL, version=1)
    with labels, pytest.raises(Conflict, match="errors of other predictions"):
        labels.label(["a", "b", "c", "d"], [1] * 4)
    assert errors_in(project) == {"c": 1.0, "d": 1.0}
