"""How a covered row is named for people, whether it is still there or only the log remembers it."""

from typing import Any

from sqlalchemy import ColumnClause, Connection, column, select, table

from visutility.store._audit_hash import COVERED_TOGETHER, table_of
from visutility.store._audit_scratch import Known, Scratch

_SUBJECT_NAMES = ("model", "model_version", "study")  # an event about such a row has its name as the subject


class Names:
    """Names of rows: the log's word first, the tables' otherwise, the primary key when neither says more."""

    def __init__(self, connection: Connection, scratch: Scratch) -> None:
        self._connection = connection
        self._scratch = scratch

    def of(self, name: str, key: tuple[Any, ...], known: Known | None) -> str:
        """Return for example "model_version digits:2" or "model_alias digits@champion"."""
        if name in _SUBJECT_NAMES and known is not None and known.subject:
            return f"{name} {known.subject}"
        of = table_of(name)
        shown, _ = COVERED_TOGETHER.get(name, (of, ()))
        return f"{shown} {self._words(of, key)}"

    def _words(self, of: str, key: tuple[Any, ...]) -> object:
        if of in ("model", "policy"):
            return self._model(key[0])
        if of == "model_version":
            return self._version(key[0])
        if of in ("model_alias", "alias_move"):
            return f"{self._model(key[0])}@{key[1]}{f'#{key[2]}' if of == 'alias_move' else ''}"
        if of == "study":
            return self._study(key[0])
        if of == "trial":
            return f"{self._study(key[0])}/{key[1]}"
        return "/".join(map(str, key))

    def _model(self, model_id: object) -> object:
        known = self._scratch.newest("model", (model_id,))
        if known is not None and known.subject:
            return known.subject
        return self._value("model", "name", model_id) or model_id

    def _study(self, study_id: object) -> object:
        known = self._scratch.newest("study", (study_id,))
        if known is not None and known.subject:
            return known.subject
        return self._value("study", "name", study_id) or study_id

    def _version(self, version_id: object) -> object:
        model_id = self._value("model_version", "model_id", version_id)
        if model_id is None:
            return version_id
        return f"{self._model(model_id)}:{self._value('model_version', 'number', version_id)}"

    def _value(self, name: str, wanted: str, row_id: object) -> object:
        found: ColumnClause[Any] = column(wanted)
        query = select(found).select_from(table(name)).where(column("id") == row_id)
        return self._connection.execute(query).scalar_one_or_none()
