"""Batch drift of tables: CPU seconds, memory, power at small shifts, false discoveries and alarms, beside peers.

Each cost is taken in a process of its own: CPU seconds of the second run, and by how much the peak of resident memory
rose above what the data took, or, where that is more and the run is short, what Python and NumPy allocated in a third.
The reference window of ours is sketched once, before. Peers take part where they are installed: SciPy's
Kolmogorov-Smirnov test per column with Benjamini-Hochberg always is. Their telemetry is switched off.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitoring.peers import lacking, left_out
from visutility.core.rng import rng
from visutility.monitor import compare, sketch

COLUMNS = 20
MOVED = 10  # columns that are shifted, where any are
SHIFT = 0.1  # standard deviations
RUNS = {"ours": 1000, "scipy ks": 300, "evidently": 20, "nannyml": 20, "whylogs": 300}  # the slow ones fewer
SHORT = 10.0  # seconds of a run that may be repeated
Judge = Callable[[Any], tuple[bool, set[str]]]  # current window -> verdict, flagged columns


def table(law: str, rows: int, *names: str | int) -> dict[str, Any]:
    """Return a window of 20 columns (of six, for labels), drawn by these names."""
    g = rng(0, "batch", law, *names)
    size = (rows, COLUMNS)
    if law == "labels":
        words = {str(k): np.minimum(g.zipf(1.3, rows), k) for k in (2, 5, 20, 100, 1000, 20_000)}
        return {name: np.char.mod("v%d", values) for name, values in words.items()}
    draws: dict[str, Callable[[], Any]] = {
        "normal": lambda: g.standard_normal(size),
        "dependent": lambda: 0.8 * g.standard_normal((rows, 1)) + 0.6 * g.standard_normal(size),
        "heavy tails": lambda: g.standard_cauchy(size),
        "lognormal": lambda: np.exp(2.0 * g.standard_normal(size)),
        "rounded": lambda: np.rint(g.standard_normal(size) * np.geomspace(0.5, 20.0, COLUMNS)),
        "counts": lambda: g.poisson(np.geomspace(0.01, 50.0, COLUMNS), size).astype(float),
        "mostly zero": lambda: g.exponential(size=size) * (g.random(size) < np.geomspace(0.001, 0.5, COLUMNS)),
    }
    values = np.asfortranarray(draws[law]())
    return {str(at): values[:, at] for at in range(COLUMNS)}


# -- ours and the peers: each learns a reference window and judges current ones ---------------------------------------


def ours(reference: dict[str, Any]) -> Judge:
    """Return our judge."""
    learnt = sketch(reference)

    def judge(current: Any) -> tuple[bool, set[str]]:
        report = compare(learnt, current)
        return report.drifted, {row.name for row in report.columns if row.drifted}

    return judge


def scipy_ks(reference: dict[str, Any]) -> Judge:
    """Return the Kolmogorov-Smirnov test per column, flagged by Benjamini-Hochberg at 5 %."""
    from scipy import stats

    ordered = {name: np.sort(values) for name, values in reference.items()}

    def judge(current: Any) -> tuple[bool, set[str]]:
        p = {name: stats.ks_2samp(ordered[name], current[name], method="asymp").pvalue for name in ordered}
        q = stats.false_discovery_control(list(p.values()))
        flagged = {name for name, one in zip(p, q, strict=True) if one <= 0.05}
        return bool(flagged), flagged

    return judge


def evidently(reference: dict[str, Any]) -> Judge:
    """Return Evidently's drift preset with its defaults: drift when half of the columns drifted."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    before = pd.DataFrame(reference)

    def judge(current: Any) -> tuple[bool, set[str]]:
        found = Report([DataDriftPreset()]).run(pd.DataFrame(current), before).dict()
        flagged: set[str] = set()
        for metric in found["metrics"]:
            config = metric.get("config", {})
            if "ValueDrift" in config.get("type", ""):
                p_value = "p_value" in str(config.get("method", metric.get("metric_name", "")))
                threshold = config.get("threshold") or (0.05 if p_value else 0.1)
                value = float(metric["value"])
                if value < threshold if p_value else value >= threshold:
                    flagged.add(str(config["column"]))
        return len(flagged) >= len(before.columns) / 2, flagged

    return judge


def nannyml(reference: dict[str, Any]) -> Judge:
    """Return NannyML's univariate drift in ten chunks: a column is flagged when most of its chunks alert."""
    import nannyml as nml
    import pandas as pd

    before = pd.DataFrame(reference)
    names = list(before.columns)

    def judge(current: Any) -> tuple[bool, set[str]]:
        after = pd.DataFrame(current)
        size = min(len(after), len(before))
        calculator = nml.UnivariateDriftCalculator(column_names=names, chunk_size=max(size // 10, 1))
        found = calculator.fit(before).calculate(after).filter(period="analysis").to_df()
        flagged = {name for name in names if found[name].xs("alert", axis=1, level=-1).to_numpy().mean() > 0.5}
        return bool(flagged), flagged

    return judge


def whylogs(reference: dict[str, Any]) -> Judge:
    """Return whylogs' drift scores with its defaults: drift when any column's category is DRIFT, p below .05 each."""
    import pandas as pd
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    before = why.log(pd.DataFrame(reference)).view()

    def judge(current: Any) -> tuple[bool, set[str]]:
        after = why.log(pd.DataFrame(current)).view()
        scores = calculate_drift_scores(target_view=after, reference_view=before, with_thresholds=True)
        flagged = {name for name, score in scores.items() if score and score["drift_category"] == "DRIFT"}
        return bool(flagged), flagged

    return judge


TOOLS: dict[str, Callable[[dict[str, Any]], Judge]] = {
    "ours": ours,
    "scipy ks": scipy_ks,
    "evidently": evidently,
    "nannyml": nannyml,
    "whylogs": whylogs,
}


def absent() -> dict[str, str]:
    """Return what each peer lacks; empty where it can run."""
    return {
        "evidently": lacking("evidently"),
        "nannyml": lacking("nannyml"),
        "whylogs": lacking("whylogs", "IPython", "pandas"),
    }


def installed() -> list[str]:
    """Return the tools that can run here."""
    lacks = absent()
    return [name for name in TOOLS if not lacks.get(name)]


# -- cost ------------------------------------------------------------------------------------------------------------


def peak() -> int:
    """Return the peak of resident memory since it was last cleared, in kB (Linux)."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def cost(tool: str, rows: int) -> tuple[float, float]:
    """Return CPU seconds and extra MB of judging `rows` rows against 100,000, in this process."""
    judge = TOOLS[tool](table("normal", 100_000, "reference"))
    judge(table("normal", 2000, "warm"))  # imports and caches are not the window's cost
    current = table("normal", rows, "current")
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before, start = peak(), time.process_time()
    judge(current)
    seconds, megabytes = time.process_time() - start, (peak() - before) / 1000.0
    if seconds < SHORT:  # freed memory that is used again does not show in the peak
        tracemalloc.start()
        judge(current)
        megabytes = max(megabytes, tracemalloc.get_traced_memory()[1] / 1e6)
    return seconds, megabytes


def costs(tools: Sequence[str], sizes: Sequence[int]) -> None:
    """Print a row per tool and size."""
    print(f"cost: {COLUMNS} float64 columns against a reference window of 100,000 rows")
    print(f"{'tool':10} {'rows':>9} {'CPU s':>8} {'times ours':>10} {'extra MB':>9} {'ns/value':>9}")
    for rows in sizes:
        ours_seconds = 0.0
        for tool in tools:
            command = [sys.executable, "-m", "benchmarks.monitoring.batch", "--cost", tool, str(rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{tool:10} {rows:9,} failed: {done.stderr.strip().splitlines()[-1][:80]}")
                continue
            seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
            ours_seconds = seconds if tool == "ours" else ours_seconds
            ratio = seconds / ours_seconds if ours_seconds else float("nan")
            each = seconds / rows / COLUMNS * 1e9
            print(f"{tool:10} {rows:9,} {seconds:8.3f} {ratio:10.1f} {megabytes:9.1f} {each:9.1f}", flush=True)


# -- power and size --------------------------------------------------------------------------------------------------


def powers(tools: Sequence[str], repetitions: dict[str, int], reference_rows: int) -> None:
    """Print how many of the ten shifted columns are flagged, and the false discoveries."""
    print(f"\npower: {MOVED} of {COLUMNS} normal columns shifted by {SHIFT} sd, 5,000 rows against {reference_rows:,}")
    print(f"{'tool':10} {'runs':>5} {'found of 10':>11} {'FDR %':>6} {'verdicts %':>10}")
    moved = {str(at) for at in range(MOVED)}
    for tool in tools:
        hits, wrong, verdicts, runs = [], [], [], repetitions.get(tool, 10)
        for run in range(runs):
            judge = TOOLS[tool](table("normal", reference_rows, "power", run, "reference"))
            current = table("normal", 5000, "power", run, "current")
            verdict, flagged = judge({name: v + SHIFT if name in moved else v for name, v in current.items()})
            hits.append(len(flagged & moved))
            wrong.append(len(flagged - moved) / max(len(flagged), 1))
            verdicts.append(verdict)
        numbers = f"{np.mean(hits):11.3f} {100 * np.mean(wrong):6.2f} {100 * np.mean(verdicts):10.1f}"
        print(f"{tool:10} {runs:5} {numbers}", flush=True)


CHANGES: dict[str, Callable[[Any, Any], Any]] = {  # of a normal column z, with uniform draws u beside it
    "mean + .08": lambda z, _: z + 0.08,
    "sd x 1.06": lambda z, _: z * 1.06,
    "1 % are 0.3": lambda z, u: np.where(u < 0.01, 0.3, z),
    "2 % are + 3": lambda z, u: np.where(u < 0.02, z + 3.0, z),
    "upper half x 1.1": lambda z, _: np.where(z > 0.0, 1.1 * z, z),
    "hole in the middle": lambda z, _: np.where(np.abs(z) < 0.05, z + np.sign(z) * 0.05, z),
    "rounded to .05": lambda z, _: np.rint(z * 20.0) / 20.0,
}


def changes(repetitions: int) -> None:
    """Print how often each kind of change is found in one column at p <= .0025, beside Kolmogorov-Smirnov's test."""
    from scipy import stats

    print("\nkinds of change in one normal column, 5,000 rows against 5,000: found at p <= .0025, %")
    print(f"{'change':20} {'runs':>5} {'ours':>6} {'ks':>6}")
    for name, change in CHANGES.items():
        found = np.zeros(2)
        for run in range(repetitions):
            g = rng(0, "batch", "changes", run)
            old, new = g.standard_normal(5000), change(g.standard_normal(5000), g.random(5000))
            row = compare({"z": old}, {"z": new}, joint=False).columns[0]
            found += np.array([row.p_value, stats.ks_2samp(old, new, method="asymp").pvalue]) <= 0.0025
        print(
            f"{name:20} {repetitions:5} {100 * found[0] / repetitions:6.1f} {100 * found[1] / repetitions:6.1f}",
            flush=True,
        )


def sizes(tools: Sequence[str], repetitions: dict[str, int], settings: Sequence[tuple[str, int, int]]) -> None:
    """Print how often a window without a change is called drift."""
    print("\nsize: windows without a change that are called drift, % (level 5 %)")
    print(f"{'tool':10} {'columns':12} {'reference':>9} {'current':>8} {'runs':>5} {'alarms %':>8}")
    for law, n, m in settings:
        for tool in tools:
            if law == "labels" and tool == "scipy ks":
                continue
            alarms, runs = 0, repetitions.get(tool, 10)
            for run in range(runs):
                judge = TOOLS[tool](table(law, n, "size", run, "reference"))
                alarms += judge(table(law, m, "size", run, "current"))[0]
            print(f"{tool:10} {law:12} {n:9,} {m:8,} {runs:5} {100 * alarms / runs:8.1f}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--only", choices=("cost", "power", "changes", "size"), help="one of the tables")
    parser.add_argument("--tools", nargs="*", choices=tuple(TOOLS), help="these tools")
    parser.add_argument("--cost", nargs=2, metavar=("TOOL", "ROWS"), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    os.environ.update(NML_DISABLE_USAGE_LOGGING="1", DO_NOT_TRACK="1", WHYLOGS_NO_ANALYTICS="True")
    if given.cost:
        print(json.dumps(cost(given.cost[0], int(given.cost[1]))))
        return
    tools = [tool for tool in installed() if not given.tools or tool in given.tools]
    mine = [tool for tool in tools if tool == "ours"]
    print(left_out(absent()), end="", flush=True)
    runs = {"ours": 10, "scipy ks": 10} if given.quick else RUNS
    if given.only in (None, "cost"):
        costs(tools, (100_000,) if given.quick else (100_000, 1_000_000))
    if given.only in (None, "power"):
        powers(tools, runs, 5000)
        if mine:
            powers(mine, runs, 50_000)
    if mine and given.only in (None, "changes"):
        changes(10 if given.quick else 200)
    if given.only in (None, "size"):
        sizes(tools, runs, [("normal", 5000, 5000)])
    if mine and given.only in (None, "size"):
        laws = ("dependent", "heavy tails", "rounded", "counts", "mostly zero", "labels")
        settings = [(law, 5000, 5000) for law in laws] + [("mostly zero", 5000, 500), ("lognormal", 20_000, 2000)]
        sizes(mine, runs | {"ours": runs["ours"] * 4 // 10}, settings[:2] if given.quick else settings)


if __name__ == "__main__":
    main()
