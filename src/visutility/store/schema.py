"""All tables, in one place. Times are UTC text that sorts (`codec.to_text`), JSON is canonical text (`codec.dumps`).

`REVISION` is the Alembic revision this code reads and writes. `FROZEN` tables take inserts alone: triggers made by the
migrations refuse UPDATE, DELETE and a replacing INSERT. What the audit log hashes of them is in `store.covered`.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0004"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(26)
Time = String(27)
Name = String(64)
Sha = String(64)

# -- registry ----------------------------------------------------------------------------------------------------------

model = Table(
    "model",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("task", Name, nullable=False),
    Column("created_at", Time, nullable=False),
)

model_version = Table(
    "model_version",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("artifact_sha256", Sha, nullable=False),
    Column("artifact_format", Name, nullable=False),
    Column("artifact_bytes", Integer, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("params", Text, nullable=False),  # JSON object
    Column("metrics", Text, nullable=False),  # JSON object of numbers
    Column("data_fingerprint", Sha),
    Column("data_rows", Integer),
    Column("snapshot_id", Id, ForeignKey("data_snapshot.id")),
    Column("study_id", Id, ForeignKey("study.id")),
    Column("trial_number", Integer),
    Column("parent_id", Id, ForeignKey("model_version.id")),
    Column("trigger_id", Id, ForeignKey("retrain_trigger.id")),
    Column("run_id", Id, ForeignKey("run.id"), unique=True),  # a run registers at most one version
    Column("code_revision", Text),
    Column("environment", Text, nullable=False),  # JSON object: Python, platform, package versions
    Column("created_at", Time, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("model_id", "number"),
    UniqueConstraint("model_id", "id"),  # what model_alias refers to
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("artifact_bytes >= 0", name="bytes"),
)
Index("ix_model_version_artifact_sha256", model_version.c.artifact_sha256)

model_alias = Table(
    "model_alias",
    metadata,
    Column("model_id", Id, ForeignKey("model.id"), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("version_id", Id, nullable=False),
    Column("moves", Integer, nullable=False),  # how often it moved; the newest row of alias_move has this number
    ForeignKeyConstraint(["model_id", "version_id"], ["model_version.model_id", "model_version.id"]),
)

alias_move = Table(
    "alias_move",
    metadata,
    Column("model_id", Id, ForeignKey("model.id"), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("before_id", Id, ForeignKey("model_version.id")),  # null: the alias was new
    Column("after_id", Id, ForeignKey("model_version.id"), nullable=False),
    Column("kind", Name, nullable=False),  # register | promote | rollback
    Column("run_id", Id, ForeignKey("run.id")),
    Column("gate_id", Id, ForeignKey("gate_report.id")),
    Column("moved_at", Time, nullable=False),
    Column("moved_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

# -- tuning ------------------------------------------------------------------------------------------------------------

study = Table(
    "study",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("model_id", Id, ForeignKey("model.id")),
    Column("run_id", Id, ForeignKey("run.id"), unique=True),
    Column("space", Text, nullable=False),  # JSON, Space.to_json
    Column("objective", Name, nullable=False),
    Column("direction", Name, nullable=False),  # minimize | maximize
    Column("strategy", Name, nullable=False),
    Column("strategy_settings", Text, nullable=False),  # JSON object
    Column("strategy_reason", Text, nullable=False),  # why this strategy
    Column("seed", Integer, nullable=False),
    Column("budget", Integer),  # trials; null: open
    Column("warm_start", Text, nullable=False),  # JSON: enqueued configurations and the ids of earlier studies
    Column("status", Name, nullable=False),  # open | closed
    Column("trials", Integer, nullable=False),  # trials asked, counted when it closes
    Column("created_at", Time, nullable=False),
    Column("closed_at", Time),
    Column("options", Text, nullable=False, server_default="{}"),  # JSON, Options.to_json
    Column("pauses", Integer, nullable=False, server_default="0"),  # how often trials were paused or taken up again
)
Index("ix_study_model_id_id", study.c.model_id, study.c.id)

study_queue = Table(  # configurations to ask before any suggestion, after those of `warm_start`
    "study_queue",
    metadata,
    Column("study_id", Id, ForeignKey("study.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("params", Text, nullable=False),  # JSON object, active parameters only
    Column("queued_at", Time, nullable=False),
)

trial = Table(
    "trial",
    metadata,
    Column("study_id", Id, ForeignKey("study.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("params", Text, nullable=False),  # JSON object, active parameters only
    Column("origin", Name, nullable=False),  # enqueued | the strategy's name
    Column("state", Name, nullable=False),  # pending | paused | complete | failed | pruned
    Column("value", Float),
    Column("metrics", Text),  # JSON object
    Column("failure", Text),  # why it failed
    Column("told", Integer),  # order of telling, from 0
    Column("asked_at", Time, nullable=False),
    Column("told_at", Time),
    sqlite_with_rowid=False,
)
Index("ix_trial_study_id_told", trial.c.study_id, trial.c.told, unique=True, sqlite_where=trial.c.told.is_not(None))

trial_report = Table(
    "trial_report",
    metadata,
    Column("study_id", Id, primary_key=True),
    Column("trial_number", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("value", Float, nullable=False),
    ForeignKeyConstraint(["study_id", "trial_number"], ["trial.study_id", "trial.number"]),
)

# -- monitoring --------------------------------------------------------------------------------------------------------

metric_chunk = Table(
    "metric_chunk",
    metadata,
    Column("id", Id, primary_key=True),
    Column("event_id", String(128), nullable=False, unique=True),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("version_number", Integer, nullable=False),
    Column("metric", Name, nullable=False),
    Column("first_position", Integer, nullable=False),  # position of the first value in the model's metric stream
    Column("count", Integer, nullable=False),
    Column("total", Float, nullable=False),  # sum of the values
    Column("values", LargeBinary, nullable=False),  # codec.pack_floats
    Column("prediction_ids", Text),  # JSON list
    Column("at", Time, nullable=False),
    Column("received_at", Time, nullable=False),
    UniqueConstraint("model_id", "metric", "first_position"),
)

watch = Table(  # one metric of one model being watched by one detector
    "watch",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("metric", Name, nullable=False),
    Column("detector", Name, nullable=False),
    Column("settings", Text, nullable=False),  # JSON object
    Column("version_number", Integer, nullable=False),  # the version whose reference it holds
    Column("reference", Text, nullable=False),  # JSON: size, mean, limits learnt from the reference window
    Column("state", LargeBinary, nullable=False),  # codec.pack_arrays
    Column("position", Integer, nullable=False),  # values this watch has seen
    Column("status", Name, nullable=False),  # active | stopped
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
)
Index("ix_watch_model_id_metric", watch.c.model_id, watch.c.metric)

verdict = Table(  # alarms and recoveries; an OK is not stored
    "verdict",
    metadata,
    Column("id", Id, primary_key=True),
    Column("watch_id", Id, ForeignKey("watch.id"), nullable=False),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("metric", Name, nullable=False),
    Column("version_number", Integer, nullable=False),
    Column("detector", Name, nullable=False),
    Column("level", Name, nullable=False),  # warning | alarm
    Column("chunk_id", Id, ForeignKey("metric_chunk.id"), nullable=False),
    Column("position", Integer, nullable=False),  # in the model's metric stream, from 0
    Column("score", Float, nullable=False),
    Column("limit", Float, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON object
    Column("promise", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    UniqueConstraint("watch_id", "position"),
)
Index("ix_verdict_model_id_id", verdict.c.model_id, verdict.c.id)

alarm_judgement = Table(  # what a person said of an alarm
    "alarm_judgement",
    metadata,
    Column("verdict_id", Id, ForeignKey("verdict.id"), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1; the last one counts
    Column("judgement", Name, nullable=False),  # true | false
    Column("judged_at", Time, nullable=False),
    Column("judged_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

# -- the loop ----------------------------------------------------------------------------------------------------------

policy = Table(
    "policy",
    metadata,
    Column("model_id", Id, ForeignKey("model.id"), primary_key=True),
    Column("settings", Text, nullable=False),  # JSON, Policy
    Column("recipe", Text, nullable=False),  # import path
    Column("updated_at", Time, nullable=False),
)

retrain_trigger = Table(  # a decision of the policy to retrain, or not to, with its reason
    "retrain_trigger",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("verdict_id", Id, ForeignKey("verdict.id"), unique=True),  # one detection, one decision; null: a person
    Column("decision", Name, nullable=False),  # run | suggest | refuse
    Column("reason", Text, nullable=False),
    Column("policy", Text, nullable=False),  # JSON of the policy that decided
    Column("created_at", Time, nullable=False),
    Column("created_by", Text, nullable=False),
)
Index("ix_retrain_trigger_model_id_id", retrain_trigger.c.model_id, retrain_trigger.c.id)

gate_report = Table(
    "gate_report",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id, ForeignKey("run.id"), unique=True),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("champion_id", Id, ForeignKey("model_version.id"), nullable=False),
    Column("challenger_id", Id, ForeignKey("model_version.id"), nullable=False),
    Column("answer", Name, nullable=False),  # pass | refuse | undecided
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON: metrics of both on fresh and old data, differences, slices
    Column("fresh_fingerprint", Sha, nullable=False),
    Column("old_fingerprint", Sha),
    Column("created_at", Time, nullable=False),
)

# -- durable runs ------------------------------------------------------------------------------------------------------

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("workflow", Name, nullable=False),
    Column("workflow_version", Integer, nullable=False),
    Column("request", Text, nullable=False),  # JSON
    Column("idempotency_key", String(200), nullable=False, unique=True),
    Column("model_id", Id, ForeignKey("model.id")),
    Column("trigger_id", Id, ForeignKey("retrain_trigger.id"), unique=True),  # a trigger starts at most one run
    Column("status", Name, nullable=False),  # queued | running | waiting | done | failed | cancelled
    Column("outcome", Text),  # JSON, when done
    Column("failure", Text),  # why it failed
    Column("wake_at", Time, nullable=False),  # not claimed before
    Column("waiting_for", Text),  # what a waiting run waits for, in words
    Column("fence", Integer, nullable=False),  # fencing token: grows with each claim
    Column("attempts", Integer, nullable=False),
    Column("owner", Text),  # worker that holds the lease
    Column("lease_until", Time),
    Column("cancel_requested", Integer, nullable=False),  # 0 | 1
    Column("created_at", Time, nullable=False),
    Column("finished_at", Time),
    CheckConstraint("cancel_requested IN (0, 1)", name="cancel"),
)
Index("ix_run_status_wake_at", run.c.status, run.c.wake_at)
Index("ix_run_model_id_id", run.c.model_id, run.c.id)

run_step = Table(
    "run_step",
    metadata,
    Column("run_id", Id, ForeignKey("run.id"), primary_key=True),
    Column("key", String(128), primary_key=True),  # step name, '#2' and on for repeats
    Column("position", Integer, nullable=False),
    Column("result", Text, nullable=False),  # JSON
    Column("attempt", Integer, nullable=False),  # claims this step took
    Column("started_at", Time, nullable=False),
    Column("finished_at", Time, nullable=False),
    UniqueConstraint("run_id", "position"),
)

data_snapshot = Table(  # the rows a version was made of, kept as content-addressed Arrow files
    "data_snapshot",
    metadata,
    Column("id", Id, primary_key=True),
    Column("model_id", Id, ForeignKey("model.id"), nullable=False),
    Column("run_id", Id, ForeignKey("run.id"), unique=True),
    Column("fingerprint", Sha, nullable=False),  # of the train part, replayed rows included
    Column("parts", Text, nullable=False),  # JSON: part -> {sha256, rows, fingerprint}; train, tune, gate, old
    Column("since", Time),  # fresh rows were taken after this
    Column("created_at", Time, nullable=False),
)
Index("ix_data_snapshot_model_id_id", data_snapshot.c.model_id, data_snapshot.c.id)

run_answer = Table(  # what a person answered to a question a run asked
    "run_answer",
    metadata,
    Column("run_id", Id, ForeignKey("run.id"), primary_key=True),
    Column("question", Name, primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("answered_at", Time, nullable=False),
    Column("answered_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

# -- audit -------------------------------------------------------------------------------------------------------------

audit_event = Table(
    "audit_event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Time, nullable=False),
    Column("by", Text, nullable=False),
    Column("kind", Name, nullable=False),  # what happened, e.g. 'alias.moved'
    Column("subject", Text, nullable=False),  # what it happened to, e.g. 'digits@champion'
    Column("why", Text, nullable=False),
    Column("before", Text, nullable=False),  # JSON
    Column("after", Text, nullable=False),  # JSON
    Column("covers", Text, nullable=False),  # JSON: [[table, key, sha256 of the row or null], …]
    Column("previous", Sha, nullable=False),
    Column("hash", Sha, nullable=False),
)
Index("ix_audit_event_subject_seq", audit_event.c.subject, audit_event.c.seq)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("seq", Integer, nullable=False),
    Column("hash", Sha, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

FROZEN: tuple[str, ...] = ("model_version", "alias_move", "gate_report", "verdict", "retrain_trigger", "metric_chunk")
FROZEN += ("trial_report", "run_answer", "data_snapshot", "study_queue", "alarm_judgement")
