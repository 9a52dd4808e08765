"""A policy that acts on harm: what a rise of a label-free metric means, and what the loop does about it."""

import msgspec
import numpy as np
import pytest
import scenario
import tiny
import unsure
from scenario import EVENT_AT, MODEL, POLICY, add_labels, settings
from sqlalchemy import select

from visutility.core.clock import SimulatedClock
from visutility.core.codec import loads
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.core.wire import MetricsEvent
from visutility.execute import LocalExecutor
from visutility.loop import Policy, Project, Watch
from visutility.loop.policy import LOOKS, Normal, Situation, decide, looks, read_policy, weigh_alarm, weigh_since
from visutility.monitor import HarmKind
from visutility.store.schema import audit_event, retrain_trigger, run, verdict, watch

pytestmark = pytest.mark.slow

TOLERANCE = 0.05


def uncertain(count, mean, *names):
    """Values like 1 - the largest softmax score: the mean as asked, a standard deviation of about .2."""
    return rng(0, "tolerance", *names).beta(4 * mean, 4 * (1 - mean), count)


NORMAL = Normal.of(uncertain(1000, 0.2, "reference"))


# -- what a rise means -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_share_is_refused_with_the_rule(tolerance):
    with pytest.raises(InvalidSetting, match=rf"tolerance is {tolerance!r}, not in \[0, 1\]") as caught:
        Watch(tolerance=tolerance)
    assert "such as 0.05" in caught.value.hint
    with pytest.raises(Invalid, match="tolerance is"):
        read_policy({"watches": [{"tolerance": tolerance}]})


def test_a_tolerance_is_about_a_rise():
    with pytest.raises(InvalidSetting, match="'fall'"):
        Watch(settings={"direction": "fall"}, tolerance=0.1)
    assert Watch(settings={"direction": "fall"}).tolerance is None
    assert (Watch(tolerance=0.0).tolerance, Watch(tolerance=1.0).tolerance) == (0.0, 1.0)


def test_an_alarm_beyond_doubt_is_harm_at_once_and_a_small_rise_is_benign():
    healthy = uncertain(2000, 0.2, "healthy")
    large = np.concatenate([healthy, uncertain(30, 0.6, "large")])
    harm = weigh_alarm("uncertainty", large, NORMAL, TOLERANCE)
    assert (harm.kind, harm.starts_retrain, harm.tolerance) == (HarmKind.PROBABLE, True, TOLERANCE)
    assert "uncertainty rose by" in harm.words
    assert "beyond the tolerance of 0.05" in harm.words
    small = np.concatenate([healthy, uncertain(4096, 0.216, "small")])
    assert weigh_alarm("uncertainty", small, NORMAL, TOLERANCE).kind is HarmKind.BENIGN


def test_what_is_not_beyond_doubt_waits_and_the_values_since_decide():
    rise = uncertain(8192, 0.32, "rise")
    first = weigh_alarm("uncertainty", rise[:50], NORMAL, TOLERANCE)
    assert first.kind is HarmKind.UNKNOWN
    assert "with the tolerance of 0.05 inside" in first.words
    assert weigh_since("uncertainty", rise[50:1074], NORMAL, TOLERANCE, last=False).kind is HarmKind.PROBABLE


@pytest.mark.parametrize(("mean", "kind"), [(0.23, HarmKind.BENIGN), (0.27, HarmKind.PROBABLE)])
def test_in_the_end_the_mean_decides(mean, kind):
    values = uncertain(4096, mean, "end", str(mean))
    few = Normal.of(uncertain(150, 0.2, "few"))
    assert weigh_since("uncertainty", values, few, TOLERANCE, last=False).kind is HarmKind.UNKNOWN
    assert weigh_since("uncertainty", values, few, TOLERANCE, last=True).kind is kind


def test_the_interval_respects_the_sizes_of_both_windows():
    """A rise of .1 is beyond a tolerance of .05 for long windows, and not known for a short one of either."""
    long, short = uncertain(4096, 0.3, "long"), uncertain(64, 0.3, "short")
    assert weigh_since("u", long, NORMAL, TOLERANCE, last=False).kind is HarmKind.PROBABLE
    assert weigh_since("u", short, NORMAL, TOLERANCE, last=False).kind is HarmKind.UNKNOWN
    few = Normal.of(uncertain(40, 0.2, "forty"))
    assert weigh_since("u", long, few, TOLERANCE, last=False).kind is HarmKind.UNKNOWN


def test_a_lucky_stretch_is_not_called_harm():
    """The worst of 300 stretches of an unchanged stream, chosen as an alarm would choose it, is no sure harm."""
    values = uncertain(30_000, 0.2, "unchanged")
    ends = range(100, 30_001, 100)
    worst = max(ends, key=lambda end: values[end - 32 : end].mean())
    assert values[worst - 32 : worst].mean() > 0.2 + TOLERANCE
    assert weigh_alarm("u", values[max(worst - 4096, 0) : worst], NORMAL, TOLERANCE).kind is not HarmKind.PROBABLE


@pytest.mark.parametrize(("rows", "patience"), [(10, 64), (150, 1024), (1000, 4096), (9999, 4096)])
def test_every_alarm_is_looked_at_each_time_the_values_since_have_doubled_up_to_a_last_time(rows, patience):
    normal = Normal(rows=rows, mean=0.2, mean_low=0.1, mean_high=0.3)
    assert normal.patience == patience
    seen = [now for now in range(1, 6000) if looks(normal, now - 1, now)]
    assert seen == [look for look in LOOKS if look <= patience]
    assert looks(normal, 10, patience + 100)


def test_decide_waits_refuses_and_runs_by_what_the_change_means():
    quiet = Situation(EVENT_AT, None, None, 0)
    judged = {
        kind: decide(Policy(), Situation(EVENT_AT, None, None, 0, harm))
        for kind, harm in (
            ("wait", weigh_since("u", uncertain(16, 0.28, "16"), NORMAL, TOLERANCE, last=False)),
            ("refuse", weigh_since("u", uncertain(4096, 0.21, "4096"), NORMAL, TOLERANCE, last=False)),
            ("run", weigh_since("u", uncertain(200, 0.5, "200"), NORMAL, TOLERANCE, last=False)),
        )
    }
    assert {kind: decision.kind for kind, decision in judged.items()} == {one: one for one in judged}
    for kind, words in (("wait", "not enough data yet"), ("refuse", "data changed (benign)"), ("run", "probable harm")):
        assert judged[kind].reason.startswith(f"{words}: u rose by")
    assert decide(Policy(), quiet).reason.startswith("an alarm, no run at work")


# -- through the monitor and the automatic retrainer -----------------------------------------------------------------


def watched(home, *watches, reference, clock=None, **rules):
    """An open project whose model is watched in this way."""
    return scenario.watched(home, clock=clock, policy=Policy(watches=watches, **rules), reference=reference)


def send(project, values, *, metric="uncertainty", version=1, size=50, name=""):
    """Send values as events of `size`; stop once a run was started. Returns how many were sent."""
    for at in range(0, len(values), size):
        event = MetricsEvent(
            id=f"{name}-{version}-{at}",
            model=MODEL,
            version=version,
            metric=metric,
            values=[float(value) for value in values[at : at + size]],
            at=EVENT_AT,
        )
        project.monitor.ingest(event)
        if rows(project, select(run.c.id)):
            return at + size
    return len(values)


def rows(project, statement):
    with project.store.read() as connection:
        return connection.execute(statement).all()


def decisions(project):
    found = rows(project, select(retrain_trigger.c.decision, retrain_trigger.c.reason).order_by(retrain_trigger.c.id))
    return [(row.decision, row.reason) for row in found]


def uncertainty(detector, tolerance=TOLERANCE, **more):
    return Watch(metric="uncertainty", detector=detector, settings=more, tolerance=tolerance)


# A lower arl makes the detectors alarm at changes as small as these within a test's patience.
@pytest.mark.parametrize("detector", ["auto", "ranks"])
def test_a_benign_change_starts_nothing_and_the_harm_that_follows_does(tmp_path, detector):
    reference = uncertain(1000, 0.2, "reference")
    with watched(tmp_path, uncertainty(detector, arl=1e3), reference=reference) as project:
        send(project, uncertain(1000, 0.2, "before"), name="before")
        mild = uncertain(6000, 0.225, "mild")
        assert send(project, mild, name="mild", size=250) == len(mild)
        told = decisions(project)
        assert told
        assert all(kind == "refuse" and words.startswith("data changed (benign): ") for kind, words in told)
        assert not rows(project, select(run.c.id))
        fog = uncertain(1000, 0.5, "fog")
        assert send(project, fog, name="fog") <= 100
        (words,) = [words for kind, words in decisions(project) if kind == "run"]
        assert words.startswith("probable harm: uncertainty rose by 0.")
        assert rows(project, select(run.c.trigger_id))


@pytest.mark.parametrize("detector", ["auto", "ranks"])
def test_without_a_tolerance_the_same_benign_change_starts_a_run(tmp_path, detector):
    reference = uncertain(1000, 0.2, "reference")
    with watched(tmp_path, uncertainty(detector, None, arl=1e3), reference=reference) as project:
        send(project, uncertain(1000, 0.2, "before"), name="before")
        send(project, uncertain(6000, 0.225, "mild"), name="mild", size=250)
        assert decisions(project)[0][0] == "run"
        assert "tolerance" not in loads(rows(project, select(watch.c.reference))[0].reference)


def test_a_refusal_uses_no_budget_and_no_cooldown(tmp_path):
    reference = uncertain(1000, 0.2, "reference")
    rules = {"budget_runs": 1, "cooldown": 1e6}
    with watched(tmp_path, uncertainty("ranks", arl=1e3), reference=reference, **rules) as project:
        send(project, uncertain(1000, 0.2, "before"), name="before")
        send(project, uncertain(6000, 0.225, "mild"), name="mild", size=250)
        assert {kind for kind, _ in decisions(project)} == {"refuse"}
        send(project, uncertain(1000, 0.5, "fog"), name="fog")
        assert [kind for kind, _ in decisions(project)].count("run") == 1
        entries = rows(project, select(audit_event.c.kind).where(audit_event.c.kind.like("trigger.%")))
        assert {row.kind for row in entries} >= {"trigger.refuse", "trigger.run"}


def test_an_alarm_that_cannot_be_judged_waits_for_the_values_after_it(tmp_path):
    """A rise to twice the tolerance: the alarm comes first, the run when the values since leave no doubt."""
    reference = uncertain(1000, 0.2, "reference")
    with watched(tmp_path, uncertainty("glr"), reference=reference) as project:
        send(project, uncertain(1000, 0.2, "before"), name="before")
        send(project, uncertain(4200, 0.3, "rise"), name="rise", size=10)
        waits = rows(project, select(audit_event.c.why).where(audit_event.c.kind == "trigger.wait"))
        assert waits
        assert waits[0].why.startswith("not enough data yet: uncertainty rose by")
        runs = [words for kind, words in decisions(project) if kind == "run"]
        assert len(runs) == 1
        assert runs[0].startswith("probable harm")
        # each alarm is decided once, or still waits
        alarms = rows(project, select(verdict.c.id).where(verdict.c.level == "alarm"))
        decided = rows(project, select(retrain_trigger.c.verdict_id))
        assert {row.verdict_id for row in decided} <= {row.id for row in alarms}


@pytest.mark.parametrize("size", [20, 50, 3000])
def test_how_values_are_cut_into_events_keeps_no_alarm_waiting_for_ever(tmp_path, size):
    """Large errors of another version between them neither count nor keep an alarm from its last look."""
    reference = uncertain(40, 0.2, "forty")
    policy = uncertainty("glr", arl=1e3)
    with watched(tmp_path, policy, reference=reference, mode="suggest") as project:
        send(project, uncertain(200, 0.2, "before"), name="before", size=size)
        rise = uncertain(2000, 0.34, "rise")
        for at in range(0, 1000, 250):
            send(project, rise[at : at + 250], name=f"rise{at}", size=size)
            send(project, [1.0] * 250, name=f"other{at}", version=2, size=size)
        alarms = rows(project, select(verdict.c.position).where(verdict.c.level == "alarm"))
        assert alarms
        patience = Normal.of(reference).patience
        decided = [row for row in alarms if row.position < 200 + 2000 - 250 - patience]
        assert len(decisions(project)) >= len(decided) > 0


def test_a_crash_while_an_alarm_waits_loses_nothing(tmp_path):
    """What waits is in the database: another process goes on with it, and a transaction that fails leaves no trace."""

    class Fails:
        def decide(self, tx, alarm):
            pass

        def review(self, tx, seen):
            raise RuntimeError("killed")

    reference = uncertain(1000, 0.2, "reference")
    watch_it = uncertainty("glr")
    rise = uncertain(4200, 0.28, "crash")
    with watched(tmp_path / "a", watch_it, reference=reference) as whole:
        send(whole, rise, name="rise")
        expected = decisions(whole)
    with watched(tmp_path / "b", watch_it, reference=reference) as first:
        for at in range(0, 300, 50):
            send_one(first, at, rise[at : at + 50])
        assert not decisions(first)
        assert rows(first, select(verdict.c.id).where(verdict.c.level == "alarm"))
        first.monitor.subscribe(Fails())
        with pytest.raises(RuntimeError, match="killed"):
            send_one(first, 300, rise[300:350])
    with Project.open(settings=settings(tmp_path / "b"), clock=SimulatedClock(EVENT_AT)) as second:
        send(second, rise, name="rise")  # what was accepted is acknowledged again and counts once
        assert decisions(second) == expected
        assert any(kind == "run" for kind, _ in expected)


def send_one(project, at, values):
    project.monitor.ingest(
        MetricsEvent(
            id=f"rise-1-{at}",
            model=MODEL,
            version=1,
            metric="uncertainty",
            values=[float(value) for value in values],
            at=EVENT_AT,
        )
    )


def test_values_before_the_watch_do_not_count(tmp_path):
    """Bad values under an earlier watch of the same version are not the new watch's."""
    reference = uncertain(1000, 0.2, "reference")
    quiet = uncertainty("eprocess", low=0.0, high=1.0)
    with watched(tmp_path, quiet, reference=reference, mode="suggest") as project:
        send(project, uncertain(500, 0.7, "bad"), name="bad")
        told = len(decisions(project))
        assert told
        project.watch(
            MODEL, Policy(watches=(quiet,), mode="suggest", cooldown=0), reference=uncertain(1000, 0.7, "new")
        )
        assert (
            loads(rows(project, select(watch.c.reference).where(watch.c.status == "active"))[0].reference)["start"]
            == 500
        )
        send(project, uncertain(500, 0.7, "same"), name="same")
        assert len(decisions(project)) == told


def test_a_reference_outside_the_range_is_refused_for_a_tolerance_alone(tmp_path):
    with watched(tmp_path, uncertainty("glr", None), reference=uncertain(100, 0.2, "r") * 3) as project:
        with pytest.raises(InvalidObservation, match="reference window"):
            project.watch(MODEL, Policy(watches=(uncertainty("glr"),)), reference=uncertain(100, 0.2, "r") * 30)
        assert len(project.records.watches(MODEL)) == 1


def test_another_tolerance_is_another_watch_when_a_version_comes_back(tmp_path):
    reference = uncertain(200, 0.2, "reference")
    with watched(tmp_path, uncertainty("glr"), reference=reference) as project:
        project.promote(MODEL, 2, expected=1, why="by hand")
        project.watch(MODEL, Policy(watches=(uncertainty("glr", 0.2),)), reference=reference)
        project.rollback(MODEL, why="back")
        # the watch of version 1 had another tolerance: it is not resumed, and without gate rows there is no new one
        assert [one.version for one in project.records.watches(MODEL)] != [1]


# -- every detector through the loop ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "detector", "more"),
    [
        ("error", "auto", {}),
        ("error", "dependent", {}),
        ("error", "eprocess", {"low": 0.0, "high": 1.0}),
        ("error", "e-detector", {"arl": 1e6}),
        ("error", "glr", {}),
        ("error", "adwin", {}),
        ("error", "page_hinkley", {}),
        ("error", "cusum", {}),
        ("error", "rolling", {}),
        ("uncertainty", "auto", {}),
        ("uncertainty", "ranks", {}),
        ("uncertainty", "eprocess", {"low": 0.0, "high": 1.0}),
        ("uncertainty", "e-detector", {"arl": 1e6}),
        ("uncertainty", "glr", {}),
        ("uncertainty", "seasonal", {"period": 2, "phases": 2}),
        ("uncertainty", "adwin", {}),
        ("uncertainty", "page_hinkley", {}),
        ("uncertainty", "cusum", {}),
        ("uncertainty", "rolling", {}),
    ],
)
@pytest.mark.parametrize("tolerance", [None, TOLERANCE])
def test_each_detector_alarms_and_starts_one_run_through_the_loop(tmp_path, metric, detector, more, tolerance):
    def draw(count, mean, name):
        values = uncertain(count, mean, name)
        return values if metric == "uncertainty" else (rng(1, name).random(count) < mean).astype(float)

    one = Watch(metric=metric, detector=detector, settings=more, tolerance=tolerance)
    with watched(tmp_path, one, reference=draw(600, 0.1, "reference")) as project:
        healthy = draw(600, 0.1, "healthy")
        assert send(project, healthy, metric=metric, name="healthy") == len(healthy)
        assert not decisions(project)
        kept = loads(rows(project, select(watch.c.reference))[0].reference)
        assert kept["rows"] == 600
        assert kept["mean"] == pytest.approx(draw(600, 0.1, "reference").mean())
        assert send(project, draw(600, 0.6, "bad"), metric=metric, name="bad") < 600
        assert [kind for kind, _ in decisions(project)].count("run") == 1
        assert len(rows(project, select(run.c.id))) == 1


# -- the whole loop without labels in its alarms ---------------------------------------------------------------------


def test_a_label_free_watch_goes_round_the_whole_loop(tmp_path):
    """The reference is the uncertainty on the gate rows, after the promotion too."""
    one = Watch(metric="uncertainty", detector="ranks", settings={"arl": 1e3}, tolerance=TOLERANCE)
    policy = msgspec.structs.replace(POLICY, watches=(one,))
    with Project.create(settings=settings(tmp_path), executor=LocalExecutor(1)) as project:
        project.train(MODEL, "unsure:recipe", tiny.rows(1, 0, 600), policy=policy)
        project.work()
        project.promote(MODEL, 1, expected=None, why="the first version")
        project.watch(MODEL, policy)
        add_labels(tmp_path)
        _, model = project.load(f"{MODEL}:1")

        def unsure_of(data):
            return unsure.uncertainty(model, data)

        usual = unsure_of(tiny.rows(1, 5000, 300))
        (kept,) = project.records.watches(MODEL)
        assert kept.learnt["mean"] == pytest.approx(usual.mean(), abs=0.03)
        send(project, usual, name="usual")
        assert not decisions(project)
        send(project, unsure_of(tiny.rows(1, 6000, 300, shifted=True)), name="shifted")
        assert [kind for kind, _ in decisions(project)].count("run") == 1
        project.work()
        assert project.champion(MODEL) == 2
        _, model = project.load(f"{MODEL}:2")
        (kept,) = project.records.watches(MODEL)
        assert kept.version == 2
        assert kept.learnt["mean"] == pytest.approx(unsure_of(tiny.rows(1, 7000, 300, shifted=True)).mean(), abs=0.05)
        assert kept.learnt["tolerance"] == TOLERANCE


def test_values_of_another_version_use_up_no_patience(tmp_path):
    reference = uncertain(1000, 0.2, "reference")
    with watched(tmp_path, uncertainty("glr", arl=1e3), reference=reference) as project:
        send(project, uncertain(1000, 0.2, "before"), name="before")
        rise = uncertain(4000, 0.25, "r")
        for at in range(0, len(rise), 10):
            send(project, rise[at : at + 10], name=f"r{at}", size=10)
            if rows(project, select(verdict.c.id).where(verdict.c.level == "alarm")):
                break
        before = decisions(project)
        send(project, [0.2] * 5000, name="other", version=2, size=5000)
        send(project, [0.9], name="one")
        assert decisions(project) == before


@pytest.mark.parametrize("tolerance", ["0.05", True])
def test_a_tolerance_is_a_number(tolerance):
    with pytest.raises(InvalidSetting, match="tolerance is"):
        Watch(tolerance=tolerance)
