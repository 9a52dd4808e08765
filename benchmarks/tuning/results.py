"""The results of a comparison as plain data, and the tables made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.tuning.peers import CONTROLS, OURS, PEERS
from benchmarks.tuning.stats import gain, mean_ranks, median_of_best, paired, running_best, score


@dataclass
class Results:
    """`best[peer][task][seed]`: the best loss at each budget; `zero` and `one`: of scores, by task.

    `cpu`: ms of ask and tell a trial, one number a run of all trials. `identity`: what was run. `absent`: why a peer is
    not here.
    """

    half: str
    budgets: list[int]
    zero: dict[str, list[float]] = field(default_factory=dict)
    one: dict[str, float] = field(default_factory=dict)
    best: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def set_pool(self, task: str, losses: Sequence[float]) -> None:
        """Give a task its zero, and its best known loss so far."""
        self.zero[task] = [median_of_best(losses, n) for n in self.budgets]
        self.one[task] = float(np.nanmin(losses))

    def add(self, peer: str, task: str, seed: int, losses: Sequence[float], cpu: float) -> None:
        """Count one run."""
        found = running_best(losses)
        self.best.setdefault(peer, {}).setdefault(task, {})[str(seed)] = [
            found[n - 1] for n in self.budgets if n <= len(found)
        ]
        if len(losses) >= self.budgets[-1]:  # early trials cost less
            self.cpu.setdefault(peer, []).append(1000.0 * cpu / len(losses))
        self.one[task] = min(self.one[task], found[-1])

    def scores(self, peer: str, at: int) -> dict[str, dict[str, float]]:
        """The scores of a peer by task and seed, at the budget of this index."""
        return {
            task: {
                seed: score(best[at], self.zero[task][at], self.one[task])
                for seed, best in seeds.items()
                if at < len(best)
            }
            for task, seeds in self.best.get(peer, {}).items()
        }

    def means(self, peer: str, at: int) -> dict[str, float]:
        """The mean score over seeds, by task."""
        return {task: float(np.mean(list(seeds.values()))) for task, seeds in self.scores(peer, at).items()}

    def complete(self) -> list[str]:
        """The peers that were run on every task, with all trials."""
        last = len(self.budgets) - 1
        return [
            peer for peer in self.best if {t for t, seeds in self.scores(peer, last).items() if seeds} == set(self.zero)
        ]

    def pairs(self, a: str, b: str, at: int) -> dict[str, list[tuple[float, float]]]:
        """Scores of both on the same task with the same seed, by task."""
        left, right = self.scores(a, at), self.scores(b, at)
        found = {t: [(left[t][s], right[t][s]) for s in left[t] if s in right[t]] for t in left if t in right}
        return {task: pairs for task, pairs in found.items() if pairs}

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Results":
        """What `to_json` wrote."""
        return Results(**data)


def tables(found: Results) -> Iterator[str]:
    """The lines of every table, Markdown."""
    some = found.complete()
    if not some:
        yield "no peer has been run on every task yet"
        return
    runs = sum(len(seeds) for tasks in found.best.values() for seeds in tasks.values())
    yield f"{len(found.zero)} {found.half} tasks, {runs} runs."
    yield "Score: 0 is the median of random search with as many trials, 1 the best loss known."
    yield ""
    yield from _summary(found, some)
    if OURS in some:
        for at, n in enumerate(found.budgets):
            yield ""
            yield from _against(found, some, at, n)
    yield ""
    yield from _by_task(found, some)
    notes = [f"Not installed: {peer} ({why})." for peer, why in found.absent.items()]
    notes += [f"Not on every task yet, so in no table: {peer}." for peer in found.best if peer not in some]
    if left := [peer for peer in PEERS if peer not in found.best and peer not in found.absent]:
        notes.append(f"Not run: {'; '.join(left)}.")
    notes.append(f"Run: {'; '.join(f'{peer} {found.identity[peer]}' for peer in some if peer in found.identity)}.")
    for note in notes:
        yield ""
        yield note


def _summary(found: Results, some: Sequence[str]) -> Iterator[str]:
    columns = "".join(f" mean rank at {n} | score at {n} |" for n in found.budgets)
    yield f"| | seeds |{columns} CPU ms of ask + tell |"
    yield "| --- |" + " ---: |" * (2 * len(found.budgets) + 2)
    place = [mean_ranks(_by(found, some, at)) for at in range(len(found.budgets))]
    for peer in sorted(some, key=lambda who: place[-1][who]):
        cells = "".join(
            f" {place[at][peer]:.2f} | {np.mean(list(found.means(peer, at).values())):.3f} |"
            for at in range(len(found.budgets))
        )
        counts = dict.fromkeys(_seeds(found, peer, at) for at in range(len(found.budgets)))
        yield f"| {peer} | {', '.join(counts)} |{cells} {np.mean(found.cpu[peer]):.1f} |"


def _seeds(found: Results, peer: str, at: int) -> str:
    """How many seeds a task has at a budget, the fewest and the most."""
    counts = sorted({len(seeds) for seeds in found.scores(peer, at).values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def _by(found: Results, some: Sequence[str], at: int) -> dict[str, dict[str, float]]:
    means = {peer: found.means(peer, at) for peer in some}
    return {task: {peer: means[peer][task] for peer in some} for task in found.zero}


def _against(found: Results, some: Sequence[str], at: int, n: int) -> Iterator[str]:
    yield f"| {OURS} at {n} trials against | tasks won:lost | p | pairs | won:lost | p | mean gain in score (95 %) |"
    yield "| --- |" + " ---: |" * 6
    for peer in [p for p in some if p != OURS]:
        pairs = found.pairs(OURS, peer, at)
        if not pairs:
            continue
        means = [tuple(np.mean(each, axis=0)) for each in pairs.values()]
        won, lost, p = paired([a for a, _ in means], [b for _, b in means])
        flat = [pair for each in pairs.values() for pair in each]
        pwon, plost, pp = paired([a for a, _ in flat], [b for _, b in flat])
        mean, low, high = gain(pairs)
        by_task, by_pair = f"{won}:{lost} | {p:.2g}", f"{len(flat)} | {pwon}:{plost} | {pp:.2g}"
        yield f"| {peer} | {by_task} | {by_pair} | {mean:+.3f} ({low:+.3f} to {high:+.3f}) |"


def _by_task(found: Results, some: Sequence[str]) -> Iterator[str]:
    short = {peer: peer.replace("control: ", "c. ") if peer in CONTROLS else peer for peer in some}
    yield f"| score at {found.budgets[-1]} |" + "".join(f" {short[peer]} |" for peer in some)
    yield "| --- |" + " ---: |" * len(some)
    for task, scores in _by(found, some, len(found.budgets) - 1).items():
        best = max(scores.values())
        cells = [f"**{value:.2f}**" if value == best else f"{value:.2f}" for value in scores.values()]
        yield f"| {task} | {' | '.join(cells)} |"
