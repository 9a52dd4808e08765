"""The registry as a whole: one transaction a call, on top of the functions that take an open one."""

from collections.abc import Sequence
from typing import Literal, final

from sqlalchemy import Connection

from visutility.core.codec import sha256
from visutility.core.errors import ArtifactTampered, BlobNotFound, Invalid
from visutility.registry import aliases, models, queries, versions
from visutility.registry.types import CHAMPION, Diff, Link, MetricFilter, Model, ModelSummary, Move, NewVersion, Version
from visutility.registry.why import why
from visutility.store.blobs import Blobs
from visutility.store.engine import Store
from visutility.store.findings import Finding


@final
class Registry:
    """Models, their versions and aliases. Safe to share between threads; any number of processes may have one.

    A version is named by "name@alias", "name:3", or "name" for its champion. Names that do not exist raise
    `ModelNotFound`, `VersionNotFound` or `AliasNotFound`, which say what there is.
    """

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self.store = store
        self.blobs = blobs

    # -- writing -----------------------------------------------------------------------------------------------------

    def create_model(self, name: str, task: str, *, by: str, why: str = "") -> Model:
        """Make a model. Raises `InvalidName` or `AlreadyExists`."""
        with self.store.write("registry.create-model") as tx:
            return models.create_model(tx, name, task, by=by, why=why)

    def register(self, new: NewVersion, artifact: bytes | None = None, *, by: str, why: str) -> Version:
        """Register a version as challenger. `artifact` is stored first, unless its bytes are in the blobs already.

        Raises `Invalid` when hash or size are not the artifact's, `BlobNotFound`, and what `versions.register` raises.
        """
        if artifact is not None and sha256(artifact) == new.artifact_sha256:
            self.blobs.put(artifact)
        found = self.blobs.get(new.artifact_sha256) if artifact is None else artifact
        if (sha256(found), len(found)) != (new.artifact_sha256, new.artifact_bytes):
            raise Invalid(
                f"the artifact has {len(found)} bytes and hash {sha256(found)}, not {new.artifact_bytes} bytes and "
                f"hash {new.artifact_sha256}",
                hint="give hash and size of the bytes that are registered",
            )
        with self.store.write("registry.register") as tx:
            return versions.register(tx, new, by=by, why=why)

    def promote(
        self, name: str, number: int, *, expected: int | None, by: str, why: str, gate_id: str | None = None
    ) -> Move:
        """Make a version the champion, if `expected` still is (None: there is none yet). Its artifact is checked first.

        Raises `AliasMoved`, `BlobNotFound` or `ArtifactTampered`.
        """
        self.load_artifact(self.get(f"{name}:{number}"))
        with self.store.write("registry.promote") as tx:
            return aliases.promote(tx, name, number, expected=expected, by=by, why=why, gate_id=gate_id)

    def rollback(self, name: str, *, by: str, why: str, expected: int | None = None) -> Move:
        """Make the champion before this one champion again. Raises `AliasMoved` or `NothingToRollBack`."""
        with self.store.write("registry.rollback") as tx:
            return aliases.rollback(tx, name, by=by, why=why, expected=expected)

    def move_alias(self, name: str, alias: str, *, to: int, expected: int | None, by: str, why: str) -> Move:
        """Point an alias of your own at a version. Raises `Invalid` for champion and challenger, and `AliasMoved`."""
        if alias in aliases.RESERVED:
            raise Invalid(f"alias {alias!r} does not move by itself", hint="use register, promote or rollback")
        with self.store.write("registry.move-alias") as tx:
            return aliases.move_alias(tx, name, alias, to=to, expected=expected, by=by, why=why)

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, ref: str) -> Version:
        """Return the version that `ref` names. One SQL statement."""
        with self.store.read() as connection:
            return queries.get(connection, ref)

    def get_in(self, connection: Connection, ref: str) -> Version:
        """Return the version that `ref` names, as an open transaction sees it."""
        return queries.get(connection, ref)

    def load_artifact(self, version: Version) -> bytes:
        """Return the version's artifact; its hash is checked on these very bytes.

        Raises `BlobNotFound` or `ArtifactTampered`.
        """
        return self.blobs.get(version.artifact_sha256)

    def latest(self, name: str) -> Version:
        """Return the version with the highest number."""
        with self.store.read() as connection:
            return queries.latest(connection, name)

    def find_model(self, name: str) -> Model:
        """Return a model by its name."""
        with self.store.read() as connection:
            return models.find(connection, name)

    def models(self, *, after: str = "", limit: int = 100) -> list[ModelSummary]:
        """Return at most `limit` models by name, those after the name `after`."""
        with self.store.read() as connection:
            return models.list_models(connection, after=after, limit=limit)

    def versions(self, name: str, *, after: int | None = None, limit: int = 100) -> list[Version]:
        """Return at most `limit` versions, newest first, those older than number `after`."""
        with self.store.read() as connection:
            return queries.versions(connection, name, after=after, limit=limit)

    def aliases(self, name: str) -> dict[str, int]:
        """Return the model's aliases by name, each with the number it points at."""
        with self.store.read() as connection:
            return queries.aliases(connection, name)

    def history(self, name: str, alias: str = CHAMPION, *, after: int | None = None, limit: int = 100) -> list[Move]:
        """Return at most `limit` moves of an alias, newest first, those before position `after`."""
        with self.store.read() as connection:
            return queries.history(connection, name, alias, after=after, limit=limit)

    def diff(self, before: str, after: str) -> Diff:
        """Return what differs between two versions in parameters, metrics and data."""
        with self.store.read() as connection:
            return queries.diff(connection, before, after)

    def search(
        self,
        name: str | None = None,
        where: Sequence[MetricFilter | str] = (),
        *,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Version]:
        """Return at most `limit` versions that pass every filter ("accuracy >= 0.9"), newest first.

        `after` is the id of the last version of the page before.
        """
        with self.store.read() as connection:
            return queries.search(connection, model_name=name, where=where, after=after, limit=limit)

    def why(self, ref: str) -> list[Link]:
        """Return the chain of causes of a version, oldest first. A link with a `problem` is damage."""
        with self.store.read() as connection:
            return why(connection, ref)

    def check_artifacts(self) -> list[Finding]:
        """Return every alias whose version's artifact is missing or does not have its hash. Reads them all."""
        with self.store.read() as connection:
            targets = queries.alias_targets(connection)
        state = {sha: self._artifact_state(sha) for sha in sorted({target.sha for target in targets})}
        return [
            Finding(f"model_alias {target.alias}", f"points at {target.version}, whose artifact {state[target.sha]}")
            for target in targets
            if state[target.sha] != "whole"
        ]

    def _artifact_state(self, sha: str) -> Literal["whole", "is missing", "does not have its hash"]:
        try:
            self.blobs.get(sha)
        except BlobNotFound:
            return "is missing"
        except ArtifactTampered:
            return "does not have its hash"
        return "whole"
