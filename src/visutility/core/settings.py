"""Settings, read once at the edge (the command line, `Project.open`) and passed inwards as a value."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from visutility.core.errors import InvalidSetting

HOME_NAME = ".visutility"
BLOBS = "blobs"  # folder of the artifacts, inside the home

ENVIRONMENT = {
    "VISUTILITY_HOME": f"folder of the project's database and artifacts; default ./{HOME_NAME}",
    "VISUTILITY_DATABASE": "database URL; default a SQLite file in the home folder",
    "VISUTILITY_ACTOR": "who is named in the audit log; default the login name",
    "VISUTILITY_WORKERS": "worker processes of the local executor; default the number of processors, at most 4",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a project lives and who is acting. `ENVIRONMENT` names the variable of each field."""

    home: Path
    database: str
    actor: str
    workers: int

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 256:
            raise InvalidSetting(f"VISUTILITY_WORKERS is {self.workers}", hint="choose 1 to 256")
        if not 1 <= len(self.actor) <= 200 or not self.actor.isprintable():
            raise InvalidSetting(f"VISUTILITY_ACTOR is {self.actor!r}", hint="use 1 to 200 printable characters")
        if "://" not in self.database:
            raise InvalidSetting(f"VISUTILITY_DATABASE is {self.database!r}", hint="use a URL: sqlite:///path/to/file")

    @property
    def blobs(self) -> Path:
        """Folder of the content-addressed artifacts."""
        return self.home / BLOBS

    @classmethod
    def load(cls, *, home: str | Path | None = None, environ: Mapping[str, str] | None = None) -> "Settings":
        """Return the settings of `home`, or of the environment, or the defaults, in this order.

        An empty variable counts as not set. Raises `InvalidSetting` with the variable's name.
        """
        env = os.environ if environ is None else environ
        where = Path(home if home is not None else env.get("VISUTILITY_HOME") or HOME_NAME).expanduser().absolute()
        workers = env.get("VISUTILITY_WORKERS") or str(min(4, os.cpu_count() or 1))
        if not workers.isdecimal():
            raise InvalidSetting(f"VISUTILITY_WORKERS is {workers!r}", hint="set it to a whole number from 1 to 256")
        return cls(
            home=where,
            database=env.get("VISUTILITY_DATABASE") or _database_in(where),
            actor=env.get("VISUTILITY_ACTOR") or _login(),
            workers=int(workers),
        )


def _database_in(home: Path) -> str:
    if set("?%") & set(str(home)):  # both mean something in a URL, and not the same in every SQLAlchemy release
        raise InvalidSetting(
            f"VISUTILITY_HOME {str(home)!r} has '?' or '%' in its path",
            hint="choose another folder, or set VISUTILITY_DATABASE to a file in one",
        )
    return f"sqlite:///{home / 'visutility.db'}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in many containers
        return f"uid-{os.getuid()}"
