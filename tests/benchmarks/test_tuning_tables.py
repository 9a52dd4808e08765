"""The arithmetic of benchmarks/tuning: scores, ranks, paired tests, cells kept on disk, and what the tables hold."""

import json
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from benchmarks.tuning import cells
from benchmarks.tuning.adapters.common import Worst, active, children, grid, is_parent
from benchmarks.tuning.adapters.ours import Shuffled
from benchmarks.tuning.page import write
from benchmarks.tuning.peers import CONTROLS, OURS, PEERS, Peer
from benchmarks.tuning.quality import fill, gather, main, order
from benchmarks.tuning.results import Results, tables
from benchmarks.tuning.stats import gain, mean_ranks, median_of_best, paired, ranks, running_best, score
from benchmarks.tuning.task import Task
from benchmarks.tuning.tasks import REPORTED

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Space, Study
from visutility.tune.strategy import AbstractStrategy


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISUTILITY_BENCH_CACHE", str(tmp_path))


def test_running_best_skips_failures():
    assert running_best([math.nan, 3.0, math.nan, 2.0, 5.0]) == [math.inf, 3.0, 3.0, 2.0, 2.0]


def test_median_of_best_is_that_of_simulated_random_searches():
    draws = rng(0, "pool").random(4000)
    simulated = np.median([rng(1, "search", run).choice(draws, 20).min() for run in range(4000)])
    assert median_of_best(list(draws), 20) == pytest.approx(simulated, abs=0.004)
    assert median_of_best([1.0, 2.0, 3.0], 1) == 2.0
    assert median_of_best([math.nan, math.nan, 1.0], 1) == math.inf


def test_score_is_zero_at_random_one_at_the_best_and_bounded_below():
    assert score(5.0, 5.0, 1.0) == 0.0
    assert score(1.0, 5.0, 1.0) == 1.0
    assert score(3.0, 5.0, 1.0) == 0.5
    assert score(99.0, 5.0, 1.0) == score(math.inf, 5.0, 1.0) == -1.0
    assert score(1.0, 1.0, 1.0) == 0.0
    assert score(2.0, 1.0, 1.0) == -1.0


def test_ranks_share_ties_and_are_averaged_over_tasks():
    assert ranks({"a": 0.9, "b": 0.1, "c": 0.9}) == {"a": 1.5, "b": 3.0, "c": 1.5}
    assert mean_ranks({"t": {"a": 1.0, "b": 0.0}, "u": {"a": 0.0, "b": 1.0}, "v": {"a": 2.0, "b": 1.0}}) == {
        "a": pytest.approx(4 / 3),
        "b": pytest.approx(5 / 3),
    }


def test_the_paired_test_is_exact_for_twelve_tasks():
    better = [1.0 + k / 100 for k in range(12)]
    won, lost, p = paired(better, [0.0] * 12)
    assert (won, lost) == (12, 0)
    assert p == pytest.approx(2 / 2**12)  # both tails of the one most extreme of 2^12 signs
    assert paired([1.0, 2.0], [1.0, 2.0]) == (0, 0, 1.0)


def test_gain_draws_tasks_not_pairs():
    mean, low, high = gain({"t": [(1.0, 0.0)] * 50, "u": [(0.0, 1.0)] * 50})
    assert mean == 0.0
    assert (low, high) == (-1.0, 1.0)


def test_a_full_assignment_becomes_the_active_configuration():
    space = Space({"m": Choice(["a", "b"]), "x": Float(0, 1, when=Equals("m", "a")), "n": Int(1, 9)})
    assert active(space, {"m": "a", "x": 1.5, "n": 3.4}) == {"m": "a", "x": 1.0, "n": 3}
    assert active(space, {"m": "b", "x": 1.5, "n": 12}) == {"m": "b", "n": 9}


def test_what_adapters_learn_of_a_space():
    both = Equals("kernel", "rbf", "poly")
    space = Space(
        {
            "kernel": Choice(["linear", "rbf", "poly"]),
            "gamma": Float(0, 1, when=both),
            "degree": Int(2, 4, when=Equals("kernel", "poly")),
            "layers": Int(1, 2),
            "second": Int(1, 9, when=Equals("layers", 2)),
        }
    )
    assert [children(space, "kernel", kind) for kind in ("linear", "rbf", "poly")] == [
        [],
        ["gamma"],
        ["gamma", "degree"],
    ]
    assert children(space, "layers", 2) == ["second"]
    assert [name for name in space.names if is_parent(space, name)] == ["kernel", "layers"]
    assert grid(space.parameters["layers"]) == [1, 2]


def test_the_worst_loss_so_far_stands_in_for_a_failure():
    worst = Worst()
    assert worst.of(math.nan) is None
    assert [worst.of(2.0), worst.of(1.0), worst.of(math.nan), worst.of(math.inf)] == [2.0, 1.0, 2.0, 2.0]


def test_a_peer_without_its_package_says_so():
    peer = Peer("some peer", PEERS[OURS].start, needs=("no_such_package_at_all",))
    assert "no_such_package_at_all" in (peer.missing or "")
    assert PEERS[OURS].missing is None


@dataclass(frozen=True)
class Remembering(AbstractStrategy):
    """Keeps the states it was shown."""

    states: list = field(default_factory=list)
    name: ClassVar[str] = "remembering"

    def suggest(self, state, number):
        self.states.append(state)
        return {"x": number / 20}


def test_the_shuffled_control_sees_the_same_values_elsewhere_and_failures_where_they_are():
    inner = Remembering()
    study = Study(Space({"x": Float(0, 1)}), strategy=Shuffled(inner), seed=3)
    for number in range(12):
        study.tell(study.ask(), math.nan if number == 4 else float(number))
    study.ask()
    seen = inner.states[-1].observed
    values = [o.value for o in seen]
    assert [o.params["x"] for o in seen] == [number / 20 for number in range(12)]
    assert values[4] is None
    assert sorted(v for v in values if v is not None) == [float(n) for n in range(12) if n != 4]
    assert values != [None if n == 4 else float(n) for n in range(12)]


def test_a_cell_is_run_once(monkeypatch):
    asked = []

    def start(space, seed, trials):
        asked.append(seed)
        return PEERS[CONTROLS[0]].start(space, seed, trials)

    peer, task = Peer("counting", start), Task("square", Space({"x": Float(0, 1)}), lambda p: p["x"] ** 2)
    assert cells.kept(peer, task, 0, 5) is None
    first = cells.filled(peer, task, 0, 5)
    assert cells.filled(peer, task, 0, 5) == first == cells.kept(peer, task, 0, 5)
    assert len(first.losses) == 5
    assert asked == [0]
    changed = Peer("counting", start, revision=2)
    assert cells.kept(changed, task, 0, 5) is None
    assert cells.kept(peer, Task("square", task.space, task.run, version=2), 0, 5) is None
    assert cells.pool(task, 50) == cells.pool(task, 50)


def test_a_short_run_of_a_steady_peer_counts_at_the_small_budget_alone():
    task = Task("square", Space({"x": Float(0, 1)}), lambda p: p["x"] ** 2)
    ran = []

    def start(space, seed, trials):
        ran.append((seed, trials))
        return PEERS[CONTROLS[0]].start(space, seed, trials)

    steady, told = (Peer(name, start, steady=name == "steady") for name in ("steady", "told"))
    for peer in (steady, told):
        cells.filled(peer, task, 0, 6)
        cells.filled(peer, task, 1, 3)
    fill([(steady, task, seed) for seed in (0, 1, 2)], 3, 6, math.inf)
    assert ran == [(0, 6), (1, 3), (0, 6), (1, 3), (2, 3)]  # the run of 6 served for 3 as well
    found = gather([(peer, task, seed) for peer in (steady, told) for seed in range(3)], [task], (3, 6), "some", 20)
    assert [sorted(found.scores("steady", at)["square"]) for at in (0, 1)] == [["0", "1", "2"], ["0"]]
    assert [sorted(found.scores("told", at)["square"]) for at in (0, 1)] == [["0"], ["0"]]
    assert found.complete() == ["steady", "told"]
    assert "| steady | 3, 1 |" in "\n".join(tables(found))


def test_both_controls_take_part_in_every_full_table():
    assert set(CONTROLS) < set(PEERS)
    todo = list(order(list(PEERS.values()), REPORTED, 10, every=False))
    for name in (OURS, *CONTROLS):
        assert sum(peer.name == name for peer, _, _ in todo) == 120, name


@pytest.mark.slow
def test_the_quick_table_holds_ours_and_both_controls_and_is_printed_again_without_running(capsys, tmp_path):
    assert main(["--quick", "--json", str(tmp_path / "found.json")]) == 0
    printed = capsys.readouterr().out
    for name in (OURS, *CONTROLS):
        assert f"| {name} | 1 |" in printed
    assert f"| {OURS} at 12 trials against |" in printed
    page = tmp_path / "page.md"
    page.write_text("Before.\n\n<!-- quality quick -->\nold\n<!-- /quality quick -->\n\nAfter.\n")
    assert main(["--from", str(tmp_path / "found.json"), "--page", str(page)]) == 0
    assert capsys.readouterr().out == printed
    assert page.read_text() == f"Before.\n\n<!-- quality quick -->\n{printed}<!-- /quality quick -->\n\nAfter.\n"
    with pytest.raises(ValueError, match="has no <!-- other"):
        write(page, "other", [])


def test_a_peer_that_is_not_there_or_not_done_is_named():
    found = Results("reported", [1], absent={"some peer": "ModuleNotFoundError: No module named 'some'"})
    for task in ("t", "u"):
        found.set_pool(task, [1.0, 2.0, 3.0])
        found.add(OURS, task, 0, [0.5], 0.1)
    found.add("half done", "t", 0, [0.4], 0.1)
    lines = list(tables(Results.from_json(json.loads(json.dumps(found.to_json())))))
    assert any(line.startswith("Not installed: some peer") for line in lines)
    assert any("Not on every task" in line and "half done" in line for line in lines)
    assert not any(line.startswith("| half done") for line in lines)
    assert any(line.startswith("Not run: ") and "control: random" in line for line in lines)
