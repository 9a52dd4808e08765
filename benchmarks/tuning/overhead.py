"""CPU time of ask + tell to 20, 100, 300, 1,000 and 10,000 trials, on six floats and a mixed space, beside the peers.

`to n` is the mean over the first n trials, in CPU milliseconds of this process, computing the value not counted. A row
that has used up its CPU seconds (`--cap`) stops where it is and says so. The spaces and the objective are those of
`benchmarks.tune_overhead`, which measures single windows of a few trials. Run with one BLAS thread, on an idle machine.

python -m benchmarks.tuning.overhead                                  everything; half an hour of CPU and more
python -m benchmarks.tuning.overhead --rows visutility --trials 1000  a piece of it
python -m benchmarks.tuning.overhead --page docs/benchmarks.md        … and into that page
"""

import argparse
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.tune_overhead import SPACES, measure
from benchmarks.tuning.adapters.ours import ours
from benchmarks.tuning.page import write
from benchmarks.tuning.peers import OURS, PEERS, Peer
from visutility.tune import STRATEGIES

SIZES = (20, 100, 300, 1000, 10_000)
CAP = 120.0  # CPU seconds a row and space, of a peer
WARM = 12  # trials before, for what is imported or built once


def rows() -> dict[str, Peer]:
    """What is measured: "auto" as users get it, each of our strategies by name, and the peers."""
    own = {f"{OURS} {name}": Peer(name, ours(name)) for name in sorted(set(STRATEGIES) - {"grid"})}
    peers = {name: peer for name, peer in PEERS.items() if not name.startswith("control")}
    return {OURS: peers.pop(OURS), **own, **peers}


def line(name: str, runs: Sequence[Sequence[float]], sizes: Sequence[int]) -> str:
    """One row: the median over seeds of the mean to each size."""
    cells = []
    for n in sizes:
        done = [statistics.fmean(run[:n]) for run in runs if len(run) >= n]
        cells.append(f" {statistics.median(done):.2f} |" if len(done) == len(runs) else " |")
    least = min(len(run) for run in runs)
    stopped = f" stopped at {least}, {statistics.fmean(runs[0][-10:]):.0f} ms each" if least < sizes[-1] else ""
    return f"| {name} |{''.join(cells)}{stopped} |"


def shown(some: Mapping[str, Peer], sizes: Sequence[int], seeds: int, cap: float) -> Iterator[str]:
    """Measure; print and give each line of the tables."""
    for text in lines_of(some, sizes, seeds, cap):
        print(text, flush=True)
        yield text


def lines_of(some: Mapping[str, Peer], sizes: Sequence[int], seeds: int, cap: float) -> Iterator[str]:
    """The lines of both tables, each measured when it is asked for."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "default")
    yield f"Python {platform.python_version()}, {platform.machine()}, {threads} BLAS threads, seeds {seeds}"
    for title, space in SPACES.items():
        yield ""
        yield f"| {title}, CPU ms |" + "".join(f" to {n} |" for n in sizes) + " |"
        yield "| --- |" + " ---: |" * len(sizes) + " --- |"
        for name, peer in some.items():
            if why := peer.missing:
                yield f"| {name} |{' |' * len(sizes)} not installed: {why} |"
                continue
            measure(peer.start(space, 99, WARM), space, WARM, cap)
            yield line(
                name,
                [measure(peer.start(space, seed, sizes[-1]), space, sizes[-1], cap) for seed in range(seeds)],
                sizes,
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.overhead", description="CPU time of ask + tell.")
    parser.add_argument("--quick", action="store_true", help="ours alone, to 30 trials")
    parser.add_argument("--trials", type=int, default=SIZES[-1], help=f"the longest run (default {SIZES[-1]})")
    parser.add_argument("--cap", type=float, default=CAP, help=f"CPU seconds a row and space (default {CAP:g})")
    parser.add_argument("--seeds", type=int, default=1, help="runs a row, of which the median is shown (default 1)")
    parser.add_argument("--page", metavar="FILE", help="a page of the documentation to put the tables into")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="these alone: " + ", ".join(rows()))
    given = parser.parse_args(argv)
    sizes = (10, 30) if given.quick else tuple(n for n in SIZES if n <= given.trials)
    wanted = [OURS, f"{OURS} random"] if given.quick else given.rows
    some = {name: peer for name, peer in rows().items() if wanted is None or name in wanted}
    lines = list(shown(some, sizes, given.seeds, given.cap))
    if given.page:
        write(Path(given.page), "overhead", lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
