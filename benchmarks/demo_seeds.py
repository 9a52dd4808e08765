"""The demo over many seeds: delays, accuracies, failures included (`python -m benchmarks.demo_seeds --seeds 20`)."""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from visutility.core.errors import VisuTilityError
from visutility.core.settings import Settings
from visutility.demo import Demo, Told


class Silent:
    """Hears the story and says nothing."""

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""

    def say(self, text: str) -> None:
        """Tell a line."""

    def trial(self, done: int, of: int, best: float) -> None:
        """Show how a study gets on."""

    def served(self, done: int, of: int, accuracy: float) -> None:
        """Show how the stream gets on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a row a seed, then counts and medians of the seeds that did not fail."""
    parser = argparse.ArgumentParser(prog="benchmarks.demo_seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one seed, to see that it runs")
    given = parser.parse_args(argv)
    print("seed  drift  alarm  delay  promoted  before  drifted  v2     old settings  control alarms  seconds")
    seeds = range(1 if given.quick else given.seeds)
    told = [row for row in map(one, seeds) if row is not None]
    delays = [row.alarm - row.drift_start for row in told if row.alarm is not None and row.drift_start is not None]
    print(f"\nfailed: {len(seeds) - len(told)} of {len(seeds)}")
    print(f"alarms after the drift's start: {sum(delay >= 0 for delay in delays)} of {len(told)}")
    print(f"alarms before the drift's start: {sum(early(row) for row in told)}")
    print(f"promoted: {sum(row.promotion is not None for row in told)} of {len(told)}")
    print(f"control: {sum(row.to_json()['control']['alarms'] for row in told)} alarms, "
          f"{sum(row.control_promotions for row in told)} promotions")  # fmt: skip
    if delays:
        print(f"delay in images: median {statistics.median(delays):.0f}, from {min(delays)} to {max(delays)}")
    return 0 if told else 1


def one(seed: int) -> Told | None:
    """Run the demo once and print its row; None when it failed, which its row says with the reason."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings.load(home=Path(folder) / "home", environ={"VISUTILITY_ACTOR": "bench"})
            told = Demo(seed, settings, Silent()).run()
    except VisuTilityError as error:
        print(f"{seed:4}  FAILED  {type(error).__name__}: {error}", flush=True)
        return None
    data = told.to_json()
    accuracy, events = data["accuracy"], data["events"]
    delay = None if told.alarm is None or told.drift_start is None else told.alarm - told.drift_start
    cells = [
        f"{seed:4}", f"{_(events['drift_start']):>5}", f"{_(events['alarm']):>5}", f"{_(delay):>5}",
        f"{_(events['promotion']):>8}", f"{_(accuracy['before']):>6}", f"{_(accuracy['drifted']):>7}",
        f"{_(accuracy['promoted']):>5}", f"{_(accuracy['promoted_with_old_settings']):>12}",
        f"{data['control']['alarms']:>14}", f"{data['seconds']:>7.1f}",
    ]  # fmt: skip
    print("  ".join(cells), flush=True)
    return told


def early(told: Told) -> int:
    """Return how many alarms came before the drift."""
    return sum(told.drift_start is None or at < told.drift_start for at in told.alarms)


def _(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
