"""Retraining, whole: every mode, every answer, and what each leaves behind. Real workers, a tiny real problem."""

import msgspec
import pytest
from scenario import MODEL, POLICY, add_labels, bad_events, good_events, trained
from sqlalchemy import select

from visutility.core.clock import SimulatedClock
from visutility.core.errors import AliasMoved, BlobNotFound, Conflict, Invalid
from visutility.execute import LocalExecutor
from visutility.flow import runs
from visutility.loop import Watch
from visutility.registry import broken
from visutility.store import audit
from visutility.store.schema import retrain_trigger, study, trial, watch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(1) as shared:
        yield shared


class Kept:
    """The shared executor, which a project's end must not close."""

    def __init__(self, executor):
        self._executor = executor

    def __getattr__(self, name):
        return getattr(self._executor, name)

    def close(self):
        pass


@pytest.fixture
def begin(tmp_path, executor):
    opened = []

    def make(**settings):
        clock = SimulatedClock()
        project = trained(tmp_path / f"p{len(opened)}", clock=clock, executor=Kept(executor), **settings)
        opened.append(project)
        return project

    yield make
    for project in opened:
        project.close()


def only_run(project):
    with project.store.read() as connection:
        return runs.list_runs(connection, workflow="retrain")[0]


def degrade(project):
    project.monitor.ingest(*bad_events())
    project.work()
    return only_run(project)


def test_a_degraded_model_comes_back_and_why_explains_it(begin):
    project = begin()
    run = degrade(project)
    assert run.outcome["promoted"] is True
    version = project.registry.get(f"{MODEL}@champion")
    assert version.number == 2
    assert version.parent_id == project.registry.get(f"{MODEL}:1").id
    links = project.registry.why(f"{MODEL}@champion")
    kinds = ["metrics", "alarm", "trigger", "run", "study", "trial", "data", "version", "gate", "promotion"]
    assert [link.kind for link in links] == kinds
    assert broken(links) == []
    sample = project.metrics.registry.get_sample_value
    assert sample("visutility_runs_total", {"workflow": "retrain", "status": "done"}) == 1
    assert sample("visutility_trials_total", {"state": "complete"}) == 2 * POLICY.trials
    assert sample("visutility_gates_total", {"model": MODEL, "answer": "pass"}) == 1
    assert sample("visutility_champion_version", {"model": MODEL}) == 2
    report = project.records.gate_reports(MODEL)[0]
    assert report.evidence["metrics"]["gate.champion"]["accuracy"] == 0.0
    assert report.evidence["metrics"]["gate.challenger"]["accuracy"] > 0.9
    with project.store.read() as connection:
        assert audit.verify(connection) == []


def test_the_study_starts_from_the_champion_and_learns_from_the_first_study(begin):
    project = begin()
    degrade(project)
    champion = project.registry.get(f"{MODEL}:1")
    version = project.registry.get(f"{MODEL}:2")
    with project.store.read() as connection:
        first = connection.execute(select(trial).where(trial.c.study_id == version.study_id, trial.c.number == 0)).one()
        warm = connection.execute(select(study.c.warm_start).where(study.c.id == version.study_id)).scalar_one()
    assert first.origin == "enqueued"
    assert msgspec.json.decode(first.params) == champion.params
    assert champion.study_id in warm


def test_gate_rows_reach_neither_fit_nor_study_and_stay_gate_rows_for_ever(begin):
    project = begin()
    degrade(project)
    ids = {}
    for number in (1, 2):
        version = project.registry.get(f"{MODEL}:{number}")
        for part in ("train", "tune", "gate") + (("old",) if number == 2 else ()):
            ids[number, part] = set(project.records.rows(version, part).ids)
    for number in (1, 2):
        assert not ids[number, "gate"] & (ids[number, "train"] | ids[number, "tune"])
    assert ids[2, "old"] == ids[1, "gate"]
    assert not ids[2, "old"] & (ids[2, "train"] | ids[2, "tune"])
    assert ids[1, "train"] <= ids[2, "train"]


def test_the_new_champion_is_watched_against_its_own_gate_rows(begin):
    project = begin()
    degrade(project)
    watched = project.records.watches(MODEL)
    assert [(one.version, one.learnt["rows"]) for one in watched] == [(2, POLICY.gate_rows)]
    assert all(not receipt.verdicts for receipt in project.monitor.ingest(*good_events(3, version=2)))


def test_old_labels_do_not_count_and_the_run_waits(begin):
    project = begin(labels=False)
    add_labels(project.settings.home, count=20)
    run = degrade(project)
    assert run.status == "waiting"
    assert run.waiting_for == "40 training and 40 gate labels"
    add_labels(project.settings.home, start=2000)
    project.clock.sleep(1)
    project.work()
    assert project.champion(MODEL) == 2


def test_a_challenger_the_gate_refuses_stays_registered_and_changes_nothing(begin):
    project = begin(recipe="tiny:broken")
    run = degrade(project)
    assert run.outcome["gate"] == "refuse"
    assert run.outcome["promoted"] is False
    assert project.champion(MODEL) == 1
    assert project.registry.aliases(MODEL) == {"champion": 1, "challenger": 2}
    assert [one.version for one in project.records.watches(MODEL)] == [1]


def test_asking_waits_for_a_person_and_takes_no_for_an_answer(begin):
    project = begin(policy=msgspec.structs.replace(POLICY, mode="ask"))
    run = degrade(project)
    assert run.status == "waiting"
    assert project.champion(MODEL) == 1
    with project.store.write("test.answer") as tx:
        runs.answer(tx, run.id, "promote", "no", by="anna", why="I know this camera")
    project.work()
    assert only_run(project).outcome == {
        "version": 2, "gate": "pass", "promoted": False, "reason": "a person said no"
    }  # fmt: skip
    assert project.champion(MODEL) == 1


def test_asking_promotes_on_yes(begin):
    project = begin(policy=msgspec.structs.replace(POLICY, mode="ask"))
    run = degrade(project)
    with project.store.write("test.answer") as tx:
        runs.answer(tx, run.id, "promote", "yes", by="anna", why="looks right")
    project.work()
    assert project.champion(MODEL) == 2


def test_a_promotion_that_somebody_overtook_does_nothing(begin):
    project = begin(policy=msgspec.structs.replace(POLICY, mode="ask"))
    run = degrade(project)
    project.promote(MODEL, 2, expected=1, why="I could not wait")
    project.promote(MODEL, 1, expected=2, why="I should have")
    project.promote(MODEL, 2, expected=1, why="or not")
    with project.store.write("test.answer") as tx:
        runs.answer(tx, run.id, "promote", "yes", by="anna", why="late")
    project.work()
    outcome = only_run(project).outcome
    assert outcome["promoted"] is False
    assert "was moved while this run was at work" in outcome["reason"]
    assert [move.kind for move in project.registry.history(MODEL)] == ["promote"] * 4


def test_a_promotion_undone_meanwhile_is_not_done_again_by_an_old_yes(begin):
    project = begin(policy=msgspec.structs.replace(POLICY, mode="ask"))
    run = degrade(project)
    project.promote(MODEL, 2, expected=1, why="I could not wait")
    project.rollback(MODEL, why="it broke everything")
    with project.store.write("test.answer") as tx:
        runs.answer(tx, run.id, "promote", "yes", by="anna", why="late")
    project.work()
    assert only_run(project).outcome["promoted"] is False
    assert project.champion(MODEL) == 1


def test_another_policy_lets_no_gate_row_into_training(begin):
    project = begin()
    degrade(project)
    wider = msgspec.structs.replace(POLICY, train_rows=20, gate_rows=60)
    project.watch(MODEL, wider)
    add_labels(project.settings.home, start=5000, count=300)
    project.retrain(MODEL, why="another policy")
    project.work()
    assert only_run(project).status == "done"
    gate, work = set(), set()
    for number in (1, 2, 3):
        version = project.registry.get(f"{MODEL}:{number}")
        gate |= set(project.records.rows(version, "gate").ids)
        work |= {row for part in ("train", "tune") for row in project.records.rows(version, part).ids}
    assert not gate & work


def test_a_retraining_by_hand_takes_rows_the_champion_has_not_seen(begin):
    project = begin()
    degrade(project)
    project.retrain(MODEL, why="again")
    project.work()
    assert only_run(project).waiting_for == "40 training and 40 gate labels"
    add_labels(project.settings.home, start=5000)
    project.clock.sleep(1)
    project.work()
    before, after = (project.registry.get(f"{MODEL}:{number}") for number in (2, 3))
    known = {row for part in ("train", "tune", "gate", "old") for row in project.records.rows(before, part).ids}
    assert not known & set(project.records.rows(after, "gate").ids)


def test_a_champion_with_missing_bytes_is_never_promoted_or_rolled_back_to(begin):
    project = begin()
    degrade(project)
    first = project.blobs.path(project.registry.get(f"{MODEL}:1").artifact_sha256)
    first.unlink()
    with pytest.raises(BlobNotFound):
        project.rollback(MODEL, why="customers complain")
    with pytest.raises(BlobNotFound):
        project.promote(MODEL, 1, expected=2, why="customers complain")
    assert project.champion(MODEL) == 2


def test_a_rollback_to_a_version_nobody_watched_watches_it(begin):
    project = begin()
    project.retrain(MODEL, why="to have a second version")
    project.work()
    project.promote(MODEL, 1, expected=project.champion(MODEL), why="back")
    with project.store.write("test.forget") as tx:
        tx.execute(watch.delete())
    project.promote(MODEL, 2, expected=1, why="forward")
    assert [one.version for one in project.records.watches(MODEL)] == [2]
    project.rollback(MODEL, why="back again")
    assert [one.version for one in project.records.watches(MODEL)] == [1]


def test_watches_of_a_policy_that_was_replaced_do_not_come_back(begin):
    project = begin()
    degrade(project)
    other = Watch(metric="error", detector="rolling", settings={"window": 20})
    project.watch(MODEL, msgspec.structs.replace(POLICY, watches=(other,)))
    project.rollback(MODEL, why="customers complain")
    assert [(one.version, one.detector) for one in project.records.watches(MODEL)] == [(1, "rolling")]


def test_rollback_brings_the_old_version_and_its_watch_back(begin):
    project = begin()
    degrade(project)
    assert project.rollback(MODEL, why="customers complain").number == 1
    assert [one.version for one in project.records.watches(MODEL)] == [1]
    with pytest.raises(AliasMoved):
        project.rollback(MODEL, why="again, from an old screen", expected=2)


def test_a_person_can_ask_for_a_retraining_but_not_for_two_at_once(begin):
    project = begin()
    project.retrain(MODEL, why="new cameras arrive")
    with pytest.raises(Conflict, match="is at work"):
        project.retrain(MODEL, why="impatience")
    project.work()
    run = only_run(project)
    assert run.status == "done"
    assert project.registry.get(f"{MODEL}:2").parent_id is not None
    with project.store.read() as connection:
        made = connection.execute(select(retrain_trigger)).one()
    assert (made.verdict_id, made.created_by, made.reason) == (None, "tests", "new cameras arrive")


def test_without_a_policy_there_is_nothing_to_retrain_by(begin, tmp_path):
    project = begin()
    project.registry.create_model("other", "classification", by="tests")
    with pytest.raises(Invalid, match="has no policy"):
        project.retrain("other", why="why not")


def test_a_cancelled_run_touches_nothing(begin):
    project = begin(labels=False)
    run = degrade(project)
    assert run.status == "waiting"
    with project.store.write("test.cancel") as tx:
        runs.cancel(tx, run.id, by="anna", why="maintenance")
    project.work()
    assert only_run(project).status == "cancelled"
    assert [version.number for version in project.registry.versions(MODEL)] == [1]


def test_the_same_seed_tunes_the_same_trials(begin):
    found = []
    for _ in range(2):
        project = begin()
        degrade(project)
        found.append([project.records.trials(project.registry.get(f"{MODEL}:{number}")) for number in (1, 2)])
    assert found[0] == found[1]


SCORE = msgspec.structs.replace(POLICY, watches=(Watch(metric="score", detector="ranks", settings={}),))
WINDOW = [at / 100 for at in range(100)]


@pytest.mark.parametrize("how", ["retrained", "by hand"])
def test_nobody_takes_the_loss_for_a_metric_whose_window_a_person_gave(begin, how):
    """The recipe knows no score: the next version's window of it has to be given, too."""
    project = begin()
    if how == "by hand":
        degrade(project)
        project.rollback(MODEL, why="once more")
    project.watch(MODEL, SCORE, reference=WINDOW)
    if how == "retrained":
        project.retrain(MODEL, why="a person wants it")
        project.work()
        assert (
            only_run(project)
            .outcome["reason"]
            .endswith(f"; {MODEL}:2 is not watched: its watch wants a reference window")
        )
    else:
        project.promote(MODEL, 2, expected=1, why="a person wants it")
    assert project.champion(MODEL) == 2
    assert [one.version for one in project.records.watches(MODEL)] == []
    with project.store.read() as connection:
        (missing,) = audit.events(connection, kind="watch.missing")
        assert audit.verify(connection) == []
    assert missing.subject == f"{MODEL}:2"
    assert missing.why == "the window of score was given by hand, and the recipe has no such signal: watch it anew"
    project.watch(MODEL, SCORE, reference=WINDOW)
    assert [one.version for one in project.records.watches(MODEL)] == [2]
    project.rollback(MODEL, why="the one before, as it was watched")
    assert [one.version for one in project.records.watches(MODEL)] == [1]


def test_a_window_of_errors_that_a_person_gave_holds_until_the_next_promotion(begin):
    project = begin()
    project.watch(MODEL, POLICY, reference=[0.0] * 95 + [1.0] * 5)
    degrade(project)
    assert [(one.version, one.learnt["rows"]) for one in project.records.watches(MODEL)] == [(2, POLICY.gate_rows)]
