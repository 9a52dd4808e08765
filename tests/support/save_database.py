"""Write tests/data/databases/<revision>.db.gz: what a release of that revision left behind.

    python tests/support/save_database.py

Run once per released revision, and never again: the tests open the saved file with every later release. It holds a
model with three versions, two promotions and a rollback, and a closed study, since 0002 with a constraint; since 0004
an alarm that was judged.
"""

import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np

from visutility.core.clock import SimulatedClock
from visutility.core.codec import sha256
from visutility.core.wire import MetricsEvent
from visutility.loop import Metrics, Monitor, Watch
from visutility.loop.alarms import Alarms
from visutility.loop.watches import start_watches
from visutility.registry import NewVersion, aliases, models, studies, versions
from visutility.store import Blobs, Store, upgrade
from visutility.store.schema import REVISION
from visutility.tune import AtMost, Float, MedianStopping, Space

FOLDER = Path(__file__).parents[1] / "data" / "databases"


def fill(store: Store) -> None:
    """Write the rows, by the functions that write such rows."""
    with store.write("fill") as tx:
        model = models.create_model(tx, "digits", "classification", by="ada", why="to be kept")
        space = Space({"C": Float(0.1, 10, log=True)})
        opened = studies.create(
            tx,
            name="digits-1",
            space=space,
            objective="loss",
            constraints={"megabytes": AtMost(5.0)},
            stopping=MedianStopping(startup=3),
            model_id=model.id,
            strategy="random",
            by="ada",
            why="x",
        )
    study = studies.DurableStudy(store, opened.id)
    study.enqueue({"C": 1.0})
    for value, size in ((0.5, 1.0), (0.3, 2.0), (0.4, 3.0), (0.1, 9.0)):
        study.tell(study.ask(), {"loss": value, "megabytes": size})
    with store.write("fill") as tx:
        studies.close(tx, opened.id, by="ada", why="enough")
        for number in (1, 2, 3):
            artifact = f"artifact {number}"
            new = NewVersion(
                model="digits",
                artifact_sha256=sha256(artifact),
                artifact_format="skops",
                artifact_bytes=len(artifact),
                recipe="recipes:digits",
                params={"C": float(number)},
                metrics={"accuracy": 0.9 + number / 100},
                study_id=opened.id,
                trial_number=number - 1,
            )
            versions.register(tx, new, by="ada", why=f"trial {number}")
        aliases.promote(tx, "digits", 1, expected=None, by="ada", why="the first")
        aliases.promote(tx, "digits", 3, expected=1, by="ada", why="better")
        aliases.rollback(tx, "digits", by="ada", why="slow")
    with store.write("fill") as tx:
        start_watches(
            tx,
            model_id=model.id,
            name="digits",
            version=1,
            watches=(Watch(settings={"arl": 1e4}),),
            reference=np.zeros(100),
            by="ada",
            why="x",
        )
    bad = MetricsEvent(id="bad", model="digits", version=1, metric="error", values=[1.0] * 5, at=store.clock.now())
    Monitor(store, Metrics()).ingest(bad)
    Alarms(store, Blobs(FOLDER / "nothing"), "ada").judge("1", "true", why="the lens was dirty")


def main() -> None:
    """Write the file of the present revision, unless it is there."""
    target = FOLDER / f"{REVISION}.db.gz"
    if target.exists():
        sys.exit(f"{target} is there: a saved database never changes")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "visutility.db"
        store = Store(f"sqlite:///{path}", SimulatedClock())
        upgrade(store)
        fill(store)
        store.close()
        target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
