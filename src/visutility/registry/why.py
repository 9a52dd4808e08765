"""Why a version is what it is: the chain of causes, oldest first, read from the rows that hold it.

    metrics -> alarm -> trigger -> run -> study -> trial -> data -> version -> gate -> promotion

A version registered by hand has the links it has; its `version` link says so. A link that a row names and that does
not exist stays in the chain with its `problem` set: a chain with a hole is damage, not a shorter chain.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, select

from visutility.core.codec import loads
from visutility.registry import queries
from visutility.registry.types import CHALLENGER, CHAMPION, Link, Move, Version, parse_ref
from visutility.store.findings import Finding
from visutility.store.schema import (
    audit_event,
    data_snapshot,
    gate_report,
    metric_chunk,
    retrain_trigger,
    run,
    run_step,
    study,
    trial,
    verdict,
    watch,
)

_step_keys = select(run_step.c.key).where(run_step.c.run_id == bindparam("id")).order_by(run_step.c.position)
_gate_of_run = select(gate_report).where(gate_report.c.run_id == bindparam("id"))
_trial = select(trial).where(trial.c.study_id == bindparam("id"), trial.c.number == bindparam("number"))
_counts = select(func.count(), func.count().filter(trial.c.state == "complete")).where(
    trial.c.study_id == bindparam("id")
)
_registered_why = select(audit_event.c.why).where(
    audit_event.c.subject == bindparam("ref"), audit_event.c.kind == "version.registered"
)


def why(connection: Connection, ref: str) -> list[Link]:
    """Return the causes of the version that `ref` names, oldest first. Raises what `queries.get` raises."""
    version = queries.get(connection, ref)
    asked = parse_ref(ref).alias
    moves = queries.last_moves_to(connection, version, CHAMPION)
    if asked is not None and asked not in (CHAMPION, CHALLENGER):
        moves += queries.last_moves_to(connection, version, asked)
    links = [*_noticed(connection, version), *_made(connection, version), *_judged(connection, version, moves)]
    return [*links, *map(_moved, moves)]


def broken(links: Iterable[Link]) -> list[Finding]:
    """Return what is wrong with a chain: links that should exist and do not, or that contradict each other."""
    return [Finding(f"{link.kind} {link.id}", link.problem) for link in links if link.problem]


def _noticed(connection: Connection, version: Version) -> Iterator[Link]:
    """Yield what started it: metric points, alarm, trigger."""
    if version.trigger_id is None:
        return
    trigger = _row(connection, retrain_trigger, version.trigger_id)
    if trigger is None:
        yield _missing("trigger", version.trigger_id, version.ref)
        return
    if trigger.verdict_id is not None:
        alarm = _row(connection, verdict, trigger.verdict_id)
        if alarm is None:
            yield _missing("alarm", trigger.verdict_id, f"trigger {trigger.id}")
        else:
            yield _points(connection, alarm)
            yield _alarm(connection, alarm)
    detail = {
        "decision": trigger.decision,
        "reason": trigger.reason,
        "at": trigger.created_at,
        "by": trigger.created_by,
        "policy": loads(trigger.policy),
    }
    asked = "" if trigger.verdict_id else f" (no alarm: {trigger.created_by} asked)"
    yield Link("trigger", trigger.id, f"{trigger.decision}: {trigger.reason}{asked}", detail)


def _points(connection: Connection, alarm: Any) -> Link:
    chunk = _row(connection, metric_chunk, alarm.chunk_id)
    if chunk is None:
        return _missing("metrics", alarm.chunk_id, f"alarm {alarm.id}")
    last, mean = chunk.first_position + chunk.count - 1, chunk.total / chunk.count
    detail = {
        "metric": chunk.metric,
        "version": chunk.version_number,
        "first_position": chunk.first_position,
        "last_position": last,
        "count": chunk.count,
        "mean": mean,
        "at": chunk.at,
        "event": chunk.event_id,
    }
    title = f"{chunk.count} values of {chunk.metric}, positions {chunk.first_position} to {last}, mean {mean:.4g}"
    inside = chunk.first_position <= alarm.position <= last
    problem = "" if inside else f"does not hold position {alarm.position}, where alarm {alarm.id} says it was"
    return Link("metrics", chunk.id, title, detail, problem)


def _alarm(connection: Connection, alarm: Any) -> Link:
    seen = _row(connection, watch, alarm.watch_id)
    detail = {
        "detector": alarm.detector,
        "level": alarm.level,
        "metric": alarm.metric,
        "version": alarm.version_number,
        "position": alarm.position,
        "score": alarm.score,
        "limit": alarm.limit,
        "promise": alarm.promise,
        "evidence": loads(alarm.evidence),
        "reference": None if seen is None else loads(seen.reference),
        "at": alarm.created_at,
    }
    title = (
        f"{alarm.detector} {alarm.level} on {alarm.metric} at position {alarm.position}: "
        f"score {alarm.score:.4g}, limit {alarm.limit:.4g}"
    )
    problem = "" if seen is not None else f"names watch {alarm.watch_id}, which does not exist"
    return Link("alarm", alarm.id, title, detail, problem)


def _made(connection: Connection, version: Version) -> Iterator[Link]:
    """Yield what made it: run, study, trial, data, and the version itself."""
    if version.run_id is not None:
        yield _run(connection, version, version.run_id)
    if version.study_id is not None:
        yield from _study(connection, version, version.study_id)
    if version.snapshot_id is not None or version.data_fingerprint is not None:
        yield _data(connection, version)
    yield _version(connection, version)


def _run(connection: Connection, version: Version, run_id: str) -> Link:
    row = _row(connection, run, run_id)
    if row is None:
        return _missing("run", run_id, version.ref)
    steps = list(connection.execute(_step_keys, {"id": run_id}).scalars())
    detail = {
        "workflow": row.workflow,
        "status": row.status,
        "attempts": row.attempts,
        "steps": steps,
        "started_at": row.created_at,
        "finished_at": row.finished_at,
    }
    same = row.trigger_id == version.trigger_id
    problem = "" if same else f"has trigger {row.trigger_id}, {version.ref} has {version.trigger_id}"
    title = f"{row.workflow}, {row.status}: {len(steps)} steps ({', '.join(steps)})"
    return Link("run", run_id, title, detail, problem)


def _study(connection: Connection, version: Version, study_id: str) -> Iterator[Link]:
    row = _row(connection, study, study_id)
    if row is None:
        yield _missing("study", study_id, version.ref)
        return
    asked, complete = connection.execute(_counts, {"id": study_id}).one()
    detail = {
        "name": row.name,
        "objective": row.objective,
        "direction": row.direction,
        "strategy": row.strategy,
        "reason": row.strategy_reason,
        "seed": row.seed,
        "trials": asked,
        "complete": complete,
    }
    same = row.run_id is None or row.run_id == version.run_id
    problem = "" if same else f"belongs to run {row.run_id}, {version.ref} to {version.run_id}"
    title = f"{row.name}: {row.strategy}, {complete} of {asked} trials complete; {row.strategy_reason}"
    yield Link("study", study_id, title, detail, problem)
    if version.trial_number is not None:
        yield _trial_link(connection, version, study_id, version.trial_number, row.objective)


def _trial_link(connection: Connection, version: Version, study_id: str, number: int, objective: str) -> Link:
    link_id = f"{study_id}/{number}"
    row = connection.execute(_trial, {"id": study_id, "number": number}).one_or_none()
    if row is None:
        return _missing("trial", link_id, version.ref)
    params = loads(row.params)
    detail = {
        "number": number,
        "origin": row.origin,
        "state": row.state,
        "params": params,
        "value": row.value,
        "metrics": None if row.metrics is None else loads(row.metrics),
    }
    value = row.state if row.value is None else f"{objective} {row.value:.4g}"
    with_params = ", ".join(f"{name}={_short(value)}" for name, value in params.items())
    return Link("trial", link_id, f"trial {number} ({row.origin}): {value} with {with_params}", detail)


def _data(connection: Connection, version: Version) -> Link:
    detail: dict[str, Any] = {"fingerprint": version.data_fingerprint, "rows": version.data_rows}
    fingerprint = (version.data_fingerprint or "unknown")[:12]
    title = f"{'unknown' if version.data_rows is None else version.data_rows} rows, fingerprint {fingerprint}"
    if version.snapshot_id is None:
        return Link("data", version.data_fingerprint or "", title, detail)
    row = _row(connection, data_snapshot, version.snapshot_id)
    if row is None:
        return _missing("data", version.snapshot_id, version.ref)
    parts = {name: part["rows"] for name, part in loads(row.parts).items()}
    title += f" ({', '.join(f'{rows} {name}' for name, rows in parts.items())})"
    same = version.data_fingerprint in (None, row.fingerprint)
    problem = "" if same else f"has fingerprint {row.fingerprint}, {version.ref} has {version.data_fingerprint}"
    return Link("data", version.snapshot_id, title, {**detail, "parts": parts, "since": row.since}, problem)


def _version(connection: Connection, version: Version) -> Link:
    reason = connection.execute(_registered_why, {"ref": version.ref}).scalars().first()
    parent = None if version.parent_id is None else queries.get_by_id(connection, version.parent_id)
    detail = {
        "version": version.ref,
        "parent": None if parent is None else parent.ref,
        "artifact": version.artifact_sha256,
        "format": version.artifact_format,
        "recipe": version.recipe,
        "metrics": version.metrics,
        "code_revision": version.code_revision,
        "by": version.created_by,
        "why": reason,
        "at": version.created_at,
    }
    problems = []
    if reason is None:
        problems.append("no audit event tells of its registration")
    if version.parent_id is not None and parent is None:
        problems.append(f"names parent {version.parent_id}, which does not exist")
    by_hand = "" if version.run_id else " by hand: no run made it"
    title = f"{version.ref} registered by {version.created_by}{by_hand} ({reason or 'reason unknown'})"
    return Link("version", version.id, title, detail, "; ".join(problems))


def _judged(connection: Connection, version: Version, moves: Iterable[Move]) -> Iterator[Link]:
    row, gate_id = None, next((move.gate_id for move in moves if move.gate_id is not None), None)
    if version.run_id is not None:
        row = connection.execute(_gate_of_run, {"id": version.run_id}).one_or_none()
    if row is None and gate_id is not None:
        row = _row(connection, gate_report, gate_id)
        if row is None:
            yield _missing("gate", gate_id, f"the promotion of {version.ref}")
    if row is None:
        return
    champion = queries.get_by_id(connection, row.champion_id)
    evidence = loads(row.evidence)
    detail = {
        "answer": row.answer,
        "reason": row.reason,
        "champion": None if champion is None else champion.ref,
        "challenger": version.ref,
        "metrics": evidence.get("metrics") if isinstance(evidence, dict) else None,
        "evidence": evidence,
        "fresh_fingerprint": row.fresh_fingerprint,
        "old_fingerprint": row.old_fingerprint,
        "at": row.created_at,
    }
    problems = []
    if row.challenger_id != version.id:
        problems.append(f"judged version {row.challenger_id}, not {version.ref}")
    if champion is None:
        problems.append(f"names champion {row.champion_id}, which does not exist")
    against = "" if champion is None else f" against {champion.ref}"
    yield Link("gate", row.id, f"{row.answer}{against}: {row.reason}", detail, "; ".join(problems))


def _moved(move: Move) -> Link:
    kind = {"promote": "promotion", "rollback": "rollback"}.get(move.kind, "move")
    detail = {
        "alias": f"{move.model}@{move.name}",
        "before": move.before,
        "after": move.number,
        "at": move.at,
        "by": move.by,
        "why": move.why,
        "run": move.run_id,
        "gate": move.gate_id,
    }
    was = "set" if move.before is None else f"moved from version {move.before}"
    title = f"{move.model}@{move.name} {was} to {move.number} by {move.by} ({move.why})"
    return Link(kind, f"{move.model}@{move.name}#{move.position}", title, detail)


def _row(connection: Connection, table: Table, row_id: str) -> Any:
    return connection.execute(select(table).where(table.c.id == row_id)).one_or_none()


def _missing(kind: str, row_id: str, named_by: str) -> Link:
    return Link(kind, row_id, f"MISSING: {named_by} names it", {}, f"does not exist, but {named_by} names it")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
