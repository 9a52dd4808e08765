"""Suggestions are the same however many cores there are: linear algebra runs in one thread."""

import os
import subprocess
import sys
import threading

import pytest
import scipy.linalg  # noqa: F401 (its library is one of those that are limited)
from threadpoolctl import ThreadpoolController

from visutility.tune.one_thread import one_thread

STUDY = """
from visutility import Float, Space, Study
space = Space({f"x{i}": Float(0.0, 1.0) for i in range(6)})
study = Study(space, strategy="bayesian", seed=3)
for _ in range(70):
    trial = study.ask()
    study.tell(trial, sum((v - 0.3) ** 2 for v in trial.params.values()))
print([trial.params for trial in study.trials])
"""

FORK = """
import os, threading
from visutility.tune.one_thread import one_thread
inside, leave = threading.Event(), threading.Event()
thinking = threading.Thread(target=one_thread(lambda: (inside.set(), leave.wait(0.2))))
thinking.start()
inside.wait()
child = os.fork()
if child == 0:
    one_thread(lambda: None)()
    os._exit(7)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def threads():
    """How many each BLAS library may use now."""
    return {info["num_threads"] for info in ThreadpoolController().select(user_api="blas").info()}


@pytest.fixture
def two():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        assert threads() == {2}
        yield


@pytest.mark.usefixtures("two")
def test_there_is_one_thread_inside_and_as_many_as_before_afterwards():
    inside = one_thread(threads)
    assert inside() == {1}
    assert threads() == {2}
    assert one_thread(lambda: (inside(), threads()))() == ({1}, {1})
    assert threads() == {2}


@pytest.mark.usefixtures("two")
def test_an_error_gives_the_threads_back():
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        one_thread(fails)()
    assert threads() == {2}


def test_calls_in_two_threads_come_one_after_the_other():
    before, inside, found = threads(), threading.Event(), []

    def counts():
        assert not inside.is_set()  # nobody else is
        inside.set()
        found.append(threads())
        inside.clear()

    def works():
        for _ in range(50):
            one_thread(counts)()

    workers = [threading.Thread(target=works) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [{1}] * 150
    assert threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_forked_while_another_thread_thinks_can_think_too():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], timeout=60, check=False)
    assert done.returncode == 7


@pytest.mark.slow
def test_a_study_is_the_same_with_one_thread_and_with_two():
    printed = [
        subprocess.run(
            [sys.executable, "-c", STUDY],
            env={**os.environ, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OMP_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in ("1", "2")
    ]
    assert printed[0] == printed[1]
