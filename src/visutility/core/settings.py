"""Settings, read once at the edge (the command line, `Project.open`) and passed inwards as a value."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from visutility.core.errors import InvalidSetting

HOME_NAME = ".visutility"

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
            raise InvalidSetting(f"workers is {self.workers}", hint="choose 1 to 256")
        if not self.actor or len(self.actor) > 200:
            raise InvalidSetting(f"actor {self.actor!r} is empty or too long", hint="use 1 to 200 characters")

    @property
    def blobs(self) -> Path:
        """Folder of the content-addressed artifacts."""
        return self.home / "blobs"

    @classmethod
    def load(cls, *, home: str | Path | None = None, environ: Mapping[str, str] | None = None) -> "Settings":
        """Return the settings of `home`, or of the environment, or the defaults, in this order."""
        env = os.environ if environ is None else environ
        where = Path(home if home is not None else env.get("VISUTILITY_HOME", HOME_NAME)).absolute()
        workers = env.get("VISUTILITY_WORKERS", str(min(4, os.cpu_count() or 1)))
        if not workers.isdecimal():
            raise InvalidSetting(f"VISUTILITY_WORKERS is {workers!r}", hint="set it to a whole number from 1 to 256")
        return cls(
            home=where,
            database=env.get("VISUTILITY_DATABASE", f"sqlite:///{where / 'visutility.db'}"),
            actor=env.get("VISUTILITY_ACTOR") or _login(),
            workers=int(workers),
        )


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in many containers
        return f"uid-{os.getuid()}"
