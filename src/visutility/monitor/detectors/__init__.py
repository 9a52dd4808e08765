"""The detectors that ship with the package, by name."""

from typing import Any

from visutility.monitor.detector import AbstractDetector
from visutility.monitor.detectors.adwin import Adwin
from visutility.monitor.detectors.auto import Auto
from visutility.monitor.detectors.betting import EDetector
from visutility.monitor.detectors.cusum import Cusum
from visutility.monitor.detectors.dependent import Dependent
from visutility.monitor.detectors.eprocess import EProcess
from visutility.monitor.detectors.glr import Glr
from visutility.monitor.detectors.page_hinkley import PageHinkley
from visutility.monitor.detectors.ranks import Ranks
from visutility.monitor.detectors.rolling import Rolling
from visutility.monitor.detectors.seasonal import Seasonal

DETECTORS: dict[str, type[AbstractDetector[Any]]] = {
    "adwin": Adwin,
    "auto": Auto,
    "cusum": Cusum,
    "dependent": Dependent,
    "e-detector": EDetector,
    "eprocess": EProcess,
    "glr": Glr,
    "page_hinkley": PageHinkley,
    "ranks": Ranks,
    "rolling": Rolling,
    "seasonal": Seasonal,
}

__all__ = [
    "DETECTORS",
    "Adwin",
    "Auto",
    "Cusum",
    "Dependent",
    "EDetector",
    "EProcess",
    "Glr",
    "PageHinkley",
    "Ranks",
    "Rolling",
    "Seasonal",
]
