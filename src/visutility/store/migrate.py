"""Making a database and bringing an older one to this release's revision."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect

from visutility.core.errors import SetupNeeded
from visutility.store._files import PRIVATE_FILE, make_folder, translated_os
from visutility.store.engine import Store, check_not_newer, sqlite_path
from visutility.store.schema import REVISION

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(store: Store) -> None:
    """Make the folder (mode 0700) and database, or upgrade an older one, in one transaction. Idempotent.

    Processes that do so at once wait for each other. Raises `DatabaseTooNew`, `DatabaseDamaged`, `ReadOnly`,
    `DiskFull`, and `SetupNeeded` for a database of something else; nothing was changed then.
    """
    path = sqlite_path(store.url)
    if path is None:
        raise SetupNeeded(f"{store.url} is not a SQLite file", hint="use a sqlite:/// URL")
    with translated_os(path):
        make_folder(path.parent)
    with _alone(path.parent):
        if not path.exists():
            with translated_os(path):
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE_FILE))
        found = store.revision()
        if found is None:
            _refuse_foreign(store)
        else:
            check_not_newer(found)
        if found != REVISION:
            _run_alembic(store)


def _run_alembic(store: Store) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with store.migrate("store.upgrade") as tx:
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "head")


def _refuse_foreign(store: Store) -> None:
    with store.read() as connection:
        tables = inspect(connection).get_table_names()
    if tables:
        raise SetupNeeded(
            f"{store.url} holds tables of something else ({', '.join(tables[:5])})", hint="name another file"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder: two processes must not make one database."""
    with translated_os(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
