"""Where Alembic enters. `store.migrate.upgrade` passes in an open transaction with foreign keys off."""

from alembic import context

from visutility.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
