"""Many streams: how much later a stated false discovery rate reports, and how short the list of incidents is.

`python -m benchmarks.monitoring.many`. The scores of the first table are those of the e-SR with eight bets, the mean
known: what is measured is the cost of many streams, not of an estimated baseline. The second is of fleets that learnt
from 5,000 values, without a reference window. Error rate .10 before each change.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from visutility.core.rng import rng
from visutility.monitor import AlertList, AlertRules, Fleet, Level, StreamFDR, make_detector
from visutility.monitor.detectors.betting import shares

MEAN, TICK, START, AFTER = 0.1, 10, 5000, 1500
MANY = 1e12  # `arl` of the detector whose evidence e-BH judges
LEARNT, LATEST = 5000, 3000  # values before and after the change of a fleet's streams
FLEETS = (  # detector, streams, changed, what rises
    *(
        ("eprocess", n, changed, kind)
        for kind in ("errors+.10", "errors+.20")
        for n, changed in ((1000, 10), (1000, 100))
    ),
    ("eprocess", 20_000, 20, "errors+.20"),
    *(("auto", 1000, 10, kind) for kind in ("errors+.10", "errors+.20", "chain+.20", "losses+.05")),
    ("auto", 1000, 100, "errors+.20"),
)
MODELS, CAMERAS, SLICES = 10, 20, 10


@dataclass
class Scores:
    """e-SR scores of n streams that start afresh at `arl`."""

    n: int
    arl: float

    def __post_init__(self):
        bets = shares(np.array([MEAN])) / MEAN
        self.up, self.down = 1 + bets * (1 - MEAN), 1 - bets * MEAN
        self.wealth = np.zeros((len(bets), self.n))

    def take(self, values):
        """Take a tick of 0/1 values (k, n); return the scores, which streams alarmed, and at which value first."""
        shown, first = np.zeros(self.n), np.full(self.n, len(values))
        for at, x in enumerate(values):
            self.wealth += 1 / len(self.wealth)
            self.wealth *= np.where(x, self.up, self.down)
            score = self.wealth.sum(0)
            hit = np.flatnonzero(score >= self.arl)
            if len(hit):
                shown[hit], first[hit] = score[hit], np.minimum(first[hit], at)
                self.wealth[:, hit] = 0
        alarm = first < len(values)
        return np.where(alarm, shown, self.wealth.sum(0)), alarm, first


def delays(n, changed, rise):
    """Print the delays of `changed` of n streams: an alarm each at 1e6, and the reports of `StreamFDR`."""
    g = rng(0, "delays", n, changed, round(100 * rise))
    alone, together, fdr = Scores(n, 1e6), Scores(n, MANY), StreamFDR()
    state, mean = fdr.init(n), np.full(n, MEAN)
    alarmed, reported, false, falsely = np.full(n, np.inf), np.full(n, np.inf), 0, set()
    unchanged = np.arange(n) >= changed
    for at in range(0, START + AFTER, TICK):
        if at == START:
            mean[:changed] += rise
        values = g.random((TICK, n), dtype=np.float32) < mean
        _, alarm, first = alone.take(values)
        score, again, _ = together.take(values)
        state, found = fdr.update(state, score, TICK, again)
        new = unchanged | (at < START)
        false += int((alarm & new).sum())
        falsely |= set(np.flatnonzero(found.reported & new).tolist())
        alarmed = np.where(alarm & ~new, np.minimum(alarmed, at + first + 1 - START), alarmed)
        reported = np.where(found.reported & ~new, np.minimum(reported, at + TICK - START), reported)
    late = [f"{np.median(one[:changed]):.0f}" for one in (alarmed, reported)]
    print(f"| {n:,} | {changed} | +{rise:.2f} | {late[0]} | {late[1]} | {false} | {len(falsely)} |", flush=True)


def draws(n, changed, kind):
    """Yield what comes in each tick, (n, TICK), and how many values came before it."""
    rise, last = float(kind.split("+")[1]), None
    g = rng(0, "learnt", n, changed, kind)
    for at in range(0, LEARNT + LATEST, TICK):
        moved = (np.arange(n) < changed) & (at >= LEARNT)
        if kind.startswith("losses"):
            mean = 0.2 + rise * moved[:, None]
            yield at, g.beta(mean * 20, (1 - mean) * 20, (n, TICK)).astype(np.float32)
            continue
        rate, values = MEAN + rise * moved, np.empty((n, TICK), np.float32)
        for place in range(TICK):
            values[:, place] = fresh = g.random(n, dtype=np.float32) < rate
            if kind.startswith("chain"):
                last = fresh if last is None else np.where(g.random(n, dtype=np.float32) < 0.5, last, fresh)
                values[:, place] = last
        yield at, values


def fleets(name, n, changed, kind):
    """Print the delays of `changed` of n streams of a fleet: an alarm each at 1e6, and the reports of `StreamFDR`."""
    alone, together, fdr = Fleet(name, n), Fleet(make_detector(name, arl=MANY), n), StreamFDR()
    state, unchanged = fdr.init(n), np.arange(n) >= changed
    alarmed, reported, false, falsely = np.full(n, np.inf), np.full(n, np.inf), 0, set()
    for at, values in draws(n, changed, kind):
        said = alone.update(values)
        state, found = fdr.follow(state, together, together.update(values))
        new = unchanged | (at < LEARNT)
        alarms = [(one.stream, one.position) for one in said if one.level == Level.ALARM]
        false += sum(bool(new[stream]) for stream, _ in alarms)
        for stream, position in alarms:
            if not new[stream]:
                alarmed[stream] = min(alarmed[stream], position + 1 - LEARNT)
        falsely |= set(np.flatnonzero(found.reported & new).tolist())
        reported = np.where(found.reported & ~new, np.minimum(reported, at + TICK - LEARNT), reported)
    late = [f"{np.median(one[:changed]):.0f}" for one in (alarmed, reported)]
    missed = int(np.isinf(reported[:changed]).sum())
    print(
        f"| {name} | {kind} | {n:,} | {changed} | {late[0]} | {late[1]} | {missed} | {false} | {len(falsely)} |",
        flush=True,
    )


def incidents(*, by_rate):
    """Print how long the list gets: one camera breaks after 4,000 values, one model after 8,000."""
    at = np.arange(MODELS * CAMERAS * SLICES)
    model, camera, part = at // (CAMERAS * SLICES), at // SLICES % CAMERAS, at % SLICES
    columns = {"model": model, "camera": camera, "slice": part}
    keys = {name: [f"{name[0]}{one}" for one in codes] for name, codes in columns.items()}
    g, scores, fdr = rng(0, "alerts"), Scores(len(at), MANY if by_rate else 1e5), StreamFDR()
    state, mean = fdr.init(len(at)), np.full(len(at), MEAN)
    alerts = AlertList(keys, AlertRules(close_below=0.0 if by_rate else 1e3, quiet=500))
    opened, early, merged, most, alarms = 0, 0, 0, 0, 0
    for now in range(0, 12_000, TICK):
        mean[camera == 7] = np.where(now >= 4000, 0.25, MEAN)
        mean[model == 3] = np.where(camera[model == 3] == 7, mean[model == 3], MEAN) + 0.15 * (now >= 8000)
        score, alarm, _ = scores.take(g.random((TICK, len(at)), dtype=np.float32) < mean)
        alarms += int(alarm.sum())
        if by_rate:
            state, found = fdr.update(state, score, TICK, alarm)
            alarm, score = found.reported, found.log_evidence
        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now)
        changes = alerts.update(when, alarm, score, TICK)
        opened, merged = opened + len(changes.opened), merged + len(changes.merged)
        early += len(changes.opened) * (now < 4000)
        most = max(most, len(alerts.incidents))
    left = [one.summary for one in alerts.ranked().shown]
    print(f"{'rate' if by_rate else 'alarms'}: {alarms} alarms, {opened} incidents ({early} early, {merged} merged), ")
    print(f"  at most {most} at once, {len(alerts.incidents)} at the end: {left}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.many", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few streams, to see that it runs")
    quick = parser.parse_args(argv).quick
    print("| streams | changed | rise | alarm each | reported | false alarms | falsely reported |")
    for rise in (0.2,) if quick else (0.1, 0.2):
        for n, changed in ((100, 10), (100, 50)) if quick else ((1000, 10), (1000, 100), (1000, 500), (20_000, 20)):
            delays(n, changed, rise)
    print("| detector | rise | streams | changed | alarm each | reported | missed | false alarms | falsely reported |")
    for row in (("eprocess", 100, 10, "errors+.30"), ("auto", 20, 2, "losses+.20")) if quick else FLEETS:
        fleets(*row)
    for by_rate in () if quick else (False, True):
        incidents(by_rate=by_rate)
    print(f"{time.process_time():.0f} CPU s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
