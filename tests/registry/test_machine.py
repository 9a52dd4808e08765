"""A random walk through the registry, compared after every step with a dict and with the replayed audit log."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from visutility.core.clock import SimulatedClock
from visutility.core.codec import sha256
from visutility.core.errors import (
    AliasMoved,
    AliasNotFound,
    AlreadyExists,
    ModelNotFound,
    NothingToRollBack,
    VersionNotFound,
)
from visutility.registry import NewVersion, Registry, aliases, versions
from visutility.store import Blobs, Store, audit
from visutility.store.schema import alias_move, model, model_alias, model_version

NAMES = st.sampled_from(["digits", "faces", "cars"])
PICK = st.integers(0, 10**6)


@dataclass
class Expected:
    """What a model should look like. `stack` is who was champion below the present one, oldest first."""

    artifacts: list[str] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)
    moves: dict[str, list[tuple[int | None, int, str]]] = field(default_factory=dict)
    stack: list[int] = field(default_factory=list)

    def move(self, alias: str, number: int, kind: str) -> None:
        before = self.aliases.get(alias)
        self.moves.setdefault(alias, []).append((before, number, kind))
        self.aliases[alias] = number


class RegistryMachine(RuleBasedStateMachine):
    """Rules act on the registry and on a dict; half of the alias moves are made from a stale view."""

    template: Path

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        path = Path(shutil.copy(self.template, self.folder / "visutility.db"))
        self.clock = SimulatedClock()
        self.store = Store(f"sqlite:///{path}", self.clock)
        self.registry = Registry(self.store, Blobs(self.folder / "blobs", self.clock))
        self.expected: dict[str, Expected] = {}
        self.log: list[tuple[int, str]] = []
        self.made = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    # -- rules ---------------------------------------------------------------------------------------------------------

    @rule(name=NAMES)
    def create_model(self, name: str) -> None:
        self.clock.advance(1)
        if name in self.expected:
            with pytest.raises(AlreadyExists):
                self.registry.create_model(name, "task", by="t")
        else:
            self.registry.create_model(name, "task", by="t")
            self.expected[name] = Expected()

    @rule(name=NAMES)
    def register(self, name: str) -> None:
        self.clock.advance(1)
        new, artifact = self._new(name)
        if name not in self.expected:
            with pytest.raises(ModelNotFound):
                self.registry.register(new, artifact, by="t", why="")
            return
        made = self.registry.register(new, artifact, by="t", why=f"number {self.made}")
        known = self.expected[name]
        known.artifacts.append(new.artifact_sha256)
        known.move("challenger", len(known.artifacts), "register")
        assert made.number == len(known.artifacts)

    @rule(name=NAMES, pick=PICK, stale=st.booleans())
    def promote(self, name: str, pick: int, stale: bool) -> None:
        known = self.expected.get(name, Expected())
        number, now = 1 + pick % (len(known.artifacts) + 2), known.aliases.get("champion")
        seen = self._stale(now, pick) if stale else now
        call = lambda: self.registry.promote(name, number, expected=seen, by="t", why="better")  # noqa: E731
        if number > len(known.artifacts):
            with pytest.raises((ModelNotFound, VersionNotFound)):
                call()
        elif stale:
            with pytest.raises(AliasMoved):
                call()
        else:
            assert call().number == number
            if number != now:
                known.stack.extend([] if now is None else [now])
                known.move("champion", number, "promote")

    @rule(name=NAMES, pick=PICK, stale=st.booleans())
    def roll_back(self, name: str, pick: int, stale: bool) -> None:
        known = self.expected.get(name, Expected())
        now = known.aliases.get("champion")
        seen = self._stale(now, pick) if stale else None
        call = lambda: self.registry.rollback(name, expected=seen, by="t", why="worse")  # noqa: E731
        if now is None:
            with pytest.raises((ModelNotFound, AliasNotFound)):
                call()
        elif stale:
            with pytest.raises(AliasMoved):
                call()
        elif not known.stack:
            with pytest.raises(NothingToRollBack):
                call()
        else:
            known.move("champion", known.stack.pop(), "rollback")
            assert call().number == known.aliases["champion"]

    @rule(name=NAMES, pick=PICK, stale=st.booleans())
    def move_alias(self, name: str, pick: int, stale: bool) -> None:
        known = self.expected.get(name, Expected())
        if not known.artifacts:
            return
        number, now = 1 + pick % len(known.artifacts), known.aliases.get("staging")
        if stale:
            with pytest.raises(AliasMoved):
                self.registry.move_alias(name, "staging", to=number, expected=self._stale(now, pick), by="t", why="")
        else:
            self.registry.move_alias(name, "staging", to=number, expected=now, by="t", why="")
            if number != now:
                known.move("staging", number, "move")

    @rule(name=NAMES)
    def fail_halfway(self, name: str) -> None:
        if name not in self.expected:
            return
        with pytest.raises(ZeroDivisionError):
            self._register_promote_and_raise(name)

    def _register_promote_and_raise(self, name: str) -> None:
        with self.store.write("test") as tx:
            made = versions.register(tx, self._new(name)[0], by="t", why="")
            now = self.expected[name].aliases.get("champion")
            aliases.promote(tx, name, made.number, expected=now, by="t", why="")
            raise ZeroDivisionError

    def _new(self, name: str) -> tuple[NewVersion, bytes]:
        self.made += 1
        artifact = b"artifact %d" % (self.made % 5)  # the same bytes may be registered again
        new = NewVersion(
            model=name,
            artifact_sha256=sha256(artifact),
            artifact_format="skops",
            artifact_bytes=len(artifact),
            recipe="a:recipe",
            params={"x": self.made},
        )
        return new, artifact

    def _stale(self, now: int | None, pick: int) -> int:
        return (now or 0) + 1 + pick % 3

    # -- what always holds ---------------------------------------------------------------------------------------------

    @invariant()
    def the_registry_equals_the_dict(self) -> None:
        if not hasattr(self, "store"):
            return
        assert {one.name for one in self.registry.models()} == set(self.expected)
        for name, known in self.expected.items():
            found = self.registry.versions(name)
            assert [(one.number, one.artifact_sha256) for one in reversed(found)] == list(enumerate(known.artifacts, 1))
            assert self.registry.aliases(name) == known.aliases
            for alias, number in known.aliases.items():
                assert self.registry.get(f"{name}@{alias}").number == number
                history = self.registry.history(name, alias)
                assert [(one.before, one.number, one.kind) for one in reversed(history)] == known.moves[alias]

    @invariant()
    def the_tables_equal_the_replayed_log_which_only_grew(self) -> None:
        if not hasattr(self, "store"):
            return
        with self.store.read() as connection:
            events = audit.events(connection, limit=1000)
            assert audit.verify(connection) == []
            tables = {
                "model": {(row.id, row.name) for row in connection.execute(select(model))},
                "version": {
                    (row.model_id, row.id, row.number, row.artifact_sha256)
                    for row in connection.execute(select(model_version))
                },
                "alias": {tuple(row) for row in connection.execute(select(model_alias))},
                "move": {
                    (row.model_id, row.name, row.number, row.before_id, row.after_id, row.moved_by, row.why)
                    for row in connection.execute(select(alias_move))
                },
            }
        log = [(one.seq, one.hash) for one in events]
        assert log[: len(self.log)] == self.log
        self.log = log
        assert tables == replay(events)


def replay(events: list[audit.AuditEvent]) -> dict[str, set[tuple[Any, ...]]]:
    """Return what the tables should hold, from what the events say alone."""
    found: dict[str, set[tuple[Any, ...]]] = {"model": set(), "version": set(), "alias": set(), "move": set()}
    for event in events:
        after = event.after
        if event.kind == "model.created":
            found["model"].add((after["id"], after["name"]))
            continue
        to = after["alias"]
        if event.kind == "version.registered":
            made = after["version"]
            found["version"].add((to["model_id"], made["id"], made["number"], made["artifact_sha256"]))
        left = event.before["alias"]
        if left is not None:
            found["alias"].remove((left["model_id"], left["name"], left["version_id"], left["moves"]))
        found["alias"].add((to["model_id"], to["name"], to["version_id"], to["moves"]))
        was = None if left is None else left["version_id"]
        found["move"].add((to["model_id"], to["name"], to["moves"], was, to["version_id"], event.by, event.why))
    return found


@pytest.fixture(autouse=True)
def _template(empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RegistryMachine, "template", empty_database, raising=False)


def test_a_short_walk() -> None:
    run_state_machine_as_test(RegistryMachine, settings=settings(max_examples=6, stateful_step_count=20))


@pytest.mark.slow
def test_many_long_walks() -> None:
    run_state_machine_as_test(RegistryMachine, settings=settings(max_examples=25, stateful_step_count=50))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE model_alias SET version_id = (SELECT id FROM model_version WHERE number = 1)",
        "UPDATE audit_event SET after = replace(after, '\"number\":2', '\"number\":1')",
        "DELETE FROM model_alias WHERE name = 'staging'",
    ],
)
def test_the_machine_notices_a_registry_that_lies(statement: str) -> None:
    machine = RegistryMachine()
    machine.open()
    try:
        machine.create_model("digits")
        for _ in range(2):
            machine.register("digits")
        machine.promote("digits", 1, stale=False)
        machine.move_alias("digits", 1, stale=False)
        machine.the_tables_equal_the_replayed_log_which_only_grew()
        with machine.store.write("test") as tx:
            tx.connection.exec_driver_sql(statement)
        with pytest.raises(AssertionError):
            machine.the_tables_equal_the_replayed_log_which_only_grew()
    finally:
        machine.teardown()


def test_a_version_and_its_alias_are_replayed_from_the_log(digits: Registry) -> None:
    with digits.store.read() as connection:
        found = replay(audit.events(connection))
    assert [len(found[name]) for name in ("model", "version", "alias", "move")] == [1, 4, 1, 4]
