"""The monitor's benchmarks run without any peer and say which are missing; a peer that is there sees a plain change."""

from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.monitoring import batch, image_power, peers, streams
from benchmarks.monitoring.watchers import CAPYMOA, OURS, absent, delays, watchers

from visutility.core.rng import rng

STREAMS = {
    "River": ["ADWIN", "ADWIN 1e-6", "PageHinkley", "HDDM_A"],
    "Frouros": ["CUSUM", "GeometricMovingAverage"],
    "CapyMOA": list(CAPYMOA),
}


@pytest.fixture
def alone(monkeypatch):
    """No package of a peer is installed."""
    monkeypatch.setattr(peers, "find_spec", lambda module: None)


@pytest.fixture
def java(monkeypatch, tmp_path):
    """A Java whose `-version` ends with this status; None: no such program."""

    def make(status):
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        if status is not None:
            program = tmp_path / "java"
            program.write_text(f"#!/bin/sh\nexit {status}\n")
            program.chmod(0o755)
        peers.java_runs.cache_clear()

    yield make
    peers.java_runs.cache_clear()


def test_without_peers_ours_and_the_controls_remain(alone):
    assert [one.name for one in watchers()] == [*(name for name, _, _ in OURS), "always fires"]
    assert batch.installed() == ["ours", "scipy ks"]
    assert list(image_power.methods()) == ["ours, embeddings", "whitened mean, chi-square", "KS, Bonferroni"]


def test_only_mmd_needs_torch(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda module: None if module == "torch" else module)
    assert set(image_power.ALIBI) - {name.removeprefix("alibi-detect ") for name in image_power.methods()} == {"MMD"}


@pytest.mark.parametrize("lacks", [absent, batch.absent, image_power.absent])
def test_a_missing_peer_is_named_with_what_it_lacks(lacks, alone):
    found = lacks()
    assert all(words.startswith("no ") for words in found.values())
    line = peers.left_out(found)
    assert all(f"{peer} ({words})" in line for peer, words in found.items())


def test_nothing_is_said_when_all_are_there():
    assert peers.lacking("json", "numpy") == ""
    assert peers.left_out({"json": ""}) == ""
    assert peers.left_out({"json": "", "whylogs": "no IPython"}) == "left out: whylogs (no IPython)\n"


@pytest.mark.parametrize(("status", "words"), [(None, "no Java"), (1, "no Java"), (0, "")])
def test_capymoa_needs_a_java_that_runs(status, words, java, monkeypatch):
    java(status)
    monkeypatch.setattr(peers, "find_spec", lambda module: module)
    assert absent()["CapyMOA"] == words


def test_java_is_looked_for_where_java_home_says(java, monkeypatch, tmp_path):
    java(0)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert peers.lacking("json", java=True) == "no Java"  # it is not in bin
    assert peers.lacking("jsonn", java=True) == "no jsonn"  # and not asked for where the package is missing


def test_the_benchmark_of_streams_says_who_is_missing(alone, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("VISUTILITY_BENCH_CACHE", str(tmp_path))
    scene = ["--only", "always fires", "--scenes", "errors .10", "--seeds", "2", "--values", "20", "--streams", "2"]
    assert streams.main(scene) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("left out: River (no river), Frouros (no frouros), CapyMOA (no capymoa)\n")
    assert "| errors .10 | 1e+06 |" in printed
    assert "| million values a second | " in printed


def needs(table, name):
    """Skip, saying what this peer lacks, where it cannot run."""
    if lack := table().get(name):
        pytest.skip(f"{name}: {lack}")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [f"{peer} {kind}" for peer, kinds in STREAMS.items() for kind in kinds])
def test_a_peer_sees_errors_rise_from_a_tenth_to_a_half(name):
    needs(absent, name.partition(" ")[0])
    g = rng(0, "benchmark", "peers")
    values = np.concatenate([g.random((5000, 4)) < 0.1, g.random((5000, 4)) < 0.5]).astype(float)
    if name.endswith("GeometricMovingAverage"):
        values *= 10.0  # its threshold of 1 is out of reach for values in [0, 1]
    watcher = next(one for one in watchers() if one.name == name)
    assert np.median(delays(watcher.watch(values))) < 1000  # a false alarm just before the change may hide it in one


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("tool", [name for name in batch.TOOLS if name != "ours"])
def test_a_peer_flags_the_columns_that_moved_far(tool):
    needs(batch.absent, tool)
    moved = {"0", "7", "19"}
    current = batch.table("normal", 2000, "peers", "current")
    judge = batch.TOOLS[tool](batch.table("normal", 2000, "peers", "reference"))
    flagged = judge({name: values + (name in moved) for name, values in current.items()})[1]
    assert moved <= flagged
    assert len(flagged) < 10


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", image_power.ALIBI)
def test_a_peer_sees_embeddings_that_moved_far(kind):
    needs(image_power.absent, "alibi-detect")
    needs(image_power.absent, f"alibi-detect {kind}")
    draw = rng(0, "benchmark", "peers").standard_normal
    judge = image_power.alibi(kind)(SimpleNamespace(embedding=draw((500, 8))))
    assert judge(SimpleNamespace(embedding=draw((100, 8)) + 1.0)) <= image_power.LEVEL
