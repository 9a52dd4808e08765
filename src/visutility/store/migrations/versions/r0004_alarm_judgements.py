"""What people say of alarms: whether they were true."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the frozen table `alarm_judgement`."""
    op.create_table(
        "alarm_judgement",
        sa.Column("verdict_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("judgement", sa.String(length=64), nullable=False),
        sa.Column("judged_at", sa.String(length=27), nullable=False),
        sa.Column("judged_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_alarm_judgement_verdict_id")),
        sa.PrimaryKeyConstraint("verdict_id", "number", name=op.f("pk_alarm_judgement")),
    )
    _freeze("alarm_judgement", ("verdict_id", "number"))


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
