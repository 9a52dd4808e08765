"""Registering a version: the only way one comes to be. Nothing changes or removes one; the database refuses it."""

from typing import Any

from sqlalchemy import bindparam, func, insert, select

from visutility.core.codec import dumps
from visutility.core.errors import NotFound, TrialNotFound, VersionNotFound
from visutility.registry import queries
from visutility.registry.aliases import find_alias, write_move
from visutility.registry.types import CHALLENGER, NewVersion, Version
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import model_version, trial

_v = model_version.c
_of_run = select(_v.id).where(_v.run_id == bindparam("run_id"))
_highest = select(func.max(_v.number)).where(_v.model_id == bindparam("model_id"))
_trial_state = select(trial.c.state).where(
    trial.c.study_id == bindparam("study_id"), trial.c.number == bindparam("number")
)
_insert = insert(model_version)


def register(tx: Tx, new: NewVersion, *, by: str, why: str) -> Version:
    """Register a version under the next number and point `challenger` at it. It serves nothing until promoted.

    A run registers at most one version: the same `run_id` again writes nothing and returns the version it has.
    Raises `ModelNotFound`, `TrialNotFound`, or `NotFound` when it refers to something that does not exist.
    """
    known = _known(tx, new.run_id)
    if known is not None:
        return known
    at = find_alias(tx, new.model, CHALLENGER)
    if new.trial_number is not None:
        _check_trial(tx, new)
    row = _row(tx, new, at.model_id, by)
    try:
        tx.execute(_insert, row)
    except NotFound as error:
        raise NotFound(
            f"the new version of {new.model} refers to something that does not exist",
            hint="check snapshot_id, study_id, parent_id, trigger_id and run_id",
        ) from error
    written = write_move(tx, at, row["id"], row["number"], kind="register", by=by, why=why, run_id=new.run_id)
    audit.append(
        tx,
        "version.registered",
        f"{new.model}:{row['number']}",
        by=by,
        why=why,
        before={"alias": written.before},
        after={
            "version": {"id": row["id"], "number": row["number"], "artifact_sha256": new.artifact_sha256},
            "alias": written.after,
        },
        covers=[("model_version", (row["id"],)), *written.covers],
    )
    return _get(tx, row["id"])


def _known(tx: Tx, run_id: str | None) -> Version | None:
    if run_id is None:
        return None
    found = tx.execute(_of_run, {"run_id": run_id}).scalar_one_or_none()
    return None if found is None else _get(tx, found)


def _get(tx: Tx, version_id: str) -> Version:
    found = queries.get_by_id(tx.connection, version_id)
    if found is None:
        raise VersionNotFound(f"version {version_id} vanished", hint="run `visutility audit verify`")
    return found


def _check_trial(tx: Tx, new: NewVersion) -> None:
    state = tx.execute(_trial_state, {"study_id": new.study_id, "number": new.trial_number}).scalar_one_or_none()
    if state is None:
        raise TrialNotFound(
            f"study {new.study_id} has no trial {new.trial_number}", hint="name the trial whose parameters these are"
        )


def _row(tx: Tx, new: NewVersion, model_id: str, by: str) -> dict[str, Any]:
    highest = tx.execute(_highest, {"model_id": model_id}).scalar_one_or_none()
    return {
        "id": tx.new_id(),
        "model_id": model_id,
        "number": (highest or 0) + 1,
        "artifact_sha256": new.artifact_sha256,
        "artifact_format": new.artifact_format,
        "artifact_bytes": new.artifact_bytes,
        "recipe": new.recipe,
        "params": dumps(new.params),
        "metrics": dumps({name: float(value) for name, value in new.metrics.items()}),
        "data_fingerprint": new.data_fingerprint,
        "data_rows": new.data_rows,
        "snapshot_id": new.snapshot_id,
        "study_id": new.study_id,
        "trial_number": new.trial_number,
        "parent_id": new.parent_id,
        "trigger_id": new.trigger_id,
        "run_id": new.run_id,
        "code_revision": new.code_revision,
        "environment": dumps(new.environment),
        "created_at": tx.now(),
        "created_by": by,
    }
