"""A process that drives the sample run to its end, for tests that kill it on the way. Arguments: the folder."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from visutility.core.clock import SimulatedClock
from visutility.core.codec import to_time
from visutility.core.errors import NotWaiting
from visutility.flow import Worker, effect, runs, step, workflow
from visutility.store.engine import Store
from visutility.store.schema import run


@step("open")
def open_it(tx, call, words):
    tx.connection.exec_driver_sql("INSERT INTO note (words) VALUES (?)", (words,))
    return {"words": words}


@effect("train")
def train(call, size):
    outside(call, "trained")
    return {"size": size, "key": call.key}


@effect("labels")
def labels(call):
    """None twice, then a value: whoever asks, the third time it is there."""
    return outside(call, "looked") if count(call, "looked") >= 2 else outside(call, "looked") and None


@step("promote")
def promote(tx, call, *found):
    tx.connection.exec_driver_sql("INSERT INTO note (words) VALUES (?)", ("promoted",))
    return len(found)


@workflow("sample")
def sample(run, request):
    opened = run.do(open_it, request["words"])
    trained = [run.do(train, size) for size in (1, 2)]
    seen = run.wait(labels, waiting_for="3 looks", every=60)
    said = run.ask("go-on", "promote it?")
    return {"opened": opened, "trained": trained, "seen": seen, "said": said, "found": run.do(promote, 1, 2)}


def log(call):
    return Path(call.services) / "outside.log"


def outside(call, what):
    """An effect on the world outside: a line that says what and under which key, safely on disk."""
    with log(call).open("a") as out:
        out.write(f"{what} {call.key}\n")
        out.flush()
        os.fsync(out.fileno())
    return what


def count(call, what):
    return log(call).read_text().count(what) if log(call).exists() else 0


def latest(store):
    """A time after everything in the database, so that a new process need not wait for the leases of a dead one."""
    with store.read() as connection:
        times = connection.execute(
            select(func.max(run.c.lease_until), func.max(run.c.created_at)).where(run.c.lease_until.is_not(None))
        ).one()
    return max([to_time(text) for text in times if text] + [SimulatedClock().now()]) + timedelta(seconds=1)


def main(folder):
    url = f"sqlite:///{folder}/test.db"
    clock = SimulatedClock(latest(Store(url, SimulatedClock())))
    store = Store(url, clock)
    with store.write("test.start") as tx:
        run_id = runs.start(tx, sample, {"words": "opened"}, key="one", by="ann")
    # Each process has a clock of its own that it moves by itself: a lease that any of them could see end would make
    # racing processes take a healthy one for dead, over and over. The dead are seen to be dead all the same.
    worker = Worker(store, {"sample": sample}, folder, lease_seconds=1e7)
    while True:
        worker.run_until_idle()
        with store.read() as connection:
            found, asked = runs.get(connection, run_id), runs.questions(connection, run_id)
        if found.ended:
            break
        if asked and asked[0].answered_by is None:
            try:
                with store.write("test.answer") as tx:
                    runs.answer(tx, run_id, "go-on", "yes", by="ann")
            except NotWaiting:  # another process answered first
                pass
        clock.advance(60)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1])
