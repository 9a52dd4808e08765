"""How good the configurations are that each tuner finds on real tasks, peers and two controls beside ours.

python -m benchmarks.tuning.quality                          the reported half: runs what is missing, prints the tables
python -m benchmarks.tuning.quality --half dev               the half that constants may be chosen on
python -m benchmarks.tuning.quality --peers visutility "optuna tpe" --seeds 3 --seconds 600      a piece of it
python -m benchmarks.tuning.quality --print                  the tables of what was run, nothing run
python -m benchmarks.tuning.quality --from results.json      the tables of a file
python -m benchmarks.tuning.quality --page docs/benchmarks.md        … and into that page

Score: 0 is the median of random search with as many trials, 1 the best loss known. The task is the unit of every test,
seeds averaged; a test over (task, seed) pairs is printed beside it. Both controls must lose: random search under
another name, and our engine told values that belong to other trials. The slow peers have fewer runs of 50 trials,
and as many as the others of 20 where they are told no budget. One process, one thread; every run is kept in
`build/bench-cache`, named by our source or the peer's version, so a comparison can be stopped and gone on with.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.tuning import cells
from benchmarks.tuning.memo import cache_folder
from benchmarks.tuning.page import write
from benchmarks.tuning.peers import CONTROLS, OURS, PEERS, Peer
from benchmarks.tuning.results import Results, tables
from benchmarks.tuning.task import Task
from benchmarks.tuning.tasks import DEV, REPORTED, TASKS

SEEDS = 10
FEWER = {"hebo": 3, "ax": 2, "syne tune cqr": 5, "smac3": 5}  # tenths of a second to seconds of CPU a trial
BUDGETS = (20, 50)
QUICK = ("ridge-diabetes", "tree-made")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables."""
    given = parse(argv)
    if given.read:
        show(Results.from_json(json.loads(Path(given.read).read_text("utf-8"))), given.page)
        return 0
    peers = [PEERS[name] for name in ((OURS, *CONTROLS) if given.quick else given.peers)]
    tasks = tuple(TASKS[name] for name in QUICK) if given.quick else DEV if given.half == "dev" else REPORTED
    budgets = (6, 12) if given.quick else BUDGETS
    absent = {peer.name: why for peer in peers if (why := peer.missing)}
    for name, why in absent.items():
        print(f"not installed: {name} ({why})", flush=True)
    peers = [peer for peer in peers if peer.name not in absent]
    seeds = 1 if given.quick else given.seeds
    every = list(order(peers, tasks, seeds, every=True))
    until = time.process_time() + given.seconds
    for trials in [] if given.only_print else [given.trials] if given.trials in budgets else budgets[::-1]:
        short = [at for at in every if at[0].steady]
        todo = short if trials < budgets[-1] else list(order(peers, tasks, seeds, given.all_seeds))
        fill(todo, trials, budgets[-1], until)
    found = gather(every, tasks, budgets, "quick" if given.quick else given.half, 100 if given.quick else cells.POOL)
    found.absent = absent
    target = Path(given.json) if given.json else cache_folder() / f"quality-{found.half}.json"
    target.write_text(json.dumps(found.to_json()), "utf-8")
    show(found, given.page)
    return 0


def show(found: Results, page: str | None) -> None:
    """Print the tables, and put them into a page of the documentation when one is given."""
    print("\n".join(tables(found)))
    if page:
        write(Path(page), f"quality {found.half}", tables(found))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning.quality", description="Quality of what is found."
    )
    parser.add_argument("--quick", action="store_true", help="ours and the controls on two tasks, 12 trials, one seed")
    parser.add_argument("--half", choices=("reported", "dev"), default="reported")
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME", help=", ".join(PEERS)
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"paired seeds (default {SEEDS})")
    parser.add_argument("--all-seeds", action="store_true", help=f"as many for the slow ones too, which have {FEWER}")
    parser.add_argument("--trials", type=int, choices=BUDGETS, help="runs of so many trials alone")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after so many CPU seconds")
    parser.add_argument("--print", dest="only_print", action="store_true", help="run nothing")
    parser.add_argument("--json", metavar="FILE", help="where results are written (default: beside the runs)")
    parser.add_argument("--page", metavar="FILE", help="a page of the documentation to put the tables into")
    parser.add_argument("--from", dest="read", metavar="FILE", help="print the tables of such a file")
    return parser.parse_args(argv)


def order(peers: Sequence[Peer], tasks: Sequence[Task], seeds: int, every: bool) -> Iterator[tuple[Peer, Task, int]]:
    """What there is to run: all of one seed before the next, so that a run cut short is still paired."""
    for seed in range(seeds):
        for peer in peers:
            if every or seed < FEWER.get(peer.name, seeds):
                for task in tasks:
                    yield peer, task, seed


def fill(todo: Sequence[tuple[Peer, Task, int]], trials: int, most: int, until: float) -> None:
    """Run the cells that are missing, of so many trials; one of the most trials there are serves as well.

    None is started once this process has used `until` CPU seconds.
    """
    missing = [at for at in todo if cells.kept(*at, trials) is None and cells.kept(*at, most) is None]
    for done, (peer, task, seed) in enumerate(missing):
        if time.process_time() > until:
            print(f"no CPU seconds left, {len(missing) - done} runs to go", flush=True)
            return
        cells.filled(peer, task, seed, trials)
        if done % 10 == 9:
            print(f"{done + 1} of {len(missing)} runs: {peer.name}, {task.name}, seed {seed}", flush=True)


def gather(
    todo: Sequence[tuple[Peer, Task, int]], tasks: Sequence[Task], budgets: Sequence[int], half: str, size: int
) -> Results:
    """The results of the cells there are."""
    found = Results(half, list(budgets))
    for task in tasks:
        found.set_pool(task.name, cells.pool(task, size))
    for peer, task, seed in todo:
        known = (cells.kept(peer, task, seed, n) for n in (reversed(budgets) if peer.steady else budgets[-1:]))
        cell = next((each for each in known if each is not None), None)
        if cell is not None:
            found.add(peer.name, task.name, seed, cell.losses, cell.cpu)
            found.identity[peer.name] = peer.identity
    return found


if __name__ == "__main__":
    raise SystemExit(main())
