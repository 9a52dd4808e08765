"""Registering: numbered, audited, idempotent by run, immutable; refused when something does not fit."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from visutility.core.clock import SimulatedClock
from visutility.core.errors import (
    AlreadyExists,
    BlobNotFound,
    Invalid,
    InvalidName,
    ModelNotFound,
    NotFound,
    TrialNotFound,
    UnsafeFormat,
    VersionNotFound,
)
from visutility.registry import NewVersion, Registry, versions
from visutility.store import audit

Make = Callable[..., NewVersion]


def test_a_version_comes_back_as_it_was_registered(registry: Registry, make: Make, clock: SimulatedClock) -> None:
    registry.create_model("digits", "classification", by="ada")
    clock.advance(5)
    new = make(
        b"bytes",
        params={"C": 0.5, "kernel": "rbf", "shrink": True, "degree": 3},
        metrics={"accuracy": 0.97, "f1": 1},
        data_fingerprint="f" * 64,
        data_rows=1200,
        code_revision="sha256:abc",
        environment={"python": "3.11"},
    )
    made = registry.register(new, b"bytes", by="ada", why="first")
    assert registry.get("digits:1") == made
    assert (made.model, made.number, made.ref) == ("digits", 1, "digits:1")
    assert made.params == {"C": 0.5, "kernel": "rbf", "shrink": True, "degree": 3}
    assert [type(value) for value in made.params.values()] == [float, int, str, bool]
    assert made.metrics == {"accuracy": 0.97, "f1": 1.0}
    assert (made.created_at, made.created_by) == (clock.now(), "ada")
    assert (made.data_rows, made.environment, made.code_revision) == (1200, {"python": "3.11"}, "sha256:abc")
    assert registry.load_artifact(made) == b"bytes"


def test_values_are_copies(digits: Registry) -> None:
    digits.get("digits:1").params["C"] = 99.0
    assert digits.get("digits:1").params == {"C": 1.0}


def test_numbers_count_up_and_challenger_follows(digits: Registry) -> None:
    assert [version.number for version in digits.versions("digits")] == [4, 3, 2, 1]
    assert digits.aliases("digits") == {"challenger": 4}
    assert digits.latest("digits").number == 4
    moves = digits.history("digits", "challenger")
    assert [(move.before, move.number, move.kind) for move in moves] == [
        (3, 4, "register"),
        (2, 3, "register"),
        (1, 2, "register"),
        (None, 1, "register"),
    ]


def test_one_event_tells_of_a_registration_and_covers_its_rows(digits: Registry) -> None:
    version = digits.get("digits:2")
    with digits.store.read() as connection:
        (event,) = audit.events(connection, subject="digits:2")
    assert (event.kind, event.by, event.why) == ("version.registered", "ada", "try 2")
    assert [(cover.table, cover.key) for cover in event.covers] == [
        ("model_version", (version.id,)),
        ("model_alias", (version.model_id, "challenger")),
        ("alias_move", (version.model_id, "challenger", 2)),
    ]


def test_a_run_registers_once(retrained: Registry, make: Make) -> None:
    version = retrained.get("digits:5")
    before = _head(retrained)
    again = make(b"other bytes", run_id="run-1", params={"C": 7.0})
    assert retrained.register(again, b"other bytes", by="run/run-1", why="again") == version
    assert _head(retrained) == before
    assert retrained.latest("digits").number == 5


def _head(registry: Registry) -> audit.Head:
    with registry.store.read() as connection:
        return audit.head(connection)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"model": "Digits"}, InvalidName, "model name 'Digits'"),
        ({"model": ""}, InvalidName, "model name ''"),
        ({"model": "../digits"}, InvalidName, "does not fit"),
        ({"artifact_format": "pickle"}, UnsafeFormat, "can run code"),
        ({"artifact_format": "joblib"}, UnsafeFormat, "skops, safetensors or ONNX"),
        ({"artifact_sha256": "abc"}, Invalid, "artifact_sha256 is 'abc'"),
        ({"data_fingerprint": "F" * 64}, Invalid, "data_fingerprint"),
        ({"artifact_bytes": -1}, Invalid, "artifact_bytes is -1"),
        ({"data_rows": 1.5}, Invalid, "data_rows is 1.5"),
        ({"trial_number": 3}, Invalid, "trial 3 belongs to no study"),
        ({"recipe": ""}, Invalid, "recipe is ''"),
        ({"params": {"C": float("nan")}}, Invalid, "parameter C is nan"),
        ({"params": {"C": [1]}}, Invalid, r"parameter C is \[1\]"),
        ({"params": {"": 1}}, InvalidName, "parameter name ''"),
        ({"metrics": {"accuracy": float("nan")}}, Invalid, "metric accuracy is nan"),
        ({"metrics": {"accuracy": "high"}}, Invalid, "metric accuracy is 'high'"),
        ({"metrics": {"Top 5": 0.5}}, InvalidName, "metric name 'Top 5'"),
        ({"environment": {"python": "x" * 3000}}, Invalid, "python is"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(make: Make, given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make(**given)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"model": "digit"}, ModelNotFound, "no model is named 'digit'. the registry has digits"),
        ({"parent_id": "nobody"}, NotFound, "refers to something that does not exist"),
        ({"run_id": "nobody"}, NotFound, "check snapshot_id, study_id, parent_id, trigger_id and run_id"),
        ({"study_id": "nobody"}, NotFound, "refers to something"),
        ({"study_id": "nobody", "trial_number": 1}, TrialNotFound, "study nobody has no trial 1"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused_and_nothing_is_registered(
    digits: Registry, make: Make, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    before = _head(digits)
    with pytest.raises(error, match=says):
        digits.register(make(b"model 1", **given), by="ada", why="")
    assert _head(digits) == before
    assert digits.latest("digits").number == 4


def test_the_artifact_must_be_there_with_its_hash_and_size(digits: Registry, make: Make) -> None:
    with pytest.raises(BlobNotFound):
        digits.register(make(b"never stored"), by="ada", why="")
    with pytest.raises(Invalid, match="not 7 bytes and hash"):
        digits.register(make(b"model 1"), b"model 2", by="ada", why="")
    with pytest.raises(Invalid, match="not 8 bytes"):
        digits.register(make(b"model 1", artifact_bytes=8), by="ada", why="")
    assert digits.latest("digits").number == 4


def test_a_model_s_name_is_taken_once(digits: Registry) -> None:
    with pytest.raises(AlreadyExists, match="model 'digits' exists already"):
        digits.create_model("digits", "classification", by="eve")
    for name in ("", "Digits", "digits:1", "digits@x", "-digits", "a" * 65, "é", "a/b", "digits\n"):
        with pytest.raises(InvalidName):
            digits.create_model(name, "classification", by="eve")
    assert [model.name for model in digits.models()] == ["digits"]


def test_a_model_without_versions_has_none(registry: Registry) -> None:
    registry.create_model("empty", "classification", by="ada")
    assert registry.versions("empty") == []
    assert registry.aliases("empty") == {}
    with pytest.raises(VersionNotFound, match="no versions yet"):
        registry.latest("empty")
    with pytest.raises(VersionNotFound, match="it has none yet"):
        registry.get("empty:1")


def test_registering_in_a_transaction_that_fails_leaves_nothing(digits: Registry, make: Make) -> None:
    before = _head(digits)
    with pytest.raises(KeyError), digits.store.write("test") as tx:
        raise KeyError(versions.register(tx, make(b"model 1"), by="ada", why="").number)
    assert _head(digits) == before
    assert digits.latest("digits").number == 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE model_version SET metrics = '{}' WHERE number = 1",
        "DELETE FROM model_version WHERE number = 1",
        "DELETE FROM model_version",
        "REPLACE INTO model_version SELECT * FROM model_version WHERE number = 1",
        "UPDATE alias_move SET why = 'x'",
        "DELETE FROM alias_move",
    ],
)
def test_plain_sql_cannot_change_a_registered_version(digits: Registry, path: Path, statement: str) -> None:
    before = digits.versions("digits")
    with closing(sqlite3.connect(path)) as raw, pytest.raises(sqlite3.IntegrityError, match=r"^immutable: "):
        raw.execute(statement)
    assert digits.versions("digits") == before
