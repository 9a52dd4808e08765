"""One process of the crash tests: send the degraded values, drive the runs, and maybe die at a crash point.

python retrain_child.py HOME [--crash POINT NTH] [--record FILE]
"""

import argparse
from pathlib import Path

from scenario import MODEL, bad_events

from visutility.core import crash
from visutility.core.settings import Settings
from visutility.execute import LocalExecutor
from visutility.loop import Project


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--crash", nargs=2)
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    with Project.open(settings=Settings.load(home=given.home, environ={}), executor=LocalExecutor(1)) as project:
        if given.crash:
            crash.arm(given.crash[0], int(given.crash[1]))
        crash.record(given.record)
        project.monitor.ingest(*bad_events())
        while project.records.open_runs(MODEL):
            project.work()
            project.clock.sleep(0.02)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
