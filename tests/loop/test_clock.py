"""A watch that goes by the clock: the detector is given the time of each event."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from scenario import MODEL, settings
from sqlalchemy import select

from visutility.core.clock import SimulatedClock
from visutility.core.codec import loads
from visutility.core.rng import rng
from visutility.core.wire import MetricsEvent
from visutility.loop import Policy, Project, Watch
from visutility.registry import NewVersion
from visutility.store.schema import audit_event, watch

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 16, tzinfo=BERLIN)  # summer time begins on the 29th, the 14th of these days
SEASON = {"season": "day", "phases": 4, "zone": "Europe/Berlin", "learning": 128}


@pytest.fixture
def project(tmp_path):
    with Project.create(settings=settings(tmp_path), clock=SimulatedClock(START)) as project:
        project.registry.create_model(MODEL, "classification", by="tests")
        new = NewVersion(
            model=MODEL,
            artifact_sha256=project.blobs.put(b"bytes"),
            artifact_format="npz",
            artifact_bytes=5,
            recipe="tiny:recipe",
        )
        project.registry.register(new, by="tests", why="by hand")
        project.registry.promote(MODEL, 1, expected=None, by="tests", why="by hand")
        policy = Policy(mode="suggest", watches=(Watch(metric="loss", detector="seasonal", settings=SEASON),))
        project.watch(MODEL, policy, reference=rng(0, "clock", "reference").beta(4.0, 16.0, 200))
        yield project


def day(number, by_night=0.1):
    """Events of 24 hours: losses of mean .1 by night, which may be worse, and .4 from 12 to 18 o'clock."""
    means = [by_night] * 6 + [0.2] * 6 + [0.4] * 6 + [0.3] * 6
    events = []
    for hour, mean in enumerate(means):
        at = (START + timedelta(days=number)).replace(hour=hour, minute=59)
        values = rng(1, "clock", number, hour).beta(20 * mean, 20 * (1 - mean), 10)
        name = f"day {number} hour {hour}"
        events.append(MetricsEvent(id=name, model=MODEL, version=1, metric="loss", values=values.tolist(), at=at))
    return events


def alarms(receipts):
    return [one for receipt in receipts for one in receipt.verdicts if one.level == "alarm"]


@pytest.mark.slow
def test_a_daily_wave_is_normal_and_a_worse_night_is_not(project):
    for number in range(20):
        assert alarms(project.monitor.ingest(*day(number))) == []
    found = alarms(project.monitor.ingest(*day(20, by_night=0.2)))  # less than there is on any afternoon
    assert found[0].evidence["phase"] == 0
    assert 20 * 240 <= found[0].position < 20 * 240 + 60


def test_a_reference_window_without_times_is_not_learnt_from_and_the_promise_says_so(project):
    project.monitor.ingest(*day(0))
    with project.store.read() as connection:
        row = connection.execute(select(watch)).one()
        told = connection.execute(select(audit_event.c.after).where(audit_event.c.kind == "watch.started")).scalar()
    assert loads(row.reference)["baseline_size"] == 0
    assert row.position == 240
    assert "200 values without times, nothing is learnt" in loads(told)["promise"]
