"""A degraded tiny model, ready to be retrained: what the crash tests and others start from."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tiny

from visutility.core.clock import Clock, SimulatedClock
from visutility.core.settings import Settings
from visutility.core.wire import MetricsEvent
from visutility.data import ParquetSource
from visutility.execute import Executor, LocalExecutor
from visutility.loop import GateRules, Policy, Project, Watch
from visutility.registry import NewVersion

MODEL = "tiny"
EVENT_AT = datetime(2026, 2, 1, tzinfo=UTC)
POLICY = Policy(
    watches=(Watch(metric="error", detector="e-detector", settings={"arl": 1e4}),),
    trials=2,
    parallel=1,
    strategy="random",
    train_rows=40,
    gate_rows=40,
    settle_rows=0,
    wait_seconds=0.01,
    trial_seconds=60.0,
    gate=GateRules(worse_by=0.2),
)
REFERENCE = [0.0] * 95 + [1.0] * 5  # errors of a model that is right
BAD, GOOD = [1.0] * 10, [0.0] * 10


def settings(home: Path) -> Settings:
    return Settings.load(home=home, environ={"VISUTILITY_ACTOR": "tests"})


def watched(
    home: Path,
    *models: str,
    clock: Clock | None = None,
    policy: Policy = POLICY,
    reference: Sequence[float] = REFERENCE,
) -> Project:
    """Return an open project whose models have two versions, the first of them watched; nothing was trained."""
    project = Project.create(settings=settings(home), clock=clock or SimulatedClock(EVENT_AT))
    for name in models or (MODEL,):
        project.registry.create_model(name, "classification", by="tests")
        for number in (1, 2):
            new = NewVersion(
                model=name,
                artifact_sha256=project.blobs.put(b"bytes %d" % number),
                artifact_format="npz",
                artifact_bytes=7,
                recipe="tiny:recipe",
            )
            project.registry.register(new, by="tests", why="by hand")
        project.registry.promote(name, 1, expected=None, by="tests", why="by hand")
        project.watch(name, policy, reference=reference)
    return project


def trained(
    home: Path,
    *,
    recipe: str = "tiny:recipe",
    policy: Policy = POLICY,
    clock: Clock | None = None,
    executor: Executor | None = None,
    labels: bool = True,
) -> Project:
    """Return an open project with version 1 trained, promoted and watched, and fresh labels waiting."""
    project = Project.create(settings=settings(home), clock=clock, executor=executor or LocalExecutor(1))
    project.train(MODEL, "tiny:recipe", tiny.rows(1, 0, 120), policy=policy)
    project.work()
    project.promote(MODEL, 1, expected=None, why="the first version")
    project.watch(MODEL, policy, recipe=recipe)
    if labels:
        add_labels(home)
    return project


def add_labels(home: Path, *, start: int = 1000, count: int = 200, shifted: bool = True) -> None:
    """Put labelled rows of the new world where the recipe's source looks."""
    times = [EVENT_AT + timedelta(days=1, seconds=at) for at in range(count)]
    ParquetSource(home / "labels").append(tiny.rows(1, start, count, shifted=shifted, times=times))


def bad_events(count: int = 4, *, version: int = 1, start: int = 0) -> list[MetricsEvent]:
    """Return events of a model that is always wrong."""
    return [
        MetricsEvent(
            id=f"bad-{version}-{start + at}",
            model=MODEL,
            version=version,
            metric="error",
            values=[1.0] * 10,
            at=EVENT_AT + timedelta(minutes=start + at),
        )
        for at in range(count)
    ]


def good_events(count: int = 4, *, version: int = 1, start: int = 0) -> list[MetricsEvent]:
    """Return events of a model that is always right."""
    return [
        MetricsEvent(
            id=f"good-{version}-{start + at}",
            model=MODEL,
            version=version,
            metric="error",
            values=[0.0] * 10,
            at=EVENT_AT + timedelta(minutes=start + at),
        )
        for at in range(count)
    ]


def send(project: Project, *values: list[float], model: str = MODEL, version: int = 1, metric: str = "error") -> int:
    """Send each list of values as an event, a minute apart on a simulated clock; return how many alarms there were."""
    count = 0
    for one in values:
        project.clock.sleep(60)
        at = project.clock.now()
        name = f"{model}-{at.isoformat()}"
        event = MetricsEvent(id=name, model=model, version=version, metric=metric, values=one, at=at)
        (receipt,) = project.monitor.ingest(event)
        count += sum(alarm.level == "alarm" for alarm in receipt.verdicts)
    return count
