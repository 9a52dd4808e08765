"""Reading versions and aliases. Every list is keyset-paged; the newest version is an index lookup, never a loop."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from sqlalchemy import JSON, Connection, bindparam, select, type_coerce

from visutility.core.codec import loads, to_time
from visutility.core.errors import AliasNotFound, NotFound, VersionNotFound
from visutility.core.ids import checked_name
from visutility.registry import models
from visutility.registry.types import (
    CHAMPION,
    Change,
    Diff,
    MetricFilter,
    Move,
    Ref,
    Version,
    as_filters,
    check_limit,
    parse_ref,
)
from visutility.store.schema import alias_move, model, model_alias, model_version

_v, _a, _m = model_version.c, model_alias.c, alias_move.c
_versions = select(model.c.name.label("model"), model_version).join(model, model.c.id == _v.model_id)
_newest_first = _versions.order_by(_v.number.desc()).limit(bindparam("limit"))
_of_model = model.c.name == bindparam("model")
_before, _after = model_version.alias("v_before"), model_version.alias("v_after")

# Built once: building costs more than running them.
_by_alias = _versions.join(model_alias, (_a.model_id == _v.model_id) & (_a.version_id == _v.id)).where(
    _of_model, _a.name == bindparam("alias")
)
_by_number = _versions.where(_of_model, _v.number == bindparam("number"))
_by_id = _versions.where(_v.id == bindparam("id"))
_latest = _newest_first.where(_of_model)
_page = _newest_first.where(_of_model, _v.number < bindparam("after"))
_aliases = (
    select(_a.name, _v.number)
    .join(model, model.c.id == _a.model_id)
    .join(model_version, (_v.model_id == _a.model_id) & (_v.id == _a.version_id))
    .where(_of_model)
    .order_by(_a.name)
)
_moves = (
    select(model.c.name.label("model"), alias_move, _before.c.number.label("was"), _after.c.number.label("version"))
    .join(model, model.c.id == _m.model_id)
    .join(_after, _after.c.id == _m.after_id)
    .outerjoin(_before, _before.c.id == _m.before_id)
    .order_by(_m.number.desc())
    .limit(bindparam("limit"))
)
_history = _moves.where(_of_model, _m.name == bindparam("alias"), _m.number < bindparam("after"))
_last_to = _moves.where(_m.model_id == bindparam("id"), _m.name == bindparam("alias"), _m.after_id == bindparam("to"))
_last_promotion_to = _last_to.where(_m.kind == "promote")
_targets = (
    select(model.c.name.label("model"), _a.name, _v.number, _v.artifact_sha256)
    .join(model, model.c.id == _a.model_id)
    .join(model_version, (_v.model_id == _a.model_id) & (_v.id == _a.version_id))
    .order_by(model.c.name, _a.name)
)
_ALL = 2**62


class AliasTarget(NamedTuple):
    """What an alias points at: "digits@champion", "digits:2" and the hash of its artifact."""

    alias: str
    version: str
    sha: str


def get(connection: Connection, ref: str) -> Version:
    """Return the version that "name@alias", "name:3" or "name" (its champion) names. One SQL statement.

    Raises `InvalidName`, `ModelNotFound`, `AliasNotFound` or `VersionNotFound`, which say what there is.
    """
    at = parse_ref(ref)
    if at.number is None:
        row = connection.execute(_by_alias, {"model": at.model, "alias": at.alias}).one_or_none()
    else:
        row = connection.execute(_by_number, {"model": at.model, "number": at.number}).one_or_none()
    if row is None:
        raise not_found(connection, at)
    return _version(row)


def get_by_id(connection: Connection, version_id: str) -> Version | None:
    """Return the version with this id, or None."""
    row = connection.execute(_by_id, {"id": version_id}).one_or_none()
    return None if row is None else _version(row)


def latest(connection: Connection, name: str) -> Version:
    """Return the version with the highest number. Raises `ModelNotFound` or `VersionNotFound`."""
    row = connection.execute(_latest, {"model": checked_name(name, "model"), "limit": 1}).one_or_none()
    if row is None:
        models.find(connection, name)
        raise VersionNotFound(f"{name} has no versions yet", hint="register one first")
    return _version(row)


def versions(connection: Connection, name: str, *, after: int | None = None, limit: int = 100) -> list[Version]:
    """Return at most `limit` versions, newest first, those older than number `after`. Raises `ModelNotFound`."""
    page = {"model": checked_name(name, "model"), "after": after or _ALL, "limit": check_limit(limit)}
    found = [_version(row) for row in connection.execute(_page, page)]
    if not found:
        models.find(connection, name)
    return found


def aliases(connection: Connection, name: str) -> dict[str, int]:
    """Return the model's aliases by name, each with the number it points at. Raises `ModelNotFound`."""
    found = {row.name: row.number for row in connection.execute(_aliases, {"model": checked_name(name, "model")})}
    if not found:
        models.find(connection, name)
    return found


def alias_targets(connection: Connection) -> list[AliasTarget]:
    """Return every alias of every model and what it points at, by name."""
    return [
        AliasTarget(f"{row.model}@{row.name}", f"{row.model}:{row.number}", row.artifact_sha256)
        for row in connection.execute(_targets)
    ]


def history(
    connection: Connection, name: str, alias: str = CHAMPION, *, after: int | None = None, limit: int = 100
) -> list[Move]:
    """Return at most `limit` moves of an alias, newest first, those before position `after`.

    Raises `ModelNotFound` or `AliasNotFound`.
    """
    at = Ref(checked_name(name, "model"), checked_name(alias, "alias"), None)
    page = {"model": at.model, "alias": at.alias, "after": after or _ALL, "limit": check_limit(limit)}
    found = [_move(row) for row in connection.execute(_history, page)]
    if not found and after is None:
        raise not_found(connection, at)
    return found


def last_moves_to(connection: Connection, version: Version, alias: str) -> list[Move]:
    """Return the newest promotion of the alias to this version and the newest move to it, oldest first, each once."""
    wanted = {"id": version.model_id, "alias": alias, "to": version.id, "limit": 1}
    rows = (connection.execute(query, wanted).one_or_none() for query in (_last_promotion_to, _last_to))
    found = {move.position: move for move in (_move(row) for row in rows if row is not None)}
    return [found[position] for position in sorted(found)]


def search(
    connection: Connection,
    *,
    model_name: str | None = None,
    where: Sequence[MetricFilter | str] = (),
    after: str | None = None,
    limit: int = 100,
) -> list[Version]:
    """Return at most `limit` versions that pass every filter, newest first, those older than version id `after`.

    A filter is a `MetricFilter` or a text such as "accuracy >= 0.9". Reads versions until the page is full; those
    registered within one millisecond come in any order, always the same.
    Raises `Invalid`, or `ModelNotFound`.
    """
    query = _versions.order_by(_v.id.desc()).limit(check_limit(limit))
    if model_name is not None:
        query = query.where(_v.model_id == models.find(connection, model_name).id)
    if after is not None:
        query = query.where(_v.id < after)
    for one in as_filters(where):
        value: Any = type_coerce(_v.metrics, JSON)[one.metric].as_float()
        query = query.where(_COMPARE[one.comparison](value, one.value))
    return [_version(row) for row in connection.execute(query)]


def diff(connection: Connection, before: str, after: str) -> Diff:
    """Return what differs between two versions in parameters, metrics and data. Raises what `get` raises."""
    a, b = get(connection, before), get(connection, after)
    return Diff(
        before=a.ref,
        after=b.ref,
        params=_changes(a.params, b.params),
        metrics=_changes(a.metrics, b.metrics),
        data=_changes(_data(a), _data(b)),
        same_artifact=a.artifact_sha256 == b.artifact_sha256,
    )


def not_found(connection: Connection, at: Ref) -> NotFound:
    """Return the error for a version that is not there: what is missing, and what there is instead."""
    models.find(connection, at.model)
    if at.number is not None:
        newest = connection.execute(_latest, {"model": at.model, "limit": 1}).one_or_none()
        has = "it has none yet" if newest is None else f"its versions are 1 to {newest.number}"
        return VersionNotFound(
            f"{at.model} has no version {at.number}",
            hint=f"{has}; `visutility versions {at.model}` lists them",
        )
    found = aliases(connection, at.model)
    close = get_close_matches(at.alias or "", found, n=1)
    has = f"did you mean {at.model}@{close[0]}?" if close else f"it has {', '.join(found) or 'no aliases yet'}"
    return AliasNotFound(f"{at.model} has no alias {at.alias!r}", hint=has)


_COMPARE: dict[str, Any] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _data(version: Version) -> dict[str, Any]:
    found = {
        "fingerprint": version.data_fingerprint,
        "rows": version.data_rows,
        "snapshot": version.snapshot_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Change]:
    names = sorted(before.keys() | after.keys())
    changes = {name: Change(before.get(name), after.get(name)) for name in names}
    return {name: change for name, change in changes.items() if not _same(*change)}


def _same(before: Any, after: Any) -> bool:
    """True and 1, and 1 and 1.0, are different parameters."""
    return type(before) is type(after) and before == after


def _version(row: Any) -> Version:
    values = dict(row._mapping)
    for name in ("params", "metrics", "environment"):
        values[name] = loads(values[name])
    values["created_at"] = to_time(values["created_at"])
    return Version(**values)


def _move(row: Any) -> Move:
    return Move(
        model=row.model,
        name=row.name,
        position=row.number,
        before=row.was,
        number=row.version,
        kind=row.kind,
        run_id=row.run_id,
        gate_id=row.gate_id,
        at=to_time(row.moved_at),
        by=row.moved_by,
        why=row.why,
    )
