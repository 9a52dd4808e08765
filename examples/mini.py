"""The whole loop in one file, with the library's own parts and nothing hidden.

    python examples/mini.py [FOLDER]

What `Project` does for you, done by hand so that it can be read in one sitting: tune, train, register, serve and watch,
notice, retrain, gate, promote, roll back, and prove from the log that all of it happened. What is left out here is what
makes it safe to kill at any moment: durable runs (`flow`), worker processes (`execute`), and one transaction around an
event and all that follows from it (`loop.watch`). The data are the digits inside scikit-learn; the camera is simulated.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from visutility import Float, Space, Study
from visutility.core.clock import SystemClock
from visutility.core.rng import rng
from visutility.data import DataBatch, corrupt
from visutility.loop import GateRules, Paired, gate, sklearn_recipe
from visutility.monitor import make_detector
from visutility.registry import NewVersion, Registry
from visutility.store import audit
from visutility.store.blobs import Blobs
from visutility.store.engine import Store
from visutility.store.migrate import upgrade

MODEL = "digits"
ME = "examples/mini"


# -- the parts ---------------------------------------------------------------------------------------------------------


def make_svm(C, gamma):
    """Return an unfitted classifier: what the recipe below is made of."""
    return SVC(C=C, gamma=gamma)


# A recipe is all that is particular to one kind of model. One call makes one of a scikit-learn classifier.
RECIPE = sklearn_recipe(
    "digits-svm", make_svm, Space({"C": Float(0.1, 1000.0, log=True), "gamma": Float(1e-3, 1.0, log=True)})
)


def quiet(_step, _value):
    """Take an intermediate report, which this example has no use for."""


@dataclass
class Parts:
    """A database, an artifact folder, and the registry that joins them."""

    store: Store
    blobs: Blobs
    registry: Registry


def open_parts(folder):
    """Make the database (SQLite, WAL, schema by migrations) and the content-addressed artifact folder."""
    store = Store(f"sqlite:///{folder / 'mini.db'}", SystemClock())
    upgrade(store)
    blobs = Blobs(folder / "blobs")
    blobs.prepare()
    return Parts(store, blobs, Registry(store, blobs))


class Camera:
    """Real scans, each used once, seen by a camera that may be turned."""

    def __init__(self, seed):
        images, labels = load_digits(return_X_y=True)
        order = rng(seed, "camera").permutation(len(images))
        self.images = (images[order].reshape(-1, 8, 8) / 16).astype(np.float32)
        self.labels = labels[order].astype(np.int64)
        self.used = 0

    def look(self, count, severity=0.0):
        """Return the next labelled images; severity 3 is a camera turned by 26 degrees."""
        at = slice(self.used, self.used + count)
        self.used += count
        ids = [f"scan-{row}" for row in range(at.start, at.stop)]
        images = corrupt(self.images[at], "rotation", severity, seed=0, ids=ids)
        return DataBatch.from_arrays(ids, images, labels=self.labels[at])


# -- tune and train ----------------------------------------------------------------------------------------------------


def tune(train, held_out, history, start=None):
    """Search for good settings. `history` are earlier studies of this model; `start` is tried first."""
    study = Study(RECIPE.space, direction="maximize", objective=RECIPE.objective, seed=1, history=history)
    if start is not None:
        study.enqueue(start)  # the champion's settings are trial 0: re-tuning can only add
    for _ in range(8):
        trial = study.ask()
        model = RECIPE.fit(trial.params, train, report=quiet)
        study.tell(trial, RECIPE.evaluate(model, held_out).metrics)
    return study


def register(parts, study, train, parent=None):
    """Train the best settings on all rows and register the result: immutable, with where it came from."""
    model = RECIPE.fit(study.best.params, train, report=quiet)
    artifact = RECIPE.save(model)  # a skops file: no code runs when it is loaded
    return parts.registry.register(
        NewVersion(
            model=MODEL,
            artifact_sha256=parts.blobs.put(artifact),
            artifact_format=RECIPE.format,
            artifact_bytes=len(artifact),
            recipe="examples.mini:RECIPE",
            params=study.best.params,
            metrics=dict(study.best.metrics),
            data_fingerprint=train.fingerprint(),
            data_rows=len(train),
            parent_id=None if parent is None else parent.id,
        ),
        by=ME,
        why=f"trial {study.best.number} of {len(study.trials)} was the best ({study.strategy_name})",
    )


def serve(parts, batch):
    """Load the champion, hash checked, and return which of its predictions are wrong."""
    champion = parts.registry.get(f"{MODEL}@champion")
    model = RECIPE.load(parts.registry.load_artifact(champion))
    return champion, (RECIPE.predict(model, batch) != batch.labels).astype(float)


# -- watch -------------------------------------------------------------------------------------------------------------


def watch(parts, camera, reference):
    """Serve until the detector alarms; return how many images that took. Its limit is learnt from the reference."""
    detector = make_detector("e-detector", arl=1e5)
    _, errors = serve(parts, reference)
    state = detector.init([errors])
    print(f"   normal: {errors.mean():.3f} wrong on {len(errors)} images; promise: {detector.promise(len(errors))}")
    served = 0
    while camera.used + 10 <= len(camera.images):
        turned = 3.0 if served >= 60 else 0.0
        _, errors = serve(parts, camera.look(10, turned))
        served += len(errors)
        state, verdicts = detector.update(state, errors)
        if verdicts.alarm[0]:
            return served
    raise SystemExit("the stream ended without an alarm")


# -- gate --------------------------------------------------------------------------------------------------------------


def judge(parts, champion, challenger, fresh, old):
    """Compare two versions on the same rows, fresh and old: better on the first, not worse on the second."""

    def losses(version, rows):
        return RECIPE.evaluate(RECIPE.load(parts.registry.load_artifact(version)), rows).losses

    return gate(
        GateRules(worse_by=0.1),
        Paired(losses(champion, fresh), losses(challenger, fresh)),
        Paired(losses(champion, old), losses(challenger, old)),
    )


# -- the loop ----------------------------------------------------------------------------------------------------------


def main(folder):
    """Go round once; return what a test can check."""
    parts, camera = open_parts(folder), Camera(seed=0)
    parts.registry.create_model(MODEL, "classification", by=ME)

    print("1. tune, train, register, promote")
    train, held_out, old, reference = (camera.look(n) for n in (300, 100, 150, 150))
    first = tune(train, held_out, history=[])
    one = register(parts, first, DataBatch.concat([train, held_out]))
    parts.registry.promote(MODEL, 1, expected=None, by=ME, why="the first version")
    print(f"   version {one.number}: {first.strategy_name}, accuracy {first.best.value:.3f} ({first.reason})")

    print("2. serve and watch; after 60 images the camera turns")
    delay = watch(parts, camera, reference) - 60
    print(f"   alarm {delay} images after the turn")

    print("3. retrain on fresh rows and old ones, starting from what was learnt")
    fresh, fresh_held_out, gate_rows = (camera.look(n, severity=3.0) for n in (250, 100, 150))
    second = tune(
        DataBatch.concat([fresh, train]), DataBatch.concat([fresh_held_out, held_out]),
        history=[first], start=first.best.params,
    )  # fmt: skip
    two = register(parts, second, DataBatch.concat([fresh, fresh_held_out, train, held_out]), parent=one)

    print("4. gate, promote")
    answer = judge(parts, one, two, gate_rows, old)
    print(f"   {answer.answer}: {answer.reason}")
    if answer.answer == "pass":
        parts.registry.promote(MODEL, 2, expected=1, by=ME, why=answer.reason)

    print("5. the champion, rolled back and brought forward again; every move is in the log")
    parts.registry.rollback(MODEL, by=ME, why="to show that it works")
    parts.registry.promote(MODEL, 2, expected=1, by=ME, why="and back")
    for move in reversed(parts.registry.history(MODEL)):
        print(f"   {move.kind}: {move.before or 'none'} -> {move.number} ({move.why})")

    champion, errors = serve(parts, camera.look(100, severity=3.0))
    with parts.store.read() as connection:
        findings = audit.verify(connection)
    print(f"6. {champion.ref} serves, {1 - errors.mean():.3f} right; audit log whole: {not findings}")
    parts.store.close()
    return {"delay": delay, "gate": answer, "champion": champion.number, "right": 1 - errors.mean(), "audit": findings}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
