"""All tables of the first release. A snapshot: it never changes again and imports nothing of ours."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_FROZEN = {  # table: its primary key, then its other unique keys
    "model_version": (("id",), ("model_id", "number"), ("run_id",)),
    "alias_move": (("model_id", "name", "number"),),
    "gate_report": (("id",), ("run_id",)),
    "verdict": (("id",), ("watch_id", "position")),
    "retrain_trigger": (("id",), ("verdict_id",)),
    "metric_chunk": (("id",), ("event_id",), ("model_id", "metric", "first_position")),
    "trial_report": (("study_id", "trial_number", "step"),),
    "run_answer": (("run_id", "question"),),
    "data_snapshot": (("id",), ("run_id",)),
}


def upgrade() -> None:
    """Make every table, the triggers of the frozen ones, and the head of an empty audit log."""
    for create in (
        _audit_event,
        _audit_head,
        _model,
        _metric_chunk,
        _policy,
        _watch,
        _verdict,
        _retrain_trigger,
        _run,
        _data_snapshot,
        _run_answer,
        _run_step,
        _study,
        _model_version,
        _trial,
        _gate_report,
        _model_alias,
        _trial_report,
        _alias_move,
    ):
        create()
    for table, keys in _FROZEN.items():
        _freeze(table, keys)


def _freeze(table: str, keys: tuple[tuple[str, ...], ...]) -> None:
    """Refuse UPDATE, DELETE, and an INSERT whose keys exist: INSERT OR REPLACE deletes without firing a DELETE trigger.

    A row can be replaced by its rowid as well; NEW.rowid is -1 where the statement does not set it.
    """
    message = f"immutable: {table} rows cannot be changed; "
    same = ["rowid = NEW.rowid", *(" AND ".join(f"{c} = NEW.{c}" for c in key) for key in keys)]
    exists = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {key})" for key in same)  # noqa: S608
    for name, event, words in (
        ("no_update", f"UPDATE ON {table}", "this was an UPDATE"),
        ("no_delete", f"DELETE ON {table}", "this was a DELETE"),
        ("no_replace", f"INSERT ON {table} WHEN {exists}", "a row with this key exists already"),
    ):
        op.execute(f"CREATE TRIGGER {table}_{name} BEFORE {event} BEGIN SELECT RAISE(ABORT, '{message}{words}'); END")


def _audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("covers", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_subject_seq", "audit_event", ["subject", "seq"], unique=False)


def _audit_head() -> None:
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": "0" * 64}])


def _model() -> None:
    op.create_table(
        "model",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("name", name=op.f("uq_model_name")),
    )


def _metric_chunk() -> None:
    op.create_table(
        "metric_chunk",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("version_number", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("first_position", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("total", sa.Float(), nullable=False),
        sa.Column("values", sa.LargeBinary(), nullable=False),
        sa.Column("prediction_ids", sa.Text(), nullable=True),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_metric_chunk_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metric_chunk")),
        sa.UniqueConstraint("event_id", name=op.f("uq_metric_chunk_event_id")),
        sa.UniqueConstraint(
            "model_id", "metric", "first_position", name=op.f("uq_metric_chunk_model_id_metric_first_position")
        ),
    )


def _policy() -> None:
    op.create_table(
        "policy",
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_policy_model_id")),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_policy")),
    )


def _watch() -> None:
    op.create_table(
        "watch",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("version_number", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("updated_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_watch_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watch")),
    )
    op.create_index("ix_watch_model_id_metric", "watch", ["model_id", "metric"], unique=False)


def _verdict() -> None:
    op.create_table(
        "verdict",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("watch_id", sa.String(length=26), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("version_number", sa.Integer(), nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=64), nullable=False),
        sa.Column("chunk_id", sa.String(length=26), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("promise", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["metric_chunk.id"], name=op.f("fk_verdict_chunk_id")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_verdict_model_id")),
        sa.ForeignKeyConstraint(["watch_id"], ["watch.id"], name=op.f("fk_verdict_watch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
        sa.UniqueConstraint("watch_id", "position", name=op.f("uq_verdict_watch_id_position")),
    )
    op.create_index("ix_verdict_model_id_id", "verdict", ["model_id", "id"], unique=False)


def _retrain_trigger() -> None:
    op.create_table(
        "retrain_trigger",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("verdict_id", sa.String(length=26), nullable=True),
        sa.Column("decision", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_retrain_trigger_model_id")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_retrain_trigger_verdict_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retrain_trigger")),
        sa.UniqueConstraint("verdict_id", name=op.f("uq_retrain_trigger_verdict_id")),
    )
    op.create_index("ix_retrain_trigger_model_id_id", "retrain_trigger", ["model_id", "id"], unique=False)


def _run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("workflow_version", sa.Integer(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=True),
        sa.Column("trigger_id", sa.String(length=26), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("wake_at", sa.String(length=27), nullable=False),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.String(length=27), nullable=True),
        sa.Column("cancel_requested", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("finished_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("cancel_requested IN (0, 1)", name=op.f("ck_run_cancel")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_run_model_id")),
        sa.ForeignKeyConstraint(["trigger_id"], ["retrain_trigger.id"], name=op.f("fk_run_trigger_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_run_idempotency_key")),
        sa.UniqueConstraint("trigger_id", name=op.f("uq_run_trigger_id")),
    )
    op.create_index("ix_run_model_id_id", "run", ["model_id", "id"], unique=False)
    op.create_index("ix_run_status_wake_at", "run", ["status", "wake_at"], unique=False)


def _data_snapshot() -> None:
    op.create_table(
        "data_snapshot",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("run_id", sa.String(length=26), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_data_snapshot_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_data_snapshot_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_snapshot")),
        sa.UniqueConstraint("run_id", name=op.f("uq_data_snapshot_run_id")),
    )
    op.create_index("ix_data_snapshot_model_id_id", "data_snapshot", ["model_id", "id"], unique=False)


def _run_answer() -> None:
    op.create_table(
        "run_answer",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("question", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.String(length=27), nullable=False),
        sa.Column("answered_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_answer_run_id")),
        sa.PrimaryKeyConstraint("run_id", "question", name=op.f("pk_run_answer")),
    )


def _run_step() -> None:
    op.create_table(
        "run_step",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=False),
        sa.Column("finished_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_step_run_id")),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_run_step")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_run_step_run_id_position")),
    )


def _study() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=True),
        sa.Column("run_id", sa.String(length=26), nullable=True),
        sa.Column("space", sa.Text(), nullable=False),
        sa.Column("objective", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.String(length=64), nullable=False),
        sa.Column("strategy", sa.String(length=64), nullable=False),
        sa.Column("strategy_settings", sa.Text(), nullable=False),
        sa.Column("strategy_reason", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("budget", sa.Integer(), nullable=True),
        sa.Column("warm_start", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_study_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_study_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("name", name=op.f("uq_study_name")),
        sa.UniqueConstraint("run_id", name=op.f("uq_study_run_id")),
    )
    op.create_index("ix_study_model_id_id", "study", ["model_id", "id"], unique=False)


def _model_version() -> None:
    op.create_table(
        "model_version",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("artifact_format", sa.String(length=64), nullable=False),
        sa.Column("artifact_bytes", sa.Integer(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("data_rows", sa.Integer(), nullable=True),
        sa.Column("snapshot_id", sa.String(length=26), nullable=True),
        sa.Column("study_id", sa.String(length=26), nullable=True),
        sa.Column("trial_number", sa.Integer(), nullable=True),
        sa.Column("parent_id", sa.String(length=26), nullable=True),
        sa.Column("trigger_id", sa.String(length=26), nullable=True),
        sa.Column("run_id", sa.String(length=26), nullable=True),
        sa.Column("code_revision", sa.Text(), nullable=True),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("artifact_bytes >= 0", name=op.f("ck_model_version_bytes")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_model_version_number")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_version_model_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["model_version.id"], name=op.f("fk_model_version_parent_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_model_version_run_id")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["data_snapshot.id"], name=op.f("fk_model_version_snapshot_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_model_version_study_id")),
        sa.ForeignKeyConstraint(["trigger_id"], ["retrain_trigger.id"], name=op.f("fk_model_version_trigger_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.UniqueConstraint("model_id", "id", name=op.f("uq_model_version_model_id_id")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_model_version_model_id_number")),
        sa.UniqueConstraint("run_id", name=op.f("uq_model_version_run_id")),
    )
    op.create_index("ix_model_version_artifact_sha256", "model_version", ["artifact_sha256"], unique=False)


def _trial() -> None:
    op.create_table(
        "trial",
        sa.Column("study_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("told", sa.Integer(), nullable=True),
        sa.Column("asked_at", sa.String(length=27), nullable=False),
        sa.Column("told_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_trial_study_id")),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_trial")),
        sa.UniqueConstraint("study_id", "told", name=op.f("uq_trial_study_id_told")),
    )


def _gate_report() -> None:
    op.create_table(
        "gate_report",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("run_id", sa.String(length=26), nullable=True),
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("champion_id", sa.String(length=26), nullable=False),
        sa.Column("challenger_id", sa.String(length=26), nullable=False),
        sa.Column("answer", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("fresh_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("old_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["challenger_id"], ["model_version.id"], name=op.f("fk_gate_report_challenger_id")),
        sa.ForeignKeyConstraint(["champion_id"], ["model_version.id"], name=op.f("fk_gate_report_champion_id")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_gate_report_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_gate_report_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_report")),
        sa.UniqueConstraint("run_id", name=op.f("uq_gate_report_run_id")),
    )


def _model_alias() -> None:
    op.create_table(
        "model_alias",
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version_id", sa.String(length=26), nullable=False),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id", "version_id"],
            ["model_version.model_id", "model_version.id"],
            name=op.f("fk_model_alias_model_id_version_id"),
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_alias_model_id")),
        sa.PrimaryKeyConstraint("model_id", "name", name=op.f("pk_model_alias")),
    )


def _trial_report() -> None:
    op.create_table(
        "trial_report",
        sa.Column("study_id", sa.String(length=26), nullable=False),
        sa.Column("trial_number", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "trial_number"],
            ["trial.study_id", "trial.number"],
            name=op.f("fk_trial_report_study_id_trial_number"),
        ),
        sa.PrimaryKeyConstraint("study_id", "trial_number", "step", name=op.f("pk_trial_report")),
    )


def _alias_move() -> None:
    op.create_table(
        "alias_move",
        sa.Column("model_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before_id", sa.String(length=26), nullable=True),
        sa.Column("after_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=26), nullable=True),
        sa.Column("gate_id", sa.String(length=26), nullable=True),
        sa.Column("moved_at", sa.String(length=27), nullable=False),
        sa.Column("moved_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["after_id"], ["model_version.id"], name=op.f("fk_alias_move_after_id")),
        sa.ForeignKeyConstraint(["before_id"], ["model_version.id"], name=op.f("fk_alias_move_before_id")),
        sa.ForeignKeyConstraint(["gate_id"], ["gate_report.id"], name=op.f("fk_alias_move_gate_id")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_alias_move_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_alias_move_run_id")),
        sa.PrimaryKeyConstraint("model_id", "name", "number", name=op.f("pk_alias_move")),
    )
