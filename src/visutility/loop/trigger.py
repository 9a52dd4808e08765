"""The automatic retrainer: a decider that turns an alarm into a trigger, and a trigger into a durable run.

It writes in the monitor's own transaction, so the verdict, the decision with its reason, the spent budget and the
run's row commit together. One detection makes one trigger row (unique in the database) and one trigger at most one run.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, case, func, insert, select

from visutility.core.codec import dumps, loads, to_text, to_time, unpack_floats
from visutility.core.errors import Conflict
from visutility.flow import runs
from visutility.loop.metrics import Metrics
from visutility.loop.policy import (
    LOOKS,
    Decision,
    Normal,
    Policy,
    Situation,
    decide,
    looks,
    read_policy,
    weigh_alarm,
    weigh_since,
)
from visutility.loop.watch import Alarm, Seen, stored_alarm
from visutility.monitor import Harm
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import metric_chunk, retrain_trigger, run, verdict, watch
from visutility.store.schema import policy as policy_table

RETRAIN = "retrain"
OPEN = ("queued", "running", "waiting")
_CHUNKS = 256  # of stored values, read at a time


@final
class AutoRetrainer:
    """Observes the monitor; starts a durable retrain run where the model's policy says so."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def decide(self, tx: Tx, alarm: Alarm) -> None:
        """Decide about an alarm by the model's policy. A model without a policy, or a mere warning, does nothing.

        Where its watch has a tolerance, an alarm that may be benign waits for the values to come: see `review`.
        """
        if alarm.level != "alarm":
            return
        harm, known = None, loads(tx.execute(_REFERENCE_OF, {"verdict": alarm.id}).scalar_one())
        if "tolerance" in known:
            values = _values(tx, alarm, known["start"], alarm.position + 1)
            harm = weigh_alarm(alarm.metric, values, _normal(known), known["tolerance"])
        self._follow(tx, alarm, harm)

    def review(self, tx: Tx, seen: Seen) -> None:
        """Decide about alarms of a watch with a tolerance that had to wait, whenever the values since have doubled."""
        if "tolerance" not in seen.reference:
            return
        normal = _normal(seen.reference)
        for row in tx.execute(_WAITING, {"watch": seen.watch_id}).all():
            now = int(tx.execute(_SINCE, {"verdict": row.id}).scalar() or 0)  # of the watched version alone
            if not looks(normal, max(now - seen.count, 0), now):
                continue
            alarm = stored_alarm(row, seen.model)
            values = _values(tx, alarm, row.position + 1, seen.end)
            last = now >= normal.patience
            self._follow(tx, alarm, weigh_since(alarm.metric, values, normal, seen.reference["tolerance"], last=last))

    def _follow(self, tx: Tx, alarm: Alarm, harm: Harm | None) -> None:
        stored = load_policy(tx.connection, alarm.model_id)
        if stored is None:
            return
        policy, recipe = stored
        decision = decide(policy, replace(situation(tx, alarm.model_id, policy), harm=harm))
        tx.after_commit(lambda: self._metrics.triggers.labels(alarm.model, decision.kind).inc())
        if decision.kind == "wait":
            audit.append(tx, "trigger.wait", alarm.model, by="policy", why=decision.reason, after={"verdict": alarm.id})
            return
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


def _normal(known: dict[str, Any]) -> Normal:
    return msgspec.convert(known, Normal)


def _values(tx: Tx, alarm: Alarm, start: int, end: int) -> NDArray[np.float64]:
    """Return the values of the alarm's metric and version at positions from `start` to below `end`, oldest first.

    At most the last 4096 of them. There is one at least: the alarm's own, or those of the event that is being accepted.
    """
    found: list[NDArray[np.float64]] = []
    key = {"model": alarm.model_id, "metric": alarm.metric, "version": alarm.version}
    before, missing = end, LOOKS[-1]
    while missing > 0 and before > start and (rows := tx.execute(_CHUNKS_BEFORE, {**key, "before": before}).all()):
        for row in rows:
            found.append(unpack_floats(row.packed)[max(start - row.first_position, 0) : end - row.first_position])
            missing -= len(found[-1])
        before = rows[-1].first_position
    return np.concatenate(found[::-1])[-LOOKS[-1] :]


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


_REFERENCE_OF = (
    select(watch.c.reference)
    .join(verdict, verdict.c.watch_id == watch.c.id)
    .where(verdict.c.id == bindparam("verdict"))
)
_WAITING = (
    select(verdict)
    .where(
        verdict.c.watch_id == bindparam("watch"),
        verdict.c.level == "alarm",
        ~select(retrain_trigger.c.id).where(retrain_trigger.c.verdict_id == verdict.c.id).exists(),
    )
    .order_by(verdict.c.position)
)
_chunk_end = metric_chunk.c.first_position + metric_chunk.c["count"]
_SINCE = (  # how many values of its version came after an alarm
    select(
        func.sum(
            _chunk_end
            - case(
                (metric_chunk.c.first_position > verdict.c.position, metric_chunk.c.first_position),
                else_=verdict.c.position + 1,
            )
        )
    )
    .select_from(verdict)
    .join(
        metric_chunk,
        (metric_chunk.c.model_id == verdict.c.model_id)
        & (metric_chunk.c.metric == verdict.c.metric)
        & (metric_chunk.c.version_number == verdict.c.version_number)
        & (_chunk_end > verdict.c.position + 1),
    )
    .where(verdict.c.id == bindparam("verdict"))
)
_CHUNKS_BEFORE = (
    select(metric_chunk.c.first_position, metric_chunk.c["values"].label("packed"))
    .where(
        metric_chunk.c.model_id == bindparam("model"),
        metric_chunk.c.metric == bindparam("metric"),
        metric_chunk.c.version_number == bindparam("version"),
        metric_chunk.c.first_position < bindparam("before"),
    )
    .order_by(metric_chunk.c.first_position.desc())
    .limit(_CHUNKS)
)
