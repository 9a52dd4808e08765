"""The detectors that ship with the package, by name."""

from typing import Any

from visutility.monitor.detector import AbstractDetector
from visutility.monitor.detectors.betting import EDetector
from visutility.monitor.detectors.rolling import Rolling

DETECTORS: dict[str, type[AbstractDetector[Any]]] = {
    "e-detector": EDetector,
    "rolling": Rolling,
}

__all__ = ["DETECTORS", "EDetector", "Rolling"]
