"""What a study is after beyond one objective, configurations to ask first that came later, and paused trials."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns and the frozen table `study_queue`. Rebuilding `study` loses no trigger: it has none."""
    with op.batch_alter_table("study", recreate="always") as study:
        study.add_column(sa.Column("options", sa.Text(), server_default="{}", nullable=False))
        study.add_column(sa.Column("pauses", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "study_queue",
        sa.Column("study_id", sa.String(length=26), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_queue_study_id")),
        sa.PrimaryKeyConstraint("study_id", "position", name=op.f("pk_study_queue")),
    )
    _freeze("study_queue", ("study_id", "position"))


def _freeze(table: str, key: tuple[str, ...]) -> None:
    """Refuse UPDATE, DELETE, and an INSERT whose key exists, as in 0001."""
    message = f"immutable: {table} rows cannot be changed; "
    same = ("rowid = NEW.rowid", " AND ".join(f"{c} = NEW.{c}" for c in key))
    exists = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {one})" for one in same)  # noqa: S608
    for name, event, words in (
        ("no_update", f"UPDATE ON {table}", "this was an UPDATE"),
        ("no_delete", f"DELETE ON {table}", "this was a DELETE"),
        ("no_replace", f"INSERT ON {table} WHEN {exists}", "a row with this key exists already"),
    ):
        op.execute(f"CREATE TRIGGER {table}_{name} BEFORE {event} BEGIN SELECT RAISE(ABORT, '{message}{words}'); END")
