"""Prometheus metrics of the whole loop, one object an application creates and passes in.

Every name is listed in docs/metrics.md. Labels are names of models, metrics, detectors, workflows and states, never
ids, so that their number stays small.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@final
class Metrics:
    """All counters and gauges. With no registry given, a new one: two projects in a process do not collide."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        at = self.registry
        self.events = Counter(
            "visutility_events", "Metrics events accepted", ["model", "metric", "result"], registry=at
        )
        self.values = Counter("visutility_values", "Metric values accepted", ["model", "metric"], registry=at)
        self.ingest_seconds = Histogram(
            "visutility_ingest_seconds", "Time from receiving events to their commit", registry=at
        )
        self.score = Gauge(
            "visutility_detector_score", "Evidence of a detector", ["model", "metric", "detector"], registry=at
        )
        self.verdicts = Counter(
            "visutility_verdicts", "Verdicts by level", ["model", "metric", "detector", "level"], registry=at
        )
        self.observer_errors = Counter(
            "visutility_observer_errors", "Observers that raised and were isolated", ["observer"], registry=at
        )
        self.triggers = Counter("visutility_triggers", "Policy decisions", ["model", "decision"], registry=at)
        self.runs = Counter("visutility_runs", "Runs ended, by how", ["workflow", "status"], registry=at)
        self.trials = Counter("visutility_trials", "Trials ended, by how", ["state"], registry=at)
        self.trial_seconds = Histogram("visutility_trial_seconds", "Time a trial took", registry=at)
        self.gates = Counter("visutility_gates", "Answers of the gate", ["model", "answer"], registry=at)
        self.moves = Counter("visutility_alias_moves", "Aliases moved", ["model", "kind"], registry=at)
        self.heartbeat = Gauge(
            "visutility_coordinator_heartbeat_timestamp_seconds", "Last sign of life", ["study"], registry=at
        )
        self.queue_depth = Gauge(
            "visutility_coordinator_queue_depth", "Items waiting in a queue", ["study", "queue"], registry=at
        )

    def read_champions(self, champions: Callable[[], Mapping[str, int]]) -> None:
        """Have `visutility_champion_version` read when it is scraped: another process may have moved it."""
        self.registry.register(_Champions(champions))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


@final
class _Champions(Collector):
    def __init__(self, champions: Callable[[], Mapping[str, int]]) -> None:
        self._champions = champions

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge as the registry has it now."""
        gauge = GaugeMetricFamily("visutility_champion_version", "Number of the champion version", labels=["model"])
        for model, number in self._champions().items():
            gauge.add_metric([model], number)
        yield gauge
