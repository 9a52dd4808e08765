"""Which changes of real images start a retrain run where a watch has a tolerance, and after how many images.

A frozen perceptron of Fashion-MNIST, watched by 1 - its largest softmax score. In each random order of the test images
a tenth are the reference window, three tenths come clean, the rest corrupted, in events of ten values. A real detector
raises the alarms, and they are answered as the loop answers them: `weigh_alarm`, `weigh_since` at each look, `decide`,
up to the first run. Some streams go through the Monitor of a project too, which must give the same answers in the same
events: the benchmark fails where it does not.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from benchmarks.events import AT, prepare
from benchmarks.monitoring.images import said
from benchmarks.tuning.page import write
from visutility.core.clock import SimulatedClock
from visutility.core.codec import loads
from visutility.core.rng import rng
from visutility.core.settings import Settings
from visutility.core.wire import MetricsEvent
from visutility.loop import Policy, Project, Situation, Watch, decide
from visutility.loop.policy import LOOKS, Normal, looks, weigh_alarm, weigh_since
from visutility.monitor import Harm, HarmKind, Level, make_detector
from visutility.store.schema import audit_event

Floats = NDArray[np.float64]
Cell = tuple[str, int]  # a corruption and its severity
TOLERANCE, EVENT = 0.05, 10
DETECTORS: dict[str, dict[str, Any]] = {"auto": {}, "eprocess": {"low": 0.0, "high": 1.0}, "glr": {}}
CELLS: tuple[Cell, ...] = (
    *(("jpeg", 1), ("jpeg", 3), ("jpeg", 5), ("noise", 1), ("noise", 2), ("noise", 3), ("brightness", 2)),
    *(("blur", 3), ("blur", 4), ("contrast", 2), ("contrast", 3), ("rotation", 1), ("rotation", 3)),
)
CHECKED: Cell = ("blur", 4)  # near the tolerance: decided late, and either way
ENTRIES = (
    select(audit_event.c.kind, audit_event.c.why, audit_event.c.after)
    .where(audit_event.c.kind.like("trigger.%"))
    .order_by(audit_event.c.seq)
)


class Stream(NamedTuple):
    """What is watched in one order of the images."""

    reference: Floats
    values: Floats
    clean: int  # so many of the values, the first ones


class Answer(NamedTuple):
    """What the loop says about an alarm in an event."""

    sent: int  # values, when the event ends
    alarm: int  # its position among them
    kind: str  # wait, refuse or run
    why: str = ""


# -- the loop's answers ----------------------------------------------------------------------------------------------


def meanings(watch: Watch, reference: Floats, values: Floats) -> Iterator[tuple[int, int, Harm]]:
    """Yield what each alarm means, in the event that raised it and at each look: values sent, position, harm."""
    detector = make_detector(watch.detector, **watch.settings)
    _, verdicts = detector.update(detector.init([reference]), values)
    raised = [found.position for found in verdicts if found.level is Level.ALARM]
    normal, waiting = Normal.of(reference), []
    for start in range(0, len(values), EVENT):
        end = min(start + EVENT, len(values))
        for alarm in [at for at in raised if start <= at < end]:
            until = values[: alarm + 1][-LOOKS[-1] :]
            harm = weigh_alarm(watch.metric, until, normal, TOLERANCE)
            yield end, alarm, harm
            if harm.kind is HarmKind.UNKNOWN:
                waiting.append(alarm)
        for alarm in list(waiting):
            now = end - alarm - 1
            if not looks(normal, max(start - alarm - 1, 0), now):
                continue
            since = values[alarm + 1 : end][-LOOKS[-1] :]
            harm = weigh_since(watch.metric, since, normal, TOLERANCE, last=now >= normal.patience)
            yield end, alarm, harm
            if harm.kind is not HarmKind.UNKNOWN:
                waiting.remove(alarm)


def answers(watch: Watch, reference: Floats, values: Floats) -> Iterator[Answer]:
    """Yield every answer, in order, up to the first run: after it there is a run at work."""
    policy = Policy(watches=(watch,))
    for sent, alarm, harm in meanings(watch, reference, values):
        decision = decide(policy, Situation(AT, None, None, 0, harm))
        yield Answer(sent, alarm, decision.kind, decision.reason)
        if decision.kind == "run":
            return


def answers_of_a_project(watch: Watch, reference: Floats, values: Floats) -> Iterator[Answer]:
    """Yield the same as a project on disk stores it, told one event at a time."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(home=Path(folder), environ={"VISUTILITY_ACTOR": "bench"})
        with Project.create(settings=settings, clock=SimulatedClock(AT)) as project:
            prepare(project, watched=False)
            project.watch("bench", Policy(watches=(watch,)), reference=reference)
            positions: dict[str, int] = {}
            told = 0
            for start in range(0, len(values), EVENT):
                ten = values[start : start + EVENT].tolist()
                event = MetricsEvent(id=f"{start}", model="bench", version=1, metric=watch.metric, values=ten, at=AT)
                (receipt,) = project.monitor.ingest(event)
                positions |= {alarm.id: alarm.position for alarm in receipt.verdicts}
                with project.store.read() as connection:
                    rows = connection.execute(ENTRIES).all()
                for row in rows[told:]:
                    kind = str(row.kind).removeprefix("trigger.")
                    yield Answer(start + len(ten), positions[loads(row.after)["verdict"]], kind, row.why)
                    if kind == "run":
                        return
                told = len(rows)


# -- the images ------------------------------------------------------------------------------------------------------


@cache
def scores(kind: str, severity: int) -> tuple[Floats, float]:
    """Return 1 - the largest score of each test image under a corruption, and the model's error rate on them."""
    softmax, _, labels = said(kind, severity)
    return 1.0 - softmax.max(1), float((softmax.argmax(1) != labels).mean())


def stream(cell: Cell, number: int) -> Stream:
    """Return one order of the images, corrupted from a point on."""
    clean, corrupted = scores("clean", 0)[0], scores(*cell)[0]
    order = rng(number, "tolerance", cell[0], cell[1]).permutation(len(clean))
    first, change = len(order) // 10, 4 * len(order) // 10
    values = np.concatenate([clean[order[first:change]], corrupted[order[change:]]])
    return Stream(clean[order[:first]], values, change - first)


def watch_by(detector: str) -> Watch:
    return Watch(metric="uncertainty", detector=detector, settings=DETECTORS[detector], tolerance=TOLERANCE)


class Count:
    """How the orders of a corruption went under one detector."""

    def __init__(self) -> None:
        self.early = self.early_runs = 0  # orders with an alarm, and a run, among the clean images: false ones
        self.alarmed = 0
        self.at_once = 0  # runs in the event of the alarm: the values up to it were beyond doubt
        self.after: list[int] = []  # corrupted images before each run

    def add(self, found: Sequence[Answer], clean: int) -> None:
        """Add one order."""
        self.early += any(one.alarm < clean for one in found)
        self.alarmed += any(one.alarm >= clean for one in found)
        for one in (one for one in found if one.kind == "run"):
            if one.sent <= clean:
                self.early_runs += 1
            else:
                self.after.append(one.sent - clean)
                self.at_once += one.alarm >= one.sent - EVENT

    def __str__(self) -> str:
        after = f" after {np.median(self.after):,.0f}" if self.after else ""
        return f"{self.alarmed}, {len(self.after)}{after}"


def counted(cell: Cell, orders: int) -> dict[str, Count]:
    """Return how a corruption goes under each detector."""
    counts = {name: Count() for name in DETECTORS}
    for one in (stream(cell, number) for number in range(orders)):
        for name, count in counts.items():
            count.add(list(answers(watch_by(name), one.reference, one.values)), one.clean)
    return counts


def table(cells: Sequence[Cell], orders: int) -> list[str]:
    """Return the table and what it leaves out, printed as it is done."""
    lines, counts = [], {}
    (usual, error), mild = scores("clean", 0), []

    def tell(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    tell(f"| | accuracy lost | rise | {' | '.join(f'`{name}`: alarmed, ran' for name in DETECTORS)} |")
    tell("| --- | --: | --: |" + " --- |" * len(DETECTORS))
    for cell in cells:
        corrupted, wrong = scores(*cell)
        lost, rise = wrong - error, float(corrupted.mean() - usual.mean())
        counts[cell] = counted(cell, orders)
        mild += [cell] if rise <= TOLERANCE else []
        costs = " | ".join(f"{cost:.3f}".replace("0.", ".", 1) for cost in (lost, rise))
        found = " | ".join(map(str, counts[cell].values()))
        tell(f"| {cell[0].replace('jpeg', 'JPEG')} {cell[1]} | {costs} | {found} |")

    def total(name: str, what: Callable[[Count], int], some: Sequence[Cell] = cells) -> int:
        return sum(what(counts[cell][name]) for cell in some)

    early = (f"`{name}` {total(name, lambda c: c.early)}, {total(name, lambda c: c.early_runs)}" for name in DETECTORS)
    at_once = (
        f"`{name}` {total(name, lambda c: len(c.after), mild)}, {total(name, lambda c: c.at_once, mild)}"
        for name in DETECTORS
    )
    tell("")
    tell(f"* Clean images, {orders * len(cells):,} orders: alarmed, ran: {'; '.join(early)}.")
    tell(
        f"* Rises within the tolerance, {orders * len(mild):,} orders: ran, in the alarm's event: {'; '.join(at_once)}."
    )
    return lines


def agrees(cell: Cell, detector: str) -> bool:
    """Print whether a project answers the first order of a cell as this benchmark does, and return it."""
    watch, one = watch_by(detector), stream(cell, 0)
    expected = list(answers(watch, one.reference, one.values))
    found = list(answers_of_a_project(watch, one.reference, one.values))
    words = f"the same {len(found)} answers" if found == expected else f"{found}, not {expected}"
    print(f"{cell[0]} {cell[1]}, {detector}, through the Monitor of a project: {words}", flush=True)
    return found == expected


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and what a project answers; with --page, put the table into a page. 1 where they differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.tolerance", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two corruptions, two orders, one stream checked")
    parser.add_argument("--orders", type=int, default=100, help="random orders of the images a corruption")
    parser.add_argument("--page", type=Path, help="a page with <!-- tolerance -->")
    given = parser.parse_args(argv)
    start = time.process_time()
    cells, orders = ((CELLS[2], CELLS[10]), 2) if given.quick else (CELLS, given.orders)
    lines = table(cells, orders)
    checks = [agrees(cells[-1], "glr")] if given.quick else [agrees(CHECKED, name) for name in DETECTORS]
    print(f"{time.process_time() - start:.0f} CPU s")
    if given.page:
        write(given.page, "tolerance", lines)
    return 0 if all(checks) else 1


if __name__ == "__main__":
    raise SystemExit(main())
