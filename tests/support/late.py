"""Predictions and labels as a queue delivers them: late, in part, in any order, twice, and contradicting.

python late.py HOME [--crash POINT NTH] drives the queue from where it was left, and maybe dies at a crash point.
"""

import argparse
from pathlib import Path

import numpy as np
from scenario import MODEL, settings

from visutility.core import crash
from visutility.core.rng import rng
from visutility.loop import LateLabels, Project
from visutility.monitor import LabelJoin

ROWS = 80
Delivery = tuple[str, list[str], list[float]]  # what it brings, of which predictions


def deliveries(seed: int) -> tuple[list[Delivery], dict[str, float]]:
    """Return what is delivered, and the error of each prediction that gets a label: another one each."""
    draw = rng(seed, "late")
    names, truth = [f"image {at}" for at in range(ROWS)], (np.arange(ROWS) + 1) / (ROWS + 1)
    come = [(float(at), "predict", at, 0.0) for at in range(ROWS)]
    labelled = np.flatnonzero(draw.random(ROWS) < 0.7)
    for at in labelled:
        first = at + draw.uniform(-5.0, 40.0)  # some before their prediction
        come.append((first, "label", int(at), float(truth[at])))
        if draw.random() < 0.3:
            come.append((first + draw.uniform(0.1, 20.0), "label", int(at), float(truth[at])))
        if draw.random() < 0.3:
            come.append((first + draw.uniform(0.1, 20.0), "label", int(at), 1.0))
    batches: list[Delivery] = []
    for _, what, at, value in sorted(come):
        if not batches or batches[-1][0] != what or draw.random() < 0.5:
            batches.append((what, [], []))
        batches[-1][1].append(names[at])
        batches[-1][2].append(value)
    return batches, {names[at]: float(truth[at]) for at in labelled}


def opened(project: Project, path: Path) -> LateLabels:
    """Return the late labels of version 1, whose error is its distance from the label; the first label counts."""
    return LateLabels(project, path, model=MODEL, version=1, join=LabelJoin(metric="mae", contradiction="first"))


def deliver(home: Path, project: Project, seed: int) -> None:
    """Deliver what was not acknowledged yet. What is acknowledged is on the disk.

    What comes again comes in larger pieces: nothing may depend on how a queue cuts it.
    """
    queue, done = deliveries(seed)[0], home / "acknowledged"
    at, pieces = int(done.read_text()) if done.exists() else 0, 3
    with opened(project, home / "late") as late:
        while at < len(queue):
            what, names, values = queue[at]
            at += 1
            while pieces > 1 and at < len(queue) and queue[at][0] == what:
                names, values = names + queue[at][1], values + queue[at][2]
                at, pieces = at + 1, pieces - 1
            if what == "predict":
                late.predict(names, values, at=[float(name.split()[1]) for name in names])
            else:
                late.label(names, values)
            done.write_text(str(at))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--crash", nargs=2)
    given = parser.parse_args()
    with Project.open(settings=settings(given.home)) as project:
        if given.crash:
            crash.arm(given.crash[0], int(given.crash[1]))
        deliver(given.home, project, 0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
