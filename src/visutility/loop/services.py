"""What the steps of the durable runs work with."""

from dataclasses import dataclass
from pathlib import Path

from visutility.execute import Executor
from visutility.loop.metrics import Metrics
from visutility.loop.tuning import TrialListener
from visutility.registry import Registry
from visutility.store.blobs import Blobs
from visutility.store.engine import Store


@dataclass(frozen=True, slots=True)
class Services:
    """One of these is made where a project is opened. `on_trial` hears of each trial that ends."""

    store: Store
    blobs: Blobs
    registry: Registry
    executor: Executor
    metrics: Metrics
    home: Path
    on_trial: TrialListener | None = None
