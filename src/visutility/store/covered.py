"""What the audit log hashes of each table.

`COVERED` columns are hashed by every event that writes such a row, so that `audit verify` finds a row changed behind
the log's back; columns that change without an event (leases, heartbeats) are left out. `COVERED_AT_END` is the same
for rows that change until something ends: the event that ends it covers them, and rows that no event names yet are
nobody's finding. A name there is a table, with ".end" after it where the table is in `COVERED` too. `ADDED` keeps the
hashes of rows that an older release wrote.
"""

from visutility.store.schema import (
    alarm_judgement,
    alias_move,
    data_snapshot,
    gate_report,
    metric_chunk,
    model_alias,
    model_version,
    policy,
    retrain_trigger,
    run,
    run_answer,
    run_step,
    study,
    trial,
    verdict,
    watch,
)

_LEASE = ("wake_at", "waiting_for", "fence", "attempts", "owner", "lease_until", "cancel_requested")

COVERED: dict[str, tuple[str, ...]] = {
    "model": ("id", "name", "task", "created_at"),
    "model_version": tuple(c.name for c in model_version.c),
    "model_alias": tuple(c.name for c in model_alias.c),
    "alias_move": tuple(c.name for c in alias_move.c),
    "study": tuple(c.name for c in study.c if c.name not in ("trials", "status", "closed_at", "pauses")),
    "watch": tuple(c.name for c in watch.c if c.name not in ("state", "position", "status", "updated_at")),
    "verdict": tuple(c.name for c in verdict.c),
    "alarm_judgement": tuple(c.name for c in alarm_judgement.c),
    "retrain_trigger": tuple(c.name for c in retrain_trigger.c),
    "data_snapshot": tuple(c.name for c in data_snapshot.c),
    "gate_report": tuple(c.name for c in gate_report.c),
    "policy": tuple(c.name for c in policy.c),
    "run": tuple(c.name for c in run.c if c.name not in (*_LEASE, "status", "outcome", "failure", "finished_at")),
}

COVERED_AT_END: dict[str, tuple[str, ...]] = {
    "metric_chunk": tuple(c.name for c in metric_chunk.c),  # by the alarm that rests on it
    "trial": tuple(c.name for c in trial.c),  # by the closing of its study
    "study.end": tuple(c.name for c in study.c),
    "run_step": tuple(c.name for c in run_step.c),  # by the end of its run
    "run_answer": tuple(c.name for c in run_answer.c),
    "run.end": tuple(c.name for c in run.c if c.name not in _LEASE),
}

# Columns that a later revision added at the end of a covered table, with what it gave the rows that were there: a row
# hash leaves such values out, so that rows hash as they did when they were written.
ADDED: dict[str, tuple[str | int, ...]] = {"study": ("{}",), "study.end": ("{}", 0)}
