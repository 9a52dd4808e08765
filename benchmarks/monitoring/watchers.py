"""What takes part in the comparison of streams: our detectors, peers where installed, an oracle, and an always-fire.

A watcher takes values (n, streams) and gives the positions of the alarms of each stream. It sees a stream from its
first value on, with no reference window, and goes on after an alarm as it does by itself.
"""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitoring.peers import lacking
from benchmarks.monitoring.scenes import HEALTHY, Array, Scene
from visutility.monitor import Fleet, Level, make_detector

CUT = 1000  # values of each stream fed at a time
LIMIT = 1e6  # of the oracle's Shiryaev-Roberts statistic: its mean run length is at least that


@dataclass(frozen=True)
class Watcher:
    """`identity` changes when results may."""

    name: str
    watch: Callable[[Array], list[list[int]]]
    identity: str


@cache
def source() -> str:
    """A digest of the detectors' source, with the arithmetic they share."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[2] / "src" / "visutility" / "monitor"
    names = ("blocks", "excursions", "large", "loops", "moments", "stats", "universal", "windows")
    shared = [folder / f"{name}.py" for name in names]
    for path in [*shared, *sorted(folder.glob("detectors/*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def fleet(kind: str, settings: dict[str, Any], values: Array) -> list[list[int]]:
    """One of our detectors on a stream a column."""
    watching = Fleet(make_detector(kind, **settings), streams=values.shape[1])
    alarms: list[list[int]] = [[] for _ in range(values.shape[1])]
    for first in range(0, len(values), CUT):
        for verdict in watching.update(np.ascontiguousarray(values[first : first + CUT].T)):
            if verdict.level is Level.ALARM:
                alarms[verdict.stream].append(verdict.position)
    return alarms


def one_by_one(make: Callable[[], Any], values: Array) -> list[list[int]]:
    """A peer that takes one value at a time; `drift_detected` says that it alarms."""
    alarms = []
    for column in values.T.tolist():
        peer, found = make(), []
        for at, value in enumerate(column):
            peer.update(value)
            if peer.drift_detected:
                found.append(at)
        alarms.append(found)
    return alarms


def always(values: Array) -> list[list[int]]:
    """The control: an alarm at every value."""
    return [list(range(len(values))) for _ in range(values.shape[1])]


def oracle(scene: Scene) -> Watcher | None:
    """A Shiryaev-Roberts procedure that knows both distributions; None where they have no density."""
    if scene.ratio is None:
        return None

    def watch(values: Array) -> list[list[int]]:
        gains = np.exp(scene.ratio(values))  # type: ignore[misc]
        score = np.zeros(values.shape[1])
        alarms: list[list[int]] = [[] for _ in score]
        for at, gain in enumerate(gains):
            score = (score + 1.0) * gain
            for stream in np.flatnonzero(score >= LIMIT).tolist():
                alarms[stream].append(at)
                score[stream] = 0.0
        return alarms

    return Watcher("oracle", watch, "1")


OURS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("auto", "auto", {}),
    ("eprocess", "eprocess", {}),
    ("ranks", "ranks", {}),
    ("glr", "glr", {}),
    ("adwin", "adwin", {}),
    ("page_hinkley", "page_hinkley", {}),
    ("cusum", "cusum", {}),
    ("rolling", "rolling", {}),
)


def watchers() -> list[Watcher]:
    """Everything that can take part here, oracle aside."""
    found = [Watcher(name, partial(fleet, kind, settings), source()) for name, kind, settings in OURS]
    for peer, lack in absent().items():
        if not lack:
            found += PEERS[peer]()
    return [*found, Watcher("always fires", always, "1")]


def absent() -> dict[str, str]:
    """What each peer lacks; empty where it can run."""
    return {"River": lacking("river"), "Frouros": lacking("frouros"), "CapyMOA": lacking("capymoa", java=True)}


def _river() -> list[Watcher]:
    from river import drift

    makers: dict[str, Callable[[], Any]] = {
        "River ADWIN": drift.ADWIN,
        "River ADWIN 1e-6": partial(drift.ADWIN, delta=1e-6),
        "River PageHinkley": drift.PageHinkley,
        "River HDDM_A": drift.binary.HDDMA,
    }
    return [Watcher(name, partial(one_by_one, make), version("river")) for name, make in makers.items()]


def _frouros() -> list[Watcher]:
    from frouros.detectors.concept_drift import CUSUM, GeometricMovingAverage

    class Wrapped:
        def __init__(self, kind: Any) -> None:
            self._inner = kind()

        def update(self, value: float) -> None:
            self._inner.update(value=value)
            self.drift_detected = self._inner.drift
            if self.drift_detected:
                self._inner.reset()

    return [
        Watcher(f"Frouros {kind.__name__}", partial(one_by_one, partial(Wrapped, kind)), version("frouros"))
        for kind in (CUSUM, GeometricMovingAverage)
    ]


# All of CapyMOA's that take single values, but OPTWIN and ABCD: those cost 150 microseconds a value.
DEFAULTS = "ADWIN HDDMAverage HDDMWeighted SEED CUSUM PageHinkley DDM EDDM RDDM STEPD EWMAChart GeometricMovingAverage"
CAPYMOA: dict[str, tuple[str, dict[str, Any]]] = {kind: (kind, {}) for kind in DEFAULTS.split()}
CAPYMOA["SEED .01"] = ("SEED", {"delta": 0.01})


def _capymoa() -> list[Watcher]:
    """Java starts with the first detector that is made, once, and small."""

    class Wrapped:
        def __init__(self, kind: str, settings: dict[str, Any]) -> None:
            os.environ.setdefault("CAPYMOA_JVM_ARGS", "-Xmx512m -Xss10M")
            from capymoa.drift import detectors

            self._inner = getattr(detectors, kind)(**settings)

        def update(self, value: float) -> None:
            self._inner.add_element(value)
            self.drift_detected = self._inner.detected_change()

    return [
        Watcher(f"CapyMOA {name}", partial(one_by_one, partial(Wrapped, *made)), version("capymoa"))
        for name, made in CAPYMOA.items()
    ]


PEERS = {"River": _river, "Frouros": _frouros, "CapyMOA": _capymoa}


def delays(alarms: list[list[int]], healthy: int = HEALTHY) -> list[float]:
    """Values from the change to the first alarm in it, counting both; inf where there is none."""
    return [next((float(at - healthy + 1) for at in found if at >= healthy), math.inf) for found in alarms]
