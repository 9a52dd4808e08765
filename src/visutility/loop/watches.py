"""Watches: one metric of one version under one detector, with limits learnt from a reference window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, insert, select, update

from visutility.core.codec import dumps, loads
from visutility.loop.policy import Normal, Watch
from visutility.loop.recipe import OF_LOSSES
from visutility.loop.work import of_rows
from visutility.monitor import make_detector
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import metric_chunk, model_version, watch

_STOP = (
    update(watch)
    .where(watch.c.model_id == bindparam("model"), watch.c.status == "active")
    .values(status="stopped", updated_at=bindparam("now"))
)
_END = (
    select(metric_chunk.c.first_position + metric_chunk.c["count"])
    .where(metric_chunk.c.model_id == bindparam("model"), metric_chunk.c.metric == bindparam("metric"))
    .order_by(metric_chunk.c.first_position.desc())
    .limit(1)
)


def start_watches(
    tx: Tx,
    *,
    model_id: str,
    name: str,
    version: int,
    watches: Sequence[Watch],
    reference: NDArray[np.float64] | None,
    by: str,
    why: str,
    given: bool = False,
) -> list[str]:
    """Watch a version from now on, with limits learnt from `reference`, shape (n,); stop watching others.

    `given` notes that a person gave the reference, so that nobody takes another metric's for it later. Without one
    nothing is watched, and the audit log says so. The detectors raise `EmptyWindow` or `InvalidObservation` for a
    reference they cannot learn from, as does a tolerance for one that is not in [0, 1].
    """
    if reference is None:
        of = ", ".join(sorted({one.metric for one in watches}))
        unknown = f"the window of {of} was given by hand, and the recipe has no such signal: watch it anew"
        leave_unwatched(tx, model_id, f"{name}:{version}", by=by, why=unknown)
        return []
    ends = _stop(tx, model_id, [one.metric for one in watches])
    started = []
    for one in watches:
        detector = make_detector(one.detector, **one.settings)
        state = detector.init([reference])
        learnt = detector.learnt(state, 0) | {"rows": len(reference), "mean": float(reference.mean())}
        learnt |= {"given": True} if given else {}
        if one.tolerance is not None:
            learnt |= {"tolerance": one.tolerance, "start": ends[one.metric]}
            learnt |= msgspec.structs.asdict(Normal.of(reference))
        watch_id = tx.new_id()
        tx.execute(
            insert(watch),
            {
                "id": watch_id,
                "model_id": model_id,
                "metric": one.metric,
                "detector": one.detector,
                "settings": dumps(one.settings),
                "version_number": version,
                "reference": dumps(learnt),
                "state": detector.save(state),
                "position": 0,
                "status": "active",
                "created_at": tx.now(),
                "updated_at": tx.now(),
            },
        )
        audit.append(
            tx,
            "watch.started",
            f"{name}:{version}/{one.metric}",
            by=by,
            why=why,
            after={
                "detector": one.detector,
                "learnt": learnt,
                "promise": detector.promise(len(reference)),
                "ends": ends,
            },
            covers=[("watch", (watch_id,))],
        )
        started.append(watch_id)
    return started


@dataclass(frozen=True, slots=True)
class Watched:
    """An active watch: what its detector learnt from the reference window, and how many values it has seen."""

    metric: str
    detector: str
    version: int
    learnt: dict[str, float]
    seen: int


def active_watches(connection: Connection, model_id: str) -> list[Watched]:
    """Return the watches of the version that is watched now."""
    rows = connection.execute(select(watch).where(watch.c.model_id == model_id, watch.c.status == "active"))
    return [
        Watched(row.metric, row.detector, row.version_number, loads(row.reference), row.position) for row in rows.all()
    ]


def is_watched(connection: Connection, model_id: str, version: int) -> bool:
    """Return whether this is the version that is watched now."""
    return any(one.version == version for one in active_watches(connection, model_id))


def window_of(
    connection: Connection, version_id: str, metric: str, evaluation: Mapping[str, Any]
) -> list[float] | None:
    """Return a metric of each gate row of a new version, by its evaluation: its losses, or the signal of that name.

    A name that is neither means the loss, too, but not where a person gave the reference window that the model's last
    watch of that metric had: then nobody knows the new one, and this is None. `version_id` is any of the model's.
    """
    if metric not in OF_LOSSES and metric not in evaluation.get("signals", {}):
        c = watch.c
        model = select(model_version.c.model_id).where(model_version.c.id == version_id).scalar_subquery()
        last = select(c.reference).where(c.model_id == model, c.metric == metric).order_by(c.id.desc()).limit(1)
        if loads(connection.execute(last).scalar() or "{}").get("given", False):
            return None
    return of_rows(evaluation, metric)


def leave_unwatched(tx: Tx, model_id: str, ref: str, *, by: str, why: str) -> None:
    """Stop watching a model, whose version `ref` serves and has no reference window; the audit log says why."""
    active = select(watch.c.id).where(watch.c.model_id == model_id, watch.c.status == "active").order_by(watch.c.id)
    stopped = [str(one) for one in tx.execute(active).scalars()]
    ends = _stop(tx, model_id, ())
    audit.append(tx, "watch.missing", ref, by=by, why=why, after={"stopped": stopped, "ends": ends})


def resume_watches(
    tx: Tx, *, model_id: str, name: str, version: int, watches: Sequence[Watch], by: str, why: str
) -> bool:
    """Watch a version again as it was watched last, evidence included, and stop watching others.

    Returns False, and changes nothing, when it was never watched as `watches` say.
    """
    c = watch.c
    rows = tx.execute(
        select(c.id, c.metric, c.detector, c.settings, c.reference)
        .where(c.model_id == model_id, c.version_number == version)
        .order_by(c.id)
    )
    newest = {
        (row.metric, row.detector, row.settings, loads(row.reference).get("tolerance")): str(row.id) for row in rows
    }
    wanted = [newest.get((one.metric, one.detector, dumps(one.settings), one.tolerance)) for one in watches]
    if None in wanted:
        return False
    ends = _stop(tx, model_id, [one.metric for one in watches])
    tx.execute(update(watch).where(c.id.in_(wanted)).values(status="active", updated_at=tx.now()))
    audit.append(tx, "watch.resumed", f"{name}:{version}", by=by, why=why, after={"watches": wanted, "ends": ends})
    return True


def _stop(tx: Tx, model_id: str, metrics: Sequence[str]) -> dict[str, int]:
    """Stop a model's watches. Returns where its streams of these metrics and of what was watched end, by metric."""
    c = watch.c
    watched = tx.execute(select(c.metric).where(c.model_id == model_id, c.status == "active")).scalars()
    every = sorted({*metrics, *watched})
    tx.execute(_STOP, {"model": model_id, "now": tx.now()})
    return {one: tx.execute(_END, {"model": model_id, "metric": one}).scalar() or 0 for one in every}
