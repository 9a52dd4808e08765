"""The automatic retrainer: a decider that turns an alarm into a trigger, and a trigger into a durable run.

It writes in the monitor's own transaction, so the verdict, the decision with its reason, the spent budget and the
run's row commit together. One detection makes one trigger row (unique in the database) and one trigger at most one run.
"""

from datetime import timedelta
from typing import final

import msgspec
from sqlalchemy import Connection, func, insert, select

from visutility.core.codec import dumps, loads, to_text, to_time
from visutility.core.errors import Conflict
from visutility.flow import runs
from visutility.loop.metrics import Metrics
from visutility.loop.policy import Decision, Policy, Situation, decide, read_policy
from visutility.loop.watch import Alarm
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import policy as policy_table
from visutility.store.schema import retrain_trigger, run

RETRAIN = "retrain"
OPEN = ("queued", "running", "waiting")


@final
class AutoRetrainer:
    """Observes the monitor; starts a durable retrain run where the model's policy says so."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def decide(self, tx: Tx, alarm: Alarm) -> None:
        """Decide about an alarm by the model's policy. A model without a policy, or a mere warning, does nothing."""
        if alarm.level != "alarm":
            return
        stored = load_policy(tx.connection, alarm.model_id)
        if stored is None:
            return
        policy, recipe = stored
        decision = decide(policy, situation(tx, alarm.model_id, policy))
        pull(
            tx,
            decision,
            model_id=alarm.model_id,
            model=alarm.model,
            policy=policy,
            recipe=recipe,
            alarm=alarm,
            by="policy",
        )
        tx.after_commit(lambda: self._metrics.triggers.labels(alarm.model, decision.kind).inc())


def pull(
    tx: Tx,
    decision: Decision,
    *,
    model_id: str,
    model: str,
    policy: Policy,
    recipe: str,
    alarm: Alarm | None,
    by: str,
) -> tuple[str, str | None]:
    """Record a decision as a trigger and start its run if it says so. Returns (trigger id, run id or None)."""
    trigger_id = tx.new_id()
    tx.execute(
        insert(retrain_trigger),
        {
            "id": trigger_id,
            "model_id": model_id,
            "verdict_id": None if alarm is None else alarm.id,
            "decision": decision.kind,
            "reason": decision.reason,
            "policy": dumps(policy),
            "created_at": tx.now(),
            "created_by": by,
        },
    )
    audit.append(
        tx,
        f"trigger.{decision.kind}",
        model,
        by=by,
        why=decision.reason,
        after={"trigger": trigger_id, "verdict": None if alarm is None else alarm.id},
        covers=[("retrain_trigger", (trigger_id,))],
    )
    if decision.kind != "run":
        return trigger_id, None
    request = {
        "model": model,
        "recipe": recipe,
        "trigger": trigger_id,
        "metric": None if alarm is None else alarm.metric,
        "position": None if alarm is None else alarm.position,
        "policy": msgspec.to_builtins(policy),
    }
    run_id = runs.start(
        tx, RETRAIN, request, key=f"{RETRAIN}/{trigger_id}", model_id=model_id, trigger_id=trigger_id, by=by
    )
    return trigger_id, run_id


def situation(tx: Tx, model_id: str, policy: Policy) -> Situation:
    """Return what the policy needs to know, as this transaction sees it."""
    now = tx.clock.now()
    active = tx.execute(select(run.c.id).where(run.c.model_id == model_id, run.c.status.in_(OPEN)).limit(1)).scalar()
    t = retrain_trigger.c
    last = tx.execute(
        select(t.created_at).where(t.model_id == model_id, t.decision != "refuse").order_by(t.id.desc()).limit(1)
    ).scalar()
    since = to_text(now - timedelta(seconds=policy.budget_period))
    spent = tx.execute(
        select(func.count()).where(t.model_id == model_id, t.decision == "run", t.created_at > since)
    ).scalar_one()
    return Situation(now, active, None if last is None else to_time(last), int(spent))


def store_policy(tx: Tx, *, model_id: str, model: str, policy: Policy, recipe: str, by: str, why: str) -> None:
    """Set a model's policy and recipe; the one before stays in the audit log."""
    before = load_policy(tx.connection, model_id)
    row = {"settings": dumps(policy), "recipe": recipe, "updated_at": tx.now()}
    if before is None:
        tx.execute(insert(policy_table), {"model_id": model_id, **row})
    else:
        tx.execute(policy_table.update().where(policy_table.c.model_id == model_id), row)
    audit.append(
        tx,
        "policy.set",
        model,
        by=by,
        why=why,
        before=None if before is None else {"policy": before[0], "recipe": before[1]},
        after={"policy": policy, "recipe": recipe},
        covers=[("policy", (model_id,))],
    )


def load_policy(connection: Connection, model_id: str) -> tuple[Policy, str] | None:
    """Return a model's (policy, recipe path), or None."""
    row = connection.execute(
        select(policy_table.c.settings, policy_table.c.recipe).where(policy_table.c.model_id == model_id)
    ).one_or_none()
    return None if row is None else (read_policy(loads(row.settings)), row.recipe)


def refuse_if_busy(tx: Tx, model_id: str, model: str) -> None:
    """Raise `Conflict` when a run is at work on the model."""
    active = tx.execute(select(run.c.id).where(run.c.model_id == model_id, run.c.status.in_(OPEN)).limit(1)).scalar()
    if active is not None:
        raise Conflict(f"run {active} is at work on {model}", hint=f"wait for it, or `visutility runs cancel {active}`")
