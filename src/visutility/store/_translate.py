"""The database's complaints as errors of ours, told apart by SQLite's result codes, not by their wording."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from visutility.core.errors import (
    AlreadyExists,
    DatabaseBusy,
    DatabaseDamaged,
    DiskFull,
    Immutable,
    Invalid,
    NoProject,
    NotFound,
    ReadOnly,
    VisuTilityError,
)

BUSY_TIMEOUT_MS = 15_000

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DUPLICATE = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID")
# A write that a quota or a file size limit stops is an I/O error to SQLite, not FULL; the transaction is undone alike.
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE")
_READ_ONLY = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_IMMUTABLE = "immutable: "
_DUPLICATE_OF_FROZEN = "exists already"  # how the message of an insert guard ends


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise the database's complaints as errors of ours; everything else passes through."""
    try:
        yield
    except DBAPIError as error:
        raise _ours(error.orig, url) from error
    except sqlite3.Error as error:  # from the hooks of the engine, which talk to the driver
        raise _ours(error, url) from error
    except UnicodeEncodeError as error:
        raise Invalid(
            f"a text holds what UTF-8 cannot: {error}", hint="leave out characters of undecoded bytes"
        ) from None
    except OverflowError as error:
        raise Invalid(f"a number is too large for the database: {error}", hint="use at most 63 bits") from None
    except PoolTimeout as error:
        raise DatabaseBusy(f"{url} has too many transactions open in this process", hint="try again") from error


def _ours(error: BaseException | None, url: str) -> VisuTilityError:
    said = str(error)
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_CONSTRAINT"):
        return _refused_row(code, said)
    if code.startswith(_BUSY):
        return DatabaseBusy(f"{url} was held by another writer for {BUSY_TIMEOUT_MS / 1000:g} s", hint="try again")
    if code.startswith(_FULL):
        return DiskFull(
            f"no space left for {url} ({said})",
            hint="free space, or raise the quota or file size limit, and try again; nothing was half-written",
        )
    if code.startswith(_READ_ONLY):
        return _unreachable(said, url)
    if said.startswith("no such table"):
        return NoProject(f"{url} has {said}", hint="run `visutility init` first")
    return DatabaseDamaged(
        f"{url}: {said}",
        hint="keep the file as it is, restore a copy, and run `visutility audit verify` on it",
    )


def _refused_row(code: str, said: str) -> VisuTilityError:
    if said.startswith(_IMMUTABLE):
        problem = said.removeprefix(_IMMUTABLE)
        kind = AlreadyExists if said.endswith(_DUPLICATE_OF_FROZEN) else Immutable
        return kind(problem, hint="register a new one instead")
    if code in _DUPLICATE:
        return AlreadyExists(f"a row like that exists already ({said})", hint="read it instead of writing it")
    if code == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotFound("the row refers to a row that does not exist", hint="write what it refers to first")
    return Invalid(f"the database refused a row: {said}", hint="give every required field a value in its range")


def _unreachable(said: str, url: str) -> VisuTilityError:
    folder = Path(url.removeprefix("sqlite:///")).parent
    if not folder.is_dir():
        return NoProject(f"there is no folder {folder}", hint="run `visutility init` first")
    return ReadOnly(f"cannot write {url} ({said})", hint="check the owner and mode of the file and its folder")
