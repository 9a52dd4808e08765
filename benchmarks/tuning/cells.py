"""Runs kept on disk: one cell is one peer on one task with one seed.

A cell is named by what decides it: the peer's identity (our source, or a peer's version), the task and its version, the
seed and the number of trials. What was run before is read, so a comparison can be made in pieces and stopped anywhere.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from benchmarks.tuning.memo import BUSY, cache_folder
from benchmarks.tuning.peers import Peer
from benchmarks.tuning.task import Task
from visutility.core.rng import rng

POOL = 2000  # random configurations a task: 40 runs of 50


@dataclass(frozen=True)
class Cell:
    """`losses` by trial, NaN for a failed one; `cpu` seconds spent asking and telling."""

    losses: tuple[float, ...]
    cpu: float


def run(peer: Peer, task: Task, seed: int, trials: int) -> Cell:
    """Let a peer search a task."""
    ask, tell = peer.start(task.space, seed, trials)
    losses, cpu = [], 0.0
    for _ in range(trials):
        began = time.process_time()
        told, params = ask()
        cpu += time.process_time() - began
        loss = task.evaluate(task.space.validate(params))
        began = time.process_time()
        tell(told, loss)
        cpu += time.process_time() - began
        losses.append(loss)
    return Cell(tuple(losses), cpu)


def kept(peer: Peer, task: Task, seed: int, trials: int) -> Cell | None:
    """The cell, when it was run before."""
    with _file() as file:
        row = file.execute("SELECT losses, cpu FROM cell WHERE name = ?", (_name(peer, task, seed, trials),)).fetchone()
    return None if row is None else Cell(_read(row[0]), row[1])


def filled(peer: Peer, task: Task, seed: int, trials: int) -> Cell:
    """The cell, run now when it was not before."""
    found = kept(peer, task, seed, trials)
    if found is None:
        found = run(peer, task, seed, trials)
        with _file() as file:
            row = (_name(peer, task, seed, trials), _write(found.losses), found.cpu)
            file.execute("INSERT OR REPLACE INTO cell VALUES (?, ?, ?)", row)
    return found


def pool(task: Task, size: int = POOL) -> tuple[float, ...]:
    """Losses of random configurations, which give a task's scores their zero."""
    name = json.dumps(["pool", task.name, task.version, size])
    with _file() as file:
        row = file.execute("SELECT losses FROM cell WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return _read(row[0])
    draw = rng(0, "pool", task.name)
    losses = tuple(task.evaluate(task.space.decode(draw.random(task.space.dim))) for _ in range(size))
    with _file() as file:
        file.execute("INSERT OR REPLACE INTO cell VALUES (?, ?, ?)", (name, _write(losses), 0.0))
    return losses


def _name(peer: Peer, task: Task, seed: int, trials: int) -> str:
    return json.dumps([peer.name, peer.identity, task.name, task.version, seed, trials])


def _write(losses: tuple[float, ...]) -> str:
    return json.dumps([None if loss != loss else loss for loss in losses])


def _read(text: str) -> tuple[float, ...]:
    return tuple(float("nan") if loss is None else loss for loss in json.loads(text))


@contextmanager
def _file() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(cache_folder() / "cells.sqlite", timeout=BUSY, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=OFF")
        file.execute("CREATE TABLE IF NOT EXISTS cell (name TEXT PRIMARY KEY, losses TEXT, cpu REAL)")
        yield file
