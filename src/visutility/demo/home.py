"""The demo's folder: made by it, used by one demo at a time, and never replaced once somebody else worked in it."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visutility.core.errors import AlreadyExists, Conflict, NoProject
from visutility.core.settings import BLOBS, Settings
from visutility.demo.recipe import LABELS
from visutility.loop import Project
from visutility.store import audit

ACTOR = "visutility demo"
MARKER = ".made-by-visutility-demo"
OWN = (MARKER, BLOBS, LABELS, "visutility.db", "visutility.db-wal", "visutility.db-shm")
_TEXT = "This folder was made by `visutility demo`, which replaces it while nobody else has worked in it.\n"


@contextmanager
def own_home(settings: Settings) -> Iterator[None]:
    """Have the folder empty but for the demo's mark, and to itself until the block ends.

    What an earlier demo made there is deleted, by name, if the folder holds nothing else and its audit log nobody
    else's work. Raises `AlreadyExists` otherwise, and `Conflict` while another demo is at work in it.
    """
    home = settings.home
    if home.exists() and any(home.iterdir()):
        _check_mark(home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / MARKER).open("a+") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another demo is at work in {home}", hint="wait for it, or use --home FOLDER") from None
        _check_owners(settings)
        for name in OWN[1:]:
            path = home / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        mark.truncate(0)
        mark.write(_TEXT)
        mark.flush()
        yield


def _check_mark(home: Path) -> None:
    mark = home / MARKER
    if not mark.is_file() or mark.read_text() not in (_TEXT, ""):
        raise AlreadyExists(
            f"{home} holds something that is not a demo's", hint="choose an empty folder: visutility demo --home FOLDER"
        )


def _check_owners(settings: Settings) -> None:
    foreign = sorted(path.name for path in settings.home.iterdir() if path.name not in OWN)
    if foreign:
        raise AlreadyExists(f"{settings.home} holds {foreign[:5]} too", hint="choose another folder with --home FOLDER")
    others = sorted(_actors(settings))
    if others:
        raise AlreadyExists(
            f"{others} worked in the demo's project in {settings.home}", hint="choose another folder with --home FOLDER"
        )


def _actors(settings: Settings) -> set[str]:
    """Return who, besides the demo and its runs, did something in the project; nobody where there is none."""
    try:
        with Project.open(settings=settings) as project, project.store.read() as connection:
            found: set[str] = set()
            after = None
            while events := audit.events(connection, after=after, limit=1000):
                found |= {event.by for event in events}
                after = events[-1].seq
    except NoProject:  # a demo that was stopped before it had a database
        return set()
    ours = ("run/", "monitor/")
    return {by for by in found if by not in (ACTOR, "policy", "worker") and not by.startswith(ours)}
