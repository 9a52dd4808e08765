"""Models: a name and a task each. A model is made once and never renamed."""

from difflib import get_close_matches
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select

from visutility.core.codec import to_time
from visutility.core.errors import AlreadyExists, ModelNotFound
from visutility.core.ids import checked_name
from visutility.registry.types import CHALLENGER, CHAMPION, Model, ModelSummary, check_limit
from visutility.store import audit
from visutility.store.engine import Tx
from visutility.store.schema import model, model_alias, model_version

_insert = insert(model)
_by_name = select(model).where(model.c.name == bindparam("name"))
_some_names = select(model.c.name).order_by(model.c.name).limit(1000)


def _number_at(alias: str) -> Any:
    at = model_alias.c
    return (
        select(model_version.c.number)
        .join(model_alias, at.version_id == model_version.c.id)
        .where(at.model_id == model.c.id, at.name == alias)
        .scalar_subquery()
    )


_versions = select(func.max(model_version.c.number)).where(model_version.c.model_id == model.c.id).scalar_subquery()
_summaries = (
    select(
        model,
        _number_at(CHAMPION).label("champion"),
        _number_at(CHALLENGER).label("challenger"),
        func.coalesce(_versions, 0).label("versions"),
    )
    .where(model.c.name > bindparam("after"))
    .order_by(model.c.name)
    .limit(bindparam("limit"))
)


def create_model(tx: Tx, name: str, task: str, *, by: str, why: str = "") -> Model:
    """Make a model. Raises `InvalidName`, and `AlreadyExists` when the name is taken."""
    row = {
        "id": tx.new_id(),
        "name": checked_name(name, "model"),
        "task": checked_name(task, "task"),
        "created_at": tx.now(),
    }
    if tx.execute(_by_name, {"name": name}).first() is not None:
        raise AlreadyExists(f"model {name!r} exists already", hint="register versions of it, or choose another name")
    tx.execute(_insert, row)
    audit.append(tx, "model.created", name, by=by, why=why, after=row, covers=[("model", (row["id"],))])
    return _model(row)


def find(connection: Connection, name: str) -> Model:
    """Return the model with this name. Raises `InvalidName`, or `ModelNotFound` with the names that come close."""
    row = connection.execute(_by_name, {"name": checked_name(name, "model")}).mappings().one_or_none()
    if row is None:
        raise not_found(connection, name)
    return _model(dict(row))


def list_models(connection: Connection, *, after: str = "", limit: int = 100) -> list[ModelSummary]:
    """Return at most `limit` models by name, those after the name `after`. One SQL statement."""
    rows = connection.execute(_summaries, {"after": after, "limit": check_limit(limit)})
    return [ModelSummary(**{**row._mapping, "created_at": to_time(row.created_at)}) for row in rows]


def not_found(connection: Connection, name: str) -> ModelNotFound:
    """Return the error for a name that no model has."""
    names = list(connection.execute(_some_names).scalars())
    close = get_close_matches(name, names, n=3) or names[:5]
    known = f"the registry has {', '.join(close)}" if close else "the registry has no models yet"
    return ModelNotFound(f"no model is named {name!r}", hint=f"{known}; `visutility models` lists them")


def _model(row: dict[str, Any]) -> Model:
    return Model(id=row["id"], name=row["name"], task=row["task"], created_at=to_time(row["created_at"]))
