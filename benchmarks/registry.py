"""CPU time and SQL statements of register, promote and get-by-alias at 10, 1,000 and 100,000 versions.

Each number is the median over calls, after a warm-up. `ms` is CPU time of the process (`time.process_time`), so it
leaves out waiting for the disk; `wall` is with it (`synchronous=FULL`). `SQL` counts statements sent to the database,
without BEGIN and COMMIT. Ours: every version is a row with its audit event and alias move, and the log is verified at
the end. MLflow, when it is installed, is measured through its client on a SQLite file of its own; its rows are copies
of one that its client made, so that 100,000 of them do not take an hour.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, insert, select, text

from visutility.core.clock import SystemClock
from visutility.core.codec import dumps
from visutility.registry import NewVersion, Registry
from visutility.store import Blobs, Store, audit, upgrade
from visutility.store._audit_hash import event_hash, row_hash
from visutility.store.schema import alias_move, audit_event, audit_head, model_alias, model_version

SIZES = (10, 1_000, 100_000)
CHUNK = 5_000


class Ours:
    """This package's registry on a new database."""

    title = "visutility"

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder}/visutility.db", SystemClock())
        upgrade(self.store)
        self.registry = Registry(self.store, Blobs(folder / "blobs"))
        self.registry.create_model("m", "classification", by="bench")
        self.new = NewVersion(
            model="m",
            artifact_sha256=self.registry.blobs.put(b"artifact"),
            artifact_format="skops",
            artifact_bytes=8,
            recipe="a:recipe",
            params={"lr": 0.01, "layers": 3, "opt": "adam"},
            metrics={"accuracy": 0.95, "f1": 0.94, "loss": 0.2},
        )
        self.register()
        self.champion = self.registry.promote("m", 1, expected=None, by="bench", why="first").number
        self.engines: list[Engine] = [self.store.engine]

    def grow(self, to: int) -> None:
        """Add versions, each with its move of `challenger` and the audit event that covers all three rows."""
        last = self.registry.latest("m")
        with self.store.write("bench") as tx:
            version = dict(tx.execute(select(model_version).where(model_version.c.id == last.id)).mappings().one())
            alias = dict(tx.execute(select(model_alias).where(model_alias.c.name == "challenger")).mappings().one())
            move = dict(tx.execute(select(alias_move).order_by(alias_move.c.name, alias_move.c.number.desc()))
                        .mappings().first() or {})  # fmt: skip
            seq, previous = audit.head(tx.connection)
            rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
            for number in range(last.number + 1, to + 1):
                left = {"alias": dict(alias)}
                version = {**version, "id": tx.new_id(), "number": number}
                before_id, alias["version_id"], alias["moves"] = alias["version_id"], version["id"], number
                move = {**move, "number": number, "before_id": before_id, "after_id": version["id"]}
                keys = ((version["id"],), (alias["model_id"], "challenger"), (alias["model_id"], "challenger", number))
                tables = (("model_version", version), ("model_alias", alias), ("alias_move", move))
                covers = [
                    [name, key, row_hash(name, tuple(row.values()))]
                    for (name, row), key in zip(tables, keys, strict=True)
                ]
                seq += 1
                content = (seq, tx.now(), "bench", "version.registered", f"m:{number}", "", dumps(left),
                           dumps({"alias": alias}), dumps(covers), previous)  # fmt: skip
                previous = event_hash(content)
                told = dict(zip((c.name for c in audit_event.c), (*content, previous), strict=True))
                for rows_of, row in zip(rows, (version, move, told), strict=True):
                    rows_of.append(row)
                if number % CHUNK == 0 or number == to:
                    for table, rows_of in zip((model_version, alias_move, audit_event), rows, strict=True):
                        tx.execute(insert(table), rows_of)
                        rows_of.clear()
            tx.execute(model_alias.update().where(model_alias.c.name == "challenger"), alias)
            tx.execute(audit_head.update(), {"seq": seq, "hash": previous})

    def register(self) -> None:
        self.registry.register(self.new, by="bench", why="a run")

    def promote(self) -> None:
        """Promote the other of the first two versions."""
        to = 3 - self.champion
        self.champion = self.registry.promote("m", to, expected=self.champion, by="bench", why="better").number

    def get(self) -> None:
        self.registry.get("m@champion")

    def finish(self) -> str:
        """Verify the log: what was measured was a registry in order."""
        start = time.process_time()
        with self.store.read() as connection:
            findings, events = audit.verify(connection), audit.head(connection).seq
        if findings:
            raise SystemExit(f"the audit log is not whole: {findings[0]}")
        self.store.close()
        return f"audit verify: {events} events, whole, {time.process_time() - start:.1f} CPU s"


class MLflow:
    """MLflow's model registry on a SQLite file, through its client."""

    title = "mlflow"

    def __init__(self, folder: Path) -> None:
        import logging

        logging.disable(logging.WARNING)
        from mlflow import MlflowClient

        uri = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.client.create_registered_model("m")
        self.source = f"file://{folder}/artifact"
        self.register()
        self.register()
        self.champion = 1
        self.promote()
        store = self.client._get_registry_client().store
        self.engines: list[Engine] = [store.engine]

    def grow(self, to: int) -> None:
        """Copy the row of a version that the client made."""
        with self.engines[0].begin() as connection:
            columns = [row[1] for row in connection.execute(text("PRAGMA table_info(model_versions)"))]
            names = ", ".join(f'"{c}"' for c in columns)
            values = ", ".join(f":{c}" for c in columns)
            row = dict(
                connection.execute(text(f"SELECT {names} FROM model_versions WHERE version = 1")).mappings().one()
            )
            last = connection.execute(text("SELECT max(version) FROM model_versions")).scalar_one()
            rows = [{**row, "version": number} for number in range(last + 1, to + 1)]
            if rows:
                connection.execute(text(f"INSERT INTO model_versions ({names}) VALUES ({values})"), rows)

    def register(self) -> None:
        self.client.create_model_version("m", self.source)

    def promote(self) -> None:
        self.champion = 3 - self.champion
        self.client.set_registered_model_alias("m", "champion", str(self.champion))

    def get(self) -> None:
        self.client.get_model_version_by_alias("m", "champion")

    def finish(self) -> str:
        return f"mlflow {metadata.version('mlflow')}: no history of aliases and no log to verify"


@contextmanager
def counted(engines: Sequence[Engine]) -> Iterator[list[str]]:
    """Collect the statements sent meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


def measure(call: Callable[[], object], engines: Sequence[Engine], calls: int) -> tuple[float, float, float]:
    """Return the median CPU ms and wall ms of a call, and its number of statements."""
    cpu, wall = [], []
    for at in range(calls + 3):
        before = time.process_time(), time.perf_counter()
        call()
        if at >= 3:
            cpu.append(1000 * (time.process_time() - before[0]))
            wall.append(1000 * (time.perf_counter() - before[1]))
    with counted(engines) as sent:
        call()
    return statistics.median(cpu), statistics.median(wall), len(sent)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description="The registry's hot calls.")
    parser.add_argument("--quick", action="store_true", help="few calls, and no 100,000 versions")
    parser.add_argument("--calls", type=int, default=100, help="calls per number (default 100)")
    given = parser.parse_args(argv)
    sizes, calls = (SIZES[:2], 10) if given.quick else (SIZES, given.calls)
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    print(f"{'':14} {'versions':>9} | {'register':^23} | {'promote':^23} | {'get by alias':^23}")
    print(f"{'':14} {'':>9}" + f" | {'ms':>7} {'wall':>8} {'SQL':>6}" * 3)
    for peer in (Ours, MLflow):
        if not find_spec(peer.title):
            continue
        with tempfile.TemporaryDirectory() as folder:
            world = peer(Path(folder))
            for size in sizes:
                world.grow(size)
                line = f"{peer.title:14} {size:9,}"
                for call in (world.register, world.promote, world.get):
                    line += " | {:7.2f} {:8.2f} {:6}".format(*measure(call, world.engines, calls))
                print(line, flush=True)
            print(world.finish(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
