"""What the loop wrote down, read back for people: gate reports, alarms, events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from visutility.core.codec import loads
from visutility.store.schema import gate_report, metric_chunk, model, model_version, retrain_trigger, verdict


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's answer about one challenger; `evidence` holds the metrics of both versions on each part."""

    id: str
    model: str
    champion: int
    challenger: int
    answer: str
    reason: str
    evidence: Mapping[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class Happening:
    """An event or verdict in a model's metric stream: `kind` is "values", "warning" or "alarm"."""

    id: str
    kind: str
    model: str
    version: int
    metric: str
    position: int
    count: int
    text: str
    at: str


def gate_reports(connection: Connection, name: str, *, limit: int = 20) -> list[GateReport]:
    """Return a model's gate reports, newest first."""
    champion, challenger = model_version.alias("champion"), model_version.alias("challenger")
    rows = connection.execute(
        select(gate_report, champion.c.number.label("was"), challenger.c.number.label("wants"))
        .join(model, model.c.id == gate_report.c.model_id)
        .join(champion, champion.c.id == gate_report.c.champion_id)
        .join(challenger, challenger.c.id == gate_report.c.challenger_id)
        .where(model.c.name == name)
        .order_by(gate_report.c.id.desc())
        .limit(limit)
    )
    return [GateReport(r.id, name, r.was, r.wants, r.answer, r.reason, loads(r.evidence), r.created_at) for r in rows]


def happenings(connection: Connection, name: str, *, alarms: bool, limit: int = 50) -> list[Happening]:
    """Return a model's verdicts, or with `alarms` False its metric events, newest first."""
    return _verdicts(connection, name, limit) if alarms else _events(connection, name, limit)


def _events(connection: Connection, name: str, limit: int) -> list[Happening]:
    c = metric_chunk.c
    rows = connection.execute(
        select(c.id, c.version_number, c.metric, c.first_position, c["count"].label("n"), c.total, c.at)
        .join(model, model.c.id == c.model_id)
        .where(model.c.name == name)
        .order_by(c.id.desc())
        .limit(limit)
    )
    return [
        Happening(
            r.id, "values", name, r.version_number, r.metric, r.first_position, r.n,
            f"mean {r.total / r.n:.4g}", r.at,
        )
        for r in rows
    ]  # fmt: skip


def _verdicts(connection: Connection, name: str, limit: int) -> list[Happening]:
    v, t = verdict.c, retrain_trigger.c
    rows = connection.execute(
        select(verdict, t.decision, t.reason)
        .join(model, model.c.id == v.model_id)
        .outerjoin(retrain_trigger, t.verdict_id == v.id)
        .where(model.c.name == name)
        .order_by(v.id.desc())
        .limit(limit)
    )
    return [
        Happening(
            r.id, r.level, name, r.version_number, r.metric, r.position, 1,
            f"{r.detector}: score {r.score:.4g}, limit {r.limit:.4g}"
            + ("" if r.decision is None else f" -> {r.decision}: {r.reason}"),
            r.created_at,
        )
        for r in rows
    ]  # fmt: skip
