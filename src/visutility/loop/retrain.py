"""The durable runs: `train` makes a model's first version, `retrain` its next one after a trigger.

    settle -> snapshot -> study -> tune -> train -> register -> evaluate -> judge -> (ask) -> promote

Steps that write to our database commit with their own record, so they happen once; effects (trials, training,
evaluation) may run again after a crash and leave only content-addressed bytes behind. The registry row is the truth:
what a run did to a model is one `register` and at most one `promote`, each in one transaction.
"""

from typing import Any

from visutility.flow import RunContext, workflow
from visutility.loop.policy import read_policy
from visutility.loop.retrain_steps import (
    await_fresh,
    await_settled,
    close_study,
    cut_first_snapshot,
    describe,
    evaluate_both,
    find_champion,
    fit_best,
    judge,
    keep_snapshot,
    open_study,
    promote,
    register_version,
    tune,
)
from visutility.loop.trigger import RETRAIN

TRAIN = "train"


@workflow(TRAIN, version=1)
def train(run: RunContext, request: dict[str, Any]) -> dict[str, Any]:
    """Tune and train a model's first version from one batch of labelled rows, and register it as challenger."""
    recipe, model = request["recipe"], request["model"]
    snapshot = run.do(cut_first_snapshot, request["data"])
    snapshot_id = run.do(keep_snapshot, model, snapshot, "first training")
    described = run.do(describe, recipe, request["policy"])
    opened = run.do(open_study, model, described, request["policy"], None)
    best = _tune_and_train(run, recipe, request["policy"], opened, snapshot)
    version = run.do(register_version, model, recipe, best, snapshot, snapshot_id, opened["study"], None, None)
    return {"version": version["number"], "promoted": False, "reason": "a first version waits for a person"}


@workflow(RETRAIN, version=1)
def retrain(run: RunContext, request: dict[str, Any]) -> dict[str, Any]:
    """Bring a degraded model back: fresh data, a warm-started study, a challenger, the gate, promotion."""
    policy = read_policy(request["policy"])
    recipe, model = request["recipe"], request["model"]
    champion = run.do(find_champion, model)
    since = run.wait(
        await_settled, model, request["metric"], request["position"], policy.settle_rows,
        waiting_for="the change to settle", every=policy.wait_seconds,
    )  # fmt: skip
    snapshot = run.wait(
        await_fresh, recipe, request["policy"], since["since"], champion["id"],
        waiting_for=f"{policy.train_rows} training and {policy.gate_rows} gate labels", every=policy.wait_seconds,
    )  # fmt: skip
    snapshot_id = run.do(keep_snapshot, model, snapshot, f"trigger {request['trigger']}")
    described = run.do(describe, recipe, request["policy"])
    opened = run.do(open_study, model, described, request["policy"], champion["params"])
    best = _tune_and_train(run, recipe, request["policy"], opened, snapshot)
    version = run.do(
        register_version, model, recipe, best, snapshot, snapshot_id, opened["study"], champion["id"],
        request["trigger"],
    )  # fmt: skip
    measured = run.do(evaluate_both, recipe, request["policy"], champion, best["sha256"], snapshot)
    verdict = run.do(judge, model, champion, version, measured, snapshot, request["policy"])
    outcome = {"version": version["number"], "gate": verdict["answer"], "promoted": False}
    if verdict["answer"] != "pass":
        return {**outcome, "reason": verdict["reason"]}
    if (
        policy.mode == "ask"
        and run.ask("promote", f"{model}:{version['number']} passed the gate; promote it?") != "yes"
    ):
        return {**outcome, "reason": "a person said no"}
    moved = run.do(promote, model, champion, version, verdict, measured["reference"], request["policy"])
    return {**outcome, **moved}


def _tune_and_train(
    run: RunContext, recipe: str, policy: dict[str, Any], opened: dict[str, Any], snapshot: dict[str, Any]
) -> dict[str, Any]:
    run.do(tune, recipe, policy, opened["study"], snapshot)
    best = run.do(close_study, opened["study"])
    trained = run.do(fit_best, recipe, policy, best["params"], snapshot)
    return {**trained, **best}


WORKFLOWS = {"train": train, "retrain": retrain}
