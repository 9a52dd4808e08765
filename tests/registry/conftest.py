"""A registry on an empty database, and one with the whole story of a retraining."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Float, Integer, LargeBinary, insert

from visutility.core.clock import SimulatedClock
from visutility.core.codec import dumps, sha256
from visutility.registry import NewVersion, Registry, aliases, versions
from visutility.store import Blobs, Store, Tx, audit, upgrade
from visutility.store.covered import COVERED
from visutility.store.schema import metadata

Make = Callable[..., NewVersion]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded database without rows; tests copy it."""
    path = tmp_path_factory.mktemp("empty") / "visutility.db"
    store = Store(f"sqlite:///{path}", SimulatedClock())
    upgrade(store)
    store.close()
    return path


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def path(empty_database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "visutility.db"))


@pytest.fixture
def registry(path: Path, clock: SimulatedClock) -> Iterator[Registry]:
    store = Store(f"sqlite:///{path}", clock)
    yield Registry(store, Blobs(path.parent / "blobs", clock))
    store.close()


@pytest.fixture
def make() -> Make:
    """Make a `NewVersion` of some bytes, with anything given."""

    def new(artifact: bytes = b"a model", **given: Any) -> NewVersion:
        values = {
            "model": "digits",
            "artifact_sha256": sha256(artifact),
            "artifact_format": "skops",
            "artifact_bytes": len(artifact),
            "recipe": "recipes:digits",
            "params": {"C": 1.0},
            "metrics": {"accuracy": 0.9},
        }
        return NewVersion(**{**values, **given})

    return new


@pytest.fixture
def digits(registry: Registry, clock: SimulatedClock, make: Make) -> Registry:
    """Four versions of digits, none promoted."""
    registry.create_model("digits", "classification", by="ada", why="a demo")
    for number in range(1, 5):
        clock.advance(60)
        artifact = b"model %d" % number
        new = make(artifact, params={"C": float(number)}, metrics={"accuracy": 0.5 + number / 10})
        registry.register(new, artifact, by="ada", why=f"try {number}")
    return registry


@pytest.fixture
def retrained(digits: Registry, make: Make) -> Registry:
    """digits:5 came of an alarm, was gated against digits:1 and promoted."""
    digits.promote("digits", 1, expected=None, by="ada", why="the first")
    digits.blobs.put(b"model 5")
    with digits.store.write("story") as tx:
        tell(tx, digits.get("digits:1").model_id, digits.get("digits:1").id)
        origin = {"study_id": "study-1", "trial_number": 1, "trigger_id": "trigger-1", "run_id": "run-1"}
        fingerprint = sha256("rows")
        data = {"snapshot_id": "snapshot-1", "data_fingerprint": fingerprint, "data_rows": 300}
        parent = digits.get("digits:1").id
        new = make(b"model 5", params={"C": 5.0}, parent_id=parent, **origin, **data)
        version = versions.register(tx, new, by="run/run-1", why="trial 1 was the best")
        gate = {"id": "gate-1", "run_id": "run-1", "champion_id": parent, "challenger_id": version.id}
        evidence = dumps({"metrics": {"gate.champion": {"accuracy": 0.5}, "gate.challenger": {"accuracy": 0.96}}})
        gate |= {"model_id": version.model_id, "answer": "pass", "reason": "better on fresh rows", "evidence": evidence}
        put(tx, "gate_report", "digits:5", **gate)
        by = {"by": "run/run-1", "why": "better on fresh rows", "run_id": "run-1", "gate_id": "gate-1"}
        aliases.promote(tx, "digits", 5, expected=1, **by)
    return digits


def tell(tx: Tx, model_id: str, champion: str) -> None:
    """Write what led to a retraining: values, alarm, trigger, run, study, trials, data."""
    of = {"model_id": model_id}
    where = {"metric": "loss", "first_position": 150, "count": 50, "total": 25.0, "version_number": 1}
    put(tx, "metric_chunk", "", id="chunk-1", event_id="e1", **of, **where)
    put(tx, "watch", "digits:1/loss", id="watch-1", reference='{"mean":0.02,"rows":200}', **of)
    alarm = {"watch_id": "watch-1", "chunk_id": "chunk-1", "metric": "loss", "level": "alarm", "detector": "e-detector"}
    alarm |= {"position": 187, "score": 1.5e6, "limit": 1e6, "promise": "ARL0 at least 1e6"}
    put(tx, "verdict", "digits/loss", id="verdict-1", **of, **alarm)
    trigger = {"verdict_id": "verdict-1", "decision": "run", "reason": "an alarm, no cooldown", "created_by": "policy"}
    put(tx, "retrain_trigger", "digits", id="trigger-1", **of, **trigger)
    put(tx, "run", "run-1", id="run-1", trigger_id="trigger-1", workflow="retrain", status="running", **of)
    for position, key in enumerate(("snapshot", "tune", "train")):
        put(tx, "run_step", "", run_id="run-1", key=key, position=position)
    study = {"id": "study-1", "name": "digits.run-1", "run_id": "run-1", "objective": "loss", "strategy": "bayesian"}
    put(tx, "study", "digits.run-1", strategy_reason="few trials, mixed space", trials=2, **study, **of)
    for number, value in enumerate((0.4, 0.04)):
        trial = {"state": "complete", "told": number, "params": f'{{"C":{number}.5}}', "origin": "bayesian"}
        put(tx, "trial", "", study_id="study-1", number=number, value=value, **trial)
    parts = '{"gate":{"rows":150},"train":{"rows":300}}'
    put(tx, "data_snapshot", "digits", id="snapshot-1", run_id="run-1", fingerprint=sha256("rows"), parts=parts, **of)


def put(tx: Tx, table: str, subject: str, **values: Any) -> None:
    """Insert a row with something of the right type in every column, and the event that covers it."""
    row = {}
    for column in metadata.tables[table].c:
        kind = column.type
        number = 1 if isinstance(kind, Integer) else 0.5 if isinstance(kind, Float) else None
        some = number or (b"\x00" * 8 if isinstance(kind, LargeBinary) else "{}")
        row[column.name] = values.get(column.name, None if column.nullable else some)
    tx.execute(insert(metadata.tables[table]), row)
    if table in COVERED:
        key = tuple(row[column.name] for column in metadata.tables[table].primary_key)
        audit.append(tx, f"{table}.made", subject, by="a test", covers=[(table, key)])
