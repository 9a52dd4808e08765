"""A look at everything that can be wrong with an installation or a project, one line each."""

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from visutility.core.errors import Damaged, SetupNeeded, VisuTilityError
from visutility.core.settings import Settings
from visutility.loop.project import Project
from visutility.store import audit, health
from visutility.store.findings import Finding

FREE_BYTES = 100 * 2**20
_EXTRAS = {"sklearn": ("scikit-learn", "skops"), "vision": ("pillow",)}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `found` is what was seen, or what is wrong and the next move."""

    name: str
    good: bool
    found: str
    exit_code: int = 0


def examine(home: Path | None = None) -> list[Check]:
    """Return all checks, the failed ones with the exit code of their error. Changes nothing."""
    settings = Settings.load(home=home)
    checks = [
        Check("python", True, f"{platform.python_version()} on {platform.platform()}"),
        _extras(),
        _check("folder", lambda: _folder(settings)),
    ]
    database = _check("database", lambda: _database(settings))
    checks.append(database)
    if database.good:
        with Project.open(settings=settings) as project:
            checks.append(_check("artifacts", lambda: _artifacts(project)))
            checks.append(_check("audit log", lambda: _audit(project)))
    return checks


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except VisuTilityError as error:
        return Check(name, False, str(error), error.exit_code)


def _extras() -> Check:
    found = []
    for extra, packages in _EXTRAS.items():
        versions = [_version(package) for package in packages]
        found.append(f"[{extra}] {'missing' if None in versions else ' '.join(v for v in versions if v)}")
    return Check("extras", True, ", ".join(found))


def _version(package: str) -> str | None:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return None


def _folder(settings: Settings) -> str:
    home = settings.home
    if not home.is_dir():
        raise SetupNeeded(f"there is no folder {home}", hint="run `visutility init`")
    if not os.access(home, os.W_OK | os.X_OK):
        raise SetupNeeded(f"{home} cannot be written by this user", hint="check its owner and mode")
    free = shutil.disk_usage(home).free
    if free < FREE_BYTES:
        raise SetupNeeded(f"{free / 2**20:.0f} MiB are free in {home}", hint="free some space before training")
    return f"{home}, {free / 2**30:.1f} GiB free"


def _database(settings: Settings) -> str:
    with Project.open(settings=settings) as project, project.store.read() as connection:
        _none(health.examine(connection), "the database")
    return f"{settings.database}: every page, reference and guard is as it should be"


def _artifacts(project: Project) -> str:
    _none(project.registry.check_artifacts(), "the artifacts")
    return "every artifact that an alias points at is there, with the hash that was registered"


def _audit(project: Project) -> str:
    with project.store.read() as connection:
        _none(audit.verify(connection), "the audit log")
        return f"whole, {audit.head(connection).seq} events"


def _none(findings: Sequence[Finding], where: str) -> None:
    if findings:
        first = findings[0]
        raise Damaged(
            f"{len(findings)} findings in {where}; the first: {first.where} {first.problem}",
            hint="keep the files as they are, and compare with a backup",
        )
